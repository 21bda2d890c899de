package vfs

import (
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
)

// busy counts, by Node, who has a regular file open for writing (above 0) or runs
// it (below): ETXTBSY keeps one from the other. What nobody has is not in it.
var busy struct {
	sync.Mutex
	files map[Node]int
}

// beginWrite counts a writer in: ETXTBSY while a program is run from the file.
func beginWrite(n Node) error {
	err := count(n, 1)
	if err == nil {
		unforesee(n)
	}
	return err
}

// endWrite counts it out.
func endWrite(n Node) { uncount(n, 1) }

// count adds by to n's count, whose sign it must share.
func count(n Node, by int) error {
	busy.Lock()
	defer busy.Unlock()
	if busy.files == nil {
		busy.files = make(map[Node]int)
	}
	if busy.files[n]*by < 0 {
		return linux.ETXTBSY
	}
	busy.files[n] += by
	return nil
}

// writers is how many have n open for writing.
func writers(n Node) int {
	busy.Lock()
	defer busy.Unlock()
	return max(busy.files[n], 0)
}

func uncount(n Node, by int) {
	busy.Lock()
	defer busy.Unlock()
	if busy.files[n] -= by; busy.files[n] == 0 {
		delete(busy.files, n)
	}
}

// Text is a file that a program is run from: until the last reference is given
// back it cannot be opened for writing, or truncated (ETXTBSY of open(2)).
type Text struct {
	node Node
	refs atomic.Int64
}

// RunFrom gives a Text with one reference: ETXTBSY if somebody has the file open
// for writing, as execve(2) has it.
func RunFrom(p Path) (*Text, error) {
	if err := count(p.Node(), -1); err != nil {
		return nil, err
	}
	t := &Text{node: p.Node()}
	t.refs.Store(1)
	return t, nil
}

// IncRef takes a reference; the caller has one already. A nil Text is of nothing.
func (t *Text) IncRef() *Text {
	if t != nil {
		t.refs.Add(1)
	}
	return t
}

// DecRef gives one back.
func (t *Text) DecRef() {
	if t != nil && t.refs.Add(-1) == 0 {
		uncount(t.node, -1)
	}
}
