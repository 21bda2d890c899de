package inet

import (
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
)

// Whatever place netd names, nothing beyond what there is is read.
func TestUrgent_wildPlaces(t *testing.T) {
	const have = 10
	for _, at := range []uint64{0, 1, 9, 10, 11, 1 << 40, 1<<64 - 1} {
		for _, place := range []uint64{0, 1, 9, 1 << 40, 1<<64 - 5} {
			for _, inline := range []bool{false, true} {
				var u urgent
				if n := u.mark(at, place, have, inline); n != 0 {
					t.Errorf("a first mark drops %d bytes", n)
				}
				if n := u.before(place); n < 0 {
					t.Errorf("at %d, place %d: %d bytes before it", at, place, n)
				}
				if n := u.hole(place, have, inline) + u.mark(at, place, have, inline); n < 0 || n > 2 {
					t.Errorf("at %d, place %d: %d bytes passed over", at, place, n)
				}
				if n := u.unread(place, have, inline); n < 0 || n > have {
					t.Errorf("at %d, place %d: %d bytes unread", at, place, n)
				}
				u.receive(&socket.Msg{Data: [][]byte{{0}}, Flags: linux.MSG_PEEK}, place, have, inline, false, func(off int) byte {
					if off < 0 || off >= have {
						t.Errorf("at %d, place %d: byte %d of %d", at, place, off, have)
					}
					return 0
				})
			}
		}
	}
}

// An urgent byte that reading has come to goes when the next is announced, if that is not
// the first thing behind it that comes: tcp_check_urg.
func TestUrgent_nextAtTheMark(t *testing.T) {
	for _, c := range []struct {
		have   int
		inline bool
		drop   int
	}{{1, false, 1}, {0, false, 0}, {1, true, 0}} {
		u := urgent{marked: true, at: 7}
		if drop := u.mark(9, 7, c.have, c.inline); drop != c.drop || !u.marked || !u.present || u.at != 9 {
			t.Errorf("%d bytes, inline %v: %d dropped, %+v", c.have, c.inline, drop, u)
		}
	}
}
