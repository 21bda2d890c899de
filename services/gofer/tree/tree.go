// Package tree keeps the handles of one connection: which directory each stands
// for, and an open descriptor where one can be afforded.
//
// A Node remembers the name it was reached by and which file that was. Its
// descriptor (O_PATH) may be closed when too many are open, and is opened again
// when needed, name by name from the nearest ancestor that has one; if that leads
// to another file than before, the handle is stale. Roots, and files without a
// name, keep theirs for good.
//
// There is one lock, Table.mu. It guards everything but what is said to be fixed.
package tree

import (
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead/services/gofer/hostfd"
)

// Limits bound what one connection can hold.
type Limits struct {
	Nodes int // handles: ENFILE above
	Open  int // descriptors that can be opened again
	Kept  int // descriptors that cannot, besides roots: ENFILE above
}

// DefaultLimits fit a descriptor limit of 20000 and a tree of a million
// directories.
var DefaultLimits = Limits{Nodes: 1 << 20, Open: 4096, Kept: 8192}

// maxDepth is how deep a tree can be walked down again. Linux itself stops at
// paths of 4096 bytes, but one can descend further with chdir(2).
const maxDepth = 1 << 15

// Table is the handles of one connection.
type Table struct {
	limits Limits

	mu    sync.Mutex
	nodes map[uint64]*Node
	names map[place]*Node // those that have handles, but for roots
	last  uint64
	lru   Node // ring of those that are open and can be closed; next is the youngest
	open  int  // of these
	kept  int
}

// place is where a node has its name.
type place struct {
	parent *Node
	name   string
}

// Node is one directory, or a file without a name, or a root.
type Node struct {
	readOnly bool // fixed
	attach   int  // fixed
	dir      bool // fixed

	handles  int   // 0: forgotten
	parent   *Node // nil: has no name
	name     string
	dev, ino uint64
	fd       int // -1: closed
	pins     int
	fixed    bool // fd stays
	kept     bool // counts towards Limits.Kept
	borrowed bool // fd is somebody else's

	next, prev *Node
}

// New makes an empty table.
func New(limits Limits) *Table {
	t := &Table{limits: limits, nodes: map[uint64]*Node{}, names: map[place]*Node{}}
	t.lru.next, t.lru.prev = &t.lru, &t.lru
	return t
}

// Root adds the root of an attach point and takes fd, O_PATH, over. If it has a
// name, that is name in the directory dir, which stays the caller's and open.
func (t *Table) Root(attach int, readOnly bool, fd int, st *unix.Statx_t, dir int, name string) uint64 {
	n := newNode(st, fd)
	n.readOnly, n.attach, n.fixed = readOnly, attach, true
	if name != "" {
		n.parent = &Node{fd: dir, fixed: true, borrowed: true, dir: true, readOnly: readOnly, attach: attach}
		n.name = name
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.addLocked(n)
}

func newNode(st *unix.Statx_t, fd int) *Node {
	return &Node{fd: fd, dev: hostfd.Dev(st), ino: st.Ino, dir: uint32(st.Mode)&unix.S_IFMT == unix.S_IFDIR}
}

func (t *Table) addLocked(n *Node) uint64 {
	t.last++
	n.handles++
	t.nodes[t.last] = n
	return t.last
}

// Bind gives a handle to name in parent, which is pinned, and takes fd, O_PATH,
// over. The node comes pinned. It is the one that has the name already, if that is
// the same file, so that whoever is below it moves with it whichever handle it is
// moved by.
func (t *Table) Bind(parent *Node, name string, fd int, st *unix.Statx_t) (*Node, uint64, error) {
	n := newNode(st, fd)
	n.readOnly, n.attach, n.parent, n.name, n.pins = parent.readOnly, parent.attach, parent, name, 1
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.nodes) >= t.limits.Nodes {
		hostfd.Close(fd)
		return nil, 0, unix.ENFILE
	}
	at := place{parent, name}
	if m := t.names[at]; m != nil && m.dev == n.dev && m.ino == n.ino {
		m.pins++
		if m.fd >= 0 {
			hostfd.Close(fd)
			return m, t.addLocked(m), nil
		}
		m.fd, n = fd, m
	}
	t.names[at] = n
	t.open++
	t.pushLocked(n)
	t.shrinkLocked()
	return n, t.addLocked(n), nil
}

// Keep gives a handle to a file that has no name, of parent's tree, and takes fd
// over.
func (t *Table) Keep(parent *Node, fd int, st *unix.Statx_t) (uint64, error) {
	n := newNode(st, fd)
	n.readOnly, n.attach, n.fixed, n.kept = parent.readOnly, parent.attach, true, true
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept >= t.limits.Kept || len(t.nodes) >= t.limits.Nodes {
		hostfd.Close(fd)
		return 0, unix.ENFILE
	}
	t.kept++
	return t.addLocked(n), nil
}

// Pin gives the node of a handle with its descriptor open until Unpin. EBADF: no
// such handle; ESTALE: its name leads elsewhere now.
func (t *Table) Pin(id uint64) (*Node, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.nodes[id]
	if n == nil {
		return nil, unix.EBADF
	}
	if n.fd < 0 {
		if err := t.reopenLocked(n); err != nil {
			return nil, err
		}
	} else if !n.fixed && t.lru.next != n {
		t.dropLocked(n)
		t.pushLocked(n)
	}
	n.pins++
	return n, nil
}

// Unpin ends a Pin.
func (t *Table) Unpin(n *Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.pins--
	if n.handles == 0 {
		t.closeLocked(n)
	}
	t.shrinkLocked()
}

// Forget drops a handle, but never a root's. Its node, when that was its last, stays
// as the name of those below it.
func (t *Table) Forget(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.nodes[id]
	if n == nil || n.fixed && !n.kept {
		return
	}
	delete(t.nodes, id)
	if n.handles--; n.handles > 0 {
		return
	}
	t.unnameLocked(n)
	t.closeLocked(n)
}

// unnameLocked has Bind not find n any more.
func (t *Table) unnameLocked(n *Node) {
	if at := (place{n.parent, n.name}); t.names[at] == n {
		delete(t.names, at)
	}
}

// Moved says that what was name in from, perhaps the node of handle id, is now
// newName in to. All but from and to may be wrong.
func (t *Table) Moved(id uint64, from *Node, name string, to *Node, newName string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.nodes[id]; n != nil && n.parent == from && n.name == name && !n.fixed {
		t.unnameLocked(n)
		n.parent, n.name = to, newName
		t.names[place{to, newName}] = n
	}
}

// Relieve closes half of the descriptors that can be opened again, and keeps no
// more than that from then on: the process has run into its limit. It says
// whether that can have helped.
func (t *Table) Relieve() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.open
	t.limits.Open = before / 2
	t.shrinkLocked()
	return t.open < before
}

// Close closes every descriptor. Nothing may be pinned.
func (t *Table) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, n := range t.nodes {
		delete(t.nodes, id)
		n.handles = 0
		t.unnameLocked(n)
		t.closeLocked(n)
	}
}

// FD is the descriptor, while n is pinned.
func (n *Node) FD() int { return n.fd }

// ReadOnly says that nothing in n's tree may change.
func (n *Node) ReadOnly() bool { return n.readOnly }

// Attach is the number of n's attach point.
func (n *Node) Attach() int { return n.attach }

// Directory says that n is one.
func (n *Node) Directory() bool { return n.dir }

// Place pins the directory that n has its name in and gives both; nil if it has
// none. The caller ends it with Unpin.
func (t *Table) Place(n *Node) (*Node, string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := n.parent
	if p == nil {
		return nil, "", nil
	}
	if p.fd < 0 {
		if err := t.reopenLocked(p); err != nil {
			return nil, "", err
		}
	}
	p.pins++
	return p, n.name, nil
}
