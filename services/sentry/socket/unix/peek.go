package unix

import (
	"bulkhead/proto/linux"
)

// receivedLocked moves SO_PEEK_OFF back by what was taken.
func (s *Socket) receivedLocked(in *incoming, n int) {
	if !in.peek {
		s.Received(0, n)
	}
}

// peekOnLocked is a peek under SO_PEEK_OFF: it passes over so many bytes of what waits,
// and then over what it has seen. false says that all of it has been seen.
func (s *Socket) peekOnLocked(in *incoming) (n int, seen bool) {
	off := s.PeekOffset()
	for m := s.mu.inbox.head; m != nil; m = m.next {
		if off >= len(m.data) && (s.stream() || off > 0) {
			off -= len(m.data)
			continue
		}
		if !seen {
			in.creds, in.from, in.whole = m.creds, m.from, len(m.data)-off
		} else if in.wantCreds && m.creds != in.creds {
			break
		}
		k := in.write(m.data[off:])
		n, seen = n+k, true
		in.takeFiles(m)
		if !s.stream() {
			in.truncated = k < in.whole
			break
		}
		if k < len(m.data)-off || len(in.files) > 0 {
			break
		}
		off = 0
	}
	s.Received(linux.MSG_PEEK, n)
	return n, seen
}
