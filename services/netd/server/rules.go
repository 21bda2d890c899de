package server

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/netfilter"
)

// maxOrder bounds an order to the packet filter in bytes, answerChunk is how much of
// an answer goes into one response.
const (
	maxOrder    = 4 << 20
	answerChunk = 48 << 10
)

// rules are an order to the packet filter that has come in part, and an answer that
// has gone in part.
type rules struct{ order, answer []byte }

// rulesRequest reads or changes the packet filter.
func (s *server) rulesRequest(m *netdv1.Netfilter) *netdv1.Response {
	switch m.Operation {
	case netdv1.Netfilter_OPERATION_REST:
		return s.rulesAnswer(nil)
	case netdv1.Netfilter_OPERATION_WATCH:
		s.stack.WatchFilterLocked(s.filterChanged)
		return s.rulesAnswer(nil)
	}
	if len(s.rules.order)+len(m.Data) > maxOrder {
		s.rules.order = nil
		return errno(linux.EMSGSIZE)
	}
	s.rules.order = append(s.rules.order, m.Data...)
	s.rules.answer = nil
	if m.More {
		return s.rulesAnswer(nil)
	}
	order := s.rules.order
	s.rules.order = nil
	if m.Operation == netdv1.Netfilter_OPERATION_NETLINK {
		return s.rulesAnswer(nil, s.stack.NetlinkLocked(order, m.Port, m.Admin)...)
	}
	out, err := s.legacy(m.Operation, m.V6, order)
	if err != nil {
		return s.rulesAnswer(err)
	}
	return s.rulesAnswer(nil, out)
}

// maxNews bounds a notification of the packet filter's in bytes: what is longer is lost, as it
// may be on Linux.
const maxNews = 48 << 10

// filterChanged tells the sentry of what those are told who have joined a group.
func (s *server) filterChanged(group int, messages []byte) {
	if len(messages) <= maxNews {
		s.queue(&netdv1.Notice{Event: &netdv1.Notice_Filter{Filter: &netdv1.FilterChanged{Group: uint32(group), Messages: messages}}}, nil)
	}
}

// rulesAnswer adds to the answer and gives as much of it as fits.
func (s *server) rulesAnswer(err error, datagrams ...[]byte) *netdv1.Response {
	for _, d := range datagrams {
		s.rules.answer = append(binary.LittleEndian.AppendUint32(s.rules.answer, uint32(len(d))), d...)
	}
	n := min(len(s.rules.answer), answerChunk)
	resp := errno(err)
	resp.Netfilter = &netdv1.NetfilterResult{Data: s.rules.answer[:n:n], More: n < len(s.rules.answer), Active: s.stack.ScreenLocked()}
	if s.rules.answer = s.rules.answer[n:]; len(s.rules.answer) == 0 {
		s.rules.answer = nil
	}
	return resp
}

// legacy carries out a socket option of iptables-legacy(8).
func (s *server) legacy(op netdv1.Netfilter_Operation, v6 bool, b []byte) ([]byte, error) {
	f := s.stack.FilterLocked()
	le := binary.LittleEndian
	switch op {
	case netdv1.Netfilter_OPERATION_REPLACE:
		counters, err := f.LegacyReplace(v6, b)
		var out []byte
		for _, c := range counters {
			out = le.AppendUint64(le.AppendUint64(out, c.Packets), c.Bytes)
		}
		return out, err
	case netdv1.Netfilter_OPERATION_MATCH, netdv1.Netfilter_OPERATION_TARGET:
		if len(b) < 30 { // struct xt_get_revision
			return nil, linux.EINVAL
		}
		family := uint8(netfilter.FamilyIPv4)
		if v6 {
			family = netfilter.FamilyIPv6
		}
		return b[:30], netfilter.Revisions(op == netdv1.Netfilter_OPERATION_TARGET, family, cString(b[:29]), b[29])
	}
	if op == netdv1.Netfilter_OPERATION_NAMES {
		return f.LegacyNames(v6), nil
	}
	if len(b) < 36 {
		return nil, linux.EINVAL
	}
	name, n := cString(b[:32]), le.Uint32(b[32:])
	switch op {
	case netdv1.Netfilter_OPERATION_INFO:
		return f.LegacyInfo(v6, name)
	case netdv1.Netfilter_OPERATION_ENTRIES:
		out, err := f.LegacyEntries(v6, name, n)
		return append(append(bytes.Clone(b[:36]), 0, 0, 0, 0), out...), err
	case netdv1.Netfilter_OPERATION_COUNTERS: // struct xt_counters_info
		if len(b) < 40 || uint64(len(b)-40) != 16*uint64(n) {
			return nil, linux.EINVAL
		}
		var counters []netfilter.Counter
		for c := b[40:]; len(c) > 0; c = c[16:] {
			counters = append(counters, netfilter.Counter{Packets: le.Uint64(c), Bytes: le.Uint64(c[8:])})
		}
		return nil, f.LegacyAdd(v6, name, counters)
	}
	return nil, linux.EPROTO
}

// cString is a string up to its first zero.
func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// original is where a connection's peer wanted to: SO_ORIGINAL_DST.
func (k *socket) original() (netip.AddrPort, error) {
	if k.tcp == nil {
		return netip.AddrPort{}, linux.ENOPROTOOPT
	}
	return k.tcp.OriginalLocked()
}
