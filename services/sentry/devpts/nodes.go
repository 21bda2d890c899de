package devpts

import (
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// root is the directory of an instance.
type root struct{ fs *FS }

// Attr implements vfs.Node.
func (r *root) Attr(vfs.Context) (vfs.Attr, error) {
	return vfs.Attr{
		Dev: r.fs.dev, Ino: inoRoot, Mode: linux.S_IFDIR | 0o755, Nlink: 2, Blksize: 1024,
		Atime: r.fs.born, Mtime: r.fs.born, Ctime: r.fs.born,
	}, nil
}

// SetAttr implements vfs.Node.
func (r *root) SetAttr(vfs.Context, vfs.SetAttr) error { return linux.EPERM }

// Lookup implements vfs.Directory.
func (r *root) Lookup(_ vfs.Context, name string) (vfs.Node, error) {
	if name == "ptmx" {
		return r.fs.ptmx, nil
	}
	if p := r.fs.pair(name); p != nil {
		return p.node, nil
	}
	return nil, linux.ENOENT
}

// Revalidate implements vfs.Revalidator: slaves come and go.
func (r *root) Revalidate(_ vfs.Context, name string, child vfs.Node) bool {
	if name == "ptmx" {
		return child == vfs.Node(r.fs.ptmx)
	}
	p := r.fs.pair(name)
	if p == nil {
		return child == nil
	}
	return child == vfs.Node(p.node)
}

// List implements vfs.DirLister: ptmx at 1, slave n at n+2.
func (r *root) List(_ vfs.Context, off int64, emit func(vfs.DirEntry) bool) error {
	if off < 1 && !emit(vfs.DirEntry{Name: "ptmx", Ino: inoPtmx, Type: linux.DT_CHR, Next: 1}) {
		return nil
	}
	var numbers []int
	r.fs.mu.Lock()
	for n, p := range r.fs.pairs {
		if p.named && int64(n)+2 > off {
			numbers = append(numbers, n)
		}
	}
	r.fs.mu.Unlock()
	slices.Sort(numbers)
	for _, n := range numbers {
		e := vfs.DirEntry{Name: strconv.Itoa(n), Ino: inoSlave + uint64(n), Type: linux.DT_CHR, Next: int64(n) + 2}
		if !emit(e) {
			return nil
		}
	}
	return nil
}

// ptmx is the multiplexer: opening it makes a pair and gives the master.
type ptmx struct {
	fs   *FS
	mode atomic.Uint32 // what chmod said, with bit 31 set
}

// Attr implements vfs.Node.
func (x *ptmx) Attr(vfs.Context) (vfs.Attr, error) {
	mode := x.fs.options.PtmxMode
	if m := x.mode.Load(); m != 0 {
		mode = m & 0o7777
	}
	return vfs.Attr{
		Dev: x.fs.dev, Ino: inoPtmx, Mode: linux.S_IFCHR | mode, Nlink: 1, Blksize: 1024,
		Rdev:  linux.Mkdev(PtmxMajor, PtmxMinor),
		Atime: x.fs.born, Mtime: x.fs.born, Ctime: x.fs.born,
	}, nil
}

// SetAttr implements vfs.Node.
func (x *ptmx) SetAttr(_ vfs.Context, s vfs.SetAttr) error {
	if s.Mask&vfs.SetMode != 0 {
		x.mode.Store(1<<31 | s.Mode&0o7777)
	}
	return nil
}

// Open implements vfs.Opener.
func (x *ptmx) Open(ctx vfs.Context, flags linux.OpenFlags) (vfs.Impl, error) {
	p, err := x.fs.newPair(ctx)
	if err != nil {
		return nil, err
	}
	return &master{pair: p}, nil
}

// slaveNode is a slave's name.
type slaveNode struct{ pair *Pair }

// Attr implements vfs.Node.
func (n *slaveNode) Attr(vfs.Context) (vfs.Attr, error) {
	n.pair.mu.Lock()
	defer n.pair.mu.Unlock()
	return n.pair.attr, nil
}

// SetAttr implements vfs.Node: grantpt(3) and login(1) change owner and mode.
func (n *slaveNode) SetAttr(_ vfs.Context, s vfs.SetAttr) error {
	p := n.pair
	p.mu.Lock()
	defer p.mu.Unlock()
	now := linux.TimespecAt(time.Now())
	if s.Mask&vfs.SetMode != 0 {
		p.attr.Mode = linux.S_IFCHR | s.Mode&0o7777
	}
	if s.Mask&vfs.SetUID != 0 {
		p.attr.UID = s.UID
	}
	if s.Mask&vfs.SetGID != 0 {
		p.attr.GID = s.GID
	}
	switch {
	case s.Mask&vfs.SetAtimeNow != 0:
		p.attr.Atime = now
	case s.Mask&vfs.SetAtime != 0:
		p.attr.Atime = s.Atime
	}
	switch {
	case s.Mask&vfs.SetMtimeNow != 0:
		p.attr.Mtime = now
	case s.Mask&vfs.SetMtime != 0:
		p.attr.Mtime = s.Mtime
	}
	p.attr.Ctime = now
	return nil
}

// Open implements vfs.Opener.
func (n *slaveNode) Open(ctx vfs.Context, flags linux.OpenFlags) (vfs.Impl, error) {
	return n.pair.OpenTerminal(ctx, flags)
}
