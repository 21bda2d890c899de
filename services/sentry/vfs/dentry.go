package vfs

import (
	"sync"
	"sync/atomic"
	"weak"

	"bulkhead/proto/linux"
)

// Dentry is one name in one directory of a file system, and what stands behind
// it; without a node it remembers that there is nothing (negative). Nobody
// counts references: whoever can reach a Dentry keeps it. The cache holds the
// recently used ones strongly and the others weakly, so that a name has one
// Dentry for as long as anyone knows it.
type Dentry struct {
	super *super
	node  Node     // nil: negative; never changes
	dir   *dirPart // of a Directory
	link  Symlink  // of a symlink

	where   atomic.Pointer[place] // rename replaces it
	first   place
	gone    atomic.Bool  // unlinked
	mounted atomic.Int32 // mounts on it, in any namespace
	used    atomic.Bool  // looked up since the cache's hand came by
	slot    int32        // in the cache's ring, or -1; cache.mu
	swept   *place       // what a cleanup is set for; cache.mu
	tmpfile bool         // made by O_TMPFILE: may be linked though it has no name
	hint    atomic.Uint32
}

// WriteHint is F_GET_RW_HINT of fcntl(2), SetWriteHint sets it.
func (d *Dentry) WriteHint() uint64 { return uint64(d.hint.Load()) }

// SetWriteHint is F_SET_RW_HINT of fcntl(2).
func (d *Dentry) SetWriteHint(h uint64) { d.hint.Store(uint32(h)) }

// place is where a Dentry is. The root of a file system has no parent.
type place struct {
	parent *Dentry
	name   string
}

// dirPart is what a Dentry of a directory has besides.
type dirPart struct {
	Directory
	revalidator Revalidator
	permitter   Permitter
	prefetcher  Prefetcher

	// changes is held for reading while a name is looked up in the file system
	// and for writing while names are made and unmade. Two are only held by a
	// rename between directories, under super.renames.
	changes sync.RWMutex

	// mu guards children. It is the last of the locks but the file system's.
	mu       sync.Mutex
	children map[string]child
}

// child is a cached name: strong until the cache gives it up, then weak.
type child struct {
	strong *Dentry
	weak   weak.Pointer[Dentry]
}

func newDentry(s *super, parent *Dentry, name string, node Node) *Dentry {
	d := &Dentry{super: s, node: node, slot: -1, first: place{parent, name}}
	d.where.Store(&d.first)
	switch n := node.(type) {
	case nil:
	case Directory:
		d.dir = &dirPart{Directory: n}
		d.dir.revalidator, _ = node.(Revalidator)
		d.dir.permitter, _ = node.(Permitter)
		d.dir.prefetcher, _ = node.(Prefetcher)
	case Symlink:
		d.link = n
	}
	return d
}

// IsDir says whether it is a directory.
func (d *Dentry) IsDir() bool { return d.dir != nil }

// Deleted says whether its name has been removed.
func (d *Dentry) Deleted() bool { return d.gone.Load() }

// Name is its last component.
func (d *Dentry) Name() string { return d.where.Load().name }

func (d *Dentry) parent() *Dentry { return d.where.Load().parent }

// cached gives the cached child of that name, or nil.
func (d *Dentry) cached(name string) *Dentry {
	p := d.dir
	p.mu.Lock()
	c, ok := p.children[name]
	p.mu.Unlock()
	if !ok {
		return nil
	}
	if c.strong == nil {
		return d.revive(name)
	}
	if !c.strong.used.Load() {
		c.strong.used.Store(true)
	}
	return c.strong
}

// revive makes a weakly cached child strong again, if it still lives.
func (d *Dentry) revive(name string) *Dentry {
	p := d.dir
	p.mu.Lock()
	c, ok := p.children[name]
	if ok && c.strong == nil {
		if c.strong = c.weak.Value(); c.strong == nil {
			delete(p.children, name)
			p.mu.Unlock()
			return nil
		}
		p.children[name] = child{strong: c.strong}
		p.mu.Unlock()
		d.super.cache.add(c.strong)
		return c.strong
	}
	p.mu.Unlock()
	return c.strong
}

// put caches c under its name in place of what was there.
func (d *Dentry) put(c *Dentry) { d.insert(c, true) }

// putNew caches c unless there is something of its name, and gives whichever is
// cached. That there is nothing gives way to something.
func (d *Dentry) putNew(c *Dentry) *Dentry { return d.insert(c, false) }

func (d *Dentry) insert(c *Dentry, replace bool) *Dentry {
	p := d.dir
	name := c.Name()
	p.mu.Lock()
	if p.children == nil {
		p.children = make(map[string]child)
	}
	old := p.children[name].strong
	if old == nil && !replace {
		old = p.children[name].weak.Value()
	}
	if old != nil && !replace && !(old.node == nil && c.node != nil) {
		p.mu.Unlock()
		return old
	}
	p.children[name] = child{strong: c}
	p.mu.Unlock()
	if old != nil && old != c {
		d.super.cache.remove(old)
	}
	d.super.cache.add(c)
	return c
}

// drop forgets c, if it is what is cached under its name.
func (d *Dentry) drop(c *Dentry) {
	p := d.dir
	name := c.Name()
	p.mu.Lock()
	if old, ok := p.children[name]; ok && (old.strong == c || old.strong == nil && old.weak.Value() == c) {
		delete(p.children, name)
	}
	p.mu.Unlock()
	d.super.cache.remove(c)
}

// lookup gives the child of that name, negative if there is none. The name is
// neither "." nor ".." nor too long. A negative Dentry may be uncached.
func (d *Dentry) lookup(ctx Context, name string) (*Dentry, error) {
	if c := d.cached(name); c != nil {
		if d.dir.revalidator == nil || d.stillThere(ctx, name, c) {
			return c, nil
		}
	}
	d.dir.changes.RLock()
	defer d.dir.changes.RUnlock()
	return d.fetch(ctx, name)
}

// lookupLocked is lookup with dir.changes held for writing.
func (d *Dentry) lookupLocked(ctx Context, name string) (*Dentry, error) {
	if len(name) > linux.NAME_MAX {
		return nil, linux.ENAMETOOLONG
	}
	if c := d.cached(name); c != nil {
		if d.dir.revalidator == nil || d.stillThere(ctx, name, c) {
			return c, nil
		}
	}
	return d.fetch(ctx, name)
}

// stillThere asks the file system whether a cached child is still right, and
// drops it if not. What is mounted on stays.
func (d *Dentry) stillThere(ctx Context, name string, c *Dentry) bool {
	if own := c.Name(); own == name {
		name = own // the walk's may be borrowed
	} else {
		name = cloneName(name)
	}
	if c.mounted.Load() > 0 || d.dir.revalidator.Revalidate(ctx, name, c.node) {
		return true
	}
	d.drop(c)
	return false
}

func (d *Dentry) fetch(ctx Context, name string) (*Dentry, error) {
	if d.dir.revalidator == nil {
		if c := d.cached(name); c != nil { // somebody else was faster
			return c, nil
		}
	}
	name = cloneName(name) // who walks may only have borrowed the path
	node, err := d.dir.Lookup(ctx, name)
	if err != nil && err != linux.ENOENT {
		return nil, err
	}
	if err != nil {
		node = nil
	}
	c := newDentry(d.super, d, name, node)
	if d.gone.Load() && node == nil {
		return c, nil
	}
	return d.putNew(c), nil
}

// cloneName is name in memory of its own: it is often a part of a path.
func cloneName(name string) string { return string([]byte(name)) }
