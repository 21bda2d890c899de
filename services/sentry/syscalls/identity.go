package syscalls

import (
	"encoding/binary"
	"slices"

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
	if c.SecureBits&linux.SECBIT_NO_SETUID_FIXUP == 0 {
		root := old.IsRoot
		wasRoot := root(old.UID) || root(old.EUID) || root(old.SUID)
		isRoot := root(c.UID) || root(c.EUID) || root(c.SUID)
		if wasRoot && !isRoot {
			if c.SecureBits&linux.SECBIT_KEEP_CAPS == 0 {
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
	c.Groups = make([]uint32, 0, n)
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
