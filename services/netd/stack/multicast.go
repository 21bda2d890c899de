package stack

import (
	"net/netip"

	"bulkhead/services/netd/wire"
)

// listens says whether the interface takes packets to a group.
func (i *iface) listens(group netip.Addr) bool {
	if i.groups[group] > 0 {
		return true
	}
	if group.Is4() {
		return group == allSystems
	}
	if group == wire.AllNodes || group == allNodesHere {
		return true
	}
	for _, p := range i.Addresses {
		if p.Addr().Is6() && wire.SolicitedNode(p.Addr()) == group {
			return true
		}
	}
	return false
}

// Groups that every host listens to: RFC 1112, section 4; RFC 4291, 2.8.
var (
	allSystems   = netip.AddrFrom4([4]byte{224, 0, 0, 1})
	allNodesHere = netip.MustParseAddr("ff01::1")
)

// inputIGMP takes a message of group management.
func (i *iface) inputIGMP(a *arrival) {}

// inputMLD takes a message of listener discovery.
func (i *iface) inputMLD(a *arrival, h wire.ICMP, body []byte) {}

// conflict says whether somebody else answers for an address that we are about
// to use.
func (i *iface) conflict(target netip.Addr) bool { return false }
