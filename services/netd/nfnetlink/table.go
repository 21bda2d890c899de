package nfnetlink

import (
	"bulkhead/proto/linux"
	"bulkhead/services/netd/netfilter"
)

// This file reads and changes tables and chains, and deals the messages of
// nf_tables out.

// Operations of nf_tables: enum nf_tables_msg_types.
const (
	newTable     = 0
	getTable     = 1
	delTable     = 2
	newChain     = 3
	getChain     = 4
	delChain     = 5
	newRule      = 6
	getRule      = 7
	delRule      = 8
	newSet       = 9
	getSet       = 10
	delSet       = 11
	newElement   = 12
	getElement   = 13
	delElement   = 14
	newGen       = 15
	getGen       = 16
	newObject    = 18
	getObject    = 19
	delObject    = 20
	resetObject  = 21
	getFlow      = 23
	resetRule    = 25
	destroyTable = 26
	destroyChain = 27
	destroyRule  = 28
	destroySet   = 29
	destroyElem  = 30
	destroyObj   = 31
)

const tablesType = subsystemTables << 8

// families are those that packets here can be of.
func known(family uint8) bool {
	return family == netfilter.FamilyInet || family == netfilter.FamilyIPv4 || family == netfilter.FamilyIPv6
}

// question answers a GET message.
func (s *session) question(m *message) error {
	a, err := parse(m.attrs)
	if err != nil {
		return err
	}
	switch m.operation() {
	case getTable:
		return s.getTables(m, a)
	case getChain:
		return s.getChains(m, a)
	case getRule, resetRule:
		return s.getRules(m, a)
	case getSet:
		return s.getSets(m, a)
	case getElement:
		return s.getElements(m, a)
	case getObject, resetObject:
		return s.getObjects(m, a)
	case getGen:
		var w writer
		w.number(1, s.f.Generation)
		s.send(m.answer(tablesType|newGen, 0, s.generic(0, &w)))
		return nil
	case getFlow:
		if m.dumps() {
			return nil // there are no flow tables
		}
		return linux.ENOENT
	}
	return linux.EINVAL // an order outside of a batch
}

// order carries out a message of a batch. echo is what NLM_F_ECHO asks for.
func (s *session) order(b *netfilter.Batch, m *message) (echo []byte, err error) {
	a, err := parse(m.attrs)
	if err != nil {
		return nil, err
	}
	op := m.operation()
	lenient := false
	if op >= destroyTable && op <= destroyObj {
		lenient = true
		op = map[uint16]uint16{destroyTable: delTable, destroyChain: delChain, destroyRule: delRule, destroySet: delSet, destroyElem: delElement, destroyObj: delObject}[op]
	}
	if op != delTable && !known(m.family) {
		return nil, linux.EOPNOTSUPP
	}
	switch op {
	case newTable:
		return s.newTable(b, m, a)
	case delTable:
		err = s.delTable(b, m, a)
	case newChain:
		return s.newChain(b, m, a)
	case delChain:
		err = s.delChain(b, m, a)
	case newRule:
		return s.newRule(b, m, a)
	case delRule:
		err = s.delRule(b, m, a)
	case newSet:
		return s.newSet(b, m, a)
	case delSet:
		err = s.delSet(b, m, a)
	case newElement:
		err = s.elements(b, m, a, true)
	case delElement:
		err = s.elements(b, m, a, false)
	case newObject:
		return s.newObject(b, m, a)
	case delObject:
		err = s.delObject(b, m, a)
	default:
		err = linux.EOPNOTSUPP
	}
	if lenient && errno(err) == linux.ENOENT {
		err = nil
	}
	return nil, err
}

// name checks a name: EINVAL, ENAMETOOLONG.
func name(a *attrs, t int) (string, error) {
	n := a.text(t)
	switch {
	case n == "":
		return "", linux.EINVAL
	case len(n) > 255:
		return "", linux.ENAMETOOLONG
	}
	return n, nil
}

// table finds the table that attribute t names.
func (s *session) table(m *message, a *attrs, t int) (*netfilter.Table, error) {
	n, err := name(a, t)
	if err != nil {
		return nil, err
	}
	found, err := s.f.Table(m.family, n)
	return found, blame(err, a[t])
}

func (s *session) newTable(b *netfilter.Batch, m *message, a *attrs) ([]byte, error) {
	n, err := name(a, 1)
	if err != nil {
		return nil, err
	}
	flags := a.or(2, 0)
	if flags&^netfilter.Dormant != 0 {
		return nil, linux.EOPNOTSUPP // an owner's: that goes with its socket
	}
	user, err := a.user(6)
	if err != nil {
		return nil, err
	}
	t, err := b.NewTable(m.family, n, flags, user, m.flags&flagExclusive != 0)
	if err != nil {
		return nil, blame(err, a[1])
	}
	return m.answer(tablesType|newTable, 0, s.generic(t.Family, tableAttrs(t))), nil
}

func tableAttrs(t *netfilter.Table) *writer {
	w := &writer{}
	w.text(1, t.Name)
	w.number(2, t.Flags)
	w.number(3, uint32(len(t.Chains)+len(t.Sets)+len(t.Objects)))
	w.long(4, t.Handle)
	if t.UserData != nil {
		w.put(6, t.UserData)
	}
	return w
}

// delTable deletes a table, or all of a family, or all.
func (s *session) delTable(b *netfilter.Batch, m *message, a *attrs) error {
	if a.has(1) || a.has(4) {
		for _, t := range s.f.Tables {
			if t.Family == m.family && (a.has(4) && t.Handle == a.long(4) || !a.has(4) && t.Name == a.text(1)) {
				b.DeleteTable(t)
				return nil
			}
		}
		return blame(blame(linux.ENOENT, a[1]), a[4])
	}
	for _, t := range append([]*netfilter.Table(nil), s.f.Tables...) {
		if m.family == 0 || t.Family == m.family {
			b.DeleteTable(t)
		}
	}
	return nil
}

func (s *session) getTables(m *message, a *attrs) error {
	if !m.dumps() {
		t, err := s.table(m, a, 1)
		if err == nil {
			s.send(m.answer(tablesType|newTable, 0, s.generic(t.Family, tableAttrs(t))))
		}
		return err
	}
	for _, t := range s.f.Tables {
		if m.family == 0 || t.Family == m.family {
			s.add(m.answer(tablesType|newTable, flagMulti, s.generic(t.Family, tableAttrs(t))))
		}
	}
	return nil
}

// chain finds the chain that attributes name: by handle or by name.
func chain(t *netfilter.Table, a *attrs, handle, name int) (*netfilter.Chain, error) {
	if a.has(handle) {
		c, err := t.ChainByHandle(a.long(handle))
		return c, blame(err, a[handle])
	}
	c, err := t.Chain(a.text(name))
	return c, blame(err, a[name])
}

func (s *session) newChain(b *netfilter.Batch, m *message, a *attrs) ([]byte, error) {
	t, err := s.table(m, a, 1)
	if err != nil {
		return nil, err
	}
	var policy *int32
	if a.has(5) {
		p := int32(a.or(5, 0))
		if p != netfilter.Accept && p != netfilter.Drop {
			return nil, linux.EINVAL
		}
		policy = &p
	}
	var counter *netfilter.Counter
	if a.has(8) {
		n, err := a.nest(8)
		if err != nil {
			return nil, err
		}
		counter = &netfilter.Counter{Bytes: n.long(1), Packets: n.long(2)}
	}
	if len(a.text(3)) > 255 {
		return nil, linux.ENAMETOOLONG
	}
	c, err := chain(t, a, 2, 3)
	if err == nil {
		return s.changeChain(b, m, a, c, policy, counter)
	}
	if a.has(2) {
		return nil, err
	}
	flags := a.or(10, 0)
	if flags&^(netfilter.ChainBase|netfilter.ChainBinding) != 0 || !a.has(3) && flags&netfilter.ChainBinding == 0 {
		return nil, linux.EOPNOTSUPP
	}
	c = &netfilter.Chain{Name: a.text(3), Flags: flags}
	if c.UserData, err = a.user(12); err != nil {
		return nil, err
	}
	if a.has(4) {
		if flags&netfilter.ChainBinding != 0 {
			return nil, linux.EOPNOTSUPP
		}
		if c.Base, err = base(a); err != nil {
			return nil, err
		}
		c.Flags |= netfilter.ChainBase
		c.Base.Policy, c.Base.Counter = netfilter.Accept, counter
		if policy != nil {
			c.Base.Policy = *policy
		}
	} else if policy != nil || counter != nil {
		return nil, linux.EOPNOTSUPP
	}
	if err := b.AddChain(t, c, a.or(11, 0)); err != nil {
		return nil, err
	}
	return m.answer(tablesType|newChain, 0, s.generic(t.Family, chainAttrs(c))), nil
}

// changeChain is NFT_MSG_NEWCHAIN of a chain that is there.
func (s *session) changeChain(b *netfilter.Batch, m *message, a *attrs, c *netfilter.Chain, policy *int32, counter *netfilter.Counter) ([]byte, error) {
	if m.flags&flagExclusive != 0 {
		return nil, blame(linux.EEXIST, a[3])
	}
	if m.flags&flagReplace != 0 {
		return nil, linux.EOPNOTSUPP
	}
	if a.has(4) {
		n, err := base(a)
		if err != nil {
			return nil, err
		}
		if c.Base == nil || n.Hook != c.Base.Hook || n.Priority != c.Base.Priority || n.Type != c.Base.Type {
			return nil, linux.EEXIST
		}
	}
	rename := ""
	if a.has(2) && a.has(3) {
		rename = a.text(3)
	}
	if err := b.ChangeChain(c, policy, counter, rename); err != nil {
		return nil, err
	}
	return m.answer(tablesType|newChain, 0, s.generic(c.Table.Family, chainAttrs(c))), nil
}

// base reads where a chain begins: EOPNOTSUPP, EINVAL, ENOENT for an unknown type.
func base(a *attrs) (*netfilter.Base, error) {
	h, err := a.nest(4)
	if err != nil {
		return nil, err
	}
	hook, err := h.number(1)
	if err != nil {
		return nil, err
	}
	priority, err := h.number(2)
	if err != nil {
		return nil, err
	}
	if hook > uint32(netfilter.Postrouting) {
		return nil, linux.EOPNOTSUPP
	}
	b := &netfilter.Base{Type: "filter", Hook: netfilter.Hook(hook), Priority: int32(priority)}
	if a.has(7) {
		b.Type = a.text(7)
	}
	switch b.Type {
	case "filter":
	case "nat":
		if b.Hook == netfilter.Forward || b.Priority <= -200 {
			return nil, linux.EOPNOTSUPP
		}
	case "route":
		if b.Hook != netfilter.Output {
			return nil, linux.EOPNOTSUPP
		}
	default:
		return nil, linux.ENOENT
	}
	return b, nil
}

func chainAttrs(c *netfilter.Chain) *writer {
	w := &writer{}
	w.text(1, c.Table.Name)
	w.long(2, c.Handle)
	w.text(3, c.Name)
	if b := c.Base; b != nil {
		w.nest(4, func() {
			w.number(1, uint32(b.Hook))
			w.number(2, uint32(b.Priority))
		})
		w.number(5, uint32(b.Policy))
		w.text(7, b.Type)
		if n := b.Counter; n != nil {
			w.nest(8, func() {
				w.long(2, n.Packets)
				w.long(1, n.Bytes)
			})
		}
	}
	if c.Flags != 0 {
		w.number(10, c.Flags)
	}
	w.number(6, uint32(c.Use()))
	if c.UserData != nil {
		w.put(12, c.UserData)
	}
	return w
}

func (s *session) delChain(b *netfilter.Batch, m *message, a *attrs) error {
	t, err := s.table(m, a, 1)
	if err != nil {
		return err
	}
	c, err := chain(t, a, 2, 3)
	if err != nil {
		return err
	}
	if m.flags&0x100 != 0 && c.Use() > 0 { // NLM_F_NONREC
		return linux.EBUSY
	}
	by := a[2]
	if by == nil {
		by = a[3]
	}
	return blame(b.DeleteChain(c), by)
}

func (s *session) getChains(m *message, a *attrs) error {
	if !m.dumps() {
		t, err := s.table(m, a, 1)
		if err != nil {
			return err
		}
		c, err := chain(t, a, 2, 3)
		if err == nil {
			s.send(m.answer(tablesType|newChain, 0, s.generic(t.Family, chainAttrs(c))))
		}
		return err
	}
	for _, t := range s.f.Tables {
		if m.family != 0 && t.Family != m.family || a.has(1) && a.text(1) != t.Name {
			continue
		}
		for _, c := range t.Chains {
			s.add(m.answer(tablesType|newChain, flagMulti, s.generic(t.Family, chainAttrs(c))))
		}
	}
	return nil
}
