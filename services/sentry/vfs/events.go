package vfs

import "sync/atomic"

// Event is a change that inotify(7) tells of, in IN_* numbering.
type Event uint32

// The events that vfs knows of.
const (
	EventAccess       Event = 0x001
	EventModify       Event = 0x002
	EventAttrib       Event = 0x004
	EventCloseWrite   Event = 0x008
	EventCloseNoWrite Event = 0x010
	EventOpen         Event = 0x020
	EventMove         Event = 0x0c0
	EventCreate       Event = 0x100
	EventDelete       Event = 0x200
)

// Change is one thing that happened.
type Change struct {
	Event Event
	Node  Node // what it happened to
	IsDir bool
	// Dir and Name are where that is, or was; nil for what has no place.
	Dir  Node
	Name string
	// NewDir and NewName are where an EventMove led.
	NewDir  Node
	NewName string
}

var watch atomic.Pointer[func(Change)]

// SetWatch has f told of each change, after it and with no lock held; nil ends
// that. It is inotify's.
func SetWatch(f func(Change)) {
	if f == nil {
		watch.Store(nil)
		return
	}
	watch.Store(&f)
}

// notify tells that e happened to node, at name in dir.
func notify(e Event, dir *Dentry, name string, node Node) {
	f := watch.Load()
	if f == nil || node == nil {
		return
	}
	c := Change{Event: e, Node: node, Name: name}
	_, c.IsDir = node.(Directory)
	if dir != nil {
		c.Dir = dir.node
	}
	(*f)(c)
}

// notifyAt tells that e happened to what d names.
func notifyAt(e Event, d *Dentry) {
	if watch.Load() != nil {
		w := d.where.Load()
		notify(e, w.parent, w.name, d.node)
	}
}

// notifyMove tells that d was moved from the name old in from.
func notifyMove(from *Dentry, old string, d *Dentry) {
	f := watch.Load()
	if f == nil {
		return
	}
	w := d.where.Load()
	c := Change{Event: EventMove, Node: d.node, IsDir: d.IsDir(), Dir: from.node, Name: old, NewName: w.name}
	if w.parent != nil {
		c.NewDir = w.parent.node
	}
	(*f)(c)
}

// Modified tells that a file has changed by itself, not by a write: node, which has that
// name in dir.
func Modified(dir Node, name string, node Node) {
	if f := watch.Load(); f != nil {
		(*f)(Change{Event: EventModify, Node: node, Dir: dir, Name: name})
	}
}
