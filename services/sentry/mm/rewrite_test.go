package mm

import (
	"testing"
	"time"

	"bulkhead/services/sentry/rewrite"
)

// A guest can mean to go on anywhere: where no site can be is found out at once.
func TestActual_anywhere(t *testing.T) {
	const at = 0x401000
	site := &rewrite.Site{Plan: rewrite.Plan{Shape: rewrite.Over, Len: 7}, Syscall: at, Trampoline: 0x400000}
	s := &Space{rewrites: rewrites{sites: map[Addr]*rewrite.Site{at: site}}}
	done := make(chan bool)
	go func() {
		defer close(done)
		for _, rip := range []Addr{0, 1, at, at + 7, GuestTop - 1, GuestTop, 1 << 47, 1 << 63, ^Addr(0) - 1, ^Addr(0)} {
			if got := s.Actual(rip); got != rip {
				t.Errorf("%#x: %#x", rip, got)
			}
		}
		if got := s.Actual(at + 3); got < site.Trampoline || got >= site.Trampoline+rewrite.TrampolineSize {
			t.Errorf("inside of a site: %#x", got)
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("still looking")
	}
}
