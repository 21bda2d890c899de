package vfs

import (
	"maps"

	"bulkhead/proto/linux"
)

// Pivot makes the mount whose root is at newRoot the root of the namespace, and puts
// the one that was it at putOld, which must be newRoot or below it: pivot_root(2).
// root is the caller's root directory. EINVAL, EBUSY.
func (ns *Namespace) Pivot(root, newRoot, putOld Path) error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	beginUnnaming()
	defer endUnnaming()
	old, m := root.Mount, newRoot.Mount
	switch {
	case old.ns != ns || m.ns != ns || putOld.Mount.ns != ns, m.locked:
		return linux.EINVAL
	case m == old || putOld.Mount == old:
		return linux.EBUSY
	case root.Dentry != old.root, newRoot.Dentry != m.root, old != ns.root, m.at.Load() == nil || !ns.reachesLocked(putOld, newRoot):
		return linux.EINVAL
	}
	table := maps.Clone(*ns.table.Load())
	at := *m.at.Swap(nil)
	delete(table, at)
	at.Dentry.mounted.Add(-1)
	place := putOld
	for n := table[place]; n != nil; n = table[place] {
		place = Path{n, n.root} // on top of what is there
	}
	table[place] = old
	old.at.Store(&place)
	place.Dentry.mounted.Add(1)
	ns.root = m
	ns.table.Store(&table)
	ns.sortLocked()
	return nil
}

// Move puts the mount whose root is at from at another place: MS_MOVE of mount(2).
// EINVAL, ELOOP into itself.
func (ns *Namespace) Move(from, to Path) error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	beginUnnaming()
	defer endUnnaming()
	m := from.Mount
	switch {
	case m.ns != ns || to.Mount.ns != ns, from.Dentry != m.root, m.at.Load() == nil, m.locked, to.Dentry.IsDir() != m.root.IsDir():
		return linux.EINVAL
	case ns.reachesLocked(to, from):
		return linux.ELOOP
	}
	table := maps.Clone(*ns.table.Load())
	at := *m.at.Load()
	delete(table, at)
	at.Dentry.mounted.Add(-1)
	for n := table[to]; n != nil; n = table[to] {
		to = Path{n, n.root}
	}
	table[to] = m
	m.at.Store(&to)
	to.Dentry.mounted.Add(1)
	ns.table.Store(&table)
	ns.sortLocked()
	return nil
}

// Top is the root of the topmost mount at p, or p.
func (p Path) Top() Path {
	p.down()
	return p
}

// reachesLocked says whether p is top or below it.
func (ns *Namespace) reachesLocked(p, top Path) bool {
	for p.Mount != top.Mount {
		at := p.Mount.at.Load()
		if at == nil {
			return false
		}
		p = *at
	}
	return under(p.Dentry, top.Dentry)
}

// sortLocked puts the mounts in an order in which each comes after what it is on.
func (ns *Namespace) sortLocked() {
	done := map[*Mount]bool{}
	var order []*Mount
	var add func(m *Mount)
	add = func(m *Mount) {
		if done[m] {
			return
		}
		done[m] = true
		if at := m.at.Load(); at != nil {
			add(at.Mount)
		}
		order = append(order, m)
	}
	for _, m := range ns.order {
		add(m)
	}
	ns.order = order
}
