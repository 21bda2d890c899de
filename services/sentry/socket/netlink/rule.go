package netlink

import (
	"slices"

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

	ruleGoto        = 4
	ruleUsers       = 20
	ruleIPProtocol  = 22
	ruleSources     = 23
	ruleDestination = 24

	actionTable = 1
	actionGoto  = 2
	actionNop   = 3
	invertRule  = 2
	unresolved  = 4 // FIB_RULE_UNRESOLVED: a goto to nowhere

	tableDefault = 253
	mainPriority = 32766
)

// always are the rules that a host begins with: ip-rule(8).
func always(v6 bool) []*netdv1.RuleEntry {
	all := []*netdv1.RuleEntry{{V6: v6, Table: tableLocal, Protocol: protocolKernel},
		{V6: v6, Priority: mainPriority, Table: tableMain, Protocol: protocolKernel}}
	if !v6 {
		all = append(all, &netdv1.RuleEntry{Priority: mainPriority + 1, Table: tableDefault, Protocol: protocolKernel})
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
		all := ordered(known, v6)
		for _, m := range all {
			leads := slices.ContainsFunc(all, func(o *netdv1.RuleEntry) bool { return o.Priority == m.Target })
			b = r.rule(b, family, m, leads)
		}
	}
	return b
}

// rule appends RTM_NEWRULE; a goto leads somewhere or not.
func (r *request) rule(b []byte, family byte, m *netdv1.RuleEntry, leads bool) []byte {
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
	if m.Kind == actionGoto && !leads {
		flags |= unresolved
	}
	body := []byte{family, byte(m.To.GetBits()), byte(m.From.GetBits()), byte(m.Tos), small, 0, 0, action, flags, 0, 0, 0}
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
	if m.Kind == actionGoto {
		body = attribute(body, ruleGoto, le.AppendUint32(nil, m.Target))
	}
	if m.Users != nil {
		body = attribute(body, ruleUsers, le.AppendUint32(le.AppendUint32(nil, m.Users.First), m.Users.Last))
	}
	if m.IpProtocol != 0 {
		body = attribute(body, ruleIPProtocol, []byte{byte(m.IpProtocol)})
	}
	for typ, ports := range map[uint16]*netdv1.Range{ruleSources: m.SourcePorts, ruleDestination: m.DestinationPorts} {
		if ports != nil {
			body = attribute(body, typ, le.AppendUint16(le.AppendUint16(nil, uint16(ports.First)), uint16(ports.Last)))
		}
	}
	body = attribute(body, ruleProtocol, []byte{byte(m.Protocol)})
	body = attribute(body, rulePriority, le.AppendUint32(nil, m.Priority))
	if m.To != nil {
		body = attribute(body, ruleTo, m.To.Address)
	}
	if m.From != nil {
		body = attribute(body, ruleFrom, m.From.Address)
	}
	return r.message(b, newRule, flagMulti, body)
}

// ruleChange reads a struct fib_rule_hdr: EOPNOTSUPP for what there is not, as realms and
// groups of interfaces.
func (r *request) ruleChange() (*netdv1.Change, linux.Errno) {
	if len(r.body) < 12 {
		return nil, linux.EINVAL
	}
	family := r.body[0]
	if family != linux.AF_INET && family != linux.AF_INET6 {
		return nil, linux.EAFNOSUPPORT
	}
	a := r.attributes(12)
	if !knownRule(a) {
		return nil, linux.EOPNOTSUPP
	}
	m := &netdv1.RuleEntry{V6: family == linux.AF_INET6, Priority: number(a[rulePriority]), Table: number(a[ruleTable]),
		In: cString(a[ruleIn]), Out: cString(a[ruleOut]), Target: number(a[ruleGoto]), Tos: uint32(r.body[3])}
	ruleSelects(m, a)
	switch action := r.body[7]; {
	case action == actionTable, action == 0 && r.typ == delRule:
	case action == actionGoto, action == actionNop, action >= 6 && action <= 8: // FR_ACT_BLACKHOLE and the like are RTN_'s numbers
		m.Kind = uint32(action)
	default:
		return nil, linux.EOPNOTSUPP
	}
	flags := le.Uint32(r.body[8:])
	if flags&^(invertRule|unresolved) != 0 {
		return nil, linux.EOPNOTSUPP
	}
	m.Invert = flags&invertRule != 0
	if m.Table == 0 {
		m.Table = uint32(r.body[4])
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

// knownRule says whether a rule asks for nothing that there is not.
func knownRule(a map[uint16][]byte) bool {
	for t, v := range a {
		switch t {
		case ruleTo, ruleFrom, rulePriority, ruleTable, ruleProtocol, ruleIn, ruleOut, ruleMark, ruleMask, ruleSuppress, ruleGoto, ruleUsers,
			ruleIPProtocol, ruleSources, ruleDestination:
		case ruleGroups:
			if number(v) != 1<<32-1 {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// ruleSelects sets what packets a rule is for, but for their addresses and interfaces.
func ruleSelects(m *netdv1.RuleEntry, a map[uint16][]byte) {
	if len(a[ruleProtocol]) > 0 {
		m.Protocol = uint32(a[ruleProtocol][0])
	}
	if len(a[ruleIPProtocol]) > 0 {
		m.IpProtocol = uint32(a[ruleIPProtocol][0])
	}
	if v := a[ruleUsers]; len(v) >= 8 {
		m.Users = &netdv1.Range{First: le.Uint32(v), Last: le.Uint32(v[4:])}
	}
	ports := func(v []byte) *netdv1.Range {
		if len(v) < 4 {
			return nil
		}
		return &netdv1.Range{First: uint32(le.Uint16(v)), Last: uint32(le.Uint16(v[2:]))}
	}
	m.SourcePorts, m.DestinationPorts = ports(a[ruleSources]), ports(a[ruleDestination])
	if a[ruleMark] != nil || a[ruleMask] != nil {
		m.Mark, m.Mask = number(a[ruleMark]), 1<<32-1
		if a[ruleMask] != nil {
			m.Mask = number(a[ruleMask])
		}
	}
	if v := number(a[ruleSuppress]); a[ruleSuppress] != nil && v != 1<<32-1 {
		m.Longer = min(v, 128) + 1
	}
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
func (r *request) withUser(b []byte, uid uint32) []byte {
	if len(b) < headerSize+12 {
		return b
	}
	return resized(attribute(b, attributeUID, le.AppendUint32(nil, uid)))
}

// resized writes a message's length to its header.
func resized(b []byte) []byte {
	le.PutUint32(b, uint32(len(b)))
	return b
}
