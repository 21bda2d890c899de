package jail

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// LimitProcess sets what a service may use: no core files, which would hold the
// guest's data, and as many descriptors as its hard limit gives.
func LimitProcess() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("limit core files: %w", err)
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("read descriptor limit: %w", err)
	}
	files.Cur = files.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("raise descriptor limit: %w", err)
	}
	return nil
}

// CloseOnExecFrom marks every descriptor from first on close-on-exec, so that a
// program that is started next inherits only what it is given.
func CloseOnExecFrom(first int) error {
	if err := unix.CloseRange(uint(first), ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("mark descriptors close-on-exec: %w", err)
	}
	return nil
}
