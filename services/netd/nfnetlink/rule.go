package nfnetlink

import (
	"slices"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/netfilter"
)

// This file reads and changes rules.

// maxExprs bounds a rule: NFT_RULE_MAXEXPRS.
const maxExprs = 128

// chainOf finds the chain of a rule message.
func chainOf(t *netfilter.Table, a *attrs) (*netfilter.Chain, error) {
	switch {
	case a.has(2):
		c, err := t.Chain(a.text(2))
		return c, blame(err, a[2])
	case a.has(11):
		c, err := t.ChainByID(a.or(11, 0))
		return c, blame(err, a[11])
	}
	return nil, linux.EINVAL
}

func (s *session) newRule(b *netfilter.Batch, m *message, a *attrs) ([]byte, error) {
	t, err := s.table(m, a, 1)
	if err != nil {
		return nil, err
	}
	c, err := chainOf(t, a)
	if err != nil {
		return nil, err
	}
	var old, near *netfilter.Rule
	switch {
	case a.has(3):
		if old, err = c.Rule(a.long(3)); err != nil {
			return nil, blame(err, a[3])
		}
		if m.flags&flagExclusive != 0 {
			return nil, blame(linux.EEXIST, a[3])
		}
		if m.flags&flagReplace == 0 {
			return nil, linux.EOPNOTSUPP
		}
	case m.flags&flagCreate == 0 || m.flags&flagReplace != 0:
		return nil, linux.EINVAL
	case a.has(6):
		near, err = c.Rule(a.long(6))
		err = blame(err, a[6])
	case a.has(10):
		near, err = c.RuleByID(a.or(10, 0))
		err = blame(err, a[10])
	}
	if err != nil {
		return nil, err
	}
	r := &netfilter.Rule{}
	if r.UserData, err = a.user(7); err != nil {
		return nil, err
	}
	scope := &scope{table: t, b: b, now: s.now}
	compat, err := parse(a[5])
	if err != nil {
		return nil, err
	}
	proto := uint8(compat.or(1, 0))
	if compat.or(2, 0)&2 != 0 { // NFT_RULE_COMPAT_F_INV
		proto = 0
	}
	err = each(a[4], func(_ uint16, v []byte) error {
		if len(r.Exprs) >= maxExprs {
			return linux.EINVAL
		}
		e, err := scope.expr(v)
		if x, ok := e.(*netfilter.Extension); ok && err == nil {
			err = x.Suits(proto)
		}
		r.Exprs = append(r.Exprs, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	behind := m.flags&flagAppend != 0
	if old != nil {
		err = b.ReplaceRule(c, old, r, a.or(9, 0))
	} else {
		err = b.AddRule(c, r, a.or(9, 0), near, behind)
	}
	if err != nil {
		return nil, err
	}
	return m.answer(tablesType|newRule, flagCreate|flagAppend, s.generic(t.Family, s.ruleAttrs(c, r, 0))), nil
}

// ruleAttrs is a rule and the handle of the one before it; 0: it is the first.
func (s *session) ruleAttrs(c *netfilter.Chain, r *netfilter.Rule, before uint64) *writer {
	w := &writer{}
	w.text(1, c.Table.Name)
	w.text(2, c.Name)
	w.long(3, r.Handle)
	if before != 0 {
		w.long(6, before)
	}
	w.nest(4, func() {
		for _, e := range r.Exprs {
			putExpr(w, 1, s.now, e)
		}
	})
	if len(r.UserData) > 0 {
		w.put(7, r.UserData)
	}
	return w
}

// delRule deletes a rule, or all of a chain, or of a table.
func (s *session) delRule(b *netfilter.Batch, m *message, a *attrs) error {
	t, err := s.table(m, a, 1)
	if err != nil {
		return err
	}
	chains := slices.Clone(t.Chains)
	if a.has(2) {
		c, err := t.Chain(a.text(2))
		if err != nil {
			return blame(err, a[2])
		}
		var r *netfilter.Rule
		switch {
		case a.has(3):
			r, err = c.Rule(a.long(3))
			err = blame(err, a[3])
		case a.has(9):
			r, err = c.RuleByID(a.or(9, 0))
			err = blame(err, a[9])
		}
		if err != nil {
			return err
		}
		if r != nil {
			b.DeleteRule(c, r)
			return nil
		}
		chains = []*netfilter.Chain{c}
	}
	for _, c := range chains {
		for len(c.Rules) > 0 {
			b.DeleteRule(c, c.Rules[len(c.Rules)-1])
		}
	}
	return nil
}

func (s *session) getRules(m *message, a *attrs) error {
	if !m.dumps() {
		t, err := s.table(m, a, 1)
		if err != nil {
			return err
		}
		c, err := t.Chain(a.text(2))
		if err != nil {
			return err
		}
		r, err := c.Rule(a.long(3))
		if err == nil {
			s.send(m.answer(tablesType|newRule, 0, s.generic(t.Family, s.ruleAttrs(c, r, c.Before(r)))))
		}
		return err
	}
	for _, t := range s.f.Tables {
		if m.family != 0 && t.Family != m.family || a.has(1) && a.text(1) != t.Name {
			continue
		}
		for _, c := range t.Chains {
			if a.has(2) && a.text(2) != c.Name {
				continue
			}
			before := uint64(0)
			for _, r := range c.Rules {
				s.add(m.answer(tablesType|newRule, flagMulti|flagAppend, s.generic(t.Family, s.ruleAttrs(c, r, before))))
				before = r.Handle
				if m.operation() == resetRule {
					reset(r)
				}
			}
		}
	}
	return nil
}

// reset sets a rule's counters and quotas back.
func reset(r *netfilter.Rule) {
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *netfilter.Counter:
			*e = netfilter.Counter{}
		case *netfilter.Quota:
			e.Consumed = 0
		}
	}
}
