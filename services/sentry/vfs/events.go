package vfs

// Event is a change that inotify(7) tells of, in IN_* numbering.
type Event uint32

// The events that vfs knows of.
const (
	EventModify Event = 0x002
	EventAttrib Event = 0x004
	EventCreate Event = 0x100
	EventDelete Event = 0x200
	EventMove   Event = 0x0c0
	EventOpen   Event = 0x020
)

// Watch is told of each change, after it and with no lock held: dir and name are
// nil and "" where the change is of node itself. inotify sets it.
var Watch func(e Event, dir Node, name string, node Node)

func notify(e Event, dir *Dentry, name string, node Node) {
	if Watch == nil {
		return
	}
	var d Node
	if dir != nil {
		d = dir.node
	}
	Watch(e, d, name, node)
}
