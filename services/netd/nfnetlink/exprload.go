package nfnetlink

import (
	"bulkhead/proto/linux"
	"bulkhead/services/netd/netfilter"
)

// This file holds the expressions that load something of a packet, its flow, its route
// or chance into registers.

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

func writePayload(w *writer, _ int64, e *netfilter.Payload) {
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

func writeExtHeader(w *writer, _ int64, e *netfilter.ExtHeader) {
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
}

func readMeta(c *scope, a *attrs) (*netfilter.Meta, error) {
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
}

func writeMeta(w *writer, _ int64, e *netfilter.Meta) {
	w.number(2, e.Key)
	if e.Write {
		w.register(3, e.Reg)
	} else {
		w.register(1, e.Reg)
	}
}

func readFlow(c *scope, a *attrs) (*netfilter.Flow, error) {
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
}

func writeFlow(w *writer, _ int64, e *netfilter.Flow) {
	w.number(2, e.Key)
	if e.Dir >= 0 {
		w.put(3, []byte{byte(e.Dir)})
	}
	if e.Write {
		w.register(4, e.Reg)
	} else {
		w.register(1, e.Reg)
	}
}

func readFIB(c *scope, a *attrs) (*netfilter.FIB, error) {
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
}

func writeFIB(w *writer, _ int64, e *netfilter.FIB) {
	w.register(1, e.Dst)
	w.number(2, e.Result)
	w.number(3, e.Flags)
}

func readRoute(c *scope, a *attrs) (*netfilter.Route, error) {
	e := &netfilter.Route{Key: a.or(2, 0)}
	n := map[uint32]int{netfilter.RouteNext4: 4, netfilter.RouteNext6: 16, netfilter.RouteTCPMSS: 2}[e.Key]
	if n == 0 {
		return nil, linux.EOPNOTSUPP
	}
	var err error
	e.Dst, err = a.register(1, n)
	return e, err
}

func writeRoute(w *writer, _ int64, e *netfilter.Route) {
	w.register(1, e.Dst)
	w.number(2, e.Key)
}

func readNumber(c *scope, a *attrs) (*netfilter.Number, error) {
	e := &netfilter.Number{Modulus: a.or(2, 0), Random: a.or(3, 0) == 1, Offset: a.or(4, 0)}
	if e.Modulus == 0 || a.or(3, 0) > 1 {
		return nil, linux.ERANGE
	}
	var err error
	e.Dst, err = a.register(1, 4)
	return e, err
}

func writeNumber(w *writer, _ int64, e *netfilter.Number) {
	w.register(1, e.Dst)
	w.number(2, e.Modulus)
	w.number(3, flag(e.Random))
	w.number(4, e.Offset)
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

func writeHash(w *writer, _ int64, e *netfilter.Hash) {
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
}
