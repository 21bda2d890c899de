// Package policy decides what may leave a sandbox: by protocol, address or name, and
// port. It is pure: a packet's header in, a verdict out.
//
// A rule is "allow WHAT" or "deny WHAT", where WHAT is
//
//	[tcp:|udp:|icmp:]DESTINATION[:PORT[-PORT]]
//
// and DESTINATION is an address, a prefix, a host's name in DNS, a name with *. before
// it for all below it, or * for anything; an IPv6 address stands in brackets: "deny
// 10.0.0.0/8", "allow tcp:*:443", "allow udp:[fd00::1]:53", "allow
// tcp:*.example.com:443". The first rule that fits decides. If none does, a packet may
// leave unless there is an allow rule: whoever names what is allowed means nothing
// else.
//
// A line "resolver ADDRESS" names a DNS server whose answers say which addresses a
// name stands for. It may be asked for names that the rules allow, and for no others.
package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
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
	To       netip.Prefix // not valid: anywhere, or by name
	Name     string       // in lower case; "": not by name
	Below    bool         // what is below Name, and not Name itself
	Low      uint16       // ports; Low 0: any
	High     uint16
}

// Policy is an ordered list of rules. Without any it lets everything out.
type Policy struct {
	Rules     []Rule
	Resolvers []netip.Addr
}

// Parse reads rules.
func Parse(lines []string) (Policy, error) {
	var p Policy
	for _, line := range lines {
		if what, ok := strings.CutPrefix(strings.TrimSpace(line), "resolver "); ok {
			a, err := netip.ParseAddr(strings.Trim(strings.TrimSpace(what), "[]"))
			if err != nil || a.Zone() != "" {
				return Policy{}, fmt.Errorf("egress resolver %q is no address", what)
			}
			p.Resolvers = append(p.Resolvers, a.Unmap())
			continue
		}
		r, err := parseRule(line)
		if err != nil {
			return Policy{}, fmt.Errorf("egress rule %q: %w", line, err)
		}
		p.Rules = append(p.Rules, r)
	}
	if p.Named() && len(p.Resolvers) == 0 {
		return Policy{}, errors.New("egress rules name hosts, and there is no resolver within a sandbox's reach to say where those are, neither in /etc/resolv.conf nor by --egress-resolver: name one")
	}
	return p, nil
}

// Named says whether a rule goes by name.
func (p Policy) Named() bool {
	return slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Name != "" })
}

// Resolves says whether a resolver may be asked for a name: the first rule by name
// that fits decides, and if none does, whether there is one that allows.
func (p Policy) Resolves(name string) bool {
	listed := false
	for _, r := range p.Rules {
		if r.Name != "" && r.named(name) {
			return r.Allow
		}
		listed = listed || r.Name != "" && r.Allow
	}
	return !listed
}

// named says whether the rule means a name, which is in lower case.
func (r *Rule) named(name string) bool {
	if r.Below {
		return strings.HasSuffix(name, "."+r.Name)
	}
	return name == r.Name
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
			if r.Name, r.Below = parseName(to); r.Name == "" || strings.Contains(what, "[") {
				return r, err
			}
			err = nil
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
		return netip.Prefix{}, fmt.Errorf("%q is no address, prefix, name or *", s)
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// parseName reads a host's name, which *. may stand before: "" if it is none
// (RFC 1123, section 2.1). What ends in a number is an address that is wrong.
func parseName(s string) (name string, below bool) {
	s, below = strings.CutPrefix(strings.ToLower(strings.TrimSuffix(s, ".")), "*.")
	if len(s) > 253 {
		return "", false
	}
	number := false
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", false
		}
		number = true
		for _, c := range []byte(label) {
			digit := c >= '0' && c <= '9'
			if !digit && (c < 'a' || c > 'z') && c != '-' && c != '_' {
				return "", false
			}
			number = number && digit
		}
	}
	if number {
		return "", false
	}
	return s, below
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
	// Names are those that a resolver has said To stands for, in lower case.
	Names []string
}

// The prefixes of IPv6 addresses that stand for one of IPv4: RFC 6052, section 2.1, and
// RFC 3056, section 2.
var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96")
	sixTo4 = netip.MustParsePrefix("2002::/16")
)

// translated is the IPv4 address that a router on the way would make of a; not valid if
// there is none. Who denies that one means both.
func translated(a netip.Addr) netip.Addr {
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:]))
	case sixTo4.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:]))
	}
	return netip.Addr{}
}

// Allows says whether f may leave.
func (p Policy) Allows(f Flow) bool {
	listed := false
	for _, r := range p.Rules {
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
	case r.To.IsValid() && !r.To.Contains(f.To.Unmap()) && (r.Allow || !r.To.Contains(translated(f.To))):
		return false
	case r.Name != "" && !slices.ContainsFunc(f.Names, r.named):
		return false
	case r.Low == 0:
		return true
	}
	return (protocol == TCP || protocol == UDP) && r.Low <= f.Port && f.Port <= r.High
}
