package syscalls

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// What statmount(2) can be asked for, in param of struct mnt_id_req.
const (
	statmountSbBasic       = 0x1
	statmountMntBasic      = 0x2
	statmountPropagateFrom = 0x4
	statmountMntRoot       = 0x8
	statmountMntPoint      = 0x10
	statmountFsType        = 0x20
	statmountMntNsID       = 0x40
	statmountMntOpts       = 0x80
	statmountSbSource      = 0x200
	statmountSupportedMask = 0x1000

	statmountKnown = statmountSbBasic | statmountMntBasic | statmountPropagateFrom | statmountMntRoot | statmountMntPoint |
		statmountFsType | statmountMntNsID | statmountMntOpts | statmountSbSource | statmountSupportedMask
)

// Offsets in struct statmount, after which the strings come.
const (
	smSize, smMntOpts, smMask          = 0, 4, 8
	smDevMajor, smDevMinor, smMagic    = 16, 20, 24
	smSbFlags, smFsType                = 32, 36
	smMntID, smParentID                = 40, 48
	smOldID, smOldParentID, smAttr     = 56, 60, 64
	smPropagation                      = 72
	smMntRoot, smMntPoint, smNsID      = 104, 108, 112
	smSbSource, smSupported, smStrings = 124, 144, 512
)

// mountIDRequest is struct mnt_id_req.
type mountIDRequest struct{ id, param, ns uint64 }

const (
	mountIDRequestVer0, mountIDRequestVer1 = 24, 32

	listmountRoot    = ^uint64(0) // LSMT_ROOT
	listmountReverse = 1          // LISTMOUNT_REVERSE
	listmountMost    = 1_000_000
)

// copyInMountIDRequest reads what a caller asks for: E2BIG, EINVAL.
func copyInMountIDRequest(t *task.Task, addr mm.Addr) (q mountIDRequest, err error) {
	var b [mountIDRequestVer1]byte
	if err := t.CopyIn(addr, b[:4]); err != nil {
		return q, err
	}
	size := binary.LittleEndian.Uint32(b[:])
	switch {
	case size > mm.PageSize:
		return q, linux.E2BIG
	case size < mountIDRequestVer0:
		return q, linux.EINVAL
	}
	all := make([]byte, max(size, mountIDRequestVer1))
	if err := t.CopyIn(addr, all[:size]); err != nil {
		return q, err
	}
	if slices.ContainsFunc(all[mountIDRequestVer1:], func(c byte) bool { return c != 0 }) {
		return q, linux.E2BIG
	}
	if binary.LittleEndian.Uint32(all[4:]) != 0 {
		return q, linux.EINVAL
	}
	q = mountIDRequest{binary.LittleEndian.Uint64(all[8:]), binary.LittleEndian.Uint64(all[16:]), binary.LittleEndian.Uint64(all[24:])}
	if q.id <= vfs.UniqueMountID {
		return q, linux.EINVAL
	}
	return q, nil
}

// mountNamespaceID is NS_GET_MNTNS_ID of ioctl_nsfs(2): the number in /proc/PID/ns/mnt.
func mountNamespaceID(ns *vfs.Namespace) uint64 {
	const first = 4026531841 // as procfs has it
	if ns.Inode == 0 {
		return first
	}
	return uint64(ns.Inode)
}

// mountsAsked are the mounts that the caller can reach, or all of another namespace, if a
// process is in it (ENOENT) and the caller may mount there (refused).
func mountsAsked(t *task.Task, q mountIDRequest, refused linux.Errno) ([]vfs.MountInfo, *vfs.Namespace, error) {
	root := t.FS().Root()
	ns := root.Mount.Namespace()
	if q.ns == 0 || q.ns == mountNamespaceID(ns) {
		return ns.MountsUnder(root), ns, nil
	}
	for _, o := range t.Kernel().Tasks() {
		fs := o.FS()
		if fs == nil {
			continue
		}
		if ns = fs.Root().Mount.Namespace(); mountNamespaceID(ns) != q.ns {
			continue
		}
		if !t.Creds().HasIn(ns.Owner, linux.CAP_SYS_ADMIN) {
			return nil, nil, refused
		}
		return ns.Mounts(), ns, nil
	}
	return nil, nil, linux.ENOENT
}

// listmount gives the ids of the mounts below one: listmount(2).
func listmount(t *task.Task, req, ids mm.Addr, n uint64, flags uint32) (uint64, error) {
	if flags&^listmountReverse != 0 {
		return 0, linux.EINVAL
	}
	if n > listmountMost {
		return 0, linux.EOVERFLOW
	}
	q, err := copyInMountIDRequest(t, req)
	if err != nil {
		return 0, err
	}
	if q.param != 0 && q.param <= vfs.UniqueMountID {
		return 0, linux.EINVAL
	}
	list, ns, err := mountsAsked(t, q, linux.ENOENT)
	if err != nil {
		return 0, err
	}
	if q.id != listmountRoot {
		if list, err = ns.MountsBelow(q.id); err != nil {
			return 0, err
		}
	}
	slices.SortFunc(list, func(a, b vfs.MountInfo) int { return cmp.Compare(a.UniqueID(), b.UniqueID()) })
	reverse := flags&listmountReverse != 0
	if reverse {
		slices.Reverse(list)
	}
	var out []byte
	for _, m := range list {
		id := m.UniqueID()
		if q.param != 0 && (!reverse && id <= q.param || reverse && id >= q.param) {
			continue
		}
		if uint64(len(out)/8) == n {
			break
		}
		out = binary.LittleEndian.AppendUint64(out, id)
	}
	return uint64(len(out) / 8), t.CopyOut(ids, out)
}

// statmount tells of one mount what was asked for and is known: statmount(2).
func statmount(t *task.Task, req, buf mm.Addr, size uint64, flags uint32) (uint64, error) {
	if flags != 0 {
		return 0, linux.EINVAL
	}
	q, err := copyInMountIDRequest(t, req)
	if err != nil {
		return 0, err
	}
	list, ns, err := mountsAsked(t, q, linux.EPERM)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(list, func(m vfs.MountInfo) bool { return m.UniqueID() == q.id })
	if i < 0 {
		if _, err := ns.MountsBelow(q.id); err != nil {
			return 0, err
		}
		return 0, linux.EPERM // there, and out of the caller's reach
	}
	b, err := describeMount(t, ns, list[i], q.param)
	if err != nil {
		return 0, err
	}
	if strings := len(b) - smStrings; strings > 0 && uint64(len(b)) > size {
		return 0, linux.EOVERFLOW
	}
	b = b[:min(uint64(len(b)), size)]
	if len(b) >= 4 {
		binary.LittleEndian.PutUint32(b[smSize:], uint32(len(b)))
	}
	return 0, t.CopyOut(buf, b)
}

// describeMount makes a struct statmount with the strings after it.
func describeMount(t *task.Task, ns *vfs.Namespace, m vfs.MountInfo, mask uint64) ([]byte, error) {
	const private = unix.MS_PRIVATE
	b := make([]byte, smStrings, smStrings+256)
	le := binary.LittleEndian
	le.PutUint64(b[smMask:], mask&statmountKnown)
	if mask&statmountSbBasic != 0 {
		s, err := ns.StatfsOf(t, m)
		if err != nil {
			return nil, err
		}
		le.PutUint32(b[smDevMajor:], linux.Major(m.Dev))
		le.PutUint32(b[smDevMinor:], linux.Minor(m.Dev))
		le.PutUint64(b[smMagic:], uint64(s.Type))
	}
	if mask&statmountMntBasic != 0 {
		le.PutUint64(b[smMntID:], m.UniqueID())
		le.PutUint64(b[smParentID:], vfs.UniqueMountID+uint64(m.ParentID))
		le.PutUint32(b[smOldID:], uint32(m.ID))
		le.PutUint32(b[smOldParentID:], uint32(m.ParentID))
		le.PutUint64(b[smAttr:], mountAttributes(m.Flags))
		le.PutUint64(b[smPropagation:], private)
	}
	if mask&statmountMntNsID != 0 {
		le.PutUint64(b[smNsID:], mountNamespaceID(ns))
	}
	if mask&statmountSupportedMask != 0 {
		le.PutUint64(b[smSupported:], statmountKnown)
	}
	_, options, _ := strings.Cut(m.SuperOptions, ",")
	for _, s := range [...]struct {
		bit  uint64
		at   int
		text string
	}{
		{statmountFsType, smFsType, m.Type}, {statmountMntRoot, smMntRoot, m.Root}, {statmountMntPoint, smMntPoint, m.Point},
		{statmountMntOpts, smMntOpts, options}, {statmountSbSource, smSbSource, m.Source},
	} {
		if mask&s.bit != 0 {
			le.PutUint32(b[s.at:], uint32(len(b)-smStrings))
			b = append(append(b, s.text...), 0)
		}
	}
	return b, nil
}

// mountAttributes are the bits MOUNT_ATTR_ of mount_setattr(2).
func mountAttributes(f vfs.MountFlags) (bits uint64) {
	for _, a := range [...]struct {
		flag vfs.MountFlags
		bit  uint64
	}{
		{vfs.MountReadOnly, unix.MOUNT_ATTR_RDONLY}, {vfs.MountNoSUID, unix.MOUNT_ATTR_NOSUID}, {vfs.MountNoDev, unix.MOUNT_ATTR_NODEV},
		{vfs.MountNoExec, unix.MOUNT_ATTR_NOEXEC}, {vfs.MountNoDirAtime, unix.MOUNT_ATTR_NODIRATIME},
		{vfs.MountNoSymfollow, unix.MOUNT_ATTR_NOSYMFOLLOW},
	} {
		if f&a.flag != 0 {
			bits |= a.bit
		}
	}
	switch {
	case f&vfs.MountNoAtime != 0:
		bits |= unix.MOUNT_ATTR_NOATIME
	case f&vfs.MountRelatime == 0:
		bits |= unix.MOUNT_ATTR_STRICTATIME
	}
	return bits
}
