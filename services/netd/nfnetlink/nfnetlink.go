// Package nfnetlink speaks the guest's side of the packet filter: the netlink
// messages of nf_tables, by which nft(8) and iptables-nft(8) read and change a
// netfilter.Filter, and those of connection tracking that conntrack(8) sends.
// linux/netfilter/nfnetlink.h, nf_tables.h, nf_tables_compat.h,
// nfnetlink_conntrack.h.
//
// Messages are hostile: lengths are checked before they are used, and what is not
// known is refused with Linux's error rather than passed over.
package nfnetlink

import (
	"errors"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/netfilter"
)

// Subsystems and messages of linux/netfilter/nfnetlink.h.
const (
	subsystemConntrack = 1
	subsystemTables    = 10
	subsystemCompat    = 11

	batchBegin = 16
	batchEnd   = 17

	headerSize  = 16
	genericSize = 4
)

// Flags and types of netlink(7).
const (
	flagRequest   = 0x1
	flagMulti     = 0x2
	flagAck       = 0x4
	flagEcho      = 0x8
	flagDump      = 0x300
	flagReplace   = 0x100 // of orders
	flagExclusive = 0x200
	flagCreate    = 0x400
	flagAppend    = 0x800
	flagCapped    = 0x100 // of an error
	flagTLVs      = 0x200

	msgError = 2
	msgDone  = 3
)

// maxDatagram is how long an answer gets before the next begins, in bytes: programs
// read into 8 KiB at least.
const maxDatagram = 7 << 10

// message is a checked header of nfnetlink and what follows it.
type message struct {
	typ, flags uint16
	seq, port  uint32
	header     []byte
	raw        []byte // all of it
	family     uint8
	res        uint16
	attrs      []byte
}

// messages reads as many as are whole.
func messages(b []byte, port uint32) (out []*message) {
	for len(b) >= headerSize {
		n := int(le.Uint32(b))
		if n < headerSize || n > len(b) {
			break
		}
		m := &message{typ: le.Uint16(b[4:]), flags: le.Uint16(b[6:]), seq: le.Uint32(b[8:]), port: port, header: b[:headerSize], raw: b[:n]}
		if body := b[headerSize:n]; len(body) >= genericSize {
			m.family, m.res, m.attrs = body[0], be.Uint16(body[2:]), body[genericSize:]
		}
		if m.flags&flagRequest != 0 && m.typ >= 16 {
			out = append(out, m)
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return out
}

// Answer carries out the messages of one datagram and gives those that answer it.
// admin says that who sends them has CAP_NET_ADMIN; EPERM is the answer without.
func Answer(f *netfilter.Filter, now int64, b []byte, port uint32, admin bool) [][]byte {
	s := session{f: f, now: now}
	all := messages(b, port)
	for i := 0; i < len(all); i++ {
		m := all[i]
		switch {
		case !admin:
			s.send(m.failed(linux.EPERM))
		case m.typ == batchBegin:
			end := i + 1
			for end < len(all) && all[end].typ != batchEnd {
				end++
			}
			s.batch(m, all[i+1:end], end < len(all))
			i = end
		default:
			s.single(m)
		}
	}
	s.cut()
	return s.out
}

// session gathers the answers to one datagram.
type session struct {
	f    *netfilter.Filter
	now  int64
	out  [][]byte
	open []byte // the datagram that is being filled
}

// send adds a datagram of its own.
func (s *session) send(b []byte) {
	s.cut()
	s.out = append(s.out, b)
}

// add adds a message of a dump to a datagram.
func (s *session) add(b []byte) {
	if len(s.open) > 0 && len(s.open)+len(b) > maxDatagram {
		s.cut()
	}
	s.open = append(s.open, b...)
}

func (s *session) cut() {
	if len(s.open) > 0 {
		s.out = append(s.out, s.open)
		s.open = nil
	}
}

// answer is a message about m.
func (m *message) answer(typ, flags uint16, body []byte) []byte {
	b := le.AppendUint32(nil, uint32(headerSize+len(body)))
	b = le.AppendUint16(b, typ)
	b = le.AppendUint16(b, flags)
	b = le.AppendUint32(b, m.seq)
	b = le.AppendUint32(b, m.port)
	b = append(b, body...)
	for len(b)&3 != 0 {
		b = append(b, 0)
	}
	return b
}

// failed is the answer that tells an error, or with nil acknowledges. It says which
// attribute is to blame if that is known (NETLINK_EXT_ACK), and does not repeat more
// of the message than its header (NETLINK_CAP_ACK).
func (m *message) failed(err error) []byte {
	body := append(le.AppendUint32(nil, uint32(-int32(errno(err)))), m.header...)
	flags := uint16(flagCapped)
	var b *blamed
	if errors.As(err, &b) {
		if at := m.offset(b.attr); at > 0 {
			w := writer{b: body}
			w.put(2, le.AppendUint32(nil, uint32(at))) // NLMSGERR_ATTR_OFFS
			body, flags = w.b, flags|flagTLVs
		}
	}
	return m.answer(msgError, flags, body)
}

// blamed is an error that an attribute is to blame for.
type blamed struct {
	linux.Errno
	attr []byte
}

// blame makes err the fault of an attribute.
func blame(err error, attr []byte) error {
	if e, ok := err.(linux.Errno); ok && e != 0 && len(attr) > 0 {
		return &blamed{e, attr}
	}
	return err
}

// offset is where an attribute begins in the message; 0: it is not a part of it.
func (m *message) offset(attr []byte) int {
	for i := headerSize + attrHeader; i < len(m.raw); i++ {
		if &m.raw[i] == &attr[0] {
			return i - attrHeader
		}
	}
	return 0
}

func errno(err error) linux.Errno {
	switch e := err.(type) {
	case nil:
		return 0
	case linux.Errno:
		return e
	case *blamed:
		return e.Errno
	}
	return linux.EINVAL
}

// generic is a struct nfgenmsg with attributes behind it.
func (s *session) generic(family uint8, w *writer) []byte {
	b := be.AppendUint16([]byte{family, 0}, uint16(s.f.Generation))
	return append(b, w.b...)
}

func (m *message) subsystem() uint16 { return m.typ >> 8 }
func (m *message) operation() uint16 { return m.typ & 0xff }
func (m *message) dumps() bool       { return m.flags&flagDump == flagDump }

// single carries out a message that is in no batch: a question, or an order of
// another subsystem.
func (s *session) single(m *message) {
	var err error
	switch m.subsystem() {
	case subsystemTables:
		err = s.question(m)
	case subsystemCompat:
		err = s.compat(m)
	case subsystemConntrack:
		err = s.conntrack(m)
	default:
		err = linux.EINVAL
	}
	switch {
	case err != nil:
		s.cut()
		s.send(m.failed(err))
	case m.dumps():
		s.add(m.answer(msgDone, flagMulti, make([]byte, 4)))
		s.cut()
	case m.flags&flagAck != 0:
		s.send(m.failed(nil))
	}
}

// batch carries out orders, all of them or none.
func (s *session) batch(begin *message, orders []*message, whole bool) {
	a, err := parse(begin.attrs)
	if err == nil && begin.res != subsystemTables {
		err = linux.EOPNOTSUPP
	}
	if err == nil && a.has(1) && a.or(1, 0) != s.f.Generation {
		err = linux.ERESTART
	}
	if err != nil {
		s.send(begin.failed(err))
		return
	}
	b := s.f.Begin()
	var answers, echoes, news [][]byte
	failed := false
	for _, m := range orders {
		var err error
		var echo []byte
		if m.subsystem() != subsystemTables {
			err = linux.EINVAL
		} else {
			gone := s.leaving(m)
			echo, err = s.order(b, m)
			news = append(news, s.news(m, echo, gone)...)
		}
		if err != nil {
			failed = true
		}
		if err != nil || m.flags&flagAck != 0 {
			answers = append(answers, m.failed(err))
		}
		if m.flags&flagEcho != 0 && echo != nil {
			echoes = append(echoes, echo)
		}
	}
	if !failed && whole {
		if err := b.Commit(); err != nil {
			failed = true
			last := begin
			if len(orders) > 0 {
				last = orders[len(orders)-1]
			}
			answers = append(answers[:0], last.failed(err))
		}
	}
	if failed || !whole {
		b.Abort()
		echoes, news = nil, nil
	}
	s.publish(begin, news)
	for _, e := range append(echoes, answers...) {
		s.send(e)
	}
}
