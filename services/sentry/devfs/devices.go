// Package devfs is what is behind the nodes of /dev: the memory devices of
// mem(4), null(4), random(4), and the usual names for them in a fresh tmpfs.
//
// Devices are found by number, so that a node that a container brings along, or
// makes with mknod(2), is the same device.
package devfs

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/tty"
	"bulkhead/services/sentry/vfs"
)

// Major numbers: devices.txt of the kernel.
const (
	majorMemory = 1
	majorTTY    = 5
	majorMisc   = 10
	minorTun    = 200
)

// RegisterTun says what opens /dev/net/tun: ENODEV if nothing does.
func RegisterTun(open func(ctx vfs.Context) (vfs.Impl, error)) {
	vfs.RegisterDevice(majorMisc, minorTun, 1,
		func(ctx vfs.Context, _ vfs.Node, _ uint64, _ linux.OpenFlags) (vfs.Impl, error) { return open(ctx) })
}

// Register makes the devices known to vfs, once a process. procs tells who has
// which controlling terminal, for /dev/tty; console opens /dev/console, ENXIO if
// nil.
func Register(procs tty.Processes, console vfs.DeviceOpener) {
	for minor, impl := range map[uint32]vfs.Impl{
		3: null{}, 5: zero{}, 7: full{}, 8: random{}, 9: random{},
	} {
		vfs.RegisterDevice(majorMemory, minor, 1,
			func(vfs.Context, vfs.Node, uint64, linux.OpenFlags) (vfs.Impl, error) { return impl, nil })
	}
	vfs.RegisterDevice(majorTTY, 0, 1, tty.OpenControlling(procs))
	if console != nil {
		vfs.RegisterDevice(majorTTY, 1, 1, console)
	}
}

// unpositioned is a device whose position always is 0: lseek(2) says so.
type unpositioned struct{}

func (unpositioned) Release() {}

// Seek implements vfs.Seeker.
func (unpositioned) Seek(vfs.Context, int64, int64, int) (int64, error) { return 0, nil }

// null is /dev/null: empty, and takes everything.
type null struct{ unpositioned }

func (null) ReadAt(vfs.Context, []byte, int64) (int, error) { return 0, nil }
func (null) WriteAt(_ vfs.Context, p []byte, _ int64) (int, int64, error) {
	return len(p), 0, nil
}

// zero is /dev/zero. Mapped, it is anonymous memory.
type zero struct{ unpositioned }

func (zero) ReadAt(_ vfs.Context, p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}
func (zero) WriteAt(_ vfs.Context, p []byte, _ int64) (int, int64, error) {
	return len(p), 0, nil
}

// MapAnonymous implements vfs.AnonymousMapper.
func (zero) MapAnonymous() {}

// full is /dev/full: zeros, and no space.
type full struct{ unpositioned }

func (full) ReadAt(_ vfs.Context, p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}
func (full) WriteAt(vfs.Context, []byte, int64) (int, int64, error) { return 0, 0, linux.ENOSPC }
