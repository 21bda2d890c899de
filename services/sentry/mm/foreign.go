package mm

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"

	"bulkhead/services/sentry/platform"
)

// Outside of the lease's stretch the stub changes what is ours to change, at addresses
// that are given: pieces of a reservation, most of all. The sentry tells it where anything
// else lies, in a few spans, and brings the list of regions to what the stub has logged,
// when it takes the lease's lock.

const (
	// Who has more regions than mostRegions asks about each change outside of the stretch:
	// to bring so long a list to a whole log takes long, and a guest can make up logs.
	mostRegions = 4096
	// refreshAfter is how many calls come to the sentry only because a span is wider than
	// what is foreign there, before the spans are found anew.
	refreshAfter = 32
)

// span is a stretch of addresses.
type span struct{ start, end Addr }

// foreigns is what a lease knows of the spans that the stub keeps off.
type foreigns struct {
	spans   []span // in order, apart from each other
	shut    bool   // everything is foreign
	blocked int    // calls that came because of a span, and need not have
}

// own says whether the stub may change r outside of the stretch: what a change in the log
// leaves of it is found from it and the call alone.
func (r Region) own() bool {
	r.Name = ""
	return r.plain()
}

// replay brings the list of regions to what the stub has logged. The lease's lock is
// held. An entry that none but a guest writes changes nothing.
func (s *Space) replay() {
	changed := s.regions.changed
	s.lease.Log(func(c platform.LeaseChange) {
		if !s.ours(c.Start, c.End) || s.lease.shut || len(s.regions.All()) > mostRegions+4*platform.LeaseLogSize {
			return
		}
		switch c.Call {
		case unix.SYS_MMAP:
			s.regions.Insert(Region{Start: c.Start, End: c.End, Prot: c.Prot})
		case unix.SYS_MUNMAP:
			s.regions.Remove(c.Start, c.End)
		case unix.SYS_MPROTECT:
			s.regions.Update(c.Start, c.End, func(r *Region) { r.Prot = c.Prot })
		}
	})
	s.regions.changed = changed // the stub knows
}

// ours says whether all of [start, end) lies outside of the stretch, and nothing in it is
// foreign.
func (s *Space) ours(start, end Addr) bool {
	if l := s.lease; start < l.top && l.low < end {
		return false
	}
	for _, r := range s.regions.Overlap(start, end) {
		if !r.own() {
			return false
		}
	}
	return true
}

// tellOutside tells the stub what has become foreign in [start, end). The lease's lock is
// held. What is foreign no more stays in its span: refresh.
func (s *Space) tellOutside(start, end Addr) {
	l := s.lease
	if n := len(s.regions.All()); n > mostRegions || l.shut {
		if !l.shut || n < mostRegions/2 {
			s.refresh()
		}
		return
	}
	was := len(l.spans)
	for _, r := range s.regions.Overlap(start, end) {
		if !r.own() && !l.inSpan(r.Start, r.End) {
			l.spans = append(l.spans, span{r.Start, r.End})
		}
	}
	if len(l.spans) > was {
		l.spans = fewer(l.spans, platform.LeaseForeigns)
		l.publishSpans()
	}
}

// inSpan says whether a span holds all of [start, end).
func (l *lease) inSpan(start, end Addr) bool {
	return slices.ContainsFunc(l.spans, func(f span) bool { return f.start <= start && end <= f.end })
}

// refresh finds the spans anew. The lease's lock is held for a change, or the stub does
// not know of the lease yet.
func (s *Space) refresh() {
	l := s.lease
	l.blocked, l.spans = 0, l.spans[:0]
	if l.shut = len(s.regions.All()) > mostRegions; l.shut {
		l.spans = append(l.spans, span{0, GuestTop})
	} else {
		for _, r := range s.regions.All() {
			if !r.own() {
				l.spans = append(l.spans, span{r.Start, r.End})
			}
		}
		l.spans = fewer(l.spans, platform.LeaseForeigns)
	}
	l.publishSpans()
}

// asked takes note of a call on memory that is the stub's to change, [start, end). The
// lease's lock is held for th, if there is a lease.
func (s *Space) asked(th *platform.Thread, start, end Addr) {
	if !s.delegable(start, end) {
		return
	}
	s.couldSpare(th, 0)
	l := s.lease
	if l == nil || l.shut || !slices.ContainsFunc(l.spans, func(f span) bool { return f.start < end && start < f.end }) {
		return
	}
	if l.blocked++; l.blocked >= refreshAfter {
		s.refresh()
	}
}

func (l *lease) publishSpans() {
	var out [platform.LeaseForeigns][2]uint64
	for i, f := range l.spans {
		out[i] = [2]uint64{f.start, f.end}
	}
	l.Foreign(out[:len(l.spans)])
}

// fewer puts spans into order, and makes most at most of them by closing the smallest of
// the gaps between.
func fewer(spans []span, most int) []span {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	spans = join(spans, 0)
	if len(spans) <= most {
		return spans
	}
	gaps := make([]uint64, 0, len(spans))
	for i := 1; i < len(spans); i++ {
		gaps = append(gaps, spans[i].start-spans[i-1].end)
	}
	slices.Sort(gaps)
	return join(spans, gaps[len(gaps)-most])
}

// join closes the gaps of at most so many bytes between spans, which are in order.
func join(spans []span, gap uint64) []span {
	out := spans[:0]
	for _, f := range spans {
		if n := len(out); n > 0 && f.start <= out[n-1].end+gap {
			out[n-1].end = max(out[n-1].end, f.end)
			continue
		}
		out = append(out, f)
	}
	return out
}
