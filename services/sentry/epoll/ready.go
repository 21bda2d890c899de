package epoll

import (
	"sync"
	"sync/atomic"
)

// readyList is a queue of items, each in it once.
type readyList struct {
	mu         sync.Mutex
	head, tail *item
	n          atomic.Int32 // changed with mu held
}

func (r *readyList) count() int { return int(r.n.Load()) }

// push puts it at the end, unless it is in the list.
func (r *readyList) push(it *item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if it.queued {
		return
	}
	it.queued, it.prev, it.next = true, r.tail, nil
	if r.tail != nil {
		r.tail.next = it
	} else {
		r.head = it
	}
	r.tail = it
	r.n.Add(1)
}

// pop takes the first, nil if there is none.
func (r *readyList) pop() *item {
	r.mu.Lock()
	defer r.mu.Unlock()
	it := r.head
	if it != nil {
		r.removeLocked(it)
	}
	return it
}

// remove takes it out, if it is in the list.
func (r *readyList) remove(it *item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if it.queued {
		r.removeLocked(it)
	}
}

func (r *readyList) removeLocked(it *item) {
	if it.prev != nil {
		it.prev.next = it.next
	} else {
		r.head = it.next
	}
	if it.next != nil {
		it.next.prev = it.prev
	} else {
		r.tail = it.prev
	}
	it.queued, it.prev, it.next = false, nil, nil
	r.n.Add(-1)
}
