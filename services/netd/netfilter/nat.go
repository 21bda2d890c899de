package netfilter

import (
	"net/netip"

	"bulkhead/services/netd/wire"
)

// This file rewrites addresses and ports: a flow's first packet decides how, the
// others follow.

// Range is what an address or a port may become: struct nf_nat_range2.
type Range struct {
	Flags            uint32
	MinAddr, MaxAddr netip.Addr
	MinPort, MaxPort uint16
	BasePort         uint16 // with RangeProtoOffset: what MinPort stands for
}

// The flags of a Range.
const (
	RangeMapIPs         = 1
	RangeProtoSpecified = 2
	RangeProtoRandom    = 4
	RangePersistent     = 8
	RangeRandomFully    = 16
	RangeProtoOffset    = 32
	RangeNetmap         = 64
)

// rewritesSource says which address NAT changes at a hook.
func rewritesSource(h Hook) bool { return h == Postrouting || h == Input }

// decided says whether it is known what becomes of a flow's source or destination.
func (f *flow) decided(src bool) bool {
	if src {
		return f.srcDone
	}
	return f.dstDone
}

// bind decides what becomes of a flow's source or destination: false if nothing is
// free in the range.
func (v *evaluation) bind(src bool, r *Range) bool {
	f := v.p.track.flow
	if f == nil || f.decided(src) {
		return true
	}
	if f.confirmed {
		// It began before there were rules: as it is, it stays.
		f.srcDone, f.dstDone = true, true
		return true
	}
	now := f.tuples[reply].inverse()
	next, ok := v.choose(now, src, r)
	if !ok {
		return false
	}
	if next != now {
		f.tuples[reply] = next.inverse()
		if src {
			f.natSrc = true
		} else {
			f.natDst = true
		}
	}
	if src {
		f.srcDone = true
	} else {
		f.dstDone = true
	}
	return true
}

// choose gives the tuple that a flow's packets have afterwards.
func (v *evaluation) choose(t tuple, src bool, r *Range) (tuple, bool) {
	if r.Flags&RangeMapIPs != 0 {
		a := pick(t, src, r)
		if a.Is4() != t.src.Is4() {
			return t, false
		}
		if src {
			t.src = a
		} else {
			t.dst = a
		}
	}
	hasPort := t.proto == wire.ProtoTCP || t.proto == wire.ProtoUDP || t.proto == wire.ProtoUDPLite || t.proto == protoSCTP || t.proto == protoDCCP || isICMP(t.proto)
	if !hasPort || isICMP(t.proto) && !src {
		return t, true
	}
	port := t.dport
	if src {
		port = t.sport
	}
	lo, hi := uint32(r.MinPort), uint32(r.MaxPort)
	switch random := r.Flags&(RangeProtoRandom|RangeRandomFully) != 0; {
	case r.Flags&RangeProtoSpecified != 0:
		if lo > hi {
			return t, false
		}
		if !random && uint32(port) >= lo && uint32(port) <= hi && v.free(t) {
			return t, true
		}
	case !src:
		return t, true
	case !random && v.free(t):
		return t, true
	case isICMP(t.proto):
		lo, hi = 0, 65535
	case port < 512:
		lo, hi = 1, 511
	case port < 1024:
		lo, hi = 600, 1023
	default:
		lo, hi = 1024, 65535
	}
	n := hi - lo + 1
	at := v.f.host.Random() % n
	switch {
	case r.Flags&RangeProtoOffset != 0:
		at = uint32(port-r.BasePort) % n
	case !src && r.Flags&(RangeProtoRandom|RangeRandomFully) == 0:
		at = 0
	}
	for range min(n, 1024) {
		k := uint16(lo + at%n)
		at++
		if src {
			if t.sport = k; isICMP(t.proto) {
				t.dport = k
			}
		} else {
			t.dport = k
		}
		if v.free(t) {
			return t, true
		}
	}
	return t, false
}

// free says whether no other flow's answers would look like those of t.
func (v *evaluation) free(t tuple) bool {
	_, taken := v.f.tracker.find(v.now, t.inverse())
	return !taken
}

// pick is the range's address for a flow: always the same for one client.
func pick(t tuple, src bool, r *Range) netip.Addr {
	lo, hi := r.MinAddr, r.MaxAddr
	if !hi.IsValid() || lo == hi {
		return lo
	}
	if r.Flags&RangeNetmap != 0 {
		return netmap(t, src, r)
	}
	h := uint32(2166136261)
	mix := func(a netip.Addr) {
		for _, c := range a.AsSlice() {
			h = (h ^ uint32(c)) * 16777619
		}
	}
	mix(t.src)
	if r.Flags&RangePersistent == 0 {
		mix(t.dst)
	}
	a, b := lo.AsSlice(), hi.AsSlice()
	n := len(a)
	l, u := be.Uint32(a[n-4:]), be.Uint32(b[n-4:])
	if u < l {
		return lo
	}
	be.PutUint32(a[n-4:], l+uint32(uint64(h)*(uint64(u-l)+1)>>32))
	out, _ := netip.AddrFromSlice(a)
	return out
}

// netmap keeps the host's part of an address and changes the network's.
func netmap(t tuple, src bool, r *Range) netip.Addr {
	old := t.dst
	if src {
		old = t.src
	}
	lo, hi, was := r.MinAddr.AsSlice(), r.MaxAddr.AsSlice(), old.AsSlice()
	if len(lo) != len(was) || len(hi) != len(was) {
		return r.MinAddr
	}
	for i := range was {
		mask := ^(lo[i] ^ hi[i])
		was[i] = was[i]&^mask | lo[i]&mask
	}
	out, _ := netip.AddrFromSlice(was)
	return out
}

// translate rewrites a packet of a flow whose addresses were decided, as far as it
// is this hook's to do.
func translate(p *Packet, h Hook) {
	f := p.track.flow
	src := rewritesSource(h)
	// Answers are rewritten where their counterparts were, the other way round.
	if on := src != p.track.reply; on && !f.natSrc || !on && !f.natDst {
		return
	}
	other := reply
	if p.track.reply {
		other = original
	}
	target := f.tuples[other].inverse()
	if p.track.related {
		inner, ok := quoted(p)
		if !ok {
			return
		}
		inner.Sum = SumWhole
		// The quoted packet went the other way, and is shown as its sender knows it.
		was := f.tuples[other]
		inner.rename(!src, was)
		p.rename(src, tuple{src: target.src, dst: target.dst, proto: p.Proto})
		p.resum()
		return
	}
	p.rename(src, target)
}

// rename gives the packet the source or destination of a tuple.
func (p *Packet) rename(src bool, t tuple) {
	a, port := t.dst, t.dport
	if src {
		a, port = t.src, t.sport
	}
	p.setAddress(src, a)
	switch {
	case t.proto != p.Proto || isICMP(p.Proto) && !tracked(p.Proto, first(p.transport())):
		return
	case isICMP(p.Proto):
		p.setPort(src, t.sport)
	default:
		if _, _, ok := p.ports(); ok {
			p.setPort(src, port)
		}
	}
}

func first(b []byte) byte {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

// resum computes an ICMP message's checksum anew.
func (p *Packet) resum() {
	t := p.transport()
	if p.Sum != SumWhole || len(t) < wire.ICMPSize {
		return
	}
	t[2], t[3] = 0, 0
	be.PutUint16(t[2:], wire.ICMPSum(p.V6, p.Src(), p.Dst(), t, p.Payload))
}
