package netfilter

import (
	"bytes"
	"net/netip"
	"strings"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/wire"
)

// This file has the matches and targets of iptables(8), whose parameters are the
// structures of linux/netfilter/xt_*.h, linux/netfilter_ipv4 and _ipv6, in the
// layout of amd64.

// Extension is a match or a target of iptables(8) in a rule.
type Extension struct {
	Name     string
	Revision uint8
	Info     []byte
	Target   bool

	run      func(v *evaluation, info []byte)
	tracking bool
	family   uint8
}

// extension is one that is known: its parameters' size, and what it does.
type extension struct {
	name     string
	revision uint8
	family   uint8 // 0: any
	size     int   // at least
	tracking bool
	nat      string // hooks of a target that is for tables of type nat: "p" prerouting and output, "s" postrouting and input
	run      func(v *evaluation, b []byte)
}

// matches and targets are those that are known.
var matches = []extension{
	{name: "comment", size: 1, run: func(*evaluation, []byte) {}},
	{name: "tcp", size: 12, run: matchTCP},
	{name: "udp", size: 9, run: matchUDP},
	{name: "udplite", size: 9, run: matchUDP},
	{name: "icmp", family: FamilyIPv4, size: 4, run: matchICMP},
	{name: "icmp6", family: FamilyIPv6, size: 4, run: matchICMP},
	{name: "multiport", revision: 1, size: 48, run: matchMultiport},
	{name: "conntrack", revision: 1, size: 152, tracking: true, run: matchConntrack1},
	{name: "conntrack", revision: 2, size: 154, tracking: true, run: matchConntrack2},
	{name: "conntrack", revision: 3, size: 162, tracking: true, run: matchConntrack3},
	{name: "state", size: 4, tracking: true, run: matchState},
	{name: "owner", revision: 1, size: 18, run: matchOwner},
	{name: "mark", revision: 1, size: 9, run: matchMark},
	{name: "connmark", revision: 1, size: 9, tracking: true, run: matchConnmark},
	{name: "limit", size: 8},
	{name: "addrtype", size: 12, run: matchAddrtype0},
	{name: "addrtype", revision: 1, size: 8, run: matchAddrtype1},
	{name: "statistic", size: 16},
	{name: "iprange", revision: 1, size: 65, run: matchIPRange},
	{name: "mac", size: 12, run: matchMAC},
	{name: "pkttype", size: 8, run: matchPktType},
	{name: "length", size: 5, run: matchLength},
	{name: "ttl", family: FamilyIPv4, size: 2, run: matchHops},
	{name: "hl", family: FamilyIPv6, size: 2, run: matchHops},
	{name: "tcpmss", size: 5, run: matchTCPMSS},
	{name: "dscp", size: 2, run: matchDSCP},
	{name: "tos", revision: 1, size: 3, run: matchTOS},
	{name: "connlimit", size: 24, tracking: true},
	{name: "connlimit", revision: 1, size: 24, tracking: true},
	{name: "string", revision: 1, size: 150, run: matchString},
	{name: "quota", size: 16},
}

var targets = []extension{
	{name: "DNAT", family: FamilyIPv4, size: 20, tracking: true, nat: "p", run: rangeTarget(false, range4)},
	{name: "DNAT", revision: 1, size: 40, tracking: true, nat: "p", run: rangeTarget(false, range6)},
	{name: "DNAT", revision: 2, size: 42, tracking: true, nat: "p", run: rangeTarget(false, range6)},
	{name: "SNAT", family: FamilyIPv4, size: 20, tracking: true, nat: "s", run: rangeTarget(true, range4)},
	{name: "SNAT", revision: 1, size: 40, tracking: true, nat: "s", run: rangeTarget(true, range6)},
	{name: "SNAT", revision: 2, size: 42, tracking: true, nat: "s", run: rangeTarget(true, range6)},
	{name: "REDIRECT", family: FamilyIPv4, size: 20, tracking: true, nat: "p", run: targetRedirect},
	{name: "REDIRECT", family: FamilyIPv6, size: 40, tracking: true, nat: "p", run: targetRedirect},
	{name: "MASQUERADE", family: FamilyIPv4, size: 20, tracking: true, nat: "s", run: targetMasquerade},
	{name: "MASQUERADE", family: FamilyIPv6, size: 40, tracking: true, nat: "s", run: targetMasquerade},
	{name: "NETMAP", family: FamilyIPv4, size: 20, tracking: true, nat: "ps", run: targetNetmap},
	{name: "NETMAP", family: FamilyIPv6, size: 40, tracking: true, nat: "ps", run: targetNetmap},
	{name: "REJECT", family: FamilyIPv4, size: 4, run: targetReject},
	{name: "REJECT", family: FamilyIPv6, size: 4, run: targetReject},
	{name: "LOG", size: 32, run: func(*evaluation, []byte) {}},
	{name: "NFLOG", size: 80, run: func(*evaluation, []byte) {}},
	{name: "TRACE", size: 0, run: func(*evaluation, []byte) {}},
	{name: "CHECKSUM", size: 1, run: func(*evaluation, []byte) {}}, // sums are always right here
	{name: "MARK", revision: 2, size: 8, run: targetMark},
	{name: "CONNMARK", revision: 1, size: 13, tracking: true, run: targetConnmark},
	{name: "TCPMSS", size: 2, run: targetTCPMSS},
	{name: "NOTRACK", size: 0, tracking: true, run: func(v *evaluation, _ []byte) { (*NoTrack)(nil).eval(v) }},
	{name: "CT", size: 2, tracking: true, run: targetCT},
	{name: "CT", revision: 1, size: 2, tracking: true, run: targetCT},
	{name: "CT", revision: 2, size: 2, tracking: true, run: targetCT},
	{name: "TTL", family: FamilyIPv4, size: 2, run: targetHops},
	{name: "HL", family: FamilyIPv6, size: 2, run: targetHops},
	{name: "CLASSIFY", size: 4, run: func(*evaluation, []byte) {}},
	{name: "DSCP", size: 1, run: targetDSCP},
}

// Revisions says whether a match or target of a revision is known in a family, and
// which is the newest: EPROTONOSUPPORT if only others are, ENOENT if none is.
func Revisions(target bool, family uint8, name string, revision uint8) error {
	err := linux.ENOENT
	for _, x := range known(target) {
		if x.name != name || x.family != 0 && family != 0 && family != FamilyInet && x.family != family {
			continue
		}
		if x.revision == revision {
			return nil
		}
		err = linux.EPROTONOSUPPORT
	}
	return err
}

func known(target bool) []extension {
	if target {
		return targets
	}
	return matches
}

// NewExtension makes one of a rule: ENOENT for what is not known, EINVAL for
// parameters that are too short.
func NewExtension(target bool, family uint8, name string, revision uint8, info []byte) (*Extension, error) {
	for _, x := range known(target) {
		if x.name != name || x.revision != revision || x.family != 0 && family != FamilyInet && x.family != family {
			continue
		}
		if len(info) < x.size || len(info) > 4096 {
			return nil, linux.EINVAL
		}
		e := &Extension{Name: name, Revision: revision, Info: bytes.Clone(info), Target: target, run: x.run, tracking: x.tracking, family: x.family}
		if e.run == nil {
			e.run = remembering(name, revision, e.Info)
		}
		if e.run == nil {
			return nil, linux.EINVAL
		}
		return e, nil
	}
	return nil, linux.ENOENT
}

func (e *Extension) needsTracking() bool { return e.tracking }

// allowed keeps targets of address translation in chains of that type.
func (e *Extension) allowed(kind string, h Hook) bool {
	if !e.Target {
		return true
	}
	for _, x := range targets {
		if x.name == e.Name && x.nat != "" {
			return kind == "nat" && (strings.Contains(x.nat, "s") && rewritesSource(h) || strings.Contains(x.nat, "p") && !rewritesSource(h) && h != Forward)
		}
	}
	return e.Name != "REJECT" || kind != "nat" && (h == Input || h == Forward || h == Output)
}

// Suits says whether it may be in a rule for a protocol, 0 for any: EINVAL.
func (e *Extension) Suits(proto uint8) error {
	reset := e.Target && e.Name == "REJECT" && (le.Uint32(e.Info) == 7 && e.family == FamilyIPv4 || le.Uint32(e.Info) == 6 && e.family == FamilyIPv6)
	if (reset || e.Name == "TCPMSS") && proto != wire.ProtoTCP {
		return linux.EINVAL
	}
	return nil
}

func (e *Extension) eval(v *evaluation) { e.run(v, e.Info) }

// want ends the rule unless ok differs from not.
func (v *evaluation) want(ok, not bool) {
	if ok == not {
		v.verdict = Break
	}
}

func inRange(n, lo, hi uint16) bool { return n >= lo && n <= hi }

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

// remembering makes those that keep a state.
func remembering(name string, revision uint8, b []byte) func(*evaluation, []byte) {
	switch name {
	case "limit": // struct xt_rateinfo: the average is in 1/10000 s for each packet
		avg := le.Uint32(b)
		if avg == 0 {
			return nil
		}
		l := &Limit{Rate: 10000, Unit: uint64(avg), Burst: max(le.Uint32(b[4:]), 1)}
		return func(v *evaluation, _ []byte) { v.want(l.allow(v.now, 0), false) }
	case "statistic": // struct xt_statistic_info
		mode, inv := le.Uint16(b), b[2]&1 != 0
		if mode == 0 {
			p := le.Uint32(b[4:])
			return func(v *evaluation, _ []byte) { v.want(v.f.host.Random()&0x7fffffff < p, inv) }
		}
		every, count := uint64(le.Uint32(b[4:]))+1, uint64(le.Uint32(b[8:]))
		n := every - 1 - count%every
		return func(v *evaluation, _ []byte) {
			n = (n + 1) % every
			v.want(n == 0, inv)
		}
	case "quota": // struct xt_quota_info
		left, inv := le.Uint64(b[8:]), b[0]&1 != 0
		return func(v *evaluation, _ []byte) {
			ok := left >= uint64(v.p.size())
			if ok {
				left -= uint64(v.p.size())
			} else {
				left = 0
			}
			v.want(ok, inv)
		}
	case "connlimit": // struct xt_connlimit_info
		limit, flags := le.Uint32(b[16:]), le.Uint32(b[20:])
		mask := b[:16]
		met := map[netip.Addr]map[*flow]struct{}{}
		return func(v *evaluation, _ []byte) {
			f := v.p.track.flow
			if f == nil {
				v.verdict = Drop
				return
			}
			a := v.p.Src()
			if flags&2 != 0 && revision > 0 {
				a = v.p.Dst()
			}
			raw := a.AsSlice()
			for i := range raw {
				raw[i] &= mask[i]
			}
			a, _ = netip.AddrFromSlice(raw)
			if len(met) > maxFlows {
				clear(met)
			}
			m := met[a]
			n := meet(&m, v.now, f)
			met[a] = m
			v.want(n <= limit, flags&1 == 0)
		}
	}
	return nil
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
	switch b[12] {
	case 0:
		f.mark = f.mark&^mask ^ mark
	case 1:
		f.mark = f.mark&^mask ^ v.p.Mark&nf
	case 2:
		v.p.Mark = v.p.Mark&^nf ^ f.mark&mask
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

// targetCT is struct xt_ct_target_info, of which only NOTRACK does something here:
// there are no zones and no helpers.
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

// targetDSCP is struct xt_DSCP_info.
func targetDSCP(v *evaluation, b []byte) { v.p.setClass(v.p.class()&3 | b[0]<<2) }
