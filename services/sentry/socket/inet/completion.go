package inet

import (
	"encoding/binary"
	"sync"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/wait"
)

// completions tell the sender of what it asked to be told of: that bytes sent with
// MSG_ZEROCOPY are its own again (Linux's Documentation/networking/msg_zerocopy.rst),
// and when datagrams were sent (timestamping.rst). They wait on the error queue. All
// bytes are copied here, so that the first is always so at once.
type completions struct {
	sync.Mutex
	next, low uint32 // the number of the next such call, and of the first not told of
	stamps    []stamp
	stampID   uint32
}

// stamp is when a datagram was sent.
type stamp struct {
	at      time.Time
	id      uint32
	payload []byte
}

// maxStamps is how many wait at most; those beyond are lost.
const maxStamps = 64

func (c *completions) waiting() bool {
	c.Lock()
	defer c.Unlock()
	return c.low != c.next || len(c.stamps) > 0
}

// sent counts a call with MSG_ZEROCOPY that is complete.
func (c *completions) sent() {
	c.Lock()
	defer c.Unlock()
	c.next++
}

// stampSent notes when a datagram was sent.
func (c *completions) stampSent(s stamp) {
	c.Lock()
	defer c.Unlock()
	s.id = c.stampID
	c.stampID++
	if len(c.stamps) < maxStamps {
		c.stamps = append(c.stamps, s)
	}
}

// Origins of what is on the error queue, and what is told: SO_EE_ORIGIN_ and
// SO_EE_CODE_.
const (
	originTimestamping = 4
	originZerocopy     = 5
	codeCopied         = 1
)

// receive takes the first completion off: EAGAIN.
func (c *completions) receive(m *socket.Msg, v6 bool, ids bool) (int, error) {
	c.Lock()
	defer c.Unlock()
	le := binary.LittleEndian
	level, typ, room := int32(linux.IPPROTO_IP), int32(linux.IP_RECVERR), linux.SizeofSockaddrIn
	if v6 {
		level, typ, room = linux.IPPROTO_IPV6, linux.IPV6_RECVERR, linux.SizeofSockaddrIn6
	}
	extended := func(err linux.Errno, origin, code byte, info, data uint32) linux.Cmsg {
		b := append(le.AppendUint32(nil, uint32(err)), origin, 0, code, 0)
		b = le.AppendUint32(le.AppendUint32(b, info), data)
		return linux.Cmsg{Level: level, Type: typ, Data: append(b, make([]byte, room)...)}
	}
	m.Out = linux.MSG_ERRQUEUE
	switch {
	case len(c.stamps) > 0:
		s := c.stamps[0]
		if c.stamps = c.stamps[1:]; !ids {
			s.id = 0
		}
		m.Control.Other = []linux.Cmsg{softwareStamp(s.at), extended(linux.ENOMSG, originTimestamping, 0, 0, s.id)}
		at := 0
		for _, p := range m.Data {
			at += copy(p, s.payload[at:])
		}
		if at < len(s.payload) {
			m.Out |= linux.MSG_TRUNC
		}
		return at, nil
	case c.low != c.next:
		m.Control.Other = []linux.Cmsg{extended(0, originZerocopy, codeCopied, c.low, c.next-1)}
		c.low = c.next
		return 0, nil
	}
	return 0, linux.EAGAIN
}

// Flags of SO_TIMESTAMPING: linux/net_tstamp.h.
const (
	stampSend     = 1 << 1 // SOF_TIMESTAMPING_TX_SOFTWARE
	stampReceive  = 1 << 3
	stampSoftware = 1 << 4
	stampIDs      = 1 << 7
	stampOnly     = 1 << 11 // without what was sent
)

// softwareStamp is SCM_TIMESTAMPING with a time of ours; devices have none.
func softwareStamp(at time.Time) linux.Cmsg {
	if at.IsZero() {
		at = time.Now()
	}
	b := binary.LittleEndian.AppendUint64(nil, uint64(at.Unix()))
	b = binary.LittleEndian.AppendUint64(b, uint64(at.Nanosecond()))
	return linux.Cmsg{Level: linux.SOL_SOCKET, Type: linux.SO_TIMESTAMPING, Data: append(b, make([]byte, 32)...)}
}

// Zerocopied says that a call with MSG_ZEROCOPY has sent its bytes.
func (s *Stream) Zerocopied() {
	s.conf.mu.Lock()
	on := s.conf.zerocopy
	s.conf.mu.Unlock()
	if on {
		s.done.sent()
		s.Queue().Notify(wait.Err)
	}
}

// Zerocopied is Stream's.
func (d *Dgram) Zerocopied() {
	d.conf.mu.Lock()
	on := d.conf.zerocopy
	d.conf.mu.Unlock()
	if on {
		d.done.sent()
		d.Queue().Notify(wait.Err)
	}
}

// stampSend notes when a datagram was sent, where that is asked for.
func (d *Dgram) stampSent(m *socket.Msg) {
	flags := d.stamping.Load()
	if flags&stampSend == 0 || flags&stampSoftware == 0 {
		return
	}
	s := stamp{at: time.Now()}
	if flags&stampOnly == 0 {
		for _, p := range m.Data {
			s.payload = append(s.payload, p...)
		}
	}
	d.done.stampSent(s)
	d.Queue().Notify(wait.Err)
}
