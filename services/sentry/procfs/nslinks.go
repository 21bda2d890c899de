package procfs

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// namespaces are the links of /proc/PID/ns, with the numbers that the first of each
// kind has in Linux. Of some kinds there is no other.
var namespaces = []struct {
	name, kind string
	ino        uint32
}{
	{"cgroup", "cgroup", 4026531835}, {"ipc", "ipc", 4026531839}, {"mnt", "mnt", 4026531841},
	{"net", "net", 4026531840}, {"pid", "pid", 4026531836}, {"pid_for_children", "pid", 4026531836},
	{"time", "time", 4026531834}, {"time_for_children", "time", 4026531834},
	{"user", "user", 4026531837}, {"uts", "uts", 4026531838},
}

// nsImpl is an open namespace: something to compare, and to ask what it is. Whoever
// compares takes its inode number, which is the one in its name, and its device.
type nsImpl struct {
	kind string
	ino  uint32
	ns   any // the namespace itself; nil where all are in the only one
}

func (nsImpl) Release() {}

// Node implements vfs.Noder.
func (n nsImpl) Node() vfs.Node { return nsNode{n} }

// nsNode is the file that a namespace is: nsfs's, on Linux.
type nsNode struct{ nsImpl }

// nsDevice is nsfs's device number on a usual Linux.
const nsDevice = 4

func (n nsNode) Attr(vfs.Context) (vfs.Attr, error) {
	return vfs.Attr{Dev: nsDevice, Ino: uint64(n.ino), Mode: linux.S_IFREG | 0o444, Nlink: 1, Blksize: 4096}, nil
}

// SetAttr is refused: nobody changes a namespace's file.
func (nsNode) SetAttr(vfs.Context, vfs.SetAttr) error { return linux.EPERM }

// Open implements vfs.Opener. It cannot be written.
func (n nsNode) Open(_ vfs.Context, flags linux.OpenFlags) (vfs.Impl, error) {
	if flags&linux.O_ACCMODE != linux.O_RDONLY {
		return nil, linux.EPERM
	}
	return n.nsImpl, nil
}

// Reopen implements vfs.Reopener.
func (n nsImpl) Reopen(vfs.Context, linux.OpenFlags) (vfs.Impl, error) { return n, nil }

// The questions of ioctl_ns(2).
const (
	nsGetUserns   = 0xb701
	nsGetParent   = 0xb702
	nsGetType     = 0xb703
	nsGetOwnerUID = 0xb704
	nsGetMntNsID  = 0x8008b705 // NS_GET_MNTNS_ID
)

var nsTypes = map[string]uint64{
	"cgroup": unix.CLONE_NEWCGROUP, "ipc": unix.CLONE_NEWIPC, "mnt": unix.CLONE_NEWNS, "net": unix.CLONE_NEWNET,
	"pid": unix.CLONE_NEWPID, "time": unix.CLONE_NEWTIME, "user": unix.CLONE_NEWUSER, "uts": unix.CLONE_NEWUTS,
}

// Ioctl implements vfs.Ioctler. What owns the namespace and what is above it are out
// of sight, as from a container's on Linux: EPERM.
func (n nsImpl) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	switch cmd {
	case nsGetType:
		return nsTypes[n.kind], nil
	case nsGetUserns:
		return 0, linux.EPERM
	case nsGetParent:
		if n.kind == "pid" || n.kind == "user" {
			return 0, linux.EPERM
		}
		return 0, linux.EINVAL
	case nsGetOwnerUID:
		if n.kind != "user" {
			return 0, linux.EINVAL
		}
		return 0, ctx.CopyOut(arg, make([]byte, 4))
	case nsGetMntNsID:
		if n.kind != "mnt" {
			return 0, linux.EINVAL
		}
		return 0, ctx.CopyOut(arg, binary.LittleEndian.AppendUint64(nil, uint64(n.ino)))
	}
	return 0, linux.ENOTTY
}

// of is the thread's namespace of a kind, and its number.
func nsOf(t Thread, kind string, first uint32) (ns any, ino uint32) {
	g, ok := t.(guestThread)
	if !ok || g.FS() == nil {
		return nil, first
	}
	switch kind {
	case "uts":
		return g.UTS(), g.UTS().Inode
	case "ipc":
		return g.IPC(), g.IPC().Inode
	case "mnt":
		n := g.FS().Root().Mount.Namespace()
		if n.Inode == 0 {
			return n, first
		}
		return n, n.Inode
	case "user":
		if u := g.Creds().UserNS; u != nil {
			return u, u.Inode
		}
		return (*vfs.UserNamespace)(nil), first
	}
	return nil, first
}

// NamespaceOf is the namespace that an open link of /proc/PID/ns stands for, and its
// kind as CLONE_NEW... has it; 0 if it is something else.
func NamespaceOf(i vfs.Impl) (ns any, kind uint64) {
	n, ok := i.(nsImpl)
	if !ok {
		return nil, 0
	}
	return n.ns, nsTypes[n.kind]
}

func nsName(kind string, ino uint32) string { return fmt.Sprintf("%s:[%d]", kind, ino) }

func nsDir(name string, mode uint32) row {
	return row{name: name, mode: linux.S_IFDIR | mode, make: func(e *entry) vfs.Node {
		d := e.fs.Dir(mode, e.owner)
		for _, ns := range namespaces {
			d.Add(ns.name, e.fs.Jump(e.owner,
				func(ctx vfs.Context) (string, error) {
					_, ino := nsOf(e.thread, ns.kind, ns.ino)
					return nsName(ns.kind, ino), e.inspect(ctx)
				},
				func(ctx vfs.Context) (vfs.Path, error) {
					n, ino := nsOf(e.thread, ns.kind, ns.ino)
					return vfs.NewAnonFile(nsImpl{ns.kind, ino, n}, nsName(ns.kind, ino), linux.O_RDONLY).Path(), e.inspect(ctx)
				}))
		}
		return d
	}}
}
