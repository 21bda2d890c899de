package inet

import (
	"encoding/binary"
	"net/netip"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/vfs"
)

// This file carries what nft(8) and iptables(8) say to the packet filter, which is
// netd's: the sentry knows nothing of rules but whether there are any.

// Socket options of iptables-legacy(8): linux/netfilter_ipv4/ip_tables.h and its
// sibling for IPv6. Reading and writing share numbers.
const (
	optReplace     = 64
	optCounters    = 65
	optInfo        = 64
	optEntries     = 65
	optMatch4      = 66
	optTarget4     = 67
	optMatch6      = 68
	optTarget6     = 69
	optOriginalDst = 80
)

// maxRules bounds the rules of one order in bytes.
const maxRules = 1 << 20

// rulesChunk is how many bytes of an order or an answer fit a request.
const rulesChunk = 48 << 10

// Netfilter has netd carry out an order about the packet filter, and gives the
// datagrams that answer it: ENETDOWN, and errors of netd's.
func (n *Network) Netfilter(op netdv1.Netfilter_Operation, v6 bool, data []byte, port uint32, admin bool) ([][]byte, error) {
	n.rules.Lock() // an order comes in pieces
	defer n.rules.Unlock()
	var all []byte
	for first := true; first || len(data) > 0; first = false {
		part := data[:min(len(data), rulesChunk)]
		data = data[len(part):]
		r, err := n.netfilter(&netdv1.Netfilter{Operation: op, Data: part, More: len(data) > 0, Port: port, Admin: admin, V6: v6})
		if err != nil {
			return nil, err
		}
		all = append(all, r.GetData()...)
		for r.GetMore() {
			if r, err = n.netfilter(&netdv1.Netfilter{Operation: netdv1.Netfilter_OPERATION_REST}); err != nil {
				return nil, err
			}
			if all = append(all, r.GetData()...); len(all) > 64*maxRules {
				return nil, linux.ENOBUFS
			}
		}
	}
	var out [][]byte
	for len(all) >= 4 {
		size := int(binary.LittleEndian.Uint32(all))
		if size > len(all)-4 {
			return nil, linux.EIO
		}
		out = append(out, all[4:4+size:4+size])
		all = all[4+size:]
	}
	return out, nil
}

// netfilter asks for one piece.
func (n *Network) netfilter(m *netdv1.Netfilter) (*netdv1.NetfilterResult, error) {
	resp, fds, err := n.call(&netdv1.Request{Op: &netdv1.Request_Netfilter{Netfilter: m}})
	closeAll(fds)
	if err != nil {
		return nil, err
	}
	if resp.Netfilter != nil {
		n.registry.screened.Store(resp.Netfilter.Active)
	}
	return resp.Netfilter, errnoOf(resp.Error)
}

// RulesMessage carries a datagram of NETLINK_NETFILTER.
func (n *Network) RulesMessage(b []byte, port uint32, admin bool) ([][]byte, error) {
	return n.Netfilter(netdv1.Netfilter_OPERATION_NETLINK, false, b, port, admin)
}

// WatchFilter has tell called with what those are to hear who have joined a group of
// NETLINK_NETFILTER: ENETDOWN.
func (n *Network) WatchFilter(tell func(group int, messages []byte)) error {
	n.filterWatcher.Store(&tell)
	_, err := n.Netfilter(netdv1.Netfilter_OPERATION_WATCH, false, nil, 0, true)
	return err
}

// rulesLevel says whether a level is that of the rules of a socket's family.
func rulesLevel(v6 bool, level int) bool {
	return level == linux.IPPROTO_IP && !v6 || level == linux.IPPROTO_IPV6 && v6
}

// Ask answers the options whose value is a question: those of iptables-legacy(8),
// of a raw socket.
func (d *Dgram) Ask(ctx vfs.Context, level, name int, asked []byte) ([]byte, bool, error) {
	if general, ok := isSourceFilter(level, name); ok {
		b, err := d.sourceFilter(ctx, level, general, asked)
		return b, true, err
	}
	if !d.raw() || !rulesLevel(d.v6, level) {
		return nil, false, nil
	}
	var op netdv1.Netfilter_Operation
	switch {
	case name == optInfo:
		op = netdv1.Netfilter_OPERATION_INFO
	case name == optEntries:
		op = netdv1.Netfilter_OPERATION_ENTRIES
	case !d.v6 && name == optMatch4, d.v6 && name == optMatch6:
		op = netdv1.Netfilter_OPERATION_MATCH
	case !d.v6 && name == optTarget4, d.v6 && name == optTarget6:
		op = netdv1.Netfilter_OPERATION_TARGET
	default:
		return nil, false, nil
	}
	if !d.n.mayRule(ctx, linux.CAP_NET_ADMIN) {
		return nil, true, linux.EPERM
	}
	out, err := d.n.Netfilter(op, d.v6, asked, 0, true)
	if err != nil {
		return nil, true, err
	}
	if len(out) != 1 {
		return nil, true, linux.EIO
	}
	return out[0], true, nil
}

// MaxOption is how long an option's value may be, if longer than usual; 0: it is
// not.
func (d *Dgram) MaxOption(level, name int) int {
	if d.raw() && rulesLevel(d.v6, level) && (name == optReplace || name == optCounters) {
		return maxRules
	}
	return 0
}

// setRules is IPT_SO_SET_REPLACE, which tells the counters of the old rules, and
// IPT_SO_SET_ADD_COUNTERS. known says that it was one of them.
func (d *Dgram) setRules(ctx vfs.Context, level, name int, value []byte) (known bool, err error) {
	if d.MaxOption(level, name) == 0 {
		return false, nil
	}
	if !d.n.mayRule(ctx, linux.CAP_NET_ADMIN) {
		return true, linux.EPERM
	}
	if name == optCounters {
		_, err := d.n.Netfilter(netdv1.Netfilter_OPERATION_COUNTERS, d.v6, value, 0, true)
		return true, err
	}
	const head, countersAt = 96, 88
	if len(value) < head {
		return true, linux.EINVAL
	}
	out, err := d.n.Netfilter(netdv1.Netfilter_OPERATION_REPLACE, d.v6, value, 0, true)
	if err != nil || len(out) != 1 {
		return true, err
	}
	return true, ctx.CopyOut(binary.LittleEndian.Uint64(value[countersAt:]), out[0])
}

// original is SO_ORIGINAL_DST: ENOTCONN, ENOENT.
func (s *Stream) original() ([]byte, error) {
	e := s.end.Load()
	if e == nil {
		return nil, linux.ENOENT
	}
	resp, fds, err := s.n.call(&netdv1.Request{Socket: e.id, Op: &netdv1.Request_OriginalDestination{OriginalDestination: &netdv1.OriginalDestination{}}})
	closeAll(fds)
	if err == nil {
		err = errnoOf(resp.Error)
	}
	if err != nil {
		return nil, err
	}
	a := address(resp.Remote)
	if a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port()); !a.IsValid() {
		return nil, linux.ENOENT
	}
	return sockaddr(!a.Addr().Is4(), a), nil
}
