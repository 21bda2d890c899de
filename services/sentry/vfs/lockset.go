package vfs

import (
	"math"
	"slices"
)

// span is a locked range of bytes, from first to last inclusive.
type span struct {
	first, last int64
	write       bool
	owner       any // comparable: processOwner or *File
	pid         int32
}

const maxOffset = math.MaxInt64

// lockSet is the record locks of one file, by first byte. Those of one owner
// neither overlap nor touch if they are of one kind: fcntl_locking(2).
type lockSet []span

// conflict gives a lock of another owner that keeps l from being taken.
func (s lockSet) conflict(l span) (span, bool) {
	for _, o := range s {
		if o.first > l.last {
			break
		}
		if o.last >= l.first && o.owner != l.owner && (o.write || l.write) {
			return o, true
		}
	}
	return span{}, false
}

// of gives a lock that l's owner has in l's range.
func (s lockSet) of(l span) (span, bool) {
	for _, o := range s {
		if o.owner == l.owner && o.last >= l.first && o.first <= l.last {
			return o, true
		}
	}
	return span{}, false
}

// clear takes l's range from its owner's locks, splitting them where needed.
func (s *lockSet) clear(l span) {
	var out lockSet
	for _, o := range *s {
		if o.owner != l.owner || o.last < l.first || o.first > l.last {
			out = append(out, o)
			continue
		}
		if o.first < l.first {
			left := o
			left.last = l.first - 1
			out = append(out, left)
		}
		if o.last > l.last {
			right := o
			right.first = l.last + 1
			out = append(out, right)
		}
	}
	out.sort()
	*s = out
}

// set gives l to its owner, who had no conflict, in place of what they had in
// its range, and joins it with neighbours of its kind.
func (s *lockSet) set(l span) {
	s.clear(l)
	out := (*s)[:0]
	for _, o := range *s {
		touches := o.owner == l.owner && o.write == l.write &&
			(o.last == maxOffset || o.last+1 >= l.first) && (l.last == maxOffset || l.last+1 >= o.first)
		if touches {
			l.first, l.last = min(l.first, o.first), max(l.last, o.last)
			continue
		}
		out = append(out, o)
	}
	out = append(out, l)
	out.sort()
	*s = out
}

func (s lockSet) sort() {
	slices.SortStableFunc(s, func(a, b span) int {
		switch {
		case a.first < b.first:
			return -1
		case a.first > b.first:
			return 1
		}
		return 0
	})
}

// clearOwner takes all of an owner's locks.
func (s *lockSet) clearOwner(owner any) {
	*s = slices.DeleteFunc(*s, func(o span) bool { return o.owner == owner })
}

// has says whether an owner has any lock.
func (s lockSet) has(owner any) bool {
	return slices.ContainsFunc(s, func(o span) bool { return o.owner == owner })
}
