package pseudo

import (
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// Dynamic is the part of a directory whose names come and go.
type Dynamic interface {
	// Lookup gives the node of name, or ENOENT.
	Lookup(ctx vfs.Context, name string) (vfs.Node, error)
	// Names lists them by rising Key.
	Names(ctx vfs.Context) ([]Name, error)
	// Valid says that child, once looked up under name, still is that.
	Valid(ctx vfs.Context, name string, child vfs.Node) bool
}

// Brancher is a Dynamic some of whose names are directories, each of which counts as a
// link of the directory that it is in.
type Brancher interface {
	// Directories says how many.
	Directories(ctx vfs.Context) int
}

// Name is one name of a Dynamic.
type Name struct {
	Name string
	Type uint8 // a DT_ constant
	Key  int64 // above 0, its own for as long as it exists: a pid
}

// Dir is a directory.
type Dir struct {
	node
	names   []string
	nodes   map[string]vfs.Node
	dynamic Dynamic
	late    *late // nil: it is filled
}

// late fills a directory when it is first looked at.
type late struct {
	sync.Once
	fill func()
}

// guarded is a Dir that decides itself who may use it.
type guarded struct {
	*Dir
	permit func(ctx vfs.Context, mask uint32) error
}

// Permit implements vfs.Permitter.
func (g *guarded) Permit(ctx vfs.Context, mask uint32) error { return g.permit(ctx, mask) }

// WithPermit is d where permit decides who may read (4), write (2) and search
// (1) it, in place of its mode.
func (d *Dir) WithPermit(permit func(ctx vfs.Context, mask uint32) error) vfs.Node {
	return &guarded{d, permit}
}

// Dir makes a directory with the permission bits mode.
func (fs *FS) Dir(mode uint32, owner Owner) *Dir {
	return &Dir{node: fs.node(linux.S_IFDIR|mode, owner), nodes: make(map[string]vfs.Node)}
}

// Add puts a name into d, before anyone can see d. It gives d back.
func (d *Dir) Add(name string, n vfs.Node) *Dir {
	if _, ok := d.nodes[name]; !ok {
		d.names = append(d.names, name)
	}
	d.nodes[name] = n
	return d
}

// WithDynamic gives d names that come and go, beside its own.
func (d *Dir) WithDynamic(dyn Dynamic) *Dir {
	d.dynamic = dyn
	return d
}

// WithLate has fill add d's names when d is first looked at, or Fill called.
func (d *Dir) WithLate(fill func()) *Dir {
	d.late = &late{fill: fill}
	return d
}

// Fill sees to it that d has its names.
func (d *Dir) Fill() {
	if d.late != nil {
		d.late.Do(d.late.fill)
	}
}

// Dynamic is what WithDynamic gave d, or nil.
func (d *Dir) Dynamic() Dynamic { return d.dynamic }

// Attr implements vfs.Node.
func (d *Dir) Attr(ctx vfs.Context) (vfs.Attr, error) {
	d.Fill()
	a, err := d.node.Attr(ctx)
	a.Nlink = 2
	for _, n := range d.nodes {
		if _, ok := n.(vfs.Directory); ok {
			a.Nlink++
		}
	}
	if b, ok := d.dynamic.(Brancher); ok {
		a.Nlink += uint32(b.Directories(ctx))
	}
	return a, err
}

// Lookup implements vfs.Directory.
func (d *Dir) Lookup(ctx vfs.Context, name string) (vfs.Node, error) {
	d.Fill()
	if n, ok := d.nodes[name]; ok {
		return n, nil
	}
	if d.dynamic != nil {
		return d.dynamic.Lookup(ctx, name)
	}
	return nil, linux.ENOENT
}

// Revalidate implements vfs.Revalidator.
func (d *Dir) Revalidate(ctx vfs.Context, name string, child vfs.Node) bool {
	d.Fill()
	if n, ok := d.nodes[name]; ok {
		return n == child
	}
	if d.dynamic == nil {
		return child == nil
	}
	return child != nil && d.dynamic.Valid(ctx, name, child)
}

// List implements vfs.DirLister: d's own names, then the dynamic ones.
func (d *Dir) List(ctx vfs.Context, off int64, emit func(vfs.DirEntry) bool) error {
	d.Fill()
	for i := off; i < int64(len(d.names)); i++ {
		name := d.names[i]
		a, err := d.nodes[name].Attr(ctx)
		if err != nil {
			continue
		}
		if !emit(vfs.DirEntry{Name: name, Ino: a.Ino, Type: linux.DirentType(a.Mode), Next: i + 1}) {
			return nil
		}
	}
	if d.dynamic == nil {
		return nil
	}
	names, err := d.dynamic.Names(ctx)
	if err != nil {
		return err
	}
	base := int64(len(d.names))
	for _, n := range names {
		if base+n.Key <= off {
			continue
		}
		if !emit(vfs.DirEntry{Name: n.Name, Ino: d.ino<<20 + uint64(n.Key), Type: n.Type, Next: base + n.Key}) {
			return nil
		}
	}
	return nil
}
