package syscalls

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

func getuid(t *task.Task) (uint64, error)  { return shownUID(t, t.Creds().UID), nil }
func geteuid(t *task.Task) (uint64, error) { return shownUID(t, t.Creds().EUID), nil }
func getgid(t *task.Task) (uint64, error)  { return shownGID(t, t.Creds().GID), nil }
func getegid(t *task.Task) (uint64, error) { return shownGID(t, t.Creds().EGID), nil }

// shownUID and shownGID are the numbers that the caller knows a user and a group by.
func shownUID(t *task.Task, id uint32) uint64 { return uint64(t.Creds().UserNS.ShowUID(id)) }
func shownGID(t *task.Task, id uint32) uint64 { return uint64(t.Creds().UserNS.ShowGID(id)) }

const noID = ^uint32(0)

// users gives the users that the caller means by numbers, which may be noID: EINVAL.
func users(t *task.Task, numbers ...*uint32) error { return meant(t.Creds().UserNS.User, numbers) }

// groups gives the groups, likewise.
func groups(t *task.Task, numbers ...*uint32) error { return meant(t.Creds().UserNS.Group, numbers) }

func meant(find func(uint32) (uint32, bool), numbers []*uint32) error {
	for _, n := range numbers {
		if *n == noID {
			continue
		}
		id, ok := find(*n)
		if !ok {
			return linux.EINVAL
		}
		*n = id
	}
	return nil
}

// setUIDs publishes new user ids and drops the capabilities that go with the
// old ones: capabilities(7), "Effect of user ID changes on capabilities".
func setUIDs(t *task.Task, old, c *vfs.Creds) {
	const keepCaps, noFixup = 1 << 4, 1 << 2
	if c.SecureBits&noFixup == 0 {
		root := old.IsRoot
		wasRoot := root(old.UID) || root(old.EUID) || root(old.SUID)
		isRoot := root(c.UID) || root(c.EUID) || root(c.SUID)
		if wasRoot && !isRoot {
			if c.SecureBits&keepCaps == 0 {
				c.Permitted, c.Effective = 0, 0
			}
			c.Ambient = 0
		}
		switch {
		case root(old.EUID) && !root(c.EUID):
			c.Effective = 0
		case !root(old.EUID) && root(c.EUID):
			c.Effective = c.Permitted
		}
	}
	t.SetCreds(c)
}

func setuid(t *task.Task, uid uint32) (uint64, error) {
	if uid == noID || users(t, &uid) != nil {
		return 0, linux.EINVAL
	}
	old := t.Creds()
	c := old.Clone()
	switch {
	case old.HasOwn(linux.CAP_SETUID):
		c.UID, c.SUID = uid, uid
	case uid != old.UID && uid != old.SUID:
		return 0, linux.EPERM
	}
	c.EUID, c.FSUID = uid, uid
	setUIDs(t, old, c)
	return 0, nil
}

func setgid(t *task.Task, gid uint32) (uint64, error) {
	if gid == noID || groups(t, &gid) != nil {
		return 0, linux.EINVAL
	}
	old := t.Creds()
	c := old.Clone()
	switch {
	case old.HasOwn(linux.CAP_SETGID):
		c.GID, c.SGID = gid, gid
	case gid != old.GID && gid != old.SGID:
		return 0, linux.EPERM
	}
	c.EGID, c.FSGID = gid, gid
	t.SetCreds(c)
	return 0, nil
}

func setreuid(t *task.Task, uid, euid uint32) (uint64, error) {
	if err := users(t, &uid, &euid); err != nil {
		return 0, err
	}
	old := t.Creds()
	c := old.Clone()
	power := old.HasOwn(linux.CAP_SETUID)
	if uid != noID {
		if !power && uid != old.UID && uid != old.EUID {
			return 0, linux.EPERM
		}
		c.UID = uid
	}
	if euid != noID {
		if !power && euid != old.UID && euid != old.EUID && euid != old.SUID {
			return 0, linux.EPERM
		}
		c.EUID = euid
	}
	if uid != noID || euid != noID && euid != old.UID {
		c.SUID = c.EUID
	}
	c.FSUID = c.EUID
	setUIDs(t, old, c)
	return 0, nil
}

func setregid(t *task.Task, gid, egid uint32) (uint64, error) {
	if err := groups(t, &gid, &egid); err != nil {
		return 0, err
	}
	old := t.Creds()
	c := old.Clone()
	power := old.HasOwn(linux.CAP_SETGID)
	if gid != noID {
		if !power && gid != old.GID && gid != old.EGID {
			return 0, linux.EPERM
		}
		c.GID = gid
	}
	if egid != noID {
		if !power && egid != old.GID && egid != old.EGID && egid != old.SGID {
			return 0, linux.EPERM
		}
		c.EGID = egid
	}
	if gid != noID || egid != noID && egid != old.GID {
		c.SGID = c.EGID
	}
	c.FSGID = c.EGID
	t.SetCreds(c)
	return 0, nil
}

func setresuid(t *task.Task, uid, euid, suid uint32) (uint64, error) {
	if err := users(t, &uid, &euid, &suid); err != nil {
		return 0, err
	}
	old := t.Creds()
	c := old.Clone()
	may := func(id uint32) bool {
		return id == noID || old.HasOwn(linux.CAP_SETUID) || id == old.UID || id == old.EUID || id == old.SUID
	}
	if !may(uid) || !may(euid) || !may(suid) {
		return 0, linux.EPERM
	}
	for _, s := range []struct {
		to *uint32
		id uint32
	}{{&c.UID, uid}, {&c.EUID, euid}, {&c.SUID, suid}} {
		if s.id != noID {
			*s.to = s.id
		}
	}
	c.FSUID = c.EUID
	setUIDs(t, old, c)
	return 0, nil
}

func setresgid(t *task.Task, gid, egid, sgid uint32) (uint64, error) {
	if err := groups(t, &gid, &egid, &sgid); err != nil {
		return 0, err
	}
	old := t.Creds()
	c := old.Clone()
	may := func(id uint32) bool {
		return id == noID || old.HasOwn(linux.CAP_SETGID) || id == old.GID || id == old.EGID || id == old.SGID
	}
	if !may(gid) || !may(egid) || !may(sgid) {
		return 0, linux.EPERM
	}
	for _, s := range []struct {
		to *uint32
		id uint32
	}{{&c.GID, gid}, {&c.EGID, egid}, {&c.SGID, sgid}} {
		if s.id != noID {
			*s.to = s.id
		}
	}
	c.FSGID = c.EGID
	t.SetCreds(c)
	return 0, nil
}

func copyOutIDs(t *task.Task, shown func(*task.Task, uint32) uint64, addrs [3]mm.Addr, ids [3]uint32) error {
	for i, a := range addrs {
		if err := t.CopyOutLater(a, le32(uint32(shown(t, ids[i])))); err != nil {
			return err
		}
	}
	return nil
}

func getresuid(t *task.Task, uid, euid, suid mm.Addr) (uint64, error) {
	c := t.Creds()
	return 0, copyOutIDs(t, shownUID, [3]mm.Addr{uid, euid, suid}, [3]uint32{c.UID, c.EUID, c.SUID})
}

func getresgid(t *task.Task, gid, egid, sgid mm.Addr) (uint64, error) {
	c := t.Creds()
	return 0, copyOutIDs(t, shownGID, [3]mm.Addr{gid, egid, sgid}, [3]uint32{c.GID, c.EGID, c.SGID})
}

// setfsuid gives the old id, whether or not it may be changed: setfsuid(2).
func setfsuid(t *task.Task, uid uint32) (uint64, error) {
	old := t.Creds()
	if users(t, &uid) == nil && uid != noID && (old.HasOwn(linux.CAP_SETUID) || uid == old.UID || uid == old.EUID || uid == old.SUID || uid == old.FSUID) {
		c := old.Clone()
		c.FSUID = uid
		fileCaps := vfs.CapsOf(linux.CAP_CHOWN, linux.CAP_DAC_OVERRIDE, linux.CAP_DAC_READ_SEARCH, linux.CAP_FOWNER,
			linux.CAP_FSETID, linux.CAP_LINUX_IMMUTABLE, linux.CAP_MKNOD, linux.CAP_MAC_OVERRIDE)
		switch {
		case old.IsRoot(old.FSUID) && !old.IsRoot(uid):
			c.Effective &^= fileCaps
		case !old.IsRoot(old.FSUID) && old.IsRoot(uid):
			c.Effective |= c.Permitted & fileCaps
		}
		t.SetCreds(c)
	}
	return shownUID(t, old.FSUID), nil
}

func setfsgid(t *task.Task, gid uint32) (uint64, error) {
	old := t.Creds()
	if groups(t, &gid) == nil && gid != noID && (old.HasOwn(linux.CAP_SETGID) || gid == old.GID || gid == old.EGID || gid == old.SGID || gid == old.FSGID) {
		c := old.Clone()
		c.FSGID = gid
		t.SetCreds(c)
	}
	return shownGID(t, old.FSGID), nil
}

const maxGroups = 65536

func getgroups(t *task.Task, n int32, list mm.Addr) (uint64, error) {
	g := t.Creds().Groups
	if n < 0 || n > 0 && int(n) < len(g) {
		return 0, linux.EINVAL
	}
	if n > 0 {
		var buf []byte
		for _, id := range g {
			buf = binary.LittleEndian.AppendUint32(buf, uint32(shownGID(t, id)))
		}
		if err := t.CopyOutLater(list, buf); err != nil {
			return 0, err
		}
	}
	return uint64(len(g)), nil
}

func setgroups(t *task.Task, n int32, list mm.Addr) (uint64, error) {
	if !t.Creds().HasOwn(linux.CAP_SETGID) || !t.Creds().UserNS.MaySetgroups() {
		return 0, linux.EPERM
	}
	if n < 0 || n > maxGroups {
		return 0, linux.EINVAL
	}
	buf := make([]byte, 4*n)
	if err := t.CopyIn(list, buf); err != nil {
		return 0, err
	}
	c := t.Creds().Clone()
	c.Groups = nil
	for ; len(buf) > 0; buf = buf[4:] {
		g := binary.LittleEndian.Uint32(buf)
		if g == noID || groups(t, &g) != nil {
			return 0, linux.EINVAL
		}
		c.Groups = append(c.Groups, g)
	}
	slices.Sort(c.Groups)
	t.SetCreds(c)
	return 0, nil
}

const (
	capVersion1 = 0x19980330
	capVersion2 = 0x20071026
	capVersion3 = 0x20080522
)

// capHeader reads a cap_user_header; words is how many sets of 32 bits follow.
func capHeader(t *task.Task, addr mm.Addr) (pid int32, words int, err error) {
	var buf [8]byte
	if err := t.CopyIn(addr, buf[:]); err != nil {
		return 0, 0, err
	}
	switch binary.LittleEndian.Uint32(buf[:]) {
	case capVersion1:
		words = 1
	case capVersion2, capVersion3:
		words = 2
	default:
		if err := t.CopyOut(addr, le32(capVersion3)); err != nil {
			return 0, 0, err
		}
		return 0, 0, linux.EINVAL
	}
	return int32(binary.LittleEndian.Uint32(buf[4:])), words, nil
}

// capget gives a thread's capabilities: capget(2).
func capget(t *task.Task, header, data mm.Addr) (uint64, error) {
	pid, words, err := capHeader(t, header)
	if err != nil {
		if err == linux.EINVAL && data == 0 {
			return 0, nil // asking for the version
		}
		return 0, err
	}
	o := t
	if pid != 0 {
		if o = t.Kernel().Task(pid); o == nil {
			return 0, linux.ESRCH
		}
	}
	if data == 0 {
		return 0, nil
	}
	c := o.Creds()
	var buf []byte
	for i := range words {
		for _, s := range []vfs.Caps{c.Effective, c.Permitted, c.Inheritable} {
			buf = binary.LittleEndian.AppendUint32(buf, uint32(s>>(32*i)))
		}
	}
	return 0, t.CopyOutLater(data, buf)
}

func capset(t *task.Task, header, data mm.Addr) (uint64, error) {
	pid, words, err := capHeader(t, header)
	if err != nil {
		return 0, err
	}
	if pid != 0 && pid != t.TID() {
		return 0, linux.EPERM
	}
	buf := make([]byte, 12*words)
	if err := t.CopyIn(data, buf); err != nil {
		return 0, err
	}
	var sets [3]vfs.Caps
	for i := range words {
		for j := range sets {
			sets[j] |= vfs.Caps(binary.LittleEndian.Uint32(buf[12*i+4*j:])) << (32 * i)
		}
	}
	effective, permitted, inheritable := sets[0]&vfs.AllCaps, sets[1]&vfs.AllCaps, sets[2]&vfs.AllCaps
	old := t.Creds()
	switch {
	case permitted&^old.Permitted != 0, effective&^permitted != 0:
		return 0, linux.EPERM
	case inheritable&^(old.Inheritable|old.Bounding) != 0:
		return 0, linux.EPERM
	case !old.HasOwn(linux.CAP_SETPCAP) && inheritable&^(old.Inheritable|old.Permitted) != 0:
		return 0, linux.EPERM
	}
	c := old.Clone()
	c.Effective, c.Permitted, c.Inheritable = effective, permitted, inheritable
	c.Ambient &= permitted & inheritable
	t.SetCreds(c)
	return 0, nil
}

// prctl: prctl(2), the options that programs use.
func prctl(t *task.Task, option int32, a2, a3, a4, a5 uint64) (uint64, error) {
	g := t.Group()
	switch option {
	case unix.PR_SET_NAME:
		var buf [16]byte
		if err := t.CopyIn(a2, buf[:15]); err != nil {
			s, err := t.CopyInString(a2, 16)
			if err != nil {
				return 0, err
			}
			copy(buf[:15], s)
		}
		t.SetName(string(buf[:15]))
		return 0, nil
	case unix.PR_GET_NAME:
		var buf [16]byte
		copy(buf[:15], t.Name())
		return 0, t.CopyOutLater(a2, buf[:])
	case unix.PR_SET_PDEATHSIG:
		sig := linux.Signal(a2)
		if a2 > linux.NSIG {
			return 0, linux.EINVAL
		}
		g.SetParentDeath(sig)
		return 0, nil
	case unix.PR_GET_PDEATHSIG:
		return 0, t.CopyOutLater(a2, le32(uint32(g.ParentDeath())))
	case unix.PR_GET_DUMPABLE:
		return uint64(g.Dumpable()), nil
	case unix.PR_SET_DUMPABLE:
		if a2 > 1 {
			return 0, linux.EINVAL
		}
		g.SetDumpable(int32(a2))
		return 0, nil
	case unix.PR_SET_CHILD_SUBREAPER:
		g.SetSubreaper(a2 != 0)
		return 0, nil
	case unix.PR_GET_CHILD_SUBREAPER:
		v := uint32(0)
		if g.Subreaper() {
			v = 1
		}
		return 0, t.CopyOutLater(a2, le32(v))
	case unix.PR_SET_NO_NEW_PRIVS:
		if a2 != 1 || a3|a4|a5 != 0 {
			return 0, linux.EINVAL
		}
		c := t.Creds().Clone()
		c.NoNewPrivs = true
		t.SetCreds(c)
		return 0, nil
	case unix.PR_GET_NO_NEW_PRIVS:
		if a2|a3|a4|a5 != 0 {
			return 0, linux.EINVAL
		}
		if t.Creds().NoNewPrivs {
			return 1, nil
		}
		return 0, nil
	case unix.PR_GET_SECCOMP:
		return uint64(t.Seccomp().Mode()), nil
	case unix.PR_SET_SECCOMP:
		switch a2 {
		case unix.SECCOMP_MODE_STRICT:
			return 0, t.SetStrict()
		case unix.SECCOMP_MODE_FILTER:
			return seccomp_(t, seccompSetFilter, 0, a3)
		}
		return 0, linux.EINVAL
	case unix.PR_SET_KEEPCAPS, unix.PR_GET_KEEPCAPS, unix.PR_SET_SECUREBITS, unix.PR_GET_SECUREBITS,
		unix.PR_CAPBSET_READ, unix.PR_CAPBSET_DROP, unix.PR_CAP_AMBIENT:
		return prctlCaps(t, option, a2, a3)
	case unix.PR_SET_TIMERSLACK, unix.PR_SET_THP_DISABLE, unix.PR_SET_VMA, unix.PR_MCE_KILL, unix.PR_SET_PTRACER:
		return 0, nil
	case unix.PR_GET_TIMERSLACK:
		return 50000, nil
	case unix.PR_GET_THP_DISABLE, unix.PR_GET_TIMING:
		return 0, nil
	case unix.PR_GET_TID_ADDRESS:
		return 0, linux.EINVAL
	}
	return 0, linux.EINVAL
}

// prctlCaps are the options on capabilities.
func prctlCaps(t *task.Task, option int32, a2, a3 uint64) (uint64, error) {
	const keepCaps = 1 << 4
	old := t.Creds()
	c := old.Clone()
	capability := linux.Cap(a2)
	switch option {
	case unix.PR_GET_KEEPCAPS:
		return uint64(old.SecureBits >> 4 & 1), nil
	case unix.PR_SET_KEEPCAPS:
		if a2 > 1 {
			return 0, linux.EINVAL
		}
		c.SecureBits = c.SecureBits&^keepCaps | uint32(a2)<<4
	case unix.PR_GET_SECUREBITS:
		return uint64(old.SecureBits), nil
	case unix.PR_SET_SECUREBITS:
		if !old.HasOwn(linux.CAP_SETPCAP) {
			return 0, linux.EPERM
		}
		c.SecureBits = uint32(a2)
	case unix.PR_CAPBSET_READ, unix.PR_CAPBSET_DROP:
		if a2 > uint64(linux.CAP_LAST_CAP) {
			return 0, linux.EINVAL
		}
		if option == unix.PR_CAPBSET_READ {
			if old.Bounding.Has(capability) {
				return 1, nil
			}
			return 0, nil
		}
		if !old.HasOwn(linux.CAP_SETPCAP) {
			return 0, linux.EPERM
		}
		c.Bounding &^= vfs.CapsOf(capability)
	case unix.PR_CAP_AMBIENT:
		if a2 == unix.PR_CAP_AMBIENT_CLEAR_ALL {
			c.Ambient = 0
			break
		}
		if a3 > uint64(linux.CAP_LAST_CAP) {
			return 0, linux.EINVAL
		}
		set := vfs.CapsOf(linux.Cap(a3))
		switch a2 {
		case unix.PR_CAP_AMBIENT_IS_SET:
			if old.Ambient&set != 0 {
				return 1, nil
			}
			return 0, nil
		case unix.PR_CAP_AMBIENT_RAISE:
			if old.Permitted&old.Inheritable&set == 0 {
				return 0, linux.EPERM
			}
			c.Ambient |= set
		case unix.PR_CAP_AMBIENT_LOWER:
			c.Ambient &^= set
		default:
			return 0, linux.EINVAL
		}
	}
	t.SetCreds(c)
	return 0, nil
}
