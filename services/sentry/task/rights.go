package task

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/loader"
	"bulkhead/services/sentry/vfs"
)

// rights are what a program's files say of its power.
type rights struct {
	uid, gid       uint32
	setUID, setGID bool
	unreadable     bool // the caller may execute it, and not look into it
	// keeper is the user namespace in which power is needed to look into what may not be:
	// the caller's, or the first above it that knows the owners of what is unreadable.
	keeper *vfs.UserNamespace
}

// rightsOf reads them, with the caller's credentials.
func rightsOf(t *Task, im *loader.Image) (r rights, err error) {
	exe := im.Exe.File
	a, err := exe.Attr(t)
	if err != nil {
		return r, err
	}
	creds := t.Creds()
	r.uid, r.gid, r.keeper = a.UID, a.GID, creds.UserNS
	r.lookAt(creds, &a)
	_, knownUID := creds.UserNS.UID(a.UID)
	_, knownGID := creds.UserNS.GID(a.GID)
	mount := exe.Path().Mount
	if !creds.NoNewPrivs && knownUID && knownGID && (mount == nil || mount.Flags()&vfs.MountNoSUID == 0) {
		r.setUID = a.Mode&unix.S_ISUID != 0
		r.setGID = a.Mode&(unix.S_ISGID|0o10) == unix.S_ISGID|0o10
	}
	if im.Interp != nil {
		if a, err = im.Interp.File.Attr(t); err != nil {
			return r, err
		}
		r.lookAt(creds, &a)
	}
	return r, nil
}

// lookAt is for a file of the program: would_dump of fs/exec.c.
func (r *rights) lookAt(creds *vfs.Creds, a *vfs.Attr) {
	if vfs.CheckMode(creds, a, vfs.MayRead) == nil {
		return
	}
	r.unreadable = true
	for r.keeper != nil {
		_, user := r.keeper.UID(a.UID)
		_, group := r.keeper.GID(a.GID)
		if user && group {
			return
		}
		r.keeper = r.keeper.Parent
	}
}

func (r *rights) setsID() bool { return r.setUID || r.setGID }

// credsFor gives the credentials that a program has whose caller has old:
// capabilities(7), "Transformation of capabilities during execve()". bound says that
// somebody without power has a hand in what it does: it gains none then, nor does
// it where old says so. There are no capabilities of files.
func (r *rights) credsFor(old *vfs.Creds, bound bool) *vfs.Creds {
	c := old.Clone()
	if r.setUID {
		c.EUID = r.uid
	}
	if r.setGID {
		c.EGID = r.gid
	}
	root := c.SecureBits&linux.SECBIT_NOROOT == 0 && (c.IsRoot(c.UID) || c.IsRoot(c.EUID))
	c.Permitted = 0
	if root {
		c.Permitted = c.Inheritable | c.Bounding
	}
	other := c.EUID != old.UID || c.EGID != old.GID
	if (bound || old.NoNewPrivs) && (other || c.Permitted&^old.Permitted != 0) {
		if old.NoNewPrivs || !old.HasOwn(linux.CAP_SETUID) {
			c.EUID, c.EGID = c.UID, c.GID
		}
		c.Permitted &= old.Permitted
	}
	c.SUID, c.FSUID, c.SGID, c.FSGID = c.EUID, c.EUID, c.EGID, c.EGID
	if other {
		c.Ambient = 0
	}
	c.Permitted |= c.Ambient
	c.Effective = c.Ambient
	if root && c.IsRoot(c.EUID) {
		c.Effective = c.Permitted
	}
	c.SecureBits &^= linux.SECBIT_KEEP_CAPS
	return c
}

// assume gives the thread, now the only one of its process, the credentials of the
// program that it is about to become, and says whether it gains power by that. Who
// traces it, or shares its working directory, has come before or sees them.
func (t *Task) assume(p *program) (gains bool) {
	k, g := t.k, t.group
	k.mu.Lock()
	defer k.mu.Unlock()
	old := t.Creds()
	p.creds = p.rights.credsFor(old, t.tracedByLesserLocked() || k.sharesFSLocked(t))
	p.secure = p.creds.EUID != p.creds.UID || p.creds.EGID != p.creds.GID
	gains = p.secure || p.creds.Permitted&^old.Permitted != 0
	t.creds.Store(p.creds)
	g.dumpable.Store(1)
	g.keeper.Store(p.rights.keeper)
	if p.rights.unreadable || p.secure || otherPower(old, p.creds) {
		g.dumpable.Store(0)
	}
	if otherPower(old, p.creds) {
		g.parentDeath = 0
	}
	if p.rights.setsID() {
		t.SetPersonality(t.Personality() &^ clearOnSetID)
	}
	return gains
}

// clearOnSetID are the bits of personality(2) that a set-id program does not take
// over: PER_CLEAR_ON_SETID.
const clearOnSetID = 0x0400000 | linux.ADDR_NO_RANDOMIZE | 0x0200000 | 0x0100000

// otherPower says whether a process that had old and has c now is one that its
// user may not look into, nor have signalled by a parent's end: commit_creds.
func otherPower(old, c *vfs.Creds) bool {
	return old.EUID != c.EUID || old.EGID != c.EGID || old.FSUID != c.FSUID || old.FSGID != c.FSGID || !within(old, c)
}

// within says whether c can do no more than old could: also in a user namespace that
// old's user has made, where it had every capability already: cred_cap_issubset.
func within(old, c *vfs.Creds) bool {
	if c.UserNS == old.UserNS {
		return c.Permitted&^old.Permitted == 0
	}
	for ns := c.UserNS; ns != nil; ns = ns.Parent {
		if ns.Parent == old.UserNS && ns.OwnerUID == old.EUID {
			return true
		}
	}
	return false
}

// sharesFSLocked says whether another process can change the thread's root, working
// directory or umask: CLONE_FS.
func (k *Kernel) sharesFSLocked(t *Task) bool {
	fs := t.fs.Load()
	for _, o := range k.tasks {
		if o.group != t.group && o.fs.Load() == fs && o.mm.Load() != nil {
			return true
		}
	}
	return false
}
