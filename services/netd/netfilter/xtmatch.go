package netfilter

import (
	"bytes"
	"net/netip"

	"bulkhead/services/netd/wire"
)

// This file has the matches of iptables(8) that keep no state.

// matchTCP is struct xt_tcp.
func matchTCP(v *evaluation, b []byte) {
	t := v.p.transport()
	if v.p.Proto != wire.ProtoTCP || v.p.Later || len(t) < wire.TCPSize {
		v.verdict = Break
		return
	}
	inv := b[11]
	src, dst := be.Uint16(t), be.Uint16(t[2:])
	ok := inRange(src, le.Uint16(b), le.Uint16(b[2:])) != (inv&1 != 0) &&
		inRange(dst, le.Uint16(b[4:]), le.Uint16(b[6:])) != (inv&2 != 0) &&
		(t[13]&b[9] == b[10]) != (inv&4 != 0)
	if ok && b[8] != 0 {
		_, _, has := tcpOption(v.p, b[8])
		ok = has != (inv&8 != 0)
	}
	v.want(ok, false)
}

// matchUDP is struct xt_udp.
func matchUDP(v *evaluation, b []byte) {
	src, dst, ok := v.p.ports()
	if !ok || v.p.Proto != wire.ProtoUDP && v.p.Proto != wire.ProtoUDPLite {
		v.verdict = Break
		return
	}
	v.want(inRange(src, le.Uint16(b), le.Uint16(b[2:])) != (b[8]&1 != 0) && inRange(dst, le.Uint16(b[4:]), le.Uint16(b[6:])) != (b[8]&2 != 0), false)
}

// matchICMP is struct ipt_icmp and ip6t_icmp.
func matchICMP(v *evaluation, b []byte) {
	t := v.p.transport()
	if !isICMP(v.p.Proto) || v.p.Later || len(t) < 4 {
		v.verdict = Break
		return
	}
	any := b[0] == 0xff && !v.p.V6
	v.want(any || t[0] == b[0] && t[1] >= b[1] && t[1] <= b[2], b[3]&1 != 0)
}

// matchMultiport is struct xt_multiport_v1.
func matchMultiport(v *evaluation, b []byte) {
	src, dst, ok := v.p.ports()
	if !ok {
		v.verdict = Break
		return
	}
	hit := false
	n := min(int(b[1]), 15)
	for i := 0; i < n && !hit; i++ {
		lo := le.Uint16(b[2+2*i:])
		hi := lo
		if b[32+i] != 0 && i+1 < n {
			i++
			hi = le.Uint16(b[2+2*i:])
		}
		hit = b[0] != 1 && inRange(src, lo, hi) || b[0] != 0 && inRange(dst, lo, hi)
	}
	v.want(hit, b[47] != 0)
}

func matchConntrack1(v *evaluation, b []byte) {
	conntrack(v, b, uint16(b[150]), uint16(b[151]), false)
}
func matchConntrack2(v *evaluation, b []byte) {
	conntrack(v, b, le.Uint16(b[150:]), le.Uint16(b[152:]), false)
}
func matchConntrack3(v *evaluation, b []byte) {
	conntrack(v, b, le.Uint16(b[150:]), le.Uint16(b[152:]), true)
}

// Flags of struct xt_conntrack_mtinfo3.
const (
	xtState     = 1
	xtProto     = 2
	xtAddrs     = 4 // and three more
	xtStatus    = 64
	xtExpires   = 128
	xtPorts     = 256 // and three more
	xtDirection = 4096
)

// conntrack is struct xt_conntrack_mtinfo1, 2 and 3.
func conntrack(v *evaluation, b []byte, states, statuses uint16, ranges bool) {
	flags, inv := le.Uint16(b[146:]), le.Uint16(b[148:])
	k := &v.p.track
	f := k.flow
	state := uint16(k.state())
	if state == stateUntracked {
		state = 256
	}
	if f != nil && flags&xtState != 0 {
		if f.natSrc {
			state |= 64
		}
		if f.natDst {
			state |= 128
		}
	}
	if flags&xtState != 0 && (state&states != 0) == (inv&xtState != 0) {
		v.verdict = Break
		return
	}
	if f == nil {
		v.want(flags&^(xtState|8192) == 0, false)
		return
	}
	ok := true
	check := func(bit uint16, hit bool) {
		if flags&bit != 0 && hit == (inv&bit != 0) {
			ok = false
		}
	}
	check(xtDirection, !k.reply)
	check(xtProto, uint16(f.tuples[0].proto) == le.Uint16(b[136:]))
	check(xtStatus, uint16(f.status())&statuses != 0)
	left := uint32(max(f.expires-v.now, 0) / second)
	check(xtExpires, left >= le.Uint32(b[128:]) && left <= le.Uint32(b[132:]))
	addrs := [4]netip.Addr{f.tuples[0].src, f.tuples[0].dst, f.tuples[1].src, f.tuples[1].dst}
	ports := [4]uint16{f.tuples[0].sport, f.tuples[0].dport, f.tuples[1].sport, f.tuples[1].dport}
	for i, a := range addrs {
		raw := a.AsSlice()
		check(xtAddrs<<i, masked(raw, b[32*i:], b[32*i+16:]))
		at := 138 + 2*i
		if ranges {
			check(xtPorts<<i, inRange(ports[i], le.Uint16(b[at:]), le.Uint16(b[154+2*i:])))
		} else {
			check(xtPorts<<i, ports[i] == be.Uint16(b[at:]))
		}
	}
	v.want(ok, false)
}

// masked says whether a is want under a mask.
func masked(a, want, mask []byte) bool {
	for i := range a {
		if (a[i]^want[i])&mask[i] != 0 {
			return false
		}
	}
	return true
}

// matchState is struct xt_state_info.
func matchState(v *evaluation, b []byte) {
	v.want(v.p.track.state()&le.Uint32(b) != 0, false)
}

// matchOwner is struct xt_owner_match_info.
func matchOwner(v *evaluation, b []byte) {
	which, inv := b[16], b[17]
	o := v.p.Owner
	if o == nil {
		v.want((which^inv)&which == 0, false)
		return
	}
	ok := true
	if which&1 != 0 {
		ok = (o.UID >= le.Uint32(b) && o.UID <= le.Uint32(b[4:])) != (inv&1 != 0)
	}
	if which&2 != 0 {
		ok = ok && (o.GID >= le.Uint32(b[8:]) && o.GID <= le.Uint32(b[12:])) != (inv&2 != 0)
	}
	if which&4 != 0 {
		ok = ok && inv&4 == 0
	}
	v.want(ok, false)
}

// matchMark is struct xt_mark_mtinfo1.
func matchMark(v *evaluation, b []byte) {
	v.want(v.p.Mark&le.Uint32(b[4:]) == le.Uint32(b), b[8] != 0)
}

// matchConnmark is struct xt_connmark_mtinfo1.
func matchConnmark(v *evaluation, b []byte) {
	f := v.p.track.flow
	if f == nil {
		v.verdict = Break
		return
	}
	v.want(f.mark&le.Uint32(b[4:]) == le.Uint32(b), b[8] != 0)
}

// matchAddrtype0 is struct xt_addrtype_info, matchAddrtype1 its version 1.
func matchAddrtype0(v *evaluation, b []byte) {
	addrtype(v, b, le.Uint32(b[4:]) != 0, le.Uint32(b[8:]) != 0)
}

func matchAddrtype1(v *evaluation, b []byte) {
	addrtype(v, b, b[4]&1 != 0, b[4]&2 != 0)
}

func addrtype(v *evaluation, b []byte, notSrc, notDst bool) {
	ok := true
	if want := le.Uint16(b); want != 0 {
		ok = (want&(1<<v.f.typeOf(v.p.Src())) != 0) != notSrc
	}
	if want := le.Uint16(b[2:]); want != 0 && ok {
		ok = (want&(1<<v.f.typeOf(v.p.Dst())) != 0) != notDst
	}
	v.want(ok, false)
}

// matchIPRange is struct xt_iprange_mtinfo.
func matchIPRange(v *evaluation, b []byte) {
	in := func(a netip.Addr, at int) bool {
		raw := a.AsSlice()
		return bytes.Compare(raw, b[at:at+len(raw)]) >= 0 && bytes.Compare(raw, b[at+16:at+16+len(raw)]) <= 0
	}
	ok := true
	if b[64]&1 != 0 {
		ok = in(v.p.Src(), 0) != (b[64]&16 != 0)
	}
	if b[64]&2 != 0 {
		ok = ok && in(v.p.Dst(), 32) != (b[64]&32 != 0)
	}
	v.want(ok, false)
}

// matchMAC is struct xt_mac_info.
func matchMAC(v *evaluation, b []byte) {
	s := v.p.Station
	if len(s) < 12 {
		v.verdict = Break
		return
	}
	v.want(bytes.Equal(s[6:12], b[:6]), le.Uint32(b[8:]) != 0)
}

// matchPktType is struct xt_pkttype_info.
func matchPktType(v *evaluation, b []byte) {
	v.want(uint32(v.p.kind()) == le.Uint32(b), le.Uint32(b[4:]) != 0)
}

// matchLength is struct xt_length_info.
func matchLength(v *evaluation, b []byte) {
	n := v.p.size()
	v.want(n >= int(le.Uint16(b)) && n <= int(le.Uint16(b[2:])), b[4] != 0)
}

// hops is the field of the header.
func (p *Packet) hops() *byte {
	if p.V6 {
		return &p.Header[7]
	}
	return &p.Header[8]
}

// matchHops is struct ipt_ttl_info and ip6t_hl_info.
func matchHops(v *evaluation, b []byte) {
	h := *v.p.hops()
	v.want(b[0] == 0 && h == b[1] || b[0] == 1 && h != b[1] || b[0] == 2 && h < b[1] || b[0] == 3 && h > b[1], false)
}

// matchTCPMSS is struct xt_tcpmss_match_info.
func matchTCPMSS(v *evaluation, b []byte) {
	at, n, ok := tcpOption(v.p, 2)
	hit := ok && n == 4 && inRange(be.Uint16(v.p.Header[at+2:]), le.Uint16(b), le.Uint16(b[2:]))
	v.want(hit, b[4] != 0)
}

// class is the traffic class of the header.
func (p *Packet) class() byte {
	if p.V6 {
		return p.Header[0]<<4 | p.Header[1]>>4
	}
	return p.Header[1]
}

func (p *Packet) setClass(c byte) {
	if p.V6 {
		p.Header[0], p.Header[1] = p.Header[0]&0xf0|c>>4, p.Header[1]&0x0f|c<<4
		return
	}
	old := [2]byte(p.Header[:2])
	p.Header[1] = c
	amend(p.Header[10:12], old[:], p.Header[:2], false)
}

func matchDSCP(v *evaluation, b []byte) { v.want(v.p.class()>>2 == b[0], b[1] != 0) }
func matchTOS(v *evaluation, b []byte)  { v.want(v.p.class()&b[0] == b[1], b[2] != 0) }

// matchString is struct xt_string_info.
func matchString(v *evaluation, b []byte) {
	n := int(b[148])
	if n == 0 || n > 128 {
		v.verdict = Break
		return
	}
	pattern := b[20 : 20+n]
	whole := append(append(make([]byte, 0, v.p.size()), v.p.Header...), v.p.Payload...)
	from, to := min(int(le.Uint16(b)), len(whole)), min(int(le.Uint16(b[2:]))+n, len(whole))
	hit := false
	if from < to {
		if whole = whole[from:to]; b[149]&2 != 0 {
			whole, pattern = bytes.ToLower(whole), bytes.ToLower(pattern)
		}
		hit = bytes.Contains(whole, pattern)
	}
	v.want(hit, b[149]&1 != 0)
}
