package netfilter

import (
	"net/netip"

	"bulkhead/services/netd/wire"
)

// This file has the expressions that translate addresses or refuse packets.

// NAT translates a flow's source or destination.
type NAT struct {
	Source                          bool
	Family                          uint32
	AddrMin, AddrMax, Proto, Proto2 Reg
	HasAddr, HasAddrMax             bool
	HasProto, HasProtoMax           bool
	Flags                           uint32
}

func (*NAT) needsTracking() bool { return true }

// allowed says where it may be: in a chain of type nat at the fitting hooks.
func (e *NAT) allowed(kind string, h Hook) bool {
	return kind == "nat" && rewritesSource(h) == e.Source
}

func (e *NAT) eval(v *evaluation) {
	r := Range{Flags: e.Flags &^ (RangeMapIPs | RangeProtoSpecified)}
	if e.HasAddr {
		v6 := e.Family == FamilyIPv6
		if v6 != v.p.V6 {
			v.verdict = Break
			return
		}
		r.Flags |= RangeMapIPs
		r.MinAddr = v.addressIn(e.AddrMin, v6)
		r.MaxAddr = r.MinAddr
		if e.HasAddrMax {
			r.MaxAddr = v.addressIn(e.AddrMax, v6)
		}
	}
	v.portRange(&r, e.HasProto, e.Proto, e.HasProtoMax, e.Proto2)
	v.translate(e.Source, &r)
}

// portRange reads a range of ports from registers.
func (v *evaluation) portRange(r *Range, has bool, lo Reg, hasMax bool, hi Reg) {
	if !has {
		return
	}
	r.Flags |= RangeProtoSpecified
	r.MinPort = be.Uint16(v.regs[lo:])
	r.MaxPort = r.MinPort
	if hasMax {
		r.MaxPort = be.Uint16(v.regs[hi:])
	}
}

// translate decides a flow's source or destination, and with it the rule.
func (v *evaluation) translate(src bool, r *Range) {
	v.verdict = Accept
	if v.p.track.flow == nil || !v.bind(src, r) {
		v.verdict = Drop
	}
}

// Masquerade makes a flow's source the address of the interface that it leaves by.
type Masquerade struct {
	Flags       uint32
	Min, Max    Reg
	Has, HasMax bool
}

func (*Masquerade) needsTracking() bool              { return true }
func (*Masquerade) allowed(kind string, h Hook) bool { return kind == "nat" && h == Postrouting }
func (*Redirect) allowed(kind string, h Hook) bool {
	return kind == "nat" && (h == Prerouting || h == Output)
}
func (e *Masquerade) eval(v *evaluation) {
	r := Range{Flags: e.Flags}
	v.portRange(&r, e.Has, e.Min, e.HasMax, e.Max)
	v.masquerade(&r)
}

func (v *evaluation) masquerade(r *Range) {
	if v.p.Out == nil {
		v.verdict = Drop
		return
	}
	a := v.p.Out.Source(v.p.Dst()).WithZone("")
	if !a.IsValid() || a.Is6() != v.p.V6 || a.Is4() && a.IsLoopback() { // its scope is this host, not the world
		v.verdict = Drop
		return
	}
	r.Flags |= RangeMapIPs
	r.MinAddr, r.MaxAddr = a, a
	v.translate(true, r)
}

// Redirect makes a flow's destination this host.
type Redirect struct {
	Flags       uint32
	Min, Max    Reg
	Has, HasMax bool
}

func (*Redirect) needsTracking() bool { return true }

func (e *Redirect) eval(v *evaluation) {
	r := Range{Flags: e.Flags}
	v.portRange(&r, e.Has, e.Min, e.HasMax, e.Max)
	v.redirect(&r)
}

func (v *evaluation) redirect(r *Range) {
	a := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if v.p.V6 {
		a = netip.IPv6Loopback()
	}
	if v.hook == Prerouting {
		if v.p.In == nil {
			v.verdict = Drop
			return
		}
		if a = v.p.In.Source(v.p.Src()).WithZone(""); !a.IsValid() || a.Is6() != v.p.V6 {
			v.verdict = Drop
			return
		}
	}
	r.Flags |= RangeMapIPs
	r.MinAddr, r.MaxAddr = a, a
	v.translate(false, r)
}

// Kinds of Reject: enum nft_reject_types.
const (
	RejectICMP  = 0
	RejectReset = 1
	RejectICMPX = 2
)

// Reject drops the packet with an answer.
type Reject struct {
	Type uint32
	Code uint8
}

func (*Reject) allowed(kind string, h Hook) bool { return h != Postrouting && kind != "nat" }

func (e *Reject) eval(v *evaluation) {
	code := e.Code
	if e.Type == RejectICMPX {
		code = icmpxCode(code, v.p.V6)
	}
	v.reject(Rejection{Reset: e.Type == RejectReset && v.p.Proto == wire.ProtoTCP, Code: code})
}

// icmpxCode is the family's code of an abstract one: enum nft_reject_inet_code.
func icmpxCode(code uint8, v6 bool) uint8 {
	table := [4]uint8{0, 3, 1, 13}
	if v6 {
		table = [4]uint8{0, 4, 3, 1}
	}
	return table[code&3]
}
