package spawn

import (
	"fmt"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/hull"
)

// slacken gives the calling thread a long timer slack, which a service takes over from
// it, from its first thread on: prctl(2).
func slacken() error {
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(hull.TimerSlack.Nanoseconds()), 0, 0, 0); err != nil {
		return fmt.Errorf("set timer slack: %w", err)
	}
	return nil
}
