package nfnetlink

import (
	"slices"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/netfilter"
)

// This file reads and changes sets, their elements, and named objects.

// verdictType is the data type of a map to verdicts: NFT_DATA_VERDICT.
const verdictType = 0xffffff00

const knownSetFlags = netfilter.SetAnonymous | netfilter.SetConstant | netfilter.SetInterval | netfilter.SetMap | netfilter.SetTimeout |
	netfilter.SetEval | netfilter.SetObject | netfilter.SetConcat | netfilter.SetExpr

func (s *session) newSet(b *netfilter.Batch, m *message, a *attrs) ([]byte, error) {
	t, err := s.table(m, a, 1)
	if err != nil {
		return nil, err
	}
	n, err := name(a, 2)
	if err != nil {
		return nil, err
	}
	x := &netfilter.Set{Name: n, Flags: a.or(3, 0), KeyType: a.or(4, 0), ObjType: a.or(15, 0), Policy: a.or(8, 0), HasPolicy: a.has(8),
		Timeout: a.long(11), GC: a.or(12, 0)}
	if x.UserData, err = a.user(13); err != nil {
		return nil, err
	}
	if x.Flags&^knownSetFlags != 0 {
		return nil, linux.EINVAL
	}
	if x.KeyLen, err = length(a.or(5, 0)); err != nil {
		return nil, err
	}
	if err := s.setData(a, x); err != nil {
		return nil, err
	}
	if err := describe(a, x); err != nil {
		return nil, err
	}
	scope := &scope{table: t, b: b, now: s.now}
	switch {
	case a.has(17):
		e, err := scope.stateful(a[17])
		if err != nil {
			return nil, err
		}
		x.Exprs = []netfilter.Stateful{e}
	case a.has(18):
		if x.Exprs, err = scope.several(a[18]); err != nil {
			return nil, err
		}
	}
	if old, err := t.Set(n); err == nil {
		if m.flags&flagExclusive != 0 || old.Flags != x.Flags || old.KeyLen != x.KeyLen || old.DataLen != x.DataLen {
			return nil, blame(linux.EEXIST, a[2])
		}
		return nil, nil
	}
	if m.flags&flagCreate == 0 {
		return nil, blame(linux.ENOENT, a[2])
	}
	if err := b.AddSet(t, x, a.or(10, 0)); err != nil {
		return nil, err
	}
	return m.answer(tablesType|newSet, 0, s.generic(t.Family, s.setAttrs(x))), nil
}

// setData reads what a map's keys stand for.
func (s *session) setData(a *attrs, x *netfilter.Set) error {
	switch {
	case x.Flags&netfilter.SetObject != 0:
		if x.Flags&netfilter.SetMap != 0 || x.ObjType == 0 {
			return linux.EINVAL
		}
	case x.Flags&netfilter.SetMap != 0:
		x.DataType = a.or(6, 0)
		if x.DataType == verdictType {
			x.DataLen = 16
			break
		}
		n, err := length(a.or(7, 0))
		if err != nil {
			return err
		}
		x.DataLen = n
	}
	if x.Timeout != 0 && x.Flags&netfilter.SetTimeout == 0 || x.Timeout > 1<<40 {
		return linux.EINVAL
	}
	return nil
}

// describe reads how large a set may get, and the parts of its keys.
func describe(a *attrs, x *netfilter.Set) error {
	if !a.has(9) {
		return nil
	}
	d, err := a.nest(9)
	if err != nil {
		return err
	}
	x.Size = d.or(1, 0)
	total := 0
	err = each(d[2], func(_ uint16, v []byte) error {
		f, err := parse(v)
		if err != nil {
			return err
		}
		n, err := length(f.or(1, 0))
		if err != nil {
			return err
		}
		x.Fields = append(x.Fields, n)
		total += (n + 3) &^ 3
		return nil
	})
	if err == nil && len(x.Fields) > 0 && (total != x.KeyLen || len(x.Fields) > 16) {
		err = linux.EINVAL
	}
	return err
}

func (s *session) setAttrs(x *netfilter.Set) *writer {
	w := &writer{}
	w.text(1, x.Table.Name)
	w.text(2, x.Name)
	w.long(16, x.Handle)
	if x.Flags != 0 {
		w.number(3, x.Flags)
	}
	w.number(4, x.KeyType)
	w.number(5, uint32(x.KeyLen))
	if x.Flags&netfilter.SetMap != 0 {
		w.number(6, x.DataType)
		w.number(7, uint32(x.DataLen))
	}
	if x.Flags&netfilter.SetObject != 0 {
		w.number(15, x.ObjType)
	}
	if x.Timeout != 0 {
		w.long(11, x.Timeout)
	}
	if x.GC != 0 {
		w.number(12, x.GC)
	}
	if x.HasPolicy {
		w.number(8, x.Policy)
	}
	if x.UserData != nil {
		w.put(13, x.UserData)
	}
	w.nest(9, func() {
		if x.Size != 0 {
			w.number(1, x.Size)
		}
		if len(x.Fields) > 0 {
			w.nest(2, func() {
				for _, n := range x.Fields {
					w.nest(1, func() { w.number(1, uint32(n)) })
				}
			})
		}
	})
	switch len(x.Exprs) {
	case 0:
	case 1:
		putExpr(w, 17, s.now, x.Exprs[0])
	default:
		w.nest(18, func() {
			for _, e := range x.Exprs {
				putExpr(w, 1, s.now, e)
			}
		})
	}
	return w
}

func (s *session) delSet(b *netfilter.Batch, m *message, a *attrs) error {
	t, err := s.table(m, a, 1)
	if err != nil {
		return err
	}
	var x *netfilter.Set
	if a.has(16) {
		x, err = t.SetByHandle(a.long(16))
		err = blame(err, a[16])
	} else {
		x, err = t.Set(a.text(2))
		err = blame(err, a[2])
	}
	if err != nil {
		return err
	}
	return blame(b.DeleteSet(x), a[2])
}

func (s *session) getSets(m *message, a *attrs) error {
	if !m.dumps() {
		t, err := s.table(m, a, 1)
		if err != nil {
			return err
		}
		x, err := t.Set(a.text(2))
		if err == nil {
			s.send(m.answer(tablesType|newSet, 0, s.generic(t.Family, s.setAttrs(x))))
		}
		return err
	}
	for _, t := range s.f.Tables {
		if m.family != 0 && t.Family != m.family || a.has(1) && a.text(1) != t.Name {
			continue
		}
		for _, x := range t.Sets {
			s.add(m.answer(tablesType|newSet, flagMulti, s.generic(t.Family, s.setAttrs(x))))
		}
	}
	return nil
}

// setOf finds the set of an element message.
func (s *session) setOf(m *message, a *attrs) (*netfilter.Set, error) {
	t, err := s.table(m, a, 1)
	if err != nil {
		return nil, err
	}
	if x, err := t.Set(a.text(2)); err == nil {
		return x, nil
	}
	x, err := t.SetByID(a.or(4, 0))
	return x, blame(err, a[2])
}

// elements adds elements to a set, or deletes them; without any it deletes all.
func (s *session) elements(b *netfilter.Batch, m *message, a *attrs, add bool) error {
	x, err := s.setOf(m, a)
	if err != nil {
		return err
	}
	if x.InUse() && x.Flags&netfilter.SetConstant != 0 {
		return linux.EBUSY
	}
	if !a.has(3) {
		if add {
			return linux.EINVAL
		}
		b.Flush(x)
		return nil
	}
	scope := &scope{table: x.Table, b: b, now: s.now}
	return each(a[3], func(_ uint16, v []byte) error {
		e, err := scope.element(x, v, add)
		if err != nil {
			return err
		}
		if add {
			return blame(b.AddElement(x, e, m.flags&flagExclusive != 0), v)
		}
		return blame(b.DeleteElement(x, e), v)
	})
}

// element reads an element: its key alone unless it is to be added.
func (c *scope) element(x *netfilter.Set, b []byte, add bool) (*netfilter.Element, error) {
	a, err := parse(b)
	if err != nil {
		return nil, err
	}
	e := &netfilter.Element{Flags: a.or(3, 0)}
	const both = netfilter.ElementEnd | netfilter.ElementCatchAll
	if e.Flags&^both != 0 || e.Flags&both == both || e.Flags&netfilter.ElementEnd != 0 && (x.Flags&netfilter.SetInterval == 0 || x.Concatenated()) {
		return nil, linux.EINVAL
	}
	if e.Flags&netfilter.ElementCatchAll == 0 {
		if e.Key, err = a.value(1); err != nil || len(e.Key) != x.KeyLen {
			return nil, linux.EINVAL
		}
	}
	if a.has(10) {
		if e.KeyEnd, err = a.value(10); err != nil || len(e.KeyEnd) != x.KeyLen || !x.Concatenated() {
			return nil, linux.EINVAL
		}
	}
	if !add {
		return e, nil
	}
	if err := c.elementData(x, a, e); err != nil {
		return nil, err
	}
	if x.Flags&netfilter.SetTimeout != 0 {
		if e.Timeout = x.Timeout; a.has(4) {
			e.Timeout = a.long(4)
		}
		if left := min(e.Timeout, 1<<40); left != 0 {
			if a.has(5) {
				left = min(a.long(5), left)
			}
			e.Expires = c.now + int64(left)*1e6
		}
	} else if a.has(4) {
		return nil, linux.EINVAL
	}
	if e.UserData, err = a.user(6); err != nil {
		return nil, err
	}
	switch {
	case a.has(7):
		x, err := c.stateful(a[7])
		if err != nil {
			return nil, err
		}
		e.Exprs = []netfilter.Stateful{x}
	case a.has(11):
		if e.Exprs, err = c.several(a[11]); err != nil {
			return nil, err
		}
	default:
		for _, t := range x.Exprs {
			e.Exprs = append(e.Exprs, t.Fresh())
		}
	}
	return e, nil
}

// elementData reads what a map's element stands for.
func (c *scope) elementData(x *netfilter.Set, a *attrs, e *netfilter.Element) error {
	if x.Flags&netfilter.SetObject != 0 && e.Flags&netfilter.ElementEnd == 0 {
		o, err := c.table.Object(a.text(9), x.ObjType)
		e.Object = o
		return err
	}
	if x.Flags&netfilter.SetMap == 0 {
		if a.has(2) {
			return linux.EINVAL
		}
		return nil
	}
	if !a.has(2) {
		if e.Flags&netfilter.ElementEnd == 0 {
			return linux.EINVAL
		}
		return nil
	}
	d, err := a.nest(2)
	if err != nil {
		return err
	}
	if x.DataType == verdictType {
		if !d.has(2) {
			return linux.EINVAL
		}
		e.Verdict, err = c.verdict(d[2])
		return err
	}
	if e.Data, err = a.value(2); err != nil || len(e.Data) != x.DataLen {
		return linux.EINVAL
	}
	return nil
}

func (s *session) elementAttrs(w *writer, x *netfilter.Set, e *netfilter.Element) {
	w.nest(1, func() {
		if e.Key != nil {
			w.value(1, e.Key)
		}
		if e.KeyEnd != nil {
			w.value(10, e.KeyEnd)
		}
		switch {
		case e.Verdict != nil:
			w.nest(2, func() { putVerdict(w, e.Verdict) })
		case e.Data != nil:
			w.value(2, e.Data)
		case e.Object != nil:
			w.text(9, e.Object.Name)
		}
		switch len(e.Exprs) {
		case 0:
		case 1:
			putExpr(w, 7, s.now, e.Exprs[0])
		default:
			w.nest(11, func() {
				for _, y := range e.Exprs {
					putExpr(w, 1, s.now, y)
				}
			})
		}
		if e.Flags != 0 {
			w.number(3, e.Flags)
		}
		if e.Timeout != 0 && e.Timeout != x.Timeout {
			w.long(4, e.Timeout)
		}
		if e.Expires != 0 {
			w.long(5, uint64(max(e.Expires-s.now, 0)/1e6))
		}
		if e.UserData != nil {
			w.put(6, e.UserData)
		}
	})
}

func (s *session) getElements(m *message, a *attrs) error {
	x, err := s.setOf(m, a)
	if err != nil {
		return err
	}
	all := x.Elements(s.now)
	flags := uint16(flagMulti)
	if !m.dumps() {
		all, flags = nil, 0
		scope := &scope{table: x.Table, now: s.now}
		err := each(a[3], func(_ uint16, v []byte) error {
			want, err := scope.element(x, v, false)
			if err != nil {
				return err
			}
			e := x.Find(s.now, want.Key)
			if e == nil {
				return linux.ENOENT
			}
			all = append(all, e)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for len(all) > 0 {
		w := &writer{}
		w.text(1, x.Table.Name)
		w.text(2, x.Name)
		w.nest(3, func() {
			for len(all) > 0 && len(w.b) < maxDatagram/2 {
				s.elementAttrs(w, x, all[0])
				all = all[1:]
			}
		})
		s.add(m.answer(tablesType|newElement, flags, s.generic(x.Table.Family, w)))
	}
	return nil
}

// objectKinds are the expressions that can be objects, by NFT_OBJECT_*.
var objectKinds = map[uint32]string{1: "counter", 2: "quota", 4: "limit", 5: "connlimit"}

func (s *session) newObject(b *netfilter.Batch, m *message, a *attrs) ([]byte, error) {
	t, err := s.table(m, a, 1)
	if err != nil {
		return nil, err
	}
	n, err := name(a, 2)
	if err != nil {
		return nil, err
	}
	typ := a.or(3, 0)
	k, ok := objectKinds[typ]
	if !ok {
		return nil, linux.EOPNOTSUPP
	}
	if o, err := t.Object(n, typ); err == nil {
		if m.flags&flagExclusive != 0 {
			return nil, blame(linux.EEXIST, a[2])
		}
		return m.answer(tablesType|newObject, 0, s.generic(t.Family, s.objectAttrs(o))), nil
	}
	data, err := a.nest(4)
	if err != nil {
		return nil, err
	}
	e, err := codecs[k].read(&scope{table: t, b: b, now: s.now}, data)
	if err != nil {
		return nil, err
	}
	state, ok := e.(netfilter.Stateful)
	if !ok {
		return nil, linux.EOPNOTSUPP
	}
	o := &netfilter.Object{Name: n, Type: typ, State: state}
	if o.UserData, err = a.user(8); err != nil {
		return nil, err
	}
	if err := b.AddObject(t, o); err != nil {
		return nil, err
	}
	return m.answer(tablesType|newObject, 0, s.generic(t.Family, s.objectAttrs(o))), nil
}

func (s *session) objectAttrs(o *netfilter.Object) *writer {
	w := &writer{}
	w.text(1, o.Table.Name)
	w.text(2, o.Name)
	w.number(3, o.Type)
	w.number(5, uint32(o.Use()))
	w.nest(4, func() { codecs[objectKinds[o.Type]].write(w, s.now, o.State) })
	w.long(6, o.Handle)
	if o.UserData != nil {
		w.put(8, o.UserData)
	}
	return w
}

func (s *session) delObject(b *netfilter.Batch, m *message, a *attrs) error {
	t, err := s.table(m, a, 1)
	if err != nil {
		return err
	}
	var o *netfilter.Object
	if a.has(6) {
		o, err = t.ObjectByHandle(a.long(6))
		err = blame(err, a[6])
	} else {
		o, err = t.Object(a.text(2), a.or(3, 0))
		err = blame(err, a[2])
	}
	if err != nil {
		return err
	}
	return blame(b.DeleteObject(o), a[2])
}

func (s *session) getObjects(m *message, a *attrs) error {
	show := func(o *netfilter.Object, flags uint16) []byte {
		b := m.answer(tablesType|newObject, flags, s.generic(o.Table.Family, s.objectAttrs(o)))
		if m.operation() == resetObject {
			switch e := o.State.(type) {
			case *netfilter.Counter:
				*e = netfilter.Counter{}
			case *netfilter.Quota:
				e.Consumed = 0
			}
		}
		return b
	}
	if !m.dumps() {
		t, err := s.table(m, a, 1)
		if err != nil {
			return err
		}
		o, err := t.Object(a.text(2), a.or(3, 0))
		if err == nil {
			s.send(show(o, 0))
		}
		return err
	}
	for _, t := range s.f.Tables {
		if m.family != 0 && t.Family != m.family || a.has(1) && a.text(1) != t.Name {
			continue
		}
		for _, o := range slices.Clone(t.Objects) {
			if !a.has(3) || a.or(3, 0) == o.Type || a.or(3, 0) == 0 {
				s.add(show(o, flagMulti))
			}
		}
	}
	return nil
}
