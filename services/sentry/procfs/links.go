package procfs

import (
	"fmt"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/pseudo"
	"bulkhead/services/sentry/vfs"
)

// readerRoot is the root directory of who reads, as names are shown from there;
// for the kernel itself that of the process.
func (e *entry) readerRoot(ctx vfs.Context) vfs.Path {
	for _, t := range []Thread{e.fs.kernel.Thread(ctx.TID()), e.thread} {
		if t == nil {
			continue
		}
		if f := t.FS(); f != nil {
			return f.Root()
		}
	}
	return vfs.Path{}
}

// jump is a row that leads to a place of the process, for those who may inspect
// it. ENOENT where there is none.
func jump(name string, to func(e *entry) (vfs.Path, bool)) row {
	return row{name: name, mode: linux.S_IFLNK | 0o777, make: func(e *entry) vfs.Node {
		target := func(ctx vfs.Context) (vfs.Path, error) {
			if err := e.inspect(ctx); err != nil {
				return vfs.Path{}, err
			}
			if p, ok := to(e); ok {
				return p, nil
			}
			return vfs.Path{}, linux.ENOENT
		}
		text := func(ctx vfs.Context) (string, error) {
			p, err := target(ctx)
			if err != nil {
				return "", err
			}
			s, _ := vfs.PathName(e.readerRoot(ctx), p)
			return s, nil
		}
		return e.fs.Jump(e.owner, text, target)
	}}
}

func cwdLink(name string) row {
	return jump(name, func(e *entry) (vfs.Path, bool) {
		f := e.thread.FS()
		if f == nil {
			return vfs.Path{}, false
		}
		return f.Cwd(), true
	})
}

func rootLink(name string) row {
	return jump(name, func(e *entry) (vfs.Path, bool) {
		f := e.thread.FS()
		if f == nil {
			return vfs.Path{}, false
		}
		return f.Root(), true
	})
}

func exeLink(name string) row {
	return jump(name, func(e *entry) (vfs.Path, bool) {
		m := e.thread.Memory()
		if m == nil {
			return vfs.Path{}, false
		}
		return m.Exe(), !m.Exe().IsZero()
	})
}

// descriptors is /proc/PID/fd and fdinfo.
type descriptors struct {
	*entry
	node func(d descriptors, fd linux.FD) vfs.Node
	typ  uint8
}

func fdDir(name string, mode uint32) row {
	return inspected(name, mode, func(e *entry) pseudo.Dynamic {
		return descriptors{e, descriptors.link, linux.DT_LNK}
	})
}

func fdinfoDir(name string, mode uint32) row {
	return inspected(name, mode, func(e *entry) pseudo.Dynamic {
		return descriptors{e, descriptors.info, linux.DT_REG}
	})
}

// inspected is a directory for those who may inspect the process, whatever its
// mode: proc_fd_permission.
func inspected(name string, mode uint32, d func(e *entry) pseudo.Dynamic) row {
	return row{name: name, mode: linux.S_IFDIR | mode, make: func(e *entry) vfs.Node {
		return e.fs.Dir(mode, e.owner).WithDynamic(d(e)).WithPermit(func(ctx vfs.Context, mask uint32) error {
			if ctx.TGID() != 0 && ctx.TGID() == e.thread.TGID() && mask&2 == 0 {
				return nil
			}
			a := vfs.Attr{Mode: linux.S_IFDIR | mode}
			a.UID, a.GID = e.owner()
			if err := vfs.CheckMode(ctx.Creds(), &a, mask); err != nil {
				return err
			}
			return e.inspect(ctx)
		})
	}}
}

// file gives the open file of a descriptor with a reference.
func (d descriptors) file(fd linux.FD) (*vfs.File, error) {
	fds := d.thread.FDs()
	if fds == nil {
		return nil, linux.ENOENT
	}
	f, err := fds.Get(fd)
	if err != nil {
		return nil, linux.ENOENT
	}
	return f, nil
}

func parseFD(name string) (linux.FD, bool) {
	n, err := strconv.ParseInt(name, 10, 32)
	return linux.FD(n), err == nil && n >= 0 && strconv.FormatInt(n, 10) == name
}

// Lookup implements pseudo.Dynamic.
func (d descriptors) Lookup(ctx vfs.Context, name string) (vfs.Node, error) {
	fd, ok := parseFD(name)
	if !ok {
		return nil, linux.ENOENT
	}
	f, err := d.file(fd)
	if err != nil {
		return nil, err
	}
	f.DecRef(ctx)
	return d.node(d, fd), nil
}

// Names implements pseudo.Dynamic.
func (d descriptors) Names(vfs.Context) ([]pseudo.Name, error) {
	fds := d.thread.FDs()
	if fds == nil {
		return nil, nil
	}
	var names []pseudo.Name
	for _, e := range fds.All() {
		names = append(names, pseudo.Name{Name: strconv.Itoa(int(e.FD)), Type: d.typ, Key: int64(e.FD) + 1})
	}
	return names, nil
}

// Valid implements pseudo.Dynamic.
func (d descriptors) Valid(ctx vfs.Context, name string, _ vfs.Node) bool {
	_, err := d.Lookup(ctx, name)
	return err == nil
}

// link is fd/N: it leads to the open file's object.
func (d descriptors) link(fd linux.FD) vfs.Node {
	target := func(ctx vfs.Context) (vfs.Path, error) {
		f, err := d.file(fd)
		if err != nil {
			return vfs.Path{}, err
		}
		defer f.DecRef(ctx)
		return f.Path(), nil
	}
	text := func(ctx vfs.Context) (string, error) {
		p, err := target(ctx)
		if err != nil {
			return "", err
		}
		s, _ := vfs.PathName(d.readerRoot(ctx), p)
		return s, nil
	}
	mode := func() uint32 {
		f, err := d.file(fd)
		if err != nil {
			return 0
		}
		defer f.DecRef(vfs.KernelContext())
		m := uint32(0o100)
		if f.Readable() {
			m |= 0o400
		}
		if f.Writable() {
			m |= 0o200
		}
		return m
	}
	return d.fs.Jump(d.owner, text, target).WithMode(mode)
}

// Describer is an object that has lines of its own in fdinfo: "eventfd-count:".
type Describer interface {
	FDInfo() string
}

// info is fdinfo/N.
func (d descriptors) info(fd linux.FD) vfs.Node {
	return d.fs.File(0o444, d.owner, func(ctx vfs.Context) ([]byte, error) {
		f, err := d.file(fd)
		if err != nil {
			return nil, err
		}
		defer f.DecRef(ctx)
		pos, err := f.Seek(ctx, 0, linux.SEEK_CUR)
		if err != nil {
			pos = 0
		}
		flags := uint32(f.Flags())
		if on, err := d.thread.FDs().CloseOnExec(fd); err == nil && on {
			flags |= uint32(linux.O_CLOEXEC)
		}
		a, _ := f.Attr(vfs.KernelContext())
		b := fmt.Appendf(nil, "pos:\t%d\nflags:\t0%o\nmnt_id:\t%d\nino:\t%d\n", pos, flags, f.Path().Mount.ID(), a.Ino)
		if x, ok := f.Impl().(Describer); ok {
			b = append(b, x.FDInfo()...)
		}
		return b, nil
	})
}

// namespaces are the links of /proc/PID/ns. All processes of a sandbox share
// the first namespace of each kind, with the numbers those have in Linux.
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
	}
	return 0, linux.ENOTTY
}

var nsPaths = sync.OnceValue(func() map[string]vfs.Path {
	paths := make(map[string]vfs.Path)
	for _, ns := range namespaces {
		if _, ok := paths[ns.kind]; !ok {
			paths[ns.kind] = vfs.NewAnonFile(nsImpl{ns.kind, ns.ino}, nsName(ns.kind, ns.ino), linux.O_RDONLY).Path()
		}
	}
	return paths
})

func nsName(kind string, ino uint32) string { return fmt.Sprintf("%s:[%d]", kind, ino) }

func nsDir(name string, mode uint32) row {
	return row{name: name, mode: linux.S_IFDIR | mode, make: func(e *entry) vfs.Node {
		d := e.fs.Dir(mode, e.owner)
		for _, ns := range namespaces {
			d.Add(ns.name, e.fs.Jump(e.owner,
				func(ctx vfs.Context) (string, error) { return nsName(ns.kind, ns.ino), e.inspect(ctx) },
				func(ctx vfs.Context) (vfs.Path, error) { return nsPaths()[ns.kind], e.inspect(ctx) }))
		}
		return d
	}}
}
