package stack

import (
	"container/heap"
	"time"

	"bulkhead/services/netd/tcp"
)

// timerHeap orders connections by their deadline; a connection without one is
// not in it.
type timerHeap []*TCP

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].deadline < h[j].deadline }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapAt, h[j].heapAt = i, j
}
func (h *timerHeap) Push(x any) {
	e := x.(*TCP)
	e.heapAt = len(*h)
	*h = append(*h, e)
}
func (h *timerHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.heapAt = -1
	return e
}

// schedule sets e's deadline.
func (s *Stack) schedule(e *TCP, at tcp.Time) {
	switch {
	case e.heapAt < 0 && at == tcp.Never:
	case e.heapAt < 0:
		e.deadline = at
		heap.Push(&s.timers, e)
	case at == tcp.Never:
		heap.Remove(&s.timers, e.heapAt)
	case at != e.deadline:
		e.deadline = at
		heap.Fix(&s.timers, e.heapAt)
	}
}

// setClock makes the clock fire at the earliest deadline at the latest. It may
// fire too early, which costs little beside setting it anew each time.
func (s *Stack) setClock() {
	at := s.chores()
	if len(s.timers) > 0 {
		at = min(at, s.timers[0].deadline)
	}
	if at == tcp.Never || s.closed {
		return
	}
	if at < s.armed {
		s.armed = at
		s.clock.Reset(time.Duration(max(at-s.now, 0)))
	}
}

// Alarm is how long it is until the clock fires; false: it is not set.
func (s *Stack) Alarm() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.armed == tcp.Never {
		return 0, false
	}
	return max(time.Duration(s.armed)-time.Since(s.start), 0), true
}

// tick is the clock's callback.
func (s *Stack) tick() {
	s.enter()
	defer s.leave()
	s.armed = tcp.Never
	s.chore()
	for len(s.timers) > 0 && s.timers[0].deadline <= s.now && !s.closed {
		e := s.timers[0]
		e.process(nil)
		if len(s.timers) > 0 && s.timers[0] == e && e.deadline <= s.now {
			s.schedule(e, s.now+tcp.Millisecond) // a machine that does not move on
		}
	}
}
