package procfs

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// The questions of ioctl_ns(2).
const (
	nsGetUserns   = 0xb701
	nsGetParent   = 0xb702
	nsGetType     = 0xb703
	nsGetOwnerUID = 0xb704
	nsGetMntNsID  = 0x8008b705 // NS_GET_MNTNS_ID

	// Of processes: what a number in the namespace is to the caller, of a thread and of
	// its process, and the other way round.
	nsPIDFrom  = 0x8004b706
	nsTGIDFrom = 0x8004b707
	nsPIDIn    = 0x8004b708
	nsTGIDIn   = 0x8004b709

	// Of namespaces of mounts, whose struct mnt_ns_info is of any size from 16 bytes on;
	// and of all.
	nsMountInfo = 10 // numbers of requests
	nsMountNext = 11
	nsMountPrev = 12
	nsGetID     = 0x8008b70d
)

var nsTypes = map[string]uint64{
	"cgroup": unix.CLONE_NEWCGROUP, "ipc": unix.CLONE_NEWIPC, "mnt": unix.CLONE_NEWNS, "net": unix.CLONE_NEWNET,
	"pid": unix.CLONE_NEWPID, "time": unix.CLONE_NEWTIME, "user": unix.CLONE_NEWUSER, "uts": unix.CLONE_NEWUTS,
}

// Ioctl implements vfs.Ioctler.
func (n nsImpl) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	switch cmd {
	case nsGetType:
		return nsTypes[n.kind], nil
	case nsGetUserns:
		return n.related(ctx, n.owner)
	case nsGetParent:
		return n.related(ctx, n.parent)
	case nsGetOwnerUID:
		if n.kind != "user" {
			return 0, linux.EINVAL
		}
		uid := uint32(0)
		if u, _ := n.ns.(*vfs.UserNamespace); u != nil {
			uid = u.OwnerUID
		}
		return 0, ctx.CopyOut(arg, binary.LittleEndian.AppendUint32(nil, ctx.Creds().UserNS.ShowUID(uid)))
	case nsGetMntNsID:
		if n.kind != "mnt" {
			return 0, linux.EINVAL
		}
		return 0, ctx.CopyOut(arg, binary.LittleEndian.AppendUint64(nil, uint64(n.ino)))
	case nsPIDFrom, nsTGIDFrom, nsPIDIn, nsTGIDIn:
		return n.translate(ctx, cmd, int32(arg))
	case nsGetID:
		return 0, ctx.CopyOut(arg, binary.LittleEndian.AppendUint64(nil, uint64(n.ino)))
	}
	const mountRequests = 2<<30 | 0xb7<<8 // and what is read
	size := int(cmd >> 16 & 0x3fff)
	if cmd&0xc000ff00 != mountRequests || size < mountInfoLeast {
		return 0, linux.ENOTTY
	}
	switch nr := cmd & 0xff; nr {
	case nsMountInfo, nsMountNext, nsMountPrev:
		return n.mounts(ctx, nr, size, arg)
	}
	return 0, linux.ENOTTY
}

// mountInfoLeast is the size of struct mnt_ns_info, in bytes.
const mountInfoLeast = 16

// mounts tells how large a namespace of mounts is: EINVAL. Which others there are is only
// for who is in the machine's first namespaces: EPERM, as in a container.
func (n nsImpl) mounts(ctx vfs.Context, nr uint32, size int, arg uint64) (uint64, error) {
	if nr != nsMountInfo {
		return 0, linux.EPERM
	}
	ns, ok := n.ns.(*vfs.Namespace)
	if !ok || arg == 0 {
		return 0, linux.EINVAL
	}
	b := make([]byte, size)
	le := binary.LittleEndian
	le.PutUint32(b, mountInfoLeast)
	le.PutUint32(b[4:], uint32(ns.Len()))
	le.PutUint64(b[8:], uint64(n.ino))
	return 0, ctx.CopyOut(arg, b)
}

// related gives a descriptor of what of says.
func (n nsImpl) related(ctx vfs.Context, of func(t *task.Task) (nsImpl, error)) (uint64, error) {
	t, ok := ctx.(*task.Task)
	if !ok {
		return 0, linux.EPERM
	}
	r, err := of(t)
	if err != nil {
		return 0, err
	}
	fd, err := t.Install(nsFile(r.kind, r.ino, r.ns), 0, true)
	return uint64(fd), err
}

// userNS is a user namespace, if the caller's is it or above it: EPERM.
func userNS(t *task.Task, ns *vfs.UserNamespace) (nsImpl, error) {
	switch {
	case !ns.Within(t.Creds().UserNS):
		return nsImpl{}, linux.EPERM
	case ns == nil:
		return nsImpl{"user", firstUserInode, ns}, nil
	}
	return nsImpl{"user", ns.Inode, ns}, nil
}

const firstUserInode = 4026531837

// parent is NS_GET_PARENT: EPERM for what the caller is not in or above.
func (n nsImpl) parent(t *task.Task) (nsImpl, error) {
	switch ns := n.ns.(type) {
	case *task.PIDNamespace:
		if ns == nil || !ns.Parent.Within(t.PIDNamespace()) {
			return nsImpl{}, linux.EPERM
		}
		p, ino := pidNSOf(ns.Parent, task.FirstPIDInode)
		return nsImpl{"pid", ino, p}, nil
	case *vfs.UserNamespace:
		if ns == nil {
			return nsImpl{}, linux.EPERM
		}
		return userNS(t, ns.Parent)
	}
	return nsImpl{}, linux.EINVAL
}

// owner is NS_GET_USERNS, of a user namespace the one above. What owns the sandbox's
// first ones is out of sight, as from a container's on Linux.
func (n nsImpl) owner(t *task.Task) (nsImpl, error) {
	switch ns := n.ns.(type) {
	case *vfs.UserNamespace:
		return n.parent(t)
	case *task.PIDNamespace:
		if ns != nil {
			return userNS(t, ns.Owner)
		}
	case *task.UTS:
		if ns.Owner != nil {
			return userNS(t, ns.Owner)
		}
	case *task.IPC:
		if ns.Owner != nil {
			return userNS(t, ns.Owner)
		}
	case *task.CgroupNamespace:
		if ns.Owner != nil {
			return userNS(t, ns.Owner)
		}
	case *task.Net:
		if ns.Owner != nil {
			return userNS(t, ns.Owner)
		}
	case *vfs.Namespace:
		if ns.Owner != nil {
			return userNS(t, ns.Owner)
		}
	}
	return nsImpl{}, linux.EPERM
}

// translate tells a number of a thread, or of its process, in the caller's namespace
// of processes by that in n's, or in n's by that in the caller's: EINVAL, ESRCH.
func (n nsImpl) translate(ctx vfs.Context, cmd uint32, number int32) (uint64, error) {
	t, ok := ctx.(*task.Task)
	if n.kind != "pid" || !ok {
		return 0, linux.ENOTTY
	}
	ns, _ := n.ns.(*task.PIDNamespace)
	from, to := ns, t.PIDNamespace()
	if cmd == nsPIDIn || cmd == nsTGIDIn {
		from, to = to, from
	}
	o := t.Kernel().Task(from.ID(number))
	if o == nil {
		return 0, linux.ESRCH
	}
	id := o.TID()
	if cmd == nsTGIDFrom || cmd == nsTGIDIn {
		id = o.TGID()
	}
	if to.Number(id) == 0 {
		return 0, linux.ESRCH
	}
	return uint64(to.Number(id)), nil
}
