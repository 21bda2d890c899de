package nfnetlink

import (
	"bulkhead/services/netd/netfilter"
)

// This file tells those who have joined a group of NETLINK_NETFILTER what changes: `nft
// monitor` and `conntrack -E`.

// Groups of linux/netfilter/nfnetlink.h.
const (
	groupFlowNew     = 1
	groupFlowChanged = 2
	groupFlowGone    = 3
	groupTables      = 7
)

// watched says whether anybody is told of rules.
func (s *session) watched() bool { return s.f.Tell != nil }

// leaving are the notifications of what an order is about to delete, while it is still there.
func (s *session) leaving(m *message) (out [][]byte) {
	a, err := parse(m.attrs)
	if err != nil || !s.watched() {
		return nil
	}
	rules := func(c *netfilter.Chain, which uint64) {
		for _, r := range c.Rules {
			if which == 0 || r.Handle == which {
				w := &writer{}
				w.text(1, c.Table.Name)
				w.text(2, c.Name)
				w.long(3, r.Handle)
				out = append(out, m.answer(tablesType|delRule, 0, s.generic(c.Table.Family, w)))
			}
		}
	}
	for _, t := range s.f.Tables {
		if m.family != 0 && t.Family != m.family || a.has(1) && t.Name != a.text(1) {
			continue
		}
		switch m.operation() {
		case delTable, destroyTable:
			for _, c := range t.Chains {
				rules(c, 0)
			}
			for _, c := range t.Chains {
				out = append(out, m.answer(tablesType|delChain, 0, s.generic(t.Family, chainAttrs(c))))
			}
			out = append(out, m.answer(tablesType|delTable, 0, s.generic(t.Family, tableAttrs(t))))
		case delChain, destroyChain:
			if c, err := chain(t, a, 2, 3); err == nil {
				rules(c, 0)
				out = append(out, m.answer(tablesType|delChain, 0, s.generic(t.Family, chainAttrs(c))))
			}
		case delRule, destroyRule:
			for _, c := range t.Chains {
				if !a.has(2) || c.Name == a.text(2) {
					rules(c, a.long(3))
				}
			}
		}
	}
	return out
}

// news are the notifications of an order that was carried out: what was made, as its echo
// shows it, what has gone, or else what the order itself says.
func (s *session) news(m *message, echo []byte, gone [][]byte) [][]byte {
	if !s.watched() {
		return nil
	}
	if echo != nil {
		return [][]byte{echo}
	}
	op := m.operation()
	if as, ok := map[uint16]uint16{destroySet: delSet, destroyElem: delElement, destroyObj: delObject}[op]; ok {
		op = as
	}
	switch op {
	case newElement, delElement, delSet, delObject:
		return [][]byte{m.answer(tablesType|op, 0, s.generic(m.family, &writer{b: m.attrs}))}
	}
	return gone
}

// publish tells of a batch that was carried out, and of the generation that it has made.
func (s *session) publish(begin *message, news [][]byte) {
	if len(news) == 0 || !s.watched() {
		return
	}
	var w writer
	w.number(1, s.f.Generation)
	w.number(2, 0) // whose process it was is not known here
	w.text(3, "")
	news = append(news, begin.answer(tablesType|newGen, 0, s.generic(0, &w)))
	var open []byte
	for _, n := range news {
		if len(open) > 0 && len(open)+len(n) > maxDatagram {
			s.f.Tell(groupTables, open)
			open = nil
		}
		open = append(open, n...)
	}
	s.f.Tell(groupTables, open)
}

// FlowNews is the notification of what has become of a flow, and the group that it is for.
func FlowNews(f *netfilter.Filter, e netfilter.FlowEvent, l *netfilter.FlowInfo) (group int, b []byte) {
	s, m := session{f: f}, &message{}
	typ, flags, group := uint16(conntrackType|newFlow), uint16(0), groupFlowChanged
	switch e {
	case netfilter.FlowNew:
		flags, group = flagCreate|flagExclusive, groupFlowNew
	case netfilter.FlowGone:
		typ, group = conntrackType|deleteFlow, groupFlowGone
	}
	return group, m.answer(typ, flags, s.generic(l.Family(), s.flowAttrs(l)))
}
