package epoll

import (
	"sync"

	"bulkhead/proto/linux"
)

// maxNesting is how many steps there may be from an epoll down to the innermost
// one that stands in it.
const maxNesting = 4

// nesting is held while one epoll is added to another, so that two additions
// cannot make a circle together.
var nesting sync.Mutex

func (ep *Epoll) addNested(k key, inner *Epoll, ev linux.EpollEvent) error {
	nesting.Lock()
	defer nesting.Unlock()
	down, circle := depth{}.below(inner, ep)
	if circle || height(ep, depth{})+1+down > maxNesting {
		return linux.ELOOP
	}
	if err := ep.add(k, ev); err != nil {
		return err
	}
	inner.above.Lock()
	inner.above.in[ep]++
	inner.above.Unlock()
	return nil
}

// leave undoes one addition of ep to outer.
func (ep *Epoll) leave(outer *Epoll) {
	ep.above.Lock()
	defer ep.above.Unlock()
	if ep.above.in[outer]--; ep.above.in[outer] <= 0 {
		delete(ep.above.in, outer)
	}
}

// depth remembers what was measured, so that no epoll is looked at twice.
type depth map[*Epoll]int

// below is the number of steps from ep down, and whether avoid stands there.
func (d depth) below(ep, avoid *Epoll) (steps int, found bool) {
	if ep == avoid {
		return 0, true
	}
	if n, ok := d[ep]; ok {
		return n, false
	}
	for _, inner := range ep.nested() {
		n, found := d.below(inner, avoid)
		if found {
			return 0, true
		}
		steps = max(steps, n+1)
	}
	d[ep] = steps
	return steps, false
}

// nested lists the epolls in ep.
func (ep *Epoll) nested() (list []*Epoll) {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	for k := range ep.items {
		if inner, ok := k.file.Impl().(*Epoll); ok {
			list = append(list, inner)
		}
	}
	return list
}

// height is the number of steps from ep up.
func height(ep *Epoll, seen depth) (steps int) {
	if n, ok := seen[ep]; ok {
		return n
	}
	ep.above.Lock()
	outer := make([]*Epoll, 0, len(ep.above.in))
	for o := range ep.above.in {
		outer = append(outer, o)
	}
	ep.above.Unlock()
	for _, o := range outer {
		steps = max(steps, height(o, seen)+1)
	}
	seen[ep] = steps
	return steps
}
