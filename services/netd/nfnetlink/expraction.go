package nfnetlink

import (
	"bulkhead/proto/linux"
	"bulkhead/services/netd/netfilter"
)

// This file holds the expressions that do something to a packet.

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

func readNoTrack(*scope, *attrs) (*netfilter.NoTrack, error) { return &netfilter.NoTrack{}, nil }

func writeNoTrack(*writer, int64, *netfilter.NoTrack) {}

func readReject(c *scope, a *attrs) (*netfilter.Reject, error) {
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
}

func writeReject(w *writer, _ int64, e *netfilter.Reject) {
	w.number(1, e.Type)
	if e.Type != netfilter.RejectReset {
		w.put(2, []byte{e.Code})
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

func readMasquerade(c *scope, a *attrs) (*netfilter.Masquerade, error) {
	e := &netfilter.Masquerade{Flags: a.or(1, 0)}
	var err error
	e.Min, e.Max, e.Has, e.HasMax, err = ports(a, 2, 3)
	return e, err
}

func writeMasquerade(w *writer, _ int64, e *netfilter.Masquerade) {
	if e.Flags != 0 {
		w.number(1, e.Flags)
	}
	putPorts(w, 2, 3, e.Min, e.Max, e.Has, e.HasMax)
}

func readRedirect(c *scope, a *attrs) (*netfilter.Redirect, error) {
	e := &netfilter.Redirect{Flags: a.or(3, 0)}
	var err error
	e.Min, e.Max, e.Has, e.HasMax, err = ports(a, 1, 2)
	return e, err
}

func writeRedirect(w *writer, _ int64, e *netfilter.Redirect) {
	putPorts(w, 1, 2, e.Min, e.Max, e.Has, e.HasMax)
	if e.Flags != 0 {
		w.number(3, e.Flags)
	}
}
