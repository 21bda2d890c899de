package netlink

import (
	"net/netip"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// Messages, attributes and the one action of rules: linux/fib_rules.h.
const (
	newRule = 32
	delRule = 33

	ruleTo       = 1
	ruleFrom     = 2
	ruleIn       = 3
	ruleMark     = 10
	ruleGroups   = 13
	ruleMask     = 16
	ruleOut      = 17
	rulePriority = 6
	ruleSuppress = 14
	ruleTable    = 15
	ruleProtocol = 21

	actionTable = 1
	invertRule  = 2

	tableDefault = 253
	mainPriority = 32766
)

// always are the rules that a host begins with: ip-rule(8).
func always(v6 bool) []*netdv1.RuleEntry {
	all := []*netdv1.RuleEntry{{V6: v6, Table: tableLocal}, {V6: v6, Priority: mainPriority, Table: tableMain}}
	if !v6 {
		all = append(all, &netdv1.RuleEntry{Priority: mainPriority + 1, Table: tableDefault})
	}
	return all
}

// ordered are all rules of a family, those of a dump among those that there always are.
func ordered(known *netdv1.Response, v6 bool) []*netdv1.RuleEntry {
	fixed := always(v6)
	out := fixed[:1:1]
	for _, m := range known.GetRules() {
		if m.V6 == v6 {
			out = append(out, m)
		}
	}
	return append(out, fixed[1:]...)
}

// rules answers a dump of the rules of one family, or of both.
func (r *request) rules(source Source) (b []byte) {
	known := &netdv1.Response{}
	if s, ok := source.(Router); ok {
		if all, err := s.Routes(); err == nil {
			known = all
		}
	}
	wanted := byte(0)
	if len(r.body) > 0 {
		wanted = r.body[0]
	}
	for _, v6 := range []bool{false, true} {
		family := byte(linux.AF_INET)
		if v6 {
			family = linux.AF_INET6
		}
		if wanted != 0 && wanted != family {
			continue
		}
		for _, m := range ordered(known, v6) {
			b = r.rule(b, family, m)
		}
	}
	return b
}

// rule appends RTM_NEWRULE.
func (r *request) rule(b []byte, family byte, m *netdv1.RuleEntry) []byte {
	small := byte(0)
	if m.Table < 256 {
		small = byte(m.Table)
	}
	action, flags := byte(actionTable), byte(0)
	if m.Kind != 0 {
		action = byte(m.Kind)
	}
	if m.Invert {
		flags = invertRule
	}
	body := []byte{family, byte(m.To.GetBits()), byte(m.From.GetBits()), 0, small, 0, 0, action, flags, 0, 0, 0}
	body = attribute(body, ruleTable, le.AppendUint32(nil, m.Table))
	body = attribute(body, ruleSuppress, le.AppendUint32(nil, m.Longer-1)) // all ones for none
	if m.In != "" {
		body = attribute(body, ruleIn, text(m.In))
	}
	if m.Out != "" {
		body = attribute(body, ruleOut, text(m.Out))
	}
	if m.Mask != 0 {
		body = attribute(body, ruleMark, le.AppendUint32(nil, m.Mark))
		body = attribute(body, ruleMask, le.AppendUint32(nil, m.Mask))
	}
	body = attribute(body, ruleProtocol, []byte{2}) // the kernel
	body = attribute(body, rulePriority, le.AppendUint32(nil, m.Priority))
	if m.To != nil {
		body = attribute(body, ruleTo, m.To.Address)
	}
	if m.From != nil {
		body = attribute(body, ruleFrom, m.From.Address)
	}
	return r.message(b, newRule, flagMulti, body)
}

// ruleChange reads a struct fib_rule_hdr: EOPNOTSUPP for what there is not, as ports and the
// going on at another rule.
func (r *request) ruleChange() (*netdv1.Change, linux.Errno) {
	if len(r.body) < 12 {
		return nil, linux.EINVAL
	}
	family := r.body[0]
	if family != linux.AF_INET && family != linux.AF_INET6 {
		return nil, linux.EAFNOSUPPORT
	}
	a := r.attributes(12)
	for t, v := range a {
		switch t {
		case ruleTo, ruleFrom, rulePriority, ruleTable, ruleProtocol, ruleIn, ruleOut, ruleMark, ruleMask, ruleSuppress:
		case ruleGroups:
			if number(v) != 1<<32-1 {
				return nil, linux.EOPNOTSUPP
			}
		default:
			return nil, linux.EOPNOTSUPP
		}
	}
	m := &netdv1.RuleEntry{V6: family == linux.AF_INET6, Priority: number(a[rulePriority]), Table: number(a[ruleTable]),
		In: cString(a[ruleIn]), Out: cString(a[ruleOut])}
	switch action := r.body[7]; {
	case action == actionTable, action == 0 && r.typ == delRule:
	case action >= 6 && action <= 8: // FR_ACT_BLACKHOLE and the like are RTN_'s numbers
		m.Kind = uint32(action)
	default:
		return nil, linux.EOPNOTSUPP
	}
	flags := le.Uint32(r.body[8:])
	if r.body[3] != 0 || flags&^invertRule != 0 {
		return nil, linux.EOPNOTSUPP
	}
	m.Invert = flags&invertRule != 0
	if m.Table == 0 {
		m.Table = uint32(r.body[4])
	}
	if a[ruleMark] != nil || a[ruleMask] != nil {
		m.Mark, m.Mask = number(a[ruleMark]), 1<<32-1
		if a[ruleMask] != nil {
			m.Mask = number(a[ruleMask])
		}
	}
	if v := number(a[ruleSuppress]); a[ruleSuppress] != nil && v != 1<<32-1 {
		m.Longer = min(v, 128) + 1
	}
	for _, x := range []struct {
		typ  uint16
		bits byte
		to   **netdv1.Prefix
	}{{ruleTo, r.body[1], &m.To}, {ruleFrom, r.body[2], &m.From}} {
		if x.bits == 0 {
			continue
		}
		if familyOf(a[x.typ]) != family || int(x.bits) > 8*len(a[x.typ]) {
			return nil, linux.EINVAL
		}
		*x.to = &netdv1.Prefix{Address: a[x.typ], Bits: uint32(x.bits)}
	}
	switch {
	case m.Priority >= mainPriority:
		return nil, linux.EOPNOTSUPP // the last ones are those that there always are
	case r.typ == newRule && m.Table == 0 && m.Kind == 0:
		return nil, linux.EINVAL
	}
	return &netdv1.Change{What: &netdv1.Change_Rule{Rule: &netdv1.RuleChange{Rule: m, Remove: r.typ == delRule}}}, 0
}

// question is what a route is asked for.
type question struct {
	from, dst netip.Addr
	out       uint32
	mark      uint32
	in, bound string // names of interfaces; empty: none
}

// byRules is the route that the rules lead to, nil without one.
func byRules(known *netdv1.Response, q question) *netdv1.RouteEntry {
	for _, m := range ordered(known, q.dst.Is6()) {
		if !q.meets(m) {
			continue
		}
		switch m.Kind {
		case 0:
		case 7: // which a rule says otherwise than a route
			return nil
		default:
			return &netdv1.RouteEntry{Kind: m.Kind}
		}
		if best := choose(known.Routes, m.Table, m.Longer, q.dst, q.out); best != nil {
			return best
		}
	}
	return nil
}

// meets says whether a rule is about it.
func (q *question) meets(m *netdv1.RuleEntry) bool {
	in := q.in
	if in == "" {
		in = "lo"
	}
	is := within(m.From, q.from) && within(m.To, q.dst) && (m.Mark^q.mark)&m.Mask == 0 && (m.In == "" || m.In == in) && (m.Out == "" || m.Out == q.bound)
	return is != m.Invert
}

// within says whether an address is one of a rule's.
func within(m *netdv1.Prefix, a netip.Addr) bool {
	if m == nil {
		return true
	}
	net, ok := netip.AddrFromSlice(m.Address)
	if !ok || !a.IsValid() {
		return false
	}
	p, err := net.Prefix(int(min(m.Bits, 128)))
	return err == nil && p.Contains(a)
}

// withSource adds to a route's message where it is asked for from, as Linux does for IPv6.
func (r *request) withSource(b, from []byte) []byte {
	if len(b) < headerSize+12 {
		return b
	}
	if len(from) != 16 {
		from = make([]byte, 16)
	}
	return r.from(b, from)
}

// from adds the address that it was asked for from.
func (r *request) from(b, from []byte) []byte {
	if len(b) < headerSize+12 {
		return b
	}
	b[headerSize+2] = byte(8 * len(from))
	return resized(attribute(b, 2, from))
}

// withUser adds whose question it was, as Linux does for IPv4.
func (r *request) withUser(b []byte) []byte {
	if len(b) < headerSize+12 {
		return b
	}
	return resized(attribute(b, 25, make([]byte, 4)))
}

// resized writes a message's length to its header.
func resized(b []byte) []byte {
	le.PutUint32(b, uint32(len(b)))
	return b
}
