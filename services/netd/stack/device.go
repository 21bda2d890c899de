package stack

import (
	"net/netip"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/link"
)

// InterfaceConfig describes an interface to the outside.
type InterfaceConfig struct {
	Name      string
	Index     int // as the guest sees it; 0: the next one
	Addresses []netip.Prefix
	Device    link.Device
}

// AddInterface adds an interface, and begins to receive from its device. Routes
// to the networks of its addresses come with it; others are AddRoute's matter.
func (s *Stack) AddInterface(c InterfaceConfig) (index int, err error) {
	return 0, linux.EOPNOTSUPP
}
