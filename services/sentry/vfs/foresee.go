package vfs

import (
	"sync"
	"sync/atomic"
)

// Foreseer is who has told a program what is in a file, and what it is like, before the
// program asks.
type Foreseer interface {
	// Unforesee has what the program asks from when it returns on be answered anew. It takes
	// no lock that is held while a file is opened or changed.
	Unforesee()
}

// foreseen is who has told of which file.
var foreseen struct {
	n  atomic.Int32
	mu sync.Mutex
	of map[Foreseer]Node
}

// Foresee has by called before f, which is open for reading, is opened for writing or changed by its
// name, until Foresaw. False, and nothing is to be told: somebody has f open for writing, or
// listens to what happens to files. by looks at what it tells after this.
func (f *File) Foresee(by Foreseer) bool {
	if watch.Load() != nil {
		return false
	}
	node := f.path.Node()
	foreseen.mu.Lock()
	if foreseen.of == nil {
		foreseen.of = map[Foreseer]Node{}
	}
	foreseen.of[by] = node
	foreseen.n.Store(int32(len(foreseen.of)))
	foreseen.mu.Unlock()
	if writers(node) > 0 {
		Foresaw(by)
		return false
	}
	return true
}

// ReadMarker is an open file whose access time changes when it is read now.
type ReadMarker interface{ MarksRead() bool }

// MarksRead says whether reading f shows: then that is not to be done before somebody asks.
func (f *File) MarksRead() bool {
	m, ok := f.impl.(ReadMarker)
	return ok && m.MarksRead()
}

// Foresaw ends Foresee.
func Foresaw(by Foreseer) {
	foreseen.mu.Lock()
	delete(foreseen.of, by)
	foreseen.n.Store(int32(len(foreseen.of)))
	foreseen.mu.Unlock()
}

// unforesee comes before n can be written to; and, if it is changed otherwise, when it has been, before
// who has done it can say so. No lock of n's, or of a directory's, is held.
func unforesee(n Node) {
	unforeseeIf(func(of Node) bool { return of == n })
}

// UnforeseeAll is for who wants to know who has what open, or hear of what happens to it. No lock is
// held.
func UnforeseeAll() { unforeseeIf(func(Node) bool { return true }) }

func unforeseeIf(pick func(Node) bool) {
	if foreseen.n.Load() == 0 {
		return
	}
	var by []Foreseer
	foreseen.mu.Lock()
	for f, of := range foreseen.of {
		if pick(of) {
			by = append(by, f)
		}
	}
	foreseen.mu.Unlock()
	for _, f := range by {
		f.Unforesee()
	}
}
