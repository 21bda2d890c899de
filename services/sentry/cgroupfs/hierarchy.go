// Package cgroupfs is the control groups of a sandbox, version 2: the tree of them, who
// is in which, and the file system that shows and changes it: cgroups(7) and Linux's
// admin-guide/cgroup-v2.rst.
//
// The root is what a container sees of Linux's as its own: a group with limits that only
// the outside sets. What can be enforced inside is: pids.max, cgroup.freeze, cgroup.kill
// and the limits on the tree's size. Limits on memory, processors and devices are
// remembered, told, and not acted on. All groups are domains: threads of one process are
// in one group.
//
// Processes are known by an interface, so that this package is below package task.
// Lock order: the lock of the tree of processes < Hierarchy.mu < node.mu. What a Process
// or the Host is asked that may take the former is asked without the latter.
package cgroupfs

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/vfs"
)

// Limits of what guests can make: EAGAIN, as if of a group above the root, and ENOSPC and
// ENOMEM for what hangs on all groups together.
const (
	maxCgroups         = 1024
	maxDepth           = 64
	maxAllXattrBytes   = 8 << 20
	maxAllInstructions = 1 << 18 // of programs
)

// Host is what the tree of processes tells, and does for a guest.
type Host interface {
	// Root is the group that the caller's namespace begins at.
	Root(ctx vfs.Context) *Cgroup
	// Find gives the process that has a thread of that number for the caller, or whose
	// number it is; 0 is the caller's own. nil: there is none.
	Find(ctx vfs.Context, number int32) Process
	// End ends all processes that list gives, and with them whoever they make meanwhile.
	End(list func() []Process)
	// FilePages is what files in memory hold, in bytes.
	FilePages() uint64
}

// Process is one process.
type Process interface {
	// Place is where it is, always the same.
	Place() *Place
	// Heed has its threads look at Place().Freezing.
	Heed()
	// Number is its number for the caller, 0 if it has none. Threads are theirs.
	Number(ctx vfs.Context) int32
	Threads(ctx vfs.Context) []int32
	// Used is the processors' time that it has used.
	Used() time.Duration
	// Resident is how much of its memory is in RAM, in bytes.
	Resident() uint64
}

// Hierarchy is the groups of a sandbox.
type Hierarchy struct {
	// Processors is how many there are; at least 1, set before anybody looks.
	Processors int

	host Host
	root *Cgroup
	fs   *FS // mu
	dev  uint64
	ino  atomic.Uint64
	// What hangs on all groups: programs, how long they are, and extended attributes.
	programs     atomic.Int32
	instructions int // mu
	xattrBytes   atomic.Int64

	mu      sync.Mutex
	due     []*notifier // to be told of a change
	telling bool
}

// New gives a tree with its root.
func New(host Host) *Hierarchy {
	h := &Hierarchy{host: host, dev: vfs.NewDev(), Processors: 1}
	h.root = h.newCgroup(nil, "", 0o755, 0, 0)
	return h
}

// Root is where processes are that nobody has moved.
func (h *Hierarchy) Root() *Cgroup { return h.root }

// Len is how many groups there are, with the root.
func (h *Hierarchy) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return 1 + h.root.descendants
}

// Cgroup is one group, and its directory.
type Cgroup struct {
	node
	parent *Cgroup // nil: the root
	name   string
	depth  int
	maker  owner // whose the files are, if not of owners

	// What follows is guarded by h.mu.
	children    map[string]*Cgroup
	dead        bool
	descendants int
	control     Controllers // that the children have
	files       map[string]*file
	owners      map[Controllers]owner // who has made the files of each controller
	values      map[string]string     // by file, what was written to it
	maxDepth    int64                 // of the tree below; -1: no limit
	maxBelow    int64

	members   map[Process]struct{}
	threads   int // of the members
	populated int // members with threads, and children that are populated
	used      time.Duration
	programs  []*DeviceProgram
	pids
	freezer
}

type owner struct{ uid, gid uint32 }

func (h *Hierarchy) newCgroup(parent *Cgroup, name string, mode, uid, gid uint32) *Cgroup {
	c := &Cgroup{parent: parent, name: name, maker: owner{uid, gid}, maxDepth: -1, maxBelow: -1, pids: pids{most: -1}}
	c.node.init(h, linux.S_IFDIR|mode, uid, gid)
	if parent != nil {
		c.depth = parent.depth + 1
	}
	return c
}

// ID is the group's number: its directory's inode.
func (c *Cgroup) ID() uint64 { return c.ino }

// Path is the group's name from the root.
func (c *Cgroup) Path() string { return c.path() }

func (c *Cgroup) path() string {
	var names []string
	for ; c.parent != nil; c = c.parent {
		names = append(names, c.name)
	}
	slices.Reverse(names)
	return "/" + strings.Join(names, "/")
}

// PathFrom is what a process in a namespace that begins at from is told of c's place:
// cgroup_namespaces(7).
func (c *Cgroup) PathFrom(from *Cgroup) string { return Relative(from.path(), c.path()) }

// Relative is the path to as seen from the group at from: "/" for that itself, "/.." for
// the one above it.
func Relative(from, to string) string {
	split := func(s string) []string { return strings.FieldsFunc(s, func(r rune) bool { return r == '/' }) }
	a, b := split(from), split(to)
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	return "/" + strings.Join(append(slices.Repeat([]string{".."}, len(a)), b...), "/")
}

// Dead says whether the group has been removed.
func (c *Cgroup) Dead() bool {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	return c.dead
}

// within says whether c is top or below it.
func (c *Cgroup) within(top *Cgroup) bool {
	for ; c != nil; c = c.parent {
		if c == top {
			return true
		}
	}
	return false
}

// controllersLocked are those that the group has: all at the root.
func (c *Cgroup) controllersLocked() Controllers {
	if c.parent == nil {
		return allControllers
	}
	return c.parent.control
}

// each calls f for c and all below it.
func (c *Cgroup) each(f func(*Cgroup)) {
	f(c)
	for _, child := range c.children {
		child.each(f)
	}
}

// mkdir makes a group below c: EAGAIN beyond a limit, ENODEV in one that has been removed.
func (c *Cgroup) mkdir(creds *vfs.Creds, name string, mode uint32) (*Cgroup, error) {
	if strings.Contains(name, "\n") {
		return nil, linux.EINVAL
	}
	if err := budget.Check(); err != nil {
		return nil, err
	}
	h := c.h
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case c.dead:
		return nil, linux.ENODEV
	case c.children[name] != nil || lookupKind(name) != nil && c.hasLocked(lookupKind(name)):
		return nil, linux.EEXIST
	case h.root.descendants >= maxCgroups || c.depth >= maxDepth:
		return nil, linux.EAGAIN
	}
	level := int64(1)
	for at := c; at != nil; at = at.parent {
		if at.maxBelow >= 0 && int64(at.descendants) >= at.maxBelow || at.maxDepth >= 0 && level > at.maxDepth {
			return nil, linux.EAGAIN
		}
		level++
	}
	child := h.newCgroup(c, name, mode, creds.FSUID, creds.FSGID)
	if child.freezes = c.freezes; child.freezes > 0 {
		child.frozen = true
		c.frozenChildren++
	}
	if c.children == nil {
		c.children = map[string]*Cgroup{}
	}
	c.children[name] = child
	for at := c; at != nil; at = at.parent {
		at.descendants++
	}
	return child, nil
}

// rmdir removes the group child of c: EBUSY if there is anybody or anything in it.
func (c *Cgroup) rmdir(child *Cgroup) error {
	h := c.h
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case child.dead || c.children[child.name] != child:
		return linux.ENOENT
	case child.populated > 0 || len(child.children) > 0:
		return linux.EBUSY
	}
	child.dead = true
	for len(child.programs) > 0 {
		child.detachLocked(0)
	}
	child.forgetXattrs()
	for _, f := range child.files {
		f.forgetXattrs()
	}
	delete(c.children, child.name)
	if child.frozen {
		c.frozenChildren--
	}
	c.used += child.used
	child.used = 0
	for at := c; at != nil; at = at.parent {
		at.descendants--
	}
	c.frozenLocked()
	return nil
}

// processes are those of c and below, in any order.
func (c *Cgroup) processes() (list []Process) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.each(func(c *Cgroup) {
		for p := range c.members {
			list = append(list, p)
		}
	})
	return list
}

// own are those of c itself that have threads.
func (c *Cgroup) own() (list []Process) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	for p := range c.members {
		if p.Place().threads > 0 {
			list = append(list, p)
		}
	}
	return list
}

// kill is cgroup.kill: all processes of c and below end.
func (c *Cgroup) kill() { c.h.host.End(c.processes) }

// cpuTime is what c and the groups below have used, with the processes that are gone.
func (c *Cgroup) cpuTime() time.Duration {
	var sum time.Duration
	list := c.processes()
	c.h.mu.Lock()
	c.each(func(c *Cgroup) { sum += c.used })
	for _, p := range list {
		sum -= p.Place().before
	}
	c.h.mu.Unlock()
	for _, p := range list {
		sum += p.Used()
	}
	return max(sum, 0)
}

// resident is what the processes of c and below have in RAM, and files, which are the
// root's, in bytes.
func (c *Cgroup) resident() (anonymous, files uint64) {
	for _, p := range c.processes() {
		anonymous += p.Resident()
	}
	if c.parent == nil {
		files = c.h.host.FilePages()
	}
	return anonymous, files
}
