package tty

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// OpenControlling opens the caller's controlling terminal: /dev/tty. ENXIO if it
// has none.
func OpenControlling(procs Processes) vfs.DeviceOpener {
	return func(ctx vfs.Context, _ vfs.Node, _ uint64, flags linux.OpenFlags) (vfs.Impl, error) {
		if procs == nil {
			return nil, linux.ENXIO
		}
		t := procs.Job(ctx).Terminal
		if t == nil {
			return nil, linux.ENXIO
		}
		return t.device.OpenTerminal(ctx, flags|linux.O_NOCTTY)
	}
}
