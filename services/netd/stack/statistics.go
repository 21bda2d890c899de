package stack

import (
	"maps"
	"net/netip"

	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/tcp"
	"bulkhead/services/netd/wire"
)

// CountLocked counts something that the owner did.
func (s *Stack) CountLocked(k mib.Counter) { s.counts.Inc(k) }

// StatisticsLocked are the counters by their names: see package mib. One that is
// missing is 0.
func (s *Stack) StatisticsLocked() map[string]uint64 {
	all := s.counts.All()
	// What was sent again does not count among what was sent: RFC 4022.
	all[mib.TCPOutSegs.Name()] -= all[mib.TCPRetransSegs.Name()]
	for _, e := range s.conns {
		if st := e.conn.State(); st == tcp.Established || st == tcp.CloseWait {
			all["TcpCurrEstab"]++
		}
	}
	forwarding := map[bool]uint64{true: 1, false: 2}
	all["IpForwarding"], all["IpDefaultTTL"] = forwarding[s.forward4], uint64(s.defaultHops())
	return all
}

// GroupsLocked are the multicast groups that an interface listens to, by how many
// joined: those of its own count once.
func (s *Stack) GroupsLocked(index int) map[netip.Addr]int {
	i := s.iface(index)
	if i == nil {
		return nil
	}
	all := map[netip.Addr]int{allSystems: 0, wire.AllNodes: 0, allNodesHere: 0}
	for _, a := range i.Addresses {
		if a.Addr().Is6() && i.ether {
			all[wire.SolicitedNode(a.Addr())] = 0
		}
	}
	for group := range all {
		all[group] = 1
	}
	for group, n := range maps.All(i.groups) {
		all[group] += n
	}
	return all
}

// tally counts what became of the connection: RFC 4022.
func (e *TCP) tally() {
	was, now := e.was, e.conn.State()
	if was == now {
		return
	}
	e.was = now
	n := &e.s.counts
	embryo := was == 0 || was == tcp.SynReceived
	switch {
	case embryo && e.parent != nil && e.conn.Synchronized():
		n.Inc(mib.TCPPassiveOpens)
	case now != tcp.Closed:
	case embryo || was == tcp.SynSent:
		n.Inc(mib.TCPAttemptFails)
		if e.parent != nil && e.conn.Cause() == tcp.Refused {
			n.Inc(mib.EmbryonicRsts)
		}
	case was == tcp.Established || was == tcp.CloseWait:
		n.Inc(mib.TCPEstabResets)
	}
}
