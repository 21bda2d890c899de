// Package policy decides what may leave a sandbox: by protocol, address and port.
// It is pure: a packet's header in, a verdict out.
//
// A rule is "allow WHAT" or "deny WHAT", where WHAT is
//
//	[tcp:|udp:|icmp:]DESTINATION[:PORT[-PORT]]
//
// and DESTINATION is an address, a prefix, or * for anything; an IPv6 one stands
// in brackets: "deny 10.0.0.0/8", "allow tcp:*:443", "allow udp:[fd00::1]:53".
// The first rule that fits decides. If none does, a packet may leave unless there
// is an allow rule: whoever names what is allowed means nothing else.
package policy

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Protocols that a rule can name.
const (
	ICMP   = 1
	TCP    = 6
	UDP    = 17
	ICMPv6 = 58
)

// Rule is one line of a policy.
type Rule struct {
	Allow    bool
	Protocol uint8        // 0: any; ICMP stands for both families'
	To       netip.Prefix // not valid: anywhere
	Low      uint16       // ports; Low 0: any
	High     uint16
}

// Policy is an ordered list of rules. Empty, it lets everything out.
type Policy []Rule

// Parse reads rules.
func Parse(lines []string) (Policy, error) {
	var p Policy
	for _, line := range lines {
		r, err := parseRule(line)
		if err != nil {
			return nil, fmt.Errorf("egress rule %q: %w", line, err)
		}
		p = append(p, r)
	}
	return p, nil
}

func parseRule(line string) (r Rule, err error) {
	verb, what, ok := strings.Cut(strings.TrimSpace(line), " ")
	switch {
	case !ok || verb != "allow" && verb != "deny":
		return r, fmt.Errorf("want allow or deny, a space, and what")
	case verb == "allow":
		r.Allow = true
	}
	for name, number := range map[string]uint8{"tcp:": TCP, "udp:": UDP, "icmp:": ICMP} {
		if rest, ok := strings.CutPrefix(what, name); ok {
			r.Protocol, what = number, rest
			break
		}
	}
	to, ports := what, ""
	if rest, ok := strings.CutPrefix(what, "["); ok {
		if to, ports, ok = strings.Cut(rest, "]"); !ok {
			return r, fmt.Errorf("a bracket is not closed")
		}
		if ports != "" && ports[0] != ':' {
			return r, fmt.Errorf("%q follows the address", ports)
		}
		ports = strings.TrimPrefix(ports, ":")
	} else {
		to, ports, _ = strings.Cut(what, ":")
	}
	if to != "*" {
		if r.To, err = parsePrefix(to); err != nil {
			return r, err
		}
	}
	if ports != "" {
		if r.Protocol == ICMP {
			return r, fmt.Errorf("ICMP has no ports")
		}
		r.Low, r.High, err = parsePorts(ports)
	}
	return r, err
}

func parsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return p, fmt.Errorf("%q is no prefix", s)
		}
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is no address, prefix or *", s)
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func parsePorts(s string) (low, high uint16, err error) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	l, err1 := strconv.ParseUint(first, 10, 16)
	h, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || l == 0 || h < l {
		return 0, 0, fmt.Errorf("%q is no port or range of ports", s)
	}
	return uint16(l), uint16(h), nil
}

// Flow is what of a packet counts.
type Flow struct {
	Protocol uint8
	To       netip.Addr
	Port     uint16 // the destination's; 0: none is known
}

// Allows says whether f may leave.
func (p Policy) Allows(f Flow) bool {
	listed := false
	for _, r := range p {
		if r.fits(f) {
			return r.Allow
		}
		listed = listed || r.Allow
	}
	return !listed
}

func (r *Rule) fits(f Flow) bool {
	protocol := f.Protocol
	if protocol == ICMPv6 {
		protocol = ICMP
	}
	switch {
	case r.Protocol != 0 && r.Protocol != protocol:
		return false
	case r.To.IsValid() && !r.To.Contains(f.To.Unmap()):
		return false
	case r.Low == 0:
		return true
	}
	return (protocol == TCP || protocol == UDP) && r.Low <= f.Port && f.Port <= r.High
}
