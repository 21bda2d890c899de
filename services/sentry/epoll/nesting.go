package epoll

import (
	"maps"
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
	inner.above.Lock()
	inner.above.in[ep]++
	inner.above.Unlock()
	if err := ep.add(k, ev); err != nil {
		inner.leave(ep)
		return err
	}
	if !wayFree(inner, map[*Epoll]bool{}) {
		ep.remove(k)
		return linux.EINVAL
	}
	return nil
}

// maxWays bounds, by the number of steps, the ways that lead from an epoll up to those
// that stand in none. A change of a file goes all of them, and without a bound they
// would multiply with each step. They are path_limits of Linux's fs/eventpoll.c, which
// also has the file's own step.
var maxWays = ways{1: 500, 2: 100, 3: 50, 4: 10}

// wayFree says whether neither ep nor any epoll below it, but for those that were seen,
// has too many ways up.
func wayFree(ep *Epoll, seen map[*Epoll]bool) bool {
	if seen[ep] {
		return true
	}
	seen[ep] = true
	if left := maxWays; !left.climb(ep, 0) {
		return false
	}
	for _, inner := range ep.nested() {
		if !wayFree(inner, seen) {
			return false
		}
	}
	return true
}

// ways is how many ways of each number of steps there may yet be.
type ways [maxNesting + 1]int

// climb takes those off that lead up by ep, which is so many steps up; false: there are
// more.
func (w *ways) climb(ep *Epoll, steps int) bool {
	outer := ep.outer()
	if len(outer) == 0 {
		w[steps]--
		return steps == 0 || w[steps] >= 0
	}
	for o, times := range outer {
		for range times {
			if steps == maxNesting || !w.climb(o, steps+1) {
				return false
			}
		}
	}
	return true
}

// outer is a copy of what ep stands in, with how often.
func (ep *Epoll) outer() map[*Epoll]int {
	ep.above.Lock()
	defer ep.above.Unlock()
	return maps.Clone(ep.above.in)
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
	for o := range ep.outer() {
		steps = max(steps, height(o, seen)+1)
	}
	seen[ep] = steps
	return steps
}
