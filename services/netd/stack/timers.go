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
		if !s.driven {
			s.clock.Reset(time.Duration(max(at-s.now, 0)))
		}
	}
}

// Drive takes the stack's clock away: from now on its owner calls Expire at the time of
// Alarm. It is called before the stack is used.
//
// A process that was kept from the processor, for a second perhaps, finds frames that
// have arrived, and deadlines that have passed meanwhile. Only its owner can see to it
// that the stack hears those who have answered before it takes them for silent.
func (s *Stack) Drive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.driven = true
	s.clock.Stop()
}

// Alarm is when Expire is to be called, Never if nothing is to be waited for.
func (s *Stack) Alarm() tcp.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.armed
}

// tick is the clock's callback.
func (s *Stack) tick() { s.Expire(s.Now()) }

// Expire does what is due. Everything that had arrived at the devices by heard has been
// given to the stack.
func (s *Stack) Expire(heard tcp.Time) {
	s.enter()
	defer s.leave()
	s.heard = max(s.heard, min(heard, s.now))
	s.armed = tcp.Never
	s.chore()
	for len(s.timers) > 0 && s.timers[0].deadline <= s.heard && !s.closed {
		e := s.timers[0]
		e.process(nil)
		if len(s.timers) > 0 && s.timers[0] == e && e.deadline <= s.heard {
			s.schedule(e, s.now+tcp.Millisecond) // a machine that does not move on
		}
	}
}
