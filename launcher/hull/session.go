package hull

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// leaveTerminal gives up the controlling terminal that the launcher may have: what the
// guest reads from it is not the job control's matter, and its keys are the launcher's.
//
// A session of the service's own would do that too. But Linux schedules each session as
// a group (sched(7), autogroup), and sched_yield(2) gives way within a group only: sentry
// and netd, or sentry and gofer, on one core would look around in each other's way.
func leaveTerminal() error {
	tty, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	switch err {
	case nil:
	case unix.ENXIO, unix.ENOENT: // it has none
		return nil
	default:
		return fmt.Errorf("open the controlling terminal: %w", err)
	}
	defer unix.Close(tty)
	if err := unix.IoctlSetInt(tty, unix.TIOCNOTTY, 0); err != nil {
		return fmt.Errorf("leave the controlling terminal: %w", err)
	}
	return nil
}
