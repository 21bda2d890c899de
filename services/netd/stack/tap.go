package stack

import "bulkhead/services/netd/link"

// tap shows a packet of an interface to packet sockets.
func (s *Stack) tap(i *iface, p *link.Packet, out bool) {}

// deliverRaw gives a datagram to raw sockets; wanted says that one took it.
func (s *Stack) deliverRaw(a *arrival) (wanted bool) { return false }
