package netfilter

import (
	"net/netip"

	"bulkhead/proto/linux"
)

// This file has the targets of iptables(8).

// range4 reads struct nf_nat_ipv4_multi_range_compat, range6 struct nf_nat_range
// and nf_nat_range2.
func range4(v *evaluation, b []byte) (r Range) {
	r.Flags = le.Uint32(b[4:])
	r.MinAddr, r.MaxAddr = netip.AddrFrom4([4]byte(b[8:])), netip.AddrFrom4([4]byte(b[12:]))
	r.MinPort, r.MaxPort = be.Uint16(b[16:]), be.Uint16(b[18:])
	return r
}

func range6(v *evaluation, b []byte) (r Range) {
	r.Flags = le.Uint32(b)
	if v.p.V6 {
		r.MinAddr, r.MaxAddr = netip.AddrFrom16([16]byte(b[4:])), netip.AddrFrom16([16]byte(b[20:]))
	} else {
		r.MinAddr, r.MaxAddr = netip.AddrFrom4([4]byte(b[4:])), netip.AddrFrom4([4]byte(b[20:]))
	}
	r.MinPort, r.MaxPort = be.Uint16(b[36:]), be.Uint16(b[38:])
	return r
}

// range7 is range6 with the port that the range begins to stand for: struct
// nf_nat_range2.
func range7(v *evaluation, b []byte) Range {
	r := range6(v, b)
	r.BasePort = be.Uint16(b[40:])
	return r
}

func rangeOf(v *evaluation, b []byte) Range {
	if v.p.V6 {
		return range6(v, b)
	}
	return range4(v, b)
}

func rangeTarget(src bool, read func(*evaluation, []byte) Range) func(*evaluation, []byte) {
	return func(v *evaluation, b []byte) {
		r := read(v, b)
		v.translate(src, &r)
	}
}

func targetRedirect(v *evaluation, b []byte) {
	r := rangeOf(v, b)
	r.Flags &^= RangeMapIPs
	v.redirect(&r)
}

func targetMasquerade(v *evaluation, b []byte) {
	r := rangeOf(v, b)
	r.Flags &^= RangeMapIPs
	v.masquerade(&r)
}

func targetNetmap(v *evaluation, b []byte) {
	r := rangeOf(v, b)
	r.Flags |= RangeNetmap | RangeMapIPs
	v.translate(rewritesSource(v.hook), &r)
}

// targetReject is struct ipt_reject_info and ip6t_reject_info.
func targetReject(v *evaluation, b []byte) {
	with := le.Uint32(b)
	codes := []uint8{0, 1, 2, 3, 3, 9, 10, 0, 13}
	reset := uint32(7)
	if v.p.V6 {
		codes = []uint8{0, 1, 2, 3, 4, 4, 0, 5, 6}
		reset = 6
	}
	if with >= uint32(len(codes)) {
		v.verdict = Drop
		return
	}
	v.reject(Rejection{Reset: with == reset, Code: codes[with]})
}

// targetMark is struct xt_mark_tginfo2.
func targetMark(v *evaluation, b []byte) {
	v.p.Mark = v.p.Mark&^le.Uint32(b[4:]) ^ le.Uint32(b)
}

// targetConnmark is struct xt_connmark_tginfo1.
func targetConnmark(v *evaluation, b []byte) {
	f := v.p.track.flow
	if f == nil {
		return
	}
	mark, mask, nf := le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:])
	connmark(v.p, f, b[12], mark, mask, nf, func(n uint32) uint32 { return n })
}

// targetConnmark2 is struct xt_connmark_tginfo2, which shifts the bits that it takes.
func targetConnmark2(v *evaluation, b []byte) {
	f := v.p.track.flow
	if f == nil {
		return
	}
	n := b[14]
	shift := func(m uint32) uint32 { return m << n }
	if b[13] == 1 {
		shift = func(m uint32) uint32 { return m >> n }
	}
	connmark(v.p, f, b[12], le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:]), shift)
}

// connmark sets a flow's mark, saves the packet's in it, or restores it from there.
func connmark(p *Packet, f *flow, mode byte, mark, mask, nf uint32, shift func(uint32) uint32) {
	switch mode {
	case 0:
		f.mark = shift(f.mark&^mask ^ mark)
	case 1:
		f.mark = f.mark&^mask ^ shift(p.Mark&nf)
	case 2:
		p.Mark = p.Mark&^nf ^ shift(f.mark&mask)
	}
}

// targetTCPMSS is struct xt_tcpmss_info.
func targetTCPMSS(v *evaluation, b []byte) {
	at, n, ok := tcpOption(v.p, 2)
	if !ok || n != 4 {
		return
	}
	want := le.Uint16(b)
	if want == 0xffff {
		_, mtu, _, ok := v.f.host.Route(v.p.Dst(), netip.Addr{})
		if !ok {
			return
		}
		want = segmentSize(mtu, v.p.V6)
		if _, back, _, ok := v.f.host.Route(v.p.Src(), netip.Addr{}); ok {
			want = min(want, segmentSize(back, v.p.V6))
		}
	}
	if be.Uint16(v.p.Header[at+2:]) > want {
		v.p.rewrite(at+2, be.AppendUint16(nil, want))
	}
}

// checkCT refuses what is not there of a struct xt_ct_target_info, zones and helpers:
// ENOENT, EINVAL.
func checkCT(b []byte) error {
	switch {
	case b[12] != 0:
		return linux.ENOENT
	case le.Uint16(b[2:]) != 0 || le.Uint32(b[4:]) != 0 || le.Uint32(b[8:]) != 0 || le.Uint16(b)&^3 != 0: // NOTRACK, and that it was written so
		return linux.EINVAL
	}
	return nil
}

// targetCT is struct xt_ct_target_info, of which only NOTRACK does something here.
func targetCT(v *evaluation, b []byte) {
	if le.Uint16(b)&1 != 0 {
		(*NoTrack)(nil).eval(v)
	}
}

// targetHops is struct ipt_TTL_info and ip6t_HL_info.
func targetHops(v *evaluation, b []byte) {
	h := v.p.hops()
	n := b[1]
	switch b[0] {
	case 1:
		n = byte(min(int(*h)+int(b[1]), 255))
	case 2:
		n = byte(max(int(*h)-int(b[1]), 0))
	}
	if v.p.V6 {
		*h = n
		return
	}
	old := [2]byte(v.p.Header[8:10])
	*h = n
	amend(v.p.Header[10:12], old[:], v.p.Header[8:10], false)
}

// targetTOS is struct xt_tos_target_info.
func targetTOS(v *evaluation, b []byte) { v.p.setClass(v.p.class()&^b[1] ^ b[0]) }

// targetDSCP is struct xt_DSCP_info.
func targetDSCP(v *evaluation, b []byte) { v.p.setClass(v.p.class()&3 | b[0]<<2) }
