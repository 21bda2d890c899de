package vfs

import (
	"sync"

	"bulkhead/proto/linux"
)

// FifoOpener makes what stands behind an open FIFO: fifo(7). It may block. The
// pipe package sets it before anything is opened.
var FifoOpener func(ctx Context, node Node, flags linux.OpenFlags) (Impl, error)

// DeviceOpener makes what stands behind an open device.
type DeviceOpener func(ctx Context, node Node, rdev uint64, flags linux.OpenFlags) (Impl, error)

// DeviceGate says whether ctx may use a device of that type and number, which mode and rdev
// have, for what mask asks, or make it if that is 0: EPERM. Set at start-up; nil: always.
var DeviceGate func(ctx Context, mode uint32, rdev uint64, mask uint32) error

// mayUseDevice asks it.
func mayUseDevice(ctx Context, mode uint32, rdev uint64, mask uint32) error {
	if DeviceGate == nil {
		return nil
	}
	return DeviceGate(ctx, mode, rdev, mask)
}

type deviceRange struct {
	major, minor, minors uint32
	open                 DeviceOpener
}

var devices struct {
	mu     sync.RWMutex
	ranges []deviceRange
}

// RegisterDevice says what a character device of that number is, wherever its
// node is (but on a nodev mount): minors many, from minor on.
func RegisterDevice(major, minor, minors uint32, open DeviceOpener) {
	devices.mu.Lock()
	devices.ranges = append(devices.ranges, deviceRange{major, minor, minors, open})
	devices.mu.Unlock()
}

// openDevice opens a character device; the node's own Opener is asked for what
// nobody has registered.
func openDevice(ctx Context, node Node, rdev uint64, flags linux.OpenFlags) (Impl, error) {
	major, minor := linux.Major(rdev), linux.Minor(rdev)
	devices.mu.RLock()
	var open DeviceOpener
	for _, r := range devices.ranges {
		if r.major == major && minor-r.minor < r.minors {
			open = r.open
			break
		}
	}
	devices.mu.RUnlock()
	if open != nil {
		return open(ctx, node, rdev, flags)
	}
	if o, ok := node.(Opener); ok {
		return o.Open(ctx, flags)
	}
	return nil, linux.ENXIO
}
