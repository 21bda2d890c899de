package nfnetlink

import (
	"bulkhead/proto/linux"
	"bulkhead/services/netd/netfilter"
)

// This file holds the expressions that work on what is in registers.

func readImmediate(c *scope, a *attrs) (*netfilter.Immediate, error) {
	d, err := a.nest(2)
	if err != nil {
		return nil, err
	}
	if d.has(2) {
		v, err := c.verdict(d[2])
		return &netfilter.Immediate{Verdict: v}, err
	}
	e := &netfilter.Immediate{}
	if e.Data, err = a.value(2); err != nil {
		return nil, err
	}
	e.Dst, err = a.register(1, len(e.Data))
	return e, err
}

func writeImmediate(w *writer, _ int64, e *netfilter.Immediate) {
	if e.Verdict != nil {
		w.number(1, 0)
		w.nest(2, func() { putVerdict(w, e.Verdict) })
		return
	}
	w.register(1, e.Dst)
	w.value(2, e.Data)
}

func readCompare(c *scope, a *attrs) (*netfilter.Compare, error) {
	e := &netfilter.Compare{Op: a.or(2, 99)}
	var err error
	if e.Data, err = a.value(3); err != nil {
		return nil, err
	}
	if e.Op > netfilter.GreaterEqual {
		return nil, linux.EINVAL
	}
	e.Src, err = a.register(1, len(e.Data))
	return e, err
}

func writeCompare(w *writer, _ int64, e *netfilter.Compare) {
	w.register(1, e.Src)
	w.number(2, e.Op)
	w.value(3, e.Data)
}

func readBetween(c *scope, a *attrs) (*netfilter.Between, error) {
	e := &netfilter.Between{Not: a.or(2, 0) == 1}
	var err error
	if e.From, err = a.value(3); err != nil {
		return nil, err
	}
	if e.To, err = a.value(4); err != nil || len(e.To) != len(e.From) || a.or(2, 0) > 1 {
		return nil, linux.EINVAL
	}
	e.Src, err = a.register(1, len(e.From))
	return e, err
}

func writeBetween(w *writer, _ int64, e *netfilter.Between) {
	w.register(1, e.Src)
	w.number(2, flag(e.Not))
	w.value(3, e.From)
	w.value(4, e.To)
}

func readBitwise(c *scope, a *attrs) (*netfilter.Bitwise, error) {
	n, err := length(a.or(3, 0))
	if err != nil {
		return nil, err
	}
	e := &netfilter.Bitwise{Len: n, Op: a.or(6, 0)}
	switch e.Op {
	case 0:
		var err1, err2 error
		e.Mask, err1 = a.value(4)
		e.Xor, err2 = a.value(5)
		if err1 != nil || err2 != nil || len(e.Mask) != n || len(e.Xor) != n {
			return nil, linux.EINVAL
		}
	case 1, 2:
		v, err := a.value(7)
		if err != nil || len(v) != 4 || le.Uint32(v) >= 32 {
			return nil, linux.EINVAL
		}
		e.Shift = le.Uint32(v)
	default:
		return nil, linux.EOPNOTSUPP
	}
	if e.Src, err = a.register(1, (n+3)&^3); err != nil {
		return nil, err
	}
	e.Dst, err = a.register(2, (n+3)&^3)
	return e, err
}

func writeBitwise(w *writer, _ int64, e *netfilter.Bitwise) {
	w.register(1, e.Src)
	w.register(2, e.Dst)
	w.number(3, uint32(e.Len))
	w.number(6, e.Op)
	if e.Op == 0 {
		w.value(4, e.Mask)
		w.value(5, e.Xor)
		return
	}
	w.value(7, le.AppendUint32(nil, e.Shift))
}

func readByteOrder(c *scope, a *attrs) (*netfilter.ByteOrder, error) {
	n, err := length(a.or(4, 0))
	if err != nil {
		return nil, err
	}
	e := &netfilter.ByteOrder{Op: a.or(3, 9), Len: n, Size: int(a.or(5, 0))}
	if e.Op > 1 || e.Size != 2 && e.Size != 4 && e.Size != 8 {
		return nil, linux.EINVAL
	}
	if e.Src, err = a.register(1, n); err != nil {
		return nil, err
	}
	e.Dst, err = a.register(2, n)
	return e, err
}

func writeByteOrder(w *writer, _ int64, e *netfilter.ByteOrder) {
	w.register(1, e.Src)
	w.register(2, e.Dst)
	w.number(3, e.Op)
	w.number(4, uint32(e.Len))
	w.number(5, uint32(e.Size))
}
