package nfnetlink

import (
	"bulkhead/proto/linux"
	"bulkhead/services/netd/netfilter"
)

// This file answers conntrack(8): linux/netfilter/nfnetlink_conntrack.h.

// Operations of conntrack.
const (
	newFlow    = 0
	listFlows  = 1
	deleteFlow = 2
	cpuStats   = 4
	flowStats  = 5

	conntrackType = subsystemConntrack << 8
)

func (s *session) conntrack(m *message) error {
	a, err := parse(m.attrs)
	if err != nil {
		return err
	}
	switch m.operation() {
	case listFlows:
		if !m.dumps() {
			return linux.EOPNOTSUPP
		}
		s.f.Flows(func(f *netfilter.FlowInfo) {
			if m.family == 0 || m.family == f.Family() {
				s.add(m.answer(conntrackType|newFlow, flagMulti, s.generic(f.Family(), s.flowAttrs(f))))
			}
		})
		return nil
	case deleteFlow:
		return s.deleteFlows(m, a)
	case flowStats:
		var w writer
		n := uint32(0)
		s.f.Flows(func(*netfilter.FlowInfo) { n++ })
		w.number(1, n)
		s.send(m.answer(m.typ, 0, s.generic(0, &w)))
		return nil
	case cpuStats:
		return nil
	}
	return linux.EOPNOTSUPP
}

// deleteFlows forgets the flow that is named, or without a name all of a family.
func (s *session) deleteFlows(m *message, a *attrs) error {
	t := 1
	if !a.has(t) {
		t = 2
	}
	if !a.has(t) {
		s.f.Forget(func(f *netfilter.FlowInfo) bool { return m.family == 0 || m.family == f.Family() })
		return nil
	}
	var want writer
	found := s.f.Forget(func(f *netfilter.FlowInfo) bool {
		want.b = want.b[:0]
		putTuple(&want, t, &f.Directions[t-1])
		return same(want.b[attrHeader:], a[t])
	})
	if !found {
		return linux.ENOENT
	}
	return nil
}

// same says whether two tuples are alike, whatever the order of their attributes.
func same(a, b []byte) bool {
	x, err1 := parse(a)
	y, err2 := parse(b)
	if err1 != nil || err2 != nil {
		return false
	}
	for t := 1; t <= 2; t++ {
		p, err1 := parse(x[t])
		q, err2 := parse(y[t])
		if err1 != nil || err2 != nil {
			return false
		}
		for i := range p {
			if i <= 4 && p[i] != nil && string(p[i]) != string(q[i]) {
				return false
			}
		}
	}
	return true
}

// putTuple writes a direction of a flow.
func putTuple(w *writer, t int, d *netfilter.Direction) {
	w.nest(t, func() {
		w.nest(1, func() {
			at := 1
			if d.Src.Is6() {
				at = 3
			}
			w.address(at, d.Src)
			w.address(at+1, d.Dst)
		})
		w.nest(2, func() {
			w.put(1, []byte{d.Proto})
			switch d.Proto {
			case 1, 58:
				at := 4
				if d.Proto == 58 {
					at = 7
				}
				w.put(at, be.AppendUint16(nil, d.SrcPort))
				w.put(at+1, []byte{d.Type})
				w.put(at+2, []byte{0})
			default:
				w.put(2, be.AppendUint16(nil, d.SrcPort))
				w.put(3, be.AppendUint16(nil, d.DstPort))
			}
		})
	})
}

func (s *session) flowAttrs(f *netfilter.FlowInfo) *writer {
	w := &writer{}
	putTuple(w, 1, &f.Directions[0])
	putTuple(w, 2, &f.Directions[1])
	w.number(12, f.ID)
	w.number(3, f.Status)
	w.number(7, f.Seconds)
	for i, d := range f.Directions {
		if !f.Counted {
			break // as Linux does without net.netfilter.nf_conntrack_acct
		}
		w.nest(9+i, func() {
			w.long(1, d.Packets)
			w.long(2, d.Bytes)
		})
	}
	if f.Directions[0].Proto == 6 {
		w.nest(4, func() { w.nest(1, func() { w.put(1, []byte{f.State}) }) })
	}
	w.number(8, f.Mark)
	w.number(11, 1)
	return w
}
