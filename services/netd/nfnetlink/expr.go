package nfnetlink

import (
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
var codecs = map[string]codec{}

// names is the order in which kinds are tried for writing.
var names []string

// kind has expressions of one type read and written by two functions.
func kind[T netfilter.Expr](name string, read func(c *scope, a *attrs) (T, error), write func(w *writer, now int64, e T)) {
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

func init() { // not with the variable: reading some expressions refers to it
	kind("log", readLog, writeLog)
	kind("notrack", readNoTrack, writeNoTrack)
	kind("reject", readReject, writeReject)
	kind("nat", readNAT, writeNAT)
	kind("masq", readMasquerade, writeMasquerade)
	kind("redir", readRedirect, writeRedirect)

	kind("match", readExtension(false), writeExtension)
	kind("target", readExtension(true), writeExtension)

	kind("immediate", readImmediate, writeImmediate)
	kind("cmp", readCompare, writeCompare)
	kind("range", readBetween, writeBetween)
	kind("bitwise", readBitwise, writeBitwise)
	kind("byteorder", readByteOrder, writeByteOrder)

	kind("payload", readPayload, writePayload)
	kind("exthdr", readExtHeader, writeExtHeader)
	kind("meta", readMeta, writeMeta)
	kind("ct", readFlow, writeFlow)
	kind("fib", readFIB, writeFIB)
	kind("rt", readRoute, writeRoute)
	kind("numgen", readNumber, writeNumber)
	kind("hash", readHash, writeHash)

	kind("lookup", readLookup, writeLookup)
	kind("dynset", readDynamic, writeDynamic)
	kind("counter", readCounter, writeCounter)
	kind("limit", readLimit, writeLimit)
	kind("quota", readQuota, writeQuota)
	kind("connlimit", readConnLimit, writeConnLimit)
	kind("last", readLast, writeLast)
	kind("objref", readObjectRef, writeObjectRef)
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

func flag(on bool) uint32 {
	if on {
		return 1
	}
	return 0
}
