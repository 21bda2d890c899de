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
	var left []span
	*s = slices.DeleteFunc(*s, func(o span) bool {
		if o.last < l.first || o.first > l.last || o.owner != l.owner {
			return false
		}
		if o.first < l.first {
			left = append(left, o)
			left[len(left)-1].last = l.first - 1
		}
		if o.last > l.last {
			left = append(left, o)
			left[len(left)-1].first = l.last + 1
		}
		return true
	})
	for _, o := range left {
		s.insert(o)
	}
}

// set gives l to its owner, who had no conflict, in place of what they had in
// its range, and joins it with neighbours of its kind.
func (s *lockSet) set(l span) {
	s.clear(l)
	from, to := l.first, l.last // what a neighbour reaches at least
	if from > 0 {
		from--
	}
	if to < maxOffset {
		to++
	}
	*s = slices.DeleteFunc(*s, func(o span) bool {
		if o.last < from || o.first > to || o.owner != l.owner || o.write != l.write {
			return false
		}
		l.first, l.last = min(l.first, o.first), max(l.last, o.last)
		return true
	})
	s.insert(l)
}

// insert puts l in its place. A guest can have very many locks, of which all but a few
// stay where they are.
func (s *lockSet) insert(l span) {
	at, _ := slices.BinarySearchFunc(*s, l.first, func(o span, first int64) int {
		if o.first <= first {
			return -1
		}
		return 1
	})
	*s = slices.Insert(*s, at, l)
}

// clearOwner takes all of an owner's locks.
func (s *lockSet) clearOwner(owner any) {
	*s = slices.DeleteFunc(*s, func(o span) bool { return o.owner == owner })
}

// has says whether an owner has any lock.
func (s lockSet) has(owner any) bool {
	return slices.ContainsFunc(s, func(o span) bool { return o.owner == owner })
}
