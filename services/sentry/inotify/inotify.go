// Package inotify tells of changes in the file system: inotify(7).
//
// What is told of is what went through this sandbox's vfs: a change of a shared
// directory by somebody outside is not seen. IN_DELETE_SELF comes when the last
// name goes, even if the file is still open; IN_UNMOUNT never.
//
// Lock order: table.mu < Inotify.mu.
package inotify

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Limits of /proc/sys/fs/inotify.
const (
	maxQueue   = 16384
	maxWatches = 1 << 20
)

// table finds the watches of a node. While there is none, vfs tells nothing.
var table = struct {
	mu    sync.RWMutex
	watch map[vfs.Node][]*watch
	count int
}{watch: map[vfs.Node][]*watch{}}

var lastCookie atomic.Uint32

// watch is the interest of one instance in one node.
type watch struct {
	in   *Inotify
	wd   int32
	node vfs.Node

	// table.mu is held when using this.
	mask uint32
}

// event is one change on its way to a reader.
type event struct {
	wd     int32
	mask   uint32
	cookie uint32
	name   string
}

// size is what e takes in a read, in bytes: the name ends in a NUL and is padded to
// the size of the head.
func (e *event) size() int {
	if e.name == "" {
		return linux.SizeofInotifyEvent
	}
	const unit = linux.SizeofInotifyEvent
	return unit + (len(e.name)+unit)/unit*unit
}

// Inotify is one instance. It implements vfs.Impl.
type Inotify struct {
	queue wait.Queue
	tell  func()      // of an F_NOTIFY: called in place of queueing
	told  atomic.Bool // tell is about to be called

	// table.mu is held when using these.
	watches map[int32]*watch
	byNode  map[vfs.Node]*watch
	lastWD  int32

	mu     sync.Mutex
	events []event
	bytes  int
}

// New makes an instance: inotify_init1(2). flags may hold O_NONBLOCK.
func New(flags linux.OpenFlags) *vfs.File {
	return vfs.NewAnonFile(NewImpl(), "anon_inode:inotify", linux.O_RDONLY|flags&linux.O_NONBLOCK)
}

// NewImpl makes one without the open file description around it.
func NewImpl() *Inotify {
	return &Inotify{watches: map[int32]*watch{}, byNode: map[vfs.Node]*watch{}}
}

// Add watches what is at p: inotify_add_watch(2), where mask has IN_DONT_FOLLOW for
// whoever walks there. EINVAL for a mask without events, EACCES for what the caller
// may not read, ENOTDIR by IN_ONLYDIR, EEXIST by IN_MASK_CREATE, ENOSPC for too many.
func (in *Inotify) Add(ctx vfs.Context, p vfs.Path, mask uint32) (wd int32, err error) {
	const both = linux.IN_MASK_ADD | linux.IN_MASK_CREATE
	if mask&linux.IN_ALL_EVENTS == 0 || mask&both == both {
		return 0, linux.EINVAL
	}
	node := p.Node()
	if _, dir := node.(vfs.Directory); !dir && mask&linux.IN_ONLYDIR != 0 {
		return 0, linux.ENOTDIR
	}
	if err := vfs.Access(ctx, p, vfs.MayRead); err != nil {
		return 0, err
	}
	vfs.UnforeseeAll()       // of what has been there is no event
	defer vfs.UnforeseeAll() // and of all that will be there is one
	table.mu.Lock()
	defer table.mu.Unlock()
	keep := mask & (linux.IN_ALL_EVENTS | linux.IN_EXCL_UNLINK | linux.IN_ONESHOT)
	if w := in.byNode[node]; w != nil {
		switch {
		case mask&linux.IN_MASK_CREATE != 0:
			return 0, linux.EEXIST
		case mask&linux.IN_MASK_ADD != 0:
			w.mask |= keep
		default:
			w.mask = keep
		}
		return w.wd, nil
	}
	if table.count >= maxWatches {
		return 0, linux.ENOSPC
	}
	in.lastWD++
	w := &watch{in: in, wd: in.lastWD, node: node, mask: keep}
	in.watches[w.wd], in.byNode[node] = w, w
	table.watch[node] = append(table.watch[node], w)
	if table.count++; table.count == 1 {
		vfs.SetWatch(changed)
	}
	return w.wd, nil
}

// Remove ends a watch: inotify_rm_watch(2). EINVAL if there is none of that number.
func (in *Inotify) Remove(wd int32) error {
	table.mu.Lock()
	defer table.mu.Unlock()
	w := in.watches[wd]
	if w == nil {
		return linux.EINVAL
	}
	w.endLocked()
	return nil
}

// endLocked takes w out and tells that it was; table.mu is held.
func (w *watch) endLocked() {
	w.dropLocked()
	w.in.put(event{wd: w.wd, mask: linux.IN_IGNORED})
}

func (w *watch) dropLocked() {
	delete(w.in.watches, w.wd)
	delete(w.in.byNode, w.node)
	list := table.watch[w.node]
	for i, o := range list {
		if o == w {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if table.watch[w.node] = list; len(list) == 0 {
		delete(table.watch, w.node)
	}
	if table.count--; table.count == 0 {
		vfs.SetWatch(nil)
	}
}

// changed is told by vfs of each change.
func changed(c vfs.Change) {
	table.mu.RLock()
	concerned := len(table.watch[c.Node]) + len(table.watch[c.Dir]) + len(table.watch[c.NewDir])
	table.mu.RUnlock()
	if concerned == 0 {
		return
	}
	lastName := false
	if c.Event == vfs.EventDelete {
		a, err := c.Node.Attr(vfs.KernelContext())
		lastName = err != nil || a.Nlink == 0 || c.IsDir
	}
	table.mu.Lock()
	defer table.mu.Unlock()
	dirBit := uint32(0)
	if c.IsDir {
		dirBit = linux.IN_ISDIR
	}
	switch c.Event {
	case vfs.EventMove:
		cookie := lastCookie.Add(1)
		tellLocked(c.Dir, linux.IN_MOVED_FROM|dirBit, cookie, c.Name)
		tellLocked(c.NewDir, linux.IN_MOVED_TO|dirBit, cookie, c.NewName)
		tellLocked(c.Node, linux.IN_MOVE_SELF, 0, "")
	case vfs.EventDelete:
		if !c.IsDir {
			tellLocked(c.Node, linux.IN_ATTRIB, 0, "")
		}
		if lastName {
			tellLocked(c.Node, linux.IN_DELETE_SELF, 0, "")
			for _, w := range append([]*watch(nil), table.watch[c.Node]...) {
				w.endLocked()
			}
		}
		tellLocked(c.Dir, linux.IN_DELETE|dirBit, 0, c.Name)
	case vfs.EventCreate:
		tellLocked(c.Dir, linux.IN_CREATE|dirBit, 0, c.Name)
	default:
		tellLocked(c.Dir, uint32(c.Event)|dirBit, 0, c.Name)
		tellLocked(c.Node, uint32(c.Event)|dirBit, 0, "")
	}
}

// tellLocked gives an event to the watches of node that want it; table.mu is held.
func tellLocked(node vfs.Node, mask, cookie uint32, name string) {
	if node == nil {
		return
	}
	for _, w := range append([]*watch(nil), table.watch[node]...) {
		if w.mask&mask&linux.IN_ALL_EVENTS == 0 {
			continue
		}
		w.in.put(event{w.wd, mask, cookie, name})
		if w.mask&linux.IN_ONESHOT != 0 {
			w.endLocked()
		}
	}
}

// put queues an event, unless it is the same as the last one.
func (in *Inotify) put(e event) {
	if in.tell != nil {
		if e.mask&linux.IN_IGNORED == 0 && !in.told.Swap(true) {
			go func() {
				in.told.Store(false)
				in.tell()
			}()
		}
		return
	}
	in.mu.Lock()
	n := len(in.events)
	if n > 0 && in.events[n-1] == e {
		in.mu.Unlock()
		return
	}
	if n >= maxQueue {
		e = event{wd: -1, mask: linux.IN_Q_OVERFLOW}
		if in.events[n-1] == e {
			in.mu.Unlock()
			return
		}
	}
	in.events = append(in.events, e)
	in.bytes += e.size()
	in.mu.Unlock()
	in.queue.Notify(wait.In)
}

// ReadStream gives whole events. EINVAL if there is no room for the first, EAGAIN if
// there is none.
func (in *Inotify) ReadStream(_ vfs.Context, p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := 0
	for len(in.events) > 0 {
		e := &in.events[0]
		size := e.size()
		if len(p)-n < size {
			if n == 0 {
				return 0, linux.EINVAL
			}
			break
		}
		b := p[n : n+size]
		clear(b)
		linux.InotifyEvent{WD: e.wd, Mask: e.mask, Cookie: e.cookie, Len: uint32(size - linux.SizeofInotifyEvent)}.Put(b)
		copy(b[linux.SizeofInotifyEvent:], e.name)
		n += size
		in.bytes -= size
		in.events[0] = event{}
		in.events = in.events[1:]
	}
	if n == 0 {
		return 0, linux.EAGAIN
	}
	return n, nil
}

// Poll says In while an event waits.
func (in *Inotify) Poll() wait.Events {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.events) > 0 {
		return wait.In
	}
	return 0
}

// Queue is where new events are told.
func (in *Inotify) Queue() *wait.Queue { return &in.queue }

// Ioctl answers FIONREAD, the bytes that wait.
func (in *Inotify) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	if cmd != linux.FIONREAD {
		return 0, linux.ENOTTY
	}
	in.mu.Lock()
	n := in.bytes
	in.mu.Unlock()
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(n))
	return 0, ctx.CopyOut(arg, b[:])
}

// Seek does nothing, and succeeds: there is no position, and Linux's noop_llseek
// says no more of it.
func (in *Inotify) Seek(_ vfs.Context, at, _ int64, _ int) (int64, error) { return at, nil }

// Release ends all watches.
func (in *Inotify) Release() {
	table.mu.Lock()
	defer table.mu.Unlock()
	for _, w := range in.watches {
		w.dropLocked()
	}
}
