package nfnetlink

import (
	"strings"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/netfilter"
)

// This file reads and writes expressions: nft_expr_attributes and those of each
// kind, in linux/netfilter/nf_tables.h.

// scope is what names in an expression are looked up in.
type scope struct {
	table *netfilter.Table
	b     *netfilter.Batch
	now   int64
}

// codec is a kind of expression: how it is read (EINVAL, ENOENT, ERANGE,
// EOPNOTSUPP), and how it is written.
type codec struct {
	read  func(c *scope, a *attrs) (netfilter.Expr, error)
	write func(w *writer, now int64, e netfilter.Expr) bool
}

// codecs are the kinds by their name.
var codecs map[string]codec

// names is the order in which kinds are tried for writing.
var names []string

// kind makes a codec of functions for one type.
func kind[T netfilter.Expr](name string, read func(c *scope, a *attrs) (T, error), write func(w *writer, now int64, e T)) {
	if codecs == nil {
		codecs = map[string]codec{}
	}
	names = append(names, name)
	codecs[name] = codec{
		func(c *scope, a *attrs) (netfilter.Expr, error) {
			e, err := read(c, a)
			if err != nil {
				return nil, err
			}
			return e, nil
		},
		func(w *writer, now int64, e netfilter.Expr) bool {
			t, ok := e.(T)
			if ok {
				write(w, now, t)
			}
			return ok
		},
	}
}

// nameOf is the kind of an expression.
func nameOf(e netfilter.Expr) string {
	switch e := e.(type) {
	case *netfilter.Extension:
		if e.Target {
			return "target"
		}
		return "match"
	}
	return ""
}

// expr reads a nest of NFTA_EXPR_NAME and NFTA_EXPR_DATA.
func (c *scope) expr(b []byte) (netfilter.Expr, error) {
	a, err := parse(b)
	if err != nil {
		return nil, err
	}
	k, ok := codecs[a.text(1)]
	if !ok {
		return nil, linux.ENOENT
	}
	data, err := parse(a[2])
	if err != nil {
		return nil, err
	}
	return k.read(c, data)
}

// stateful is expr of one that an element or object may have: EOPNOTSUPP.
func (c *scope) stateful(b []byte) (netfilter.Stateful, error) {
	e, err := c.expr(b)
	if err != nil {
		return nil, err
	}
	s, ok := e.(netfilter.Stateful)
	if !ok {
		return nil, linux.EOPNOTSUPP
	}
	return s, nil
}

// putExpr writes an expression as a nest of type t.
func putExpr(w *writer, t int, now int64, e netfilter.Expr) {
	name := nameOf(e)
	for _, n := range names {
		if name != "" && n != name {
			continue
		}
		var data writer
		if codecs[n].write(&data, now, e) {
			w.nest(t, func() {
				w.text(1, n)
				if len(data.b) > 0 {
					w.put(2|nested, data.b)
				}
			})
			return
		}
	}
}

// verdict reads a NFTA_VERDICT nest.
func (c *scope) verdict(b []byte) (*netfilter.Verdict, error) {
	a, err := parse(b)
	if err != nil {
		return nil, err
	}
	code, err := a.number(1)
	if err != nil {
		return nil, err
	}
	v := &netfilter.Verdict{Code: int32(code)}
	switch v.Code {
	case netfilter.Accept, netfilter.Drop, netfilter.Continue, netfilter.Break, netfilter.Return:
		return v, nil
	case netfilter.Jump, netfilter.Goto:
	default:
		return nil, linux.EOPNOTSUPP // to a queue, whose reader is elsewhere
	}
	switch {
	case a.has(2):
		v.Chain, err = c.table.Chain(a.text(2))
		err = blame(err, a[2])
	case a.has(3):
		v.Chain, err = c.table.ChainByID(a.or(3, 0))
	default:
		return nil, linux.EINVAL
	}
	if err != nil {
		return nil, err
	}
	if v.Chain.Base != nil {
		return nil, blame(linux.EOPNOTSUPP, a[2])
	}
	return v, nil
}

func putVerdict(w *writer, v *netfilter.Verdict) {
	w.nest(2, func() {
		w.number(1, uint32(v.Code))
		if v.Chain != nil {
			w.text(2, v.Chain.Name)
		}
	})
}

// set finds the set of an expression by the number that the batch gave it, or its
// name.
func (c *scope) set(a *attrs, name, id int) (*netfilter.Set, error) {
	if a.has(id) {
		if s, err := c.table.SetByID(a.or(id, 0)); err == nil {
			return s, nil
		}
	}
	if !a.has(name) {
		return nil, linux.EINVAL
	}
	s, err := c.table.Set(a.text(name))
	return s, blame(err, a[name])
}

// length checks a number of bytes for registers.
func length(n uint32) (int, error) {
	if n == 0 || n > 64 {
		return 0, linux.EINVAL
	}
	return int(n), nil
}

// small checks a byte.
func small(a *attrs, t int) (uint8, error) {
	n := a.or(t, 0)
	if n > 255 {
		return 0, linux.ERANGE
	}
	return uint8(n), nil
}

func init() {
	kind("immediate", func(c *scope, a *attrs) (*netfilter.Immediate, error) {
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
	}, func(w *writer, _ int64, e *netfilter.Immediate) {
		if e.Verdict != nil {
			w.number(1, 0)
			w.nest(2, func() { putVerdict(w, e.Verdict) })
			return
		}
		w.register(1, e.Dst)
		w.value(2, e.Data)
	})
	kind("cmp", func(c *scope, a *attrs) (*netfilter.Compare, error) {
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
	}, func(w *writer, _ int64, e *netfilter.Compare) {
		w.register(1, e.Src)
		w.number(2, e.Op)
		w.value(3, e.Data)
	})
	kind("range", func(c *scope, a *attrs) (*netfilter.Between, error) {
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
	}, func(w *writer, _ int64, e *netfilter.Between) {
		w.register(1, e.Src)
		w.number(2, flag(e.Not))
		w.value(3, e.From)
		w.value(4, e.To)
	})
	kind("bitwise", readBitwise, func(w *writer, _ int64, e *netfilter.Bitwise) {
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
	})
	kind("byteorder", func(c *scope, a *attrs) (*netfilter.ByteOrder, error) {
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
	}, func(w *writer, _ int64, e *netfilter.ByteOrder) {
		w.register(1, e.Src)
		w.register(2, e.Dst)
		w.number(3, e.Op)
		w.number(4, uint32(e.Len))
		w.number(5, uint32(e.Size))
	})
	kind("payload", readPayload, func(w *writer, _ int64, e *netfilter.Payload) {
		if e.Write {
			w.register(5, e.Reg)
		} else {
			w.register(1, e.Reg)
		}
		w.number(2, e.Base)
		w.number(3, uint32(e.Offset))
		w.number(4, uint32(e.Len))
		if e.Write {
			w.number(6, e.SumType)
			w.number(7, uint32(e.SumOffset))
			w.number(8, e.SumFlags)
		}
	})
	kind("meta", func(c *scope, a *attrs) (*netfilter.Meta, error) {
		key, err := a.number(2)
		if err != nil {
			return nil, err
		}
		e := &netfilter.Meta{Key: key, Write: a.has(3)}
		n := netfilter.MetaLength(key)
		if n == 0 || e.Write && !netfilter.MetaWritable(key) {
			return nil, linux.EOPNOTSUPP
		}
		t := 1
		if e.Write {
			t = 3
		}
		e.Reg, err = a.register(t, n)
		return e, err
	}, func(w *writer, _ int64, e *netfilter.Meta) {
		w.number(2, e.Key)
		if e.Write {
			w.register(3, e.Reg)
		} else {
			w.register(1, e.Reg)
		}
	})
	kind("ct", func(c *scope, a *attrs) (*netfilter.Flow, error) {
		key, err := a.number(2)
		if err != nil {
			return nil, err
		}
		e := &netfilter.Flow{Key: key, Dir: -1, Write: a.has(4)}
		if d := a[3]; len(d) > 0 {
			if d[0] > 1 {
				return nil, linux.EINVAL
			}
			e.Dir = int(d[0])
		}
		n := netfilter.FlowLength(key)
		if n == 0 || e.Write && key != netfilter.CtMark {
			return nil, linux.EOPNOTSUPP
		}
		if (key == netfilter.CtSrc || key == netfilter.CtDst) && c.table.Family == netfilter.FamilyIPv4 {
			n = 4
		}
		t := 1
		if e.Write {
			t = 4
		}
		e.Reg, err = a.register(t, n)
		return e, err
	}, func(w *writer, _ int64, e *netfilter.Flow) {
		w.number(2, e.Key)
		if e.Dir >= 0 {
			w.put(3, []byte{byte(e.Dir)})
		}
		if e.Write {
			w.register(4, e.Reg)
		} else {
			w.register(1, e.Reg)
		}
	})
	kind("lookup", readLookup, func(w *writer, _ int64, e *netfilter.Lookup) {
		w.text(1, e.Set.Name)
		w.register(2, e.Src)
		if e.ToVerdict {
			w.number(3, 0)
		} else if e.IsMap {
			w.register(3, e.Dst)
		}
		w.number(5, flag(e.Not))
	})
	kind("dynset", readDynamic, writeDynamic)
	kind("counter", func(c *scope, a *attrs) (*netfilter.Counter, error) {
		return &netfilter.Counter{Packets: a.long(2), Bytes: a.long(1)}, nil
	}, func(w *writer, _ int64, e *netfilter.Counter) {
		w.long(1, e.Bytes)
		w.long(2, e.Packets)
	})
	kind("limit", func(c *scope, a *attrs) (*netfilter.Limit, error) {
		e := &netfilter.Limit{Rate: a.long(1), Unit: a.long(2), Burst: a.or(3, 0), Bytes: a.or(4, 0) == 1, Over: a.or(5, 0)&1 != 0}
		if e.Rate == 0 || e.Unit == 0 || e.Unit > 1<<32 {
			return nil, linux.EINVAL
		}
		if e.Burst == 0 && !e.Bytes {
			e.Burst = 5
		}
		return e, nil
	}, func(w *writer, _ int64, e *netfilter.Limit) {
		w.long(1, e.Rate)
		w.long(2, e.Unit)
		w.number(3, e.Burst)
		w.number(4, flag(e.Bytes))
		w.number(5, flag(e.Over))
	})
	kind("quota", func(c *scope, a *attrs) (*netfilter.Quota, error) {
		if !a.has(1) {
			return nil, linux.EINVAL
		}
		return &netfilter.Quota{Limit: a.long(1), Consumed: a.long(4), Over: a.or(2, 0)&1 != 0}, nil
	}, func(w *writer, _ int64, e *netfilter.Quota) {
		w.long(1, e.Limit)
		n := flag(e.Over)
		if e.Consumed > e.Limit {
			n |= 2
		}
		w.number(2, n)
		w.long(4, e.Consumed)
	})
	kind("connlimit", func(c *scope, a *attrs) (*netfilter.ConnLimit, error) {
		return &netfilter.ConnLimit{Count: a.or(1, 0), Over: a.or(2, 0)&1 != 0}, nil
	}, func(w *writer, _ int64, e *netfilter.ConnLimit) {
		w.number(1, e.Count)
		w.number(2, flag(e.Over))
	})
	kind("last", func(c *scope, a *attrs) (*netfilter.Last, error) {
		e := &netfilter.Last{Set: a.or(1, 0) != 0}
		e.When = c.now - int64(min(a.long(2), 1<<40))*1e6
		return e, nil
	}, func(w *writer, now int64, e *netfilter.Last) {
		w.number(1, flag(e.Set))
		if e.Set {
			w.long(2, uint64(max(now-e.When, 0)/1e6))
		}
	})
	kind("log", readLog, writeLog)
	kind("notrack", func(*scope, *attrs) (*netfilter.NoTrack, error) { return &netfilter.NoTrack{}, nil },
		func(*writer, int64, *netfilter.NoTrack) {})
	kind("reject", func(c *scope, a *attrs) (*netfilter.Reject, error) {
		t, err := a.number(1)
		if err != nil || t > netfilter.RejectICMPX {
			return nil, linux.EINVAL
		}
		e := &netfilter.Reject{Type: t}
		if t != netfilter.RejectReset {
			if len(a[2]) < 1 || t == netfilter.RejectICMPX && a[2][0] > 3 {
				return nil, linux.EINVAL
			}
			e.Code = a[2][0]
		}
		return e, nil
	}, func(w *writer, _ int64, e *netfilter.Reject) {
		w.number(1, e.Type)
		if e.Type != netfilter.RejectReset {
			w.put(2, []byte{e.Code})
		}
	})
	kind("nat", readNAT, writeNAT)
	kind("masq", func(c *scope, a *attrs) (*netfilter.Masquerade, error) {
		e := &netfilter.Masquerade{Flags: a.or(1, 0)}
		var err error
		e.Min, e.Max, e.Has, e.HasMax, err = ports(a, 2, 3)
		return e, err
	}, func(w *writer, _ int64, e *netfilter.Masquerade) {
		if e.Flags != 0 {
			w.number(1, e.Flags)
		}
		putPorts(w, 2, 3, e.Min, e.Max, e.Has, e.HasMax)
	})
	kind("redir", func(c *scope, a *attrs) (*netfilter.Redirect, error) {
		e := &netfilter.Redirect{Flags: a.or(3, 0)}
		var err error
		e.Min, e.Max, e.Has, e.HasMax, err = ports(a, 1, 2)
		return e, err
	}, func(w *writer, _ int64, e *netfilter.Redirect) {
		putPorts(w, 1, 2, e.Min, e.Max, e.Has, e.HasMax)
		if e.Flags != 0 {
			w.number(3, e.Flags)
		}
	})
	kind("fib", func(c *scope, a *attrs) (*netfilter.FIB, error) {
		e := &netfilter.FIB{Result: a.or(2, 0), Flags: a.or(3, 0)}
		n := 4
		switch e.Result {
		case netfilter.FIBOif, netfilter.FIBAddrType:
		case netfilter.FIBOifName:
			n = 16
		default:
			return nil, linux.EINVAL
		}
		if e.Flags&(netfilter.FIBSource|netfilter.FIBDest) == 0 {
			return nil, linux.EINVAL
		}
		var err error
		e.Dst, err = a.register(1, n)
		return e, err
	}, func(w *writer, _ int64, e *netfilter.FIB) {
		w.register(1, e.Dst)
		w.number(2, e.Result)
		w.number(3, e.Flags)
	})
	kind("rt", func(c *scope, a *attrs) (*netfilter.Route, error) {
		e := &netfilter.Route{Key: a.or(2, 0)}
		n := map[uint32]int{netfilter.RouteNext4: 4, netfilter.RouteNext6: 16, netfilter.RouteTCPMSS: 2}[e.Key]
		if n == 0 {
			return nil, linux.EOPNOTSUPP
		}
		var err error
		e.Dst, err = a.register(1, n)
		return e, err
	}, func(w *writer, _ int64, e *netfilter.Route) {
		w.register(1, e.Dst)
		w.number(2, e.Key)
	})
	kind("numgen", func(c *scope, a *attrs) (*netfilter.Number, error) {
		e := &netfilter.Number{Modulus: a.or(2, 0), Random: a.or(3, 0) == 1, Offset: a.or(4, 0)}
		if e.Modulus == 0 || a.or(3, 0) > 1 {
			return nil, linux.ERANGE
		}
		var err error
		e.Dst, err = a.register(1, 4)
		return e, err
	}, func(w *writer, _ int64, e *netfilter.Number) {
		w.register(1, e.Dst)
		w.number(2, e.Modulus)
		w.number(3, flag(e.Random))
		w.number(4, e.Offset)
	})
	kind("hash", readHash, func(w *writer, _ int64, e *netfilter.Hash) {
		if e.Type == 0 {
			w.register(1, e.Src)
			w.number(3, uint32(e.Len))
			if e.HasSeed {
				w.number(5, e.Seed)
			}
		}
		w.register(2, e.Dst)
		w.number(4, e.Modulus)
		w.number(6, e.Offset)
		w.number(7, e.Type)
	})
	kind("exthdr", readExtHeader, func(w *writer, _ int64, e *netfilter.ExtHeader) {
		if e.Write {
			w.register(7, e.Reg)
		} else {
			w.register(1, e.Reg)
		}
		w.put(2, []byte{e.Type})
		w.number(3, uint32(e.Offset))
		w.number(4, uint32(e.Len))
		if e.Present {
			w.number(5, 1)
		}
		w.number(6, e.Op)
	})
	kind("objref", readObjectRef, func(w *writer, _ int64, e *netfilter.ObjectRef) {
		if e.Set != nil {
			w.register(3, e.Src)
			w.text(4, e.Set.Name)
			return
		}
		w.number(1, e.Object.Type)
		w.text(2, e.Object.Name)
	})
	extension := func(target bool) func(c *scope, a *attrs) (*netfilter.Extension, error) {
		return func(c *scope, a *attrs) (*netfilter.Extension, error) {
			if !a.has(1) || !a.has(2) || !a.has(3) {
				return nil, linux.EINVAL
			}
			revision, err := small(a, 2)
			if err != nil {
				return nil, err
			}
			return netfilter.NewExtension(target, c.table.Family, a.text(1), revision, a[3])
		}
	}
	put := func(w *writer, _ int64, e *netfilter.Extension) {
		w.text(1, e.Name)
		w.number(2, uint32(e.Revision))
		w.put(3, e.Info)
	}
	kind("match", extension(false), put)
	kind("target", extension(true), put)
}

func flag(on bool) uint32 {
	if on {
		return 1
	}
	return 0
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

func readPayload(c *scope, a *attrs) (*netfilter.Payload, error) {
	n, err := length(a.or(4, 0))
	if err != nil {
		return nil, err
	}
	e := &netfilter.Payload{Base: a.or(2, 99), Offset: int(a.or(3, 1<<16)), Len: n, Write: a.has(5)}
	if e.Base > netfilter.PayloadInner || e.Offset > 65535 {
		return nil, linux.EOPNOTSUPP
	}
	t := 1
	if e.Write {
		t = 5
		e.SumType, e.SumOffset, e.SumFlags = a.or(6, 0), int(a.or(7, 0)), a.or(8, 0)
		if e.SumType > 1 || e.SumOffset > 65535 || e.SumFlags > 1 || e.Base == netfilter.PayloadLink {
			return nil, linux.EOPNOTSUPP
		}
	}
	e.Reg, err = a.register(t, n)
	return e, err
}

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

func readLog(c *scope, a *attrs) (*netfilter.Log, error) {
	e := &netfilter.Log{Prefix: a.text(2), Level: a.or(5, 4), Flags: a.or(6, 0), Snap: a.or(3, 0)}
	if len(e.Prefix) > 127 || e.Level > 8 {
		return nil, linux.EINVAL
	}
	if v := a[1]; len(v) >= 2 {
		e.Group = be.Uint16(v)
	}
	if v := a[4]; len(v) >= 2 {
		e.Queue = be.Uint16(v)
	}
	for i, t := range []int{1, 2, 3, 4, 5, 6} {
		if a.has(t) {
			e.Has |= 1 << i
		}
	}
	return e, nil
}

func writeLog(w *writer, _ int64, e *netfilter.Log) {
	if e.Has&2 != 0 {
		w.text(2, e.Prefix)
	}
	if e.Has&1 != 0 {
		w.put(1, be.AppendUint16(nil, e.Group))
		if e.Snap != 0 {
			w.number(3, e.Snap)
		}
		if e.Queue != 0 {
			w.put(4, be.AppendUint16(nil, e.Queue))
		}
		return
	}
	w.number(5, e.Level)
	if e.Flags != 0 {
		w.number(6, e.Flags)
	}
}

// ports reads the registers of a range of ports.
func ports(a *attrs, lo, hi int) (min, max netfilter.Reg, has, hasMax bool, err error) {
	if has = a.has(lo); !has {
		return
	}
	if min, err = a.register(lo, 2); err != nil {
		return
	}
	if hasMax = a.has(hi); hasMax {
		max, err = a.register(hi, 2)
	}
	return
}

func putPorts(w *writer, lo, hi int, min, max netfilter.Reg, has, hasMax bool) {
	if !has {
		return
	}
	w.register(lo, min)
	if hasMax {
		w.register(hi, max)
	} else {
		w.register(hi, min)
	}
}

func readNAT(c *scope, a *attrs) (*netfilter.NAT, error) {
	t, err := a.number(1)
	if err != nil || t > 1 {
		return nil, linux.EINVAL
	}
	e := &netfilter.NAT{Source: t == 0, Family: a.or(2, 0), Flags: a.or(7, 0)}
	n := 4
	switch e.Family {
	case netfilter.FamilyIPv4:
	case netfilter.FamilyIPv6:
		n = 16
	case netfilter.FamilyInet:
		if a.has(3) {
			return nil, linux.EAFNOSUPPORT
		}
	default:
		return nil, linux.EAFNOSUPPORT
	}
	if c.table.Family != netfilter.FamilyInet && uint32(c.table.Family) != e.Family {
		return nil, linux.EOPNOTSUPP
	}
	if e.HasAddr = a.has(3); e.HasAddr {
		if e.AddrMin, err = a.register(3, n); err != nil {
			return nil, err
		}
		if e.HasAddrMax = a.has(4); e.HasAddrMax {
			if e.AddrMax, err = a.register(4, n); err != nil {
				return nil, err
			}
		}
	}
	e.Proto, e.Proto2, e.HasProto, e.HasProtoMax, err = ports(a, 5, 6)
	return e, err
}

func writeNAT(w *writer, _ int64, e *netfilter.NAT) {
	w.number(1, flag(!e.Source))
	w.number(2, e.Family)
	if e.HasAddr {
		w.register(3, e.AddrMin)
		if e.HasAddrMax {
			w.register(4, e.AddrMax)
		}
	}
	if e.HasProto {
		w.register(5, e.Proto)
		if e.HasProtoMax {
			w.register(6, e.Proto2)
		}
	}
	if e.Flags != 0 {
		w.number(7, e.Flags)
	}
}

func readHash(c *scope, a *attrs) (*netfilter.Hash, error) {
	e := &netfilter.Hash{Type: a.or(7, 0), Modulus: a.or(4, 0), Seed: a.or(5, 0), HasSeed: a.has(5), Offset: a.or(6, 0)}
	if e.Modulus == 0 || e.Type > 1 {
		return nil, linux.ERANGE
	}
	var err error
	if e.Type == 0 {
		if e.Len, err = length(a.or(3, 0)); err != nil {
			return nil, err
		}
		if e.Src, err = a.register(1, e.Len); err != nil {
			return nil, err
		}
	}
	e.Dst, err = a.register(2, 4)
	return e, err
}

func readExtHeader(c *scope, a *attrs) (*netfilter.ExtHeader, error) {
	e := &netfilter.ExtHeader{Offset: int(a.or(3, 1<<16)), Len: int(a.or(4, 0)), Present: a.or(5, 0)&1 != 0, Op: a.or(6, 0), Write: a.has(7)}
	if len(a[2]) < 1 || e.Offset > 255 || e.Len < 1 || e.Len > 64 {
		return nil, linux.EINVAL
	}
	e.Type = a[2][0]
	if e.Op > netfilter.ExtTCP || e.Write && (e.Op != netfilter.ExtTCP || e.Len != 2 && e.Len != 4) {
		return nil, linux.EOPNOTSUPP
	}
	t := 1
	if e.Write {
		t = 7
	}
	var err error
	e.Reg, err = a.register(t, e.Len)
	return e, err
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

// compat answers whether a match or target of iptables(8) is known:
// linux/netfilter/nf_tables_compat.h.
func (s *session) compat(m *message) error {
	a, err := parse(m.attrs)
	if err != nil {
		return err
	}
	if m.operation() != 0 || !a.has(1) || !a.has(2) || !a.has(3) {
		return linux.EINVAL
	}
	revision, err := small(a, 2)
	if err != nil {
		return err
	}
	name := a.text(1)
	if strings.ContainsRune(name, '/') {
		return linux.EINVAL
	}
	if err := netfilter.Revisions(a.or(3, 0) == 1, m.family, name, revision); err != nil {
		return err
	}
	var w writer
	w.text(1, name)
	w.number(2, uint32(revision))
	w.number(3, a.or(3, 0))
	s.send(m.answer(m.typ, 0, s.generic(m.family, &w)))
	return nil
}
