package procfs

import (
	"fmt"
	"strconv"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/pseudo"
	"bulkhead/services/sentry/task"
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
			p, ok := to(e)
			if err := e.inspect(ctx); err != nil { // afterwards: see task.Memory
				return vfs.Path{}, err
			}
			if !ok {
				return vfs.Path{}, linux.ENOENT
			}
			return p, nil
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
		return e.fs.Dir(mode, e.ownerOf(mode)).WithDynamic(d(e)).WithPermit(func(ctx vfs.Context, mask uint32) error {
			if ctx.TGID() != 0 && ctx.TGID() == e.thread.TGID() && mask&2 == 0 {
				return nil
			}
			a := vfs.Attr{Mode: linux.S_IFDIR | mode}
			a.UID, a.GID = e.ownerOf(mode)()
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
		// The directory has asked already: a program with more power may have opened
		// this since.
		if err := d.inspect(ctx); err != nil {
			return vfs.Path{}, err
		}
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
	FDInfo() []byte
}

// ProcessFile is an object that stands for a process: a pidfd.
type ProcessFile interface {
	Process() *task.Group
}

// processLines are those of a pidfd: the process's numbers here and in the namespaces
// down to its own, or -1 once it has been waited for.
func (d descriptors) processLines(g *task.Group) []byte {
	k := d.fs.kernel
	if k.Process(g.PID()) != (guestProcess{g}) {
		return []byte("Pid:\t-1\nNSpid:\t-1\n")
	}
	numbers := k.Numbers(g.PID(), guestProcess{g})
	if len(numbers) == 0 {
		numbers = []int32{0}
	}
	b := fmt.Appendf(nil, "Pid:\t%d\nNSpid:", numbers[0])
	for _, n := range numbers {
		b = fmt.Appendf(b, "\t%d", n)
	}
	return append(b, '\n')
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
		if x, ok := f.Impl().(ProcessFile); ok {
			b = append(b, d.processLines(x.Process())...)
		}
		if x, ok := f.Impl().(Describer); ok {
			b = append(b, x.FDInfo()...)
		}
		return b, nil
	})
}
