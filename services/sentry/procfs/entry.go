package procfs

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/pseudo"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// entry is the process, or the thread of it, that a directory is about.
type entry struct {
	fs      *FS
	process Process
	thread  Thread // the leader in /proc/PID
	whole   bool   // /proc/PID rather than /proc/PID/task/TID
}

// entryOf gives what a node made by processDir or threadDir is about.
func entryOf(n vfs.Node) *entry {
	d, ok := n.(*pseudo.Dir)
	if !ok {
		return nil
	}
	r, ok := d.Dynamic().(rows)
	if !ok {
		return nil
	}
	return r.entry
}

// GroupOf gives the process that a directory /proc/PID is about, or nil for any other
// node: pidfd_send_signal(2) takes a descriptor of one. It may have ended since.
func GroupOf(n vfs.Node) *task.Group {
	e := entryOf(n)
	if e == nil || !e.whole {
		return nil
	}
	p, ok := e.process.(guestProcess)
	if !ok {
		return nil
	}
	return p.Group
}

func (fs *FS) processDir(p Process) *pseudo.Dir {
	return fs.entryDir(&entry{fs, p, p.Leader(), true})
}

func (fs *FS) threadDir(p Process, t Thread) *pseudo.Dir {
	return fs.entryDir(&entry{fs, p, t, false})
}

func (fs *FS) entryDir(e *entry) *pseudo.Dir {
	return fs.Dir(0o555, e.user).WithDynamic(rows{e})
}

// user is whose the process is, by its effective ids, and with it what everybody may
// read.
func (e *entry) user() (uid, gid uint32) {
	c := e.thread.Creds()
	if c == nil {
		return 0, 0
	}
	return c.EUID, c.EGID
}

// owner is who the files belong to: the user, or, of a process that its user may not
// look into, root: proc(5), "/proc/pid".
func (e *entry) owner() (uid, gid uint32) {
	c := e.thread.Creds()
	if c == nil || e.process.Dumpable() == 1 {
		return e.user()
	}
	ns := e.process.Keeper()
	uid, _ = ns.User(0)
	gid, _ = ns.Group(0)
	return uid, gid
}

// ownerOf is owner of a directory with that mode.
func (e *entry) ownerOf(mode uint32) pseudo.Owner {
	if mode&0o7777 == 0o555 {
		return e.user
	}
	return e.owner
}

// alive gives ESRCH once the process has been reaped.
func (e *entry) alive() error {
	if e.fs.kernel.Process(e.process.PID()) != e.process {
		return linux.ESRCH
	}
	return nil
}

// inspect is the check of ptrace(2), "Ptrace access mode checking": a process
// may look into itself and into others that have its ids and no more.
func (e *entry) inspect(ctx vfs.Context) error {
	if ctx.TGID() != 0 && ctx.TGID() == e.thread.TGID() {
		return nil
	}
	me, it := ctx.Creds(), e.thread.Creds()
	uid, gid := me.FSUID, me.FSGID
	same := uid == it.UID && uid == it.EUID && uid == it.SUID && gid == it.GID && gid == it.EGID && gid == it.SGID &&
		me.UserNS == it.UserNS && it.Permitted&^me.Permitted == 0
	if !same && !me.HasIn(it.UserNS, linux.CAP_SYS_PTRACE) {
		return linux.EACCES
	}
	if e.process.Dumpable() != 1 && !me.HasIn(e.process.Keeper(), linux.CAP_SYS_PTRACE) {
		return linux.EACCES
	}
	return nil
}

// row is one name of /proc/PID.
type row struct {
	name string
	mode uint32 // with the type
	make func(e *entry) vfs.Node
	// only says where it is: in processes, in threads, or in both.
	only where
}

type where int

const (
	everywhere where = iota
	inProcess
	inThread
)

func (r row) in(e *entry) bool {
	return r.only == everywhere || e.whole == (r.only == inProcess)
}

// text is a row whose file gen generates; ESRCH once the process is gone.
func text(name string, mode uint32, gen func(e *entry, ctx vfs.Context) ([]byte, error)) row {
	return row{name: name, mode: linux.S_IFREG | mode, make: func(e *entry) vfs.Node { return e.file(mode, gen) }}
}

// private is a text that only those may open, and read, who may inspect the process: it
// may have come to more power in between.
func private(name string, mode uint32, gen func(e *entry, ctx vfs.Context) ([]byte, error)) row {
	return row{name: name, mode: linux.S_IFREG | mode, make: func(e *entry) vfs.Node {
		return e.file(mode, func(e *entry, ctx vfs.Context) ([]byte, error) {
			if err := e.inspect(ctx); err != nil {
				return nil, err
			}
			return gen(e, ctx)
		}).WithCheck(e.inspect)
	}}
}

// ofMemory is a text, for those who may inspect the process, about the memory that it has
// when the file is opened. After an execve gen gets nil, as when there is none: the new
// program may be one that the reader may not look into.
func ofMemory(name string, mode uint32, gen func(e *entry, m Memory, ctx vfs.Context) ([]byte, error)) row {
	return row{name: name, mode: linux.S_IFREG | mode, make: func(e *entry) vfs.Node {
		f := e.file(mode, nil).WithCheck(e.inspect)
		return f.WithBind(func(ctx vfs.Context) func(vfs.Context) ([]byte, error) {
			m := e.thread.Memory()
			if e.inspect(ctx) != nil { // the one that is asked about: see task.Memory
				m = nil
			}
			return func(ctx vfs.Context) ([]byte, error) {
				if err := e.alive(); err != nil {
					return nil, err
				}
				if m != nil && e.thread.Memory() != m {
					return gen(e, nil, ctx)
				}
				return gen(e, m, ctx)
			}
		})
	}}
}

// fixed is a text that is the same for all.
func fixed(name string, mode uint32, s string) row {
	return text(name, mode, func(*entry, vfs.Context) ([]byte, error) { return []byte(s), nil })
}

func (e *entry) file(mode uint32, gen func(e *entry, ctx vfs.Context) ([]byte, error)) *pseudo.File {
	if gen == nil {
		return e.fs.File(mode, e.owner, nil)
	}
	return e.fs.File(mode, e.owner, func(ctx vfs.Context) ([]byte, error) {
		if err := e.alive(); err != nil {
			return nil, err
		}
		return gen(e, ctx)
	})
}

// knob is a text that can be written too.
func knob(name string, mode uint32, gen func(e *entry, ctx vfs.Context) ([]byte, error), set func(e *entry, ctx vfs.Context, p []byte) error) row {
	return knobBy(name, mode, gen, func(e *entry, ctx vfs.Context, _ *vfs.Creds, p []byte) error { return set(e, ctx, p) })
}

// knobBy is a knob that goes by who opened it, too.
func knobBy(name string, mode uint32, gen func(e *entry, ctx vfs.Context) ([]byte, error), set func(e *entry, ctx vfs.Context, opener *vfs.Creds, p []byte) error) row {
	return row{name: name, mode: linux.S_IFREG | mode, make: func(e *entry) vfs.Node {
		return e.file(mode, gen).WithSetBy(func(ctx vfs.Context, opener *vfs.Creds, p []byte) error {
			if err := e.alive(); err != nil {
				return err
			}
			return set(e, ctx, opener, p)
		})
	}}
}

// dir is a row that is a directory whose names d gives.
func dir(name string, mode uint32, d func(e *entry) pseudo.Dynamic) row {
	return row{name: name, mode: linux.S_IFDIR | mode, make: func(e *entry) vfs.Node {
		return e.fs.Dir(mode, e.ownerOf(mode)).WithDynamic(d(e))
	}}
}

func (r row) onlyIn(w where) row {
	r.only = w
	return r
}

// rows is the table as a directory.
type rows struct{ *entry }

// Lookup implements pseudo.Dynamic.
func (d rows) Lookup(_ vfs.Context, name string) (vfs.Node, error) {
	for _, r := range table {
		if r.name == name && r.in(d.entry) {
			if err := d.alive(); err != nil {
				return nil, linux.ENOENT
			}
			return r.make(d.entry), nil
		}
	}
	return nil, linux.ENOENT
}

// Names implements pseudo.Dynamic.
func (d rows) Names(vfs.Context) ([]pseudo.Name, error) {
	if d.alive() != nil {
		return nil, linux.ENOENT
	}
	names := make([]pseudo.Name, 0, len(table))
	for i, r := range table {
		if r.in(d.entry) {
			names = append(names, pseudo.Name{Name: r.name, Type: linux.DirentType(r.mode), Key: int64(i + 1)})
		}
	}
	return names, nil
}

// Directories implements pseudo.Brancher.
func (d rows) Directories(vfs.Context) (n int) {
	for _, r := range table {
		if r.in(d.entry) && r.mode&linux.S_IFMT == linux.S_IFDIR {
			n++
		}
	}
	return n
}

// Valid implements pseudo.Dynamic.
func (d rows) Valid(vfs.Context, string, vfs.Node) bool { return d.alive() == nil }
