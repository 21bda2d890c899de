package vfs

import (
	"runtime"
	"sync"
	"weak"
)

// cacheSize is how many Dentries a file system's cache holds strongly. With what
// hangs on it, one of a gofer's files under an overlay is 1 KiB.
const cacheSize = 1 << 16

// cache is the ring of a file system's recently used Dentries. When it is full,
// a hand goes round: what was used since its last visit stays, the next goes.
//
// Lock order: cache.mu < dirPart.mu.
type cache struct {
	mu   sync.Mutex
	ring []*Dentry
	free []int32
	hand int
	size int // 0: cacheSize
}

// add takes d in, if it is not in.
func (c *cache) add(d *Dentry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.slot >= 0 {
		return
	}
	limit := c.size
	if limit == 0 {
		limit = cacheSize
	}
	switch {
	case len(c.free) > 0:
		d.slot = c.free[len(c.free)-1]
		c.free = c.free[:len(c.free)-1]
		c.ring[d.slot] = d
	case len(c.ring) < limit:
		d.slot = int32(len(c.ring))
		c.ring = append(c.ring, d)
	default:
		d.slot = c.victim()
		c.ring[d.slot] = d
	}
}

// remove takes d out: its name is gone.
func (c *cache) remove(d *Dentry) {
	c.mu.Lock()
	if d.slot >= 0 {
		c.ring[d.slot] = nil
		c.free = append(c.free, d.slot)
		d.slot = -1
	}
	c.mu.Unlock()
}

// victim makes room and gives the slot. Two rounds always find one.
func (c *cache) victim() int32 {
	for turn := 0; ; turn++ {
		slot := c.hand
		c.hand = (c.hand + 1) % len(c.ring)
		d := c.ring[slot]
		if d.used.Swap(false) && turn < 2*len(c.ring) {
			continue
		}
		d.slot = -1
		d.weaken()
		return int32(slot)
	}
}

// ShrinkCaches leaves all cached names that nobody holds to the garbage collector: they
// are found again where they came from.
func ShrinkCaches() {
	supers.mu.Lock()
	all := make([]*super, 0, len(supers.of))
	for _, s := range supers.of {
		all = append(all, s)
	}
	supers.mu.Unlock()
	for _, s := range all {
		s.cache.clear()
	}
}

// clear empties the ring.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.ring {
		if d != nil {
			d.slot = -1
			d.weaken()
		}
	}
	c.ring, c.free, c.hand = nil, nil, 0
}

// weaken leaves d to the garbage collector: whoever holds it still finds it
// under its name, and when nobody does, the name is forgotten.
func (d *Dentry) weaken() {
	at := d.where.Load()
	if at.parent == nil {
		return
	}
	p := at.parent.dir
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.children[at.name].strong != d {
		return
	}
	if d.node == nil {
		delete(p.children, at.name)
		return
	}
	p.children[at.name] = child{weak: weak.Make(d)}
	if d.swept == at {
		return
	}
	d.swept = at
	runtime.AddCleanup(d, func(at *place) { at.parent.dir.forget(at.name) }, &place{at.parent, at.name})
}

// forget drops the name of a Dentry that nobody held any more.
func (p *dirPart) forget(name string) {
	p.mu.Lock()
	if c, ok := p.children[name]; ok && c.strong == nil && c.weak.Value() == nil {
		delete(p.children, name)
	}
	p.mu.Unlock()
}
