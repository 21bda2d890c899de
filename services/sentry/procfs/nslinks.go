package procfs

import (
	"fmt"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/task"
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
	{"user", "user", 4026531837}, {"uts", "uts", 4026531838},
}

// nsImpl is an open namespace: something to compare, and to ask what it is. Whoever
// compares takes its inode number, which is the one in its name, and its device.
type nsImpl struct {
	kind string
	ino  uint32
	ns   any // the namespace itself; nil where all are in the only one
}

// Release implements vfs.Impl.
func (n nsImpl) Release() {
	if net, ok := n.ns.(*task.Net); ok && net != nil {
		net.Look()
	}
}

// NamespaceLeft is told of a node whose mount is gone.
func NamespaceLeft(n vfs.Node) {
	if ns, ok := n.(nsNode); ok {
		ns.Release()
	}
}

// Node implements vfs.Noder.
func (n nsImpl) Node() vfs.Node { return nsNode{n} }

// nsNode is the file that a namespace is: nsfs's, on Linux.
type nsNode struct{ nsImpl }

// nsDevice is nsfs's device number on a usual Linux.
const nsDevice = 4

func (n nsNode) Attr(vfs.Context) (vfs.Attr, error) {
	return vfs.Attr{Dev: nsDevice, Ino: uint64(n.ino), Mode: linux.S_IFREG | 0o444, Nlink: 1, Blksize: 4096}, nil
}

// FileSystem implements vfs.Bindable: ip-netns(8) keeps namespaces so.
func (n nsNode) FileSystem() vfs.FileSystem { return nsfs{n} }

// nsfs is a namespace that is mounted somewhere.
type nsfs struct{ node nsNode }

func (nsfs) Type() string      { return "nsfs" }
func (fs nsfs) Root() vfs.Node { return fs.node }
func (nsfs) Statfs(vfs.Context) (linux.Statfs, error) {
	return linux.Statfs{Type: linux.NSFS_MAGIC, Bsize: 4096, Frsize: 4096, Namelen: linux.NAME_MAX}, nil
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

// nsOf is the thread's namespace of a kind, and its number; 0 if it has none any more.
func nsOf(t Thread, kind string, first uint32) (ns any, ino uint32) {
	g, ok := t.(guestThread)
	if !ok || g.FS() == nil {
		return nil, first
	}
	switch kind {
	case "cgroup":
		return g.CgroupNamespace(), g.CgroupNamespace().Inode
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
	case "net":
		n := g.Net()
		if g.MM() == nil {
			return nil, 0 // who has ended has left it
		}
		return n, n.Inode
	case "pid":
		return pidNSOf(g.PIDNamespace(), first)
	case "user":
		if u := g.Creds().UserNS; u != nil {
			return u, u.Inode
		}
		return (*vfs.UserNamespace)(nil), first
	}
	return nil, first
}

// pidNSOf is a namespace of processes, and its number.
func pidNSOf(ns *task.PIDNamespace, first uint32) (any, uint32) {
	if ns == nil {
		return ns, first
	}
	return ns, ns.Inode
}

// childrenNS is pid_for_children, which leads nowhere before there is a process in it.
func childrenNS(e *entry) (ns any, ino uint32, err error) {
	g, ok := e.thread.(guestThread)
	if !ok || g.FS() == nil {
		return (*task.PIDNamespace)(nil), task.FirstPIDInode, nil
	}
	n := g.PIDForChildren()
	if !n.Populated() {
		return nil, 0, linux.ENOENT
	}
	ns, ino = pidNSOf(n, task.FirstPIDInode)
	return ns, ino, nil
}

// NamespaceFile opens a thread's namespace of a kind, as its link in /proc/PID/ns has it:
// ENOENT, ESRCH, EOPNOTSUPP for a kind that there is none of.
func NamespaceFile(t *task.Task, link string) (*vfs.File, error) {
	for _, ns := range namespaces {
		if ns.name != link {
			continue
		}
		e := &entry{thread: guestThread{t}}
		if link == "pid_for_children" {
			n, ino, err := childrenNS(e)
			if err != nil {
				return nil, err
			}
			return nsFile(ns.kind, ino, n), nil
		}
		n, ino := nsOf(e.thread, ns.kind, ns.ino)
		if ino == 0 {
			return nil, linux.ESRCH
		}
		return nsFile(ns.kind, ino, n), nil
	}
	return nil, linux.EOPNOTSUPP
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

// nsFile is an open namespace.
func nsFile(kind string, ino uint32, ns any) *vfs.File {
	return vfs.NewAnonFile(nsImpl{kind, ino, ns}, nsName(kind, ino), linux.O_RDONLY)
}

func nsName(kind string, ino uint32) string { return fmt.Sprintf("%s:[%d]", kind, ino) }

func nsDir(name string, mode uint32) row {
	return row{name: name, mode: linux.S_IFDIR | mode, make: func(e *entry) vfs.Node {
		d := e.fs.Dir(mode, e.owner)
		for _, ns := range namespaces {
			find := func(ctx vfs.Context) (n any, ino uint32, err error) {
				if err := e.inspect(ctx); err != nil {
					return nil, 0, err
				}
				if ns.name == "pid_for_children" {
					return childrenNS(e)
				}
				if n, ino = nsOf(e.thread, ns.kind, ns.ino); ino == 0 {
					return nil, 0, linux.ENOENT
				}
				return n, ino, nil
			}
			d.Add(ns.name, e.fs.Jump(e.owner,
				func(ctx vfs.Context) (string, error) {
					_, ino, err := find(ctx)
					return nsName(ns.kind, ino), err
				},
				func(ctx vfs.Context) (vfs.Path, error) {
					n, ino, err := find(ctx)
					if err != nil {
						return vfs.Path{}, err
					}
					return nsFile(ns.kind, ino, n).Path(), nil
				}))
		}
		return d
	}}
}
