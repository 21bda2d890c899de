package stack

import (
	"net/netip"

	"bulkhead/services/netd/wire"
)

// membershipChanged has the routers told.
func (i *iface) membershipChanged(group netip.Addr) {}

// inputIGMP takes a message of group management.
func (i *iface) inputIGMP(a *arrival) {}

// inputMLD takes a message of listener discovery.
func (i *iface) inputMLD(a *arrival, h wire.ICMP, body []byte) {}
