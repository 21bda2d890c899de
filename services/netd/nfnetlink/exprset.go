package nfnetlink

import (
	"bulkhead/proto/linux"
	"bulkhead/services/netd/netfilter"
)

// This file holds the expressions that ask and change sets, and those that keep a state
// of their own or name an object that does.

func readLookup(c *scope, a *attrs) (*netfilter.Lookup, error) {
	s, err := c.set(a, 1, 4)
	if err != nil {
		return nil, err
	}
	e := &netfilter.Lookup{Set: s, Not: a.or(5, 0)&1 != 0}
	if e.Src, err = a.register(2, s.KeyLen); err != nil {
		return nil, err
	}
	if a.has(3) {
		if s.Flags&netfilter.SetMap == 0 || e.Not {
			return nil, linux.EINVAL
		}
		e.IsMap = true
		if s.DataType == verdictType {
			e.ToVerdict = true
		} else if e.Dst, err = a.register(3, s.DataLen); err != nil {
			return nil, err
		}
	} else if s.Flags&netfilter.SetMap != 0 {
		return nil, linux.EINVAL
	}
	return e, nil
}

func writeLookup(w *writer, _ int64, e *netfilter.Lookup) {
	w.text(1, e.Set.Name)
	w.register(2, e.Src)
	if e.ToVerdict {
		w.number(3, 0)
	} else if e.IsMap {
		w.register(3, e.Dst)
	}
	w.number(5, flag(e.Not))
}

// several reads a list of expressions that elements get: E2BIG.
func (c *scope) several(b []byte) (out []netfilter.Stateful, err error) {
	err = each(b, func(_ uint16, v []byte) error {
		x, err := c.stateful(v)
		out = append(out, x)
		if err == nil && len(out) > 2 {
			err = linux.E2BIG
		}
		return err
	})
	return out, err
}

func readDynamic(c *scope, a *attrs) (*netfilter.Dynamic, error) {
	s, err := c.set(a, 1, 2)
	if err != nil {
		return nil, err
	}
	if s.Flags&netfilter.SetConstant != 0 {
		return nil, linux.EBUSY
	}
	if s.Flags&(netfilter.SetInterval|netfilter.SetObject) != 0 || s.DataType == verdictType {
		return nil, linux.EOPNOTSUPP
	}
	if s.Size == 0 && c.b != nil {
		c.b.LimitSet(s, 65535)
	}
	e := &netfilter.Dynamic{Set: s, Op: a.or(3, 99), Timeout: a.long(6), Not: a.or(9, 0)&1 != 0}
	if e.Op > netfilter.DynamicDelete || e.Timeout != 0 && s.Flags&netfilter.SetTimeout == 0 {
		return nil, linux.EOPNOTSUPP
	}
	if e.Key, err = a.register(4, s.KeyLen); err != nil {
		return nil, err
	}
	if a.has(5) {
		if s.Flags&netfilter.SetMap == 0 {
			return nil, linux.EOPNOTSUPP
		}
		if e.Data, err = a.register(5, s.DataLen); err != nil {
			return nil, err
		}
		e.HasData = true
	}
	switch {
	case a.has(7):
		x, err := c.stateful(a[7])
		if err != nil {
			return nil, err
		}
		e.Exprs = []netfilter.Stateful{x}
	case a.has(10):
		e.Many = true
		if e.Exprs, err = c.several(a[10]); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func writeDynamic(w *writer, now int64, e *netfilter.Dynamic) {
	w.number(3, e.Op)
	w.register(4, e.Key)
	if e.HasData {
		w.register(5, e.Data)
	}
	w.text(1, e.Set.Name)
	if e.Timeout != 0 {
		w.long(6, e.Timeout)
	}
	switch {
	case e.Many:
		w.nest(10, func() {
			for _, x := range e.Exprs {
				putExpr(w, 1, now, x)
			}
		})
	case len(e.Exprs) == 1:
		putExpr(w, 7, now, e.Exprs[0])
	}
	w.number(9, flag(e.Not))
}

func readCounter(c *scope, a *attrs) (*netfilter.Counter, error) {
	return &netfilter.Counter{Packets: a.long(2), Bytes: a.long(1)}, nil
}

func writeCounter(w *writer, _ int64, e *netfilter.Counter) {
	w.long(1, e.Bytes)
	w.long(2, e.Packets)
}

func readLimit(c *scope, a *attrs) (*netfilter.Limit, error) {
	e := &netfilter.Limit{Rate: a.long(1), Unit: a.long(2), Burst: a.or(3, 0), Bytes: a.or(4, 0) == 1, Over: a.or(5, 0)&1 != 0}
	if e.Rate == 0 || e.Unit == 0 || e.Unit > 1<<32 {
		return nil, linux.EINVAL
	}
	if e.Burst == 0 && !e.Bytes {
		e.Burst = 5
	}
	return e, nil
}

func writeLimit(w *writer, _ int64, e *netfilter.Limit) {
	w.long(1, e.Rate)
	w.long(2, e.Unit)
	w.number(3, e.Burst)
	w.number(4, flag(e.Bytes))
	w.number(5, flag(e.Over))
}

func readQuota(c *scope, a *attrs) (*netfilter.Quota, error) {
	if !a.has(1) {
		return nil, linux.EINVAL
	}
	return &netfilter.Quota{Limit: a.long(1), Consumed: a.long(4), Over: a.or(2, 0)&1 != 0}, nil
}

func writeQuota(w *writer, _ int64, e *netfilter.Quota) {
	w.long(1, e.Limit)
	n := flag(e.Over)
	if e.Consumed > e.Limit {
		n |= 2
	}
	w.number(2, n)
	w.long(4, e.Consumed)
}

func readConnLimit(c *scope, a *attrs) (*netfilter.ConnLimit, error) {
	return &netfilter.ConnLimit{Count: a.or(1, 0), Over: a.or(2, 0)&1 != 0}, nil
}

func writeConnLimit(w *writer, _ int64, e *netfilter.ConnLimit) {
	w.number(1, e.Count)
	w.number(2, flag(e.Over))
}

func readLast(c *scope, a *attrs) (*netfilter.Last, error) {
	e := &netfilter.Last{Set: a.or(1, 0) != 0}
	e.When = c.now - int64(min(a.long(2), 1<<40))*1e6
	return e, nil
}

func writeLast(w *writer, now int64, e *netfilter.Last) {
	w.number(1, flag(e.Set))
	if e.Set {
		w.long(2, uint64(max(now-e.When, 0)/1e6))
	}
}

func readObjectRef(c *scope, a *attrs) (*netfilter.ObjectRef, error) {
	if a.has(3) {
		s, err := c.set(a, 4, 5)
		if err != nil {
			return nil, err
		}
		if s.Flags&netfilter.SetObject == 0 {
			return nil, linux.EINVAL
		}
		e := &netfilter.ObjectRef{Set: s}
		e.Src, err = a.register(3, s.KeyLen)
		return e, err
	}
	o, err := c.table.Object(a.text(2), a.or(1, 0))
	if err != nil {
		return nil, err
	}
	return &netfilter.ObjectRef{Object: o}, nil
}

func writeObjectRef(w *writer, _ int64, e *netfilter.ObjectRef) {
	if e.Set != nil {
		w.register(3, e.Src)
		w.text(4, e.Set.Name)
		return
	}
	w.number(1, e.Object.Type)
	w.text(2, e.Object.Name)
}
