package netfilter

import (
	"bytes"
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
	{name: "recent", size: 212},
	{name: "recent", revision: 1, size: 228},
	{name: "hashlimit", revision: 3, size: 304},
}

var targets = []extension{
	{name: "DNAT", family: FamilyIPv4, size: 20, tracking: true, nat: "p", run: rangeTarget(false, range4)},
	{name: "DNAT", revision: 1, size: 40, tracking: true, nat: "p", run: rangeTarget(false, range6)},
	{name: "DNAT", revision: 2, size: 42, tracking: true, nat: "p", run: rangeTarget(false, range7)},
	{name: "SNAT", family: FamilyIPv4, size: 20, tracking: true, nat: "s", run: rangeTarget(true, range4)},
	{name: "SNAT", revision: 1, size: 40, tracking: true, nat: "s", run: rangeTarget(true, range6)},
	{name: "SNAT", revision: 2, size: 42, tracking: true, nat: "s", run: rangeTarget(true, range7)},
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
	{name: "CONNMARK", revision: 2, size: 16, tracking: true, run: targetConnmark2},
	{name: "TCPMSS", size: 2, run: targetTCPMSS},
	{name: "NOTRACK", size: 0, tracking: true, run: func(v *evaluation, _ []byte) { (*NoTrack)(nil).eval(v) }},
	{name: "CT", size: 28, tracking: true, run: targetCT},
	{name: "CT", revision: 1, size: 28, tracking: true, run: targetCT},
	{name: "CT", revision: 2, size: 28, tracking: true, run: targetCT},
	{name: "TTL", family: FamilyIPv4, size: 2, run: targetHops},
	{name: "HL", family: FamilyIPv6, size: 2, run: targetHops},
	{name: "CLASSIFY", size: 4, run: func(*evaluation, []byte) {}},
	{name: "DSCP", size: 1, run: targetDSCP},
	{name: "TOS", revision: 1, size: 2, run: targetTOS},
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
		if name == "CT" {
			if err := checkCT(info); err != nil {
				return nil, err
			}
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

// memorySize is what one that remembers many things may take, in bytes.
const memorySize = 160 * maxBuckets

func (e *Extension) memory() int {
	if e.Name == "hashlimit" || e.Name == "connlimit" {
		return memorySize
	}
	return 0
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
