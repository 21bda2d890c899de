package tree

import (
	"golang.org/x/sys/unix"

	"bulkhead/services/gofer/hostfd"
)

// reopenLocked opens n again, and those of its ancestors that it takes.
func (t *Table) reopenLocked(n *Node) error {
	chain := []*Node{n}
	top := n.parent
	for ; top != nil && top.fd < 0; top = top.parent {
		// A hostile peer can make a circle by moving directories that it
		// holds two handles of; the length bounds it.
		if len(chain) == maxDepth {
			return unix.ESTALE
		}
		chain = append(chain, top)
	}
	if top == nil {
		return unix.ESTALE
	}
	var err error
	for i := len(chain) - 1; i >= 0 && err == nil; i-- {
		m := chain[i]
		if err = reopen(m, top.fd); err == nil {
			t.open++
			t.pushLocked(m)
		}
		if top.handles == 0 { // forgotten: was only a step on the way
			t.closeLocked(top)
		}
		top = m
	}
	if err == nil {
		n.pins++ // shrink must leave it
		t.shrinkLocked()
		n.pins--
	} else if top.handles == 0 {
		t.closeLocked(top)
	}
	return err
}

// reopen opens m, once it is sure that it is the same file as before.
func reopen(m *Node, dir int) error {
	fd, err := hostfd.OpenPath(dir, m.name)
	if err != nil {
		if err == unix.ENOENT || err == unix.ENOTDIR {
			err = unix.ESTALE
		}
		return err
	}
	st, err := hostfd.StatFD(fd)
	if err == nil && (hostfd.Dev(&st) != m.dev || st.Ino != m.ino) {
		err = unix.ESTALE
	}
	if err != nil {
		hostfd.Close(fd)
		return err
	}
	m.fd = fd
	return nil
}

// closeLocked closes n's descriptor if nobody uses it and it is ours.
func (t *Table) closeLocked(n *Node) {
	if n.fd < 0 || n.pins > 0 || n.borrowed {
		return
	}
	if n.next != nil {
		t.dropLocked(n)
		t.open--
	}
	if n.kept {
		t.kept--
		n.kept = false
	}
	hostfd.Close(n.fd)
	n.fd = -1
}

// shrinkLocked closes the descriptors that were not used for longest.
func (t *Table) shrinkLocked() {
	for n := t.lru.prev; t.open > t.limits.Open && n != &t.lru; {
		older := n.prev
		t.closeLocked(n)
		n = older
	}
}

func (t *Table) pushLocked(n *Node) {
	n.prev, n.next = &t.lru, t.lru.next
	n.prev.next, n.next.prev = n, n
}

func (t *Table) dropLocked(n *Node) {
	n.prev.next, n.next.prev = n.next, n.prev
	n.prev, n.next = nil, nil
}
