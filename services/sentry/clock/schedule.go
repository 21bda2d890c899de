package clock

import "bulkhead/proto/linux"

// Setting is what a timer is armed with, or what remains of that: struct
// itimerspec of timer_settime(2). Value 0 disarms.
type Setting struct {
	Value    Time // until the first expiry; with Absolute a point on the clock
	Interval Time // between the further ones; 0 is one expiry only
	Absolute bool
}

// Parse reads spec; EINVAL for what is no time.
func Parse(spec linux.Itimerspec, absolute bool) (Setting, error) {
	if !spec.Value.Valid() || !spec.Interval.Valid() {
		return Setting{}, linux.EINVAL
	}
	return Setting{Of(spec.Value), Of(spec.Interval), absolute}, nil
}

// Itimerspec is s as the guest sees it.
func (s Setting) Itimerspec() linux.Itimerspec {
	return linux.Itimerspec{Interval: s.Interval.Timespec(), Value: s.Value.Timespec()}
}

// Schedule is when a timer expires. It has no clock, no lock and no goroutine.
//
//	next == 0: disarmed
//	next is otherwise the first expiry that Take has not counted
type Schedule struct {
	next     Time
	interval Time
}

// Set arms or disarms at time now.
func (s *Schedule) Set(now Time, to Setting) {
	*s = Schedule{}
	if to.Value <= 0 {
		return
	}
	s.interval = to.Interval
	if to.Absolute {
		s.next = to.Value
	} else {
		s.next = max(now, 1).Add(to.Value.duration())
	}
}

// Remaining is what timer_gettime(2) tells: the time to the next expiry, which
// is at least 1 ns while the timer is armed, and the interval. Of an interval
// timer whose expiries nobody took, it is the time to the next one to come.
func (s *Schedule) Remaining(now Time) Setting {
	if s.next == 0 {
		return Setting{}
	}
	at := s.next
	if at <= now {
		if s.interval == 0 {
			return Setting{}
		}
		at = s.after(now)
	}
	return Setting{Value: max(at-now, 1), Interval: s.interval}
}

// Next is the next expiry that was not taken, Never if there is none.
func (s *Schedule) Next() Time {
	if s.next == 0 {
		return Never
	}
	return s.next
}

// Due says that an expiry waits to be taken.
func (s *Schedule) Due(now Time) bool { return s.next != 0 && s.next <= now }

// Take counts the expiries up to now and moves on to the next one; a timer
// without an interval is disarmed by its only one.
func (s *Schedule) Take(now Time) (n uint64) {
	if !s.Due(now) {
		return 0
	}
	if s.interval == 0 {
		s.next = 0
		return 1
	}
	n = uint64((now-s.next)/s.interval) + 1
	s.next = s.after(now)
	return n
}

// after is the first expiry later than now, of an interval timer that is due.
func (s *Schedule) after(now Time) Time {
	return s.next.Add(((now - s.next) / s.interval * s.interval).duration()).Add(s.interval.duration())
}
