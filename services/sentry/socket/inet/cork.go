package inet

import (
	"net/netip"
	"slices"
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// cork holds the datagram of a UDP socket that is written in parts: UDP_CORK and
// MSG_MORE of udp(7).
type cork struct {
	sync.Mutex
	on      bool // UDP_CORK
	pending bool
	data    []byte
	to      netip.AddrPort // not valid: the peer
	e       *end
	control socket.Control // of the first part
	segment int
}

// addLocked puts a part behind those that wait. A datagram that becomes too long is
// dropped: EMSGSIZE.
func (c *cork) addLocked(m *socket.Msg, most int) error {
	if len(c.data)+m.Len() > most {
		c.dropLocked()
		return linux.EMSGSIZE
	}
	for _, p := range m.Data {
		c.data = append(c.data, p...)
	}
	return nil
}

func (c *cork) dropLocked() {
	c.pending, c.data, c.control, c.e = false, nil, socket.Control{}, nil
}

// corks says whether a part of a datagram is to wait for more, or others wait already.
func (d *Dgram) corks(m *socket.Msg) bool {
	if !d.udp() && d.Protocol() != linux.IPPROTO_UDPLITE {
		return false
	}
	d.cork.Lock()
	defer d.cork.Unlock()
	return d.cork.pending || d.cork.on || m.Flags&linux.MSG_MORE != 0
}

// sendPart is SendMsg of what is, or becomes, a datagram in parts.
func (d *Dgram) sendPart(ctx vfs.Context, m *socket.Msg, size int) (int, error) {
	c := &d.cork
	c.Lock()
	defer c.Unlock()
	more := c.on || m.Flags&linux.MSG_MORE != 0
	if !c.pending {
		segment, err := d.segment(m, size)
		if err != nil {
			return 0, err
		}
		if c.to, c.e, err = d.mayReach(ctx, m); err != nil {
			return 0, err
		}
		c.control.Other = slices.Clone(m.Control.Other)
		c.pending, c.segment = true, segment
	}
	before := len(c.data)
	if err := c.addLocked(m, d.most()); err != nil {
		return 0, err
	}
	if more {
		return size, nil
	}
	err := d.uncorkLocked(ctx, m.Flags)
	if err == linux.EAGAIN {
		c.data = c.data[:before] // the last part comes again
	}
	if err != nil {
		return 0, err
	}
	return size, nil
}

// uncorkLocked sends what waits. On EAGAIN it still waits.
func (d *Dgram) uncorkLocked(ctx vfs.Context, flags int) error {
	c := &d.cork
	whole := socket.Msg{Data: [][]byte{c.data}, Control: c.control, Flags: flags}
	_, err := d.sendTo(ctx, &whole, c.to, c.e, len(c.data), c.segment)
	if err != linux.EAGAIN {
		c.dropLocked()
	}
	return err
}

// setCork is UDP_CORK. What waits is sent when it is taken away.
func (d *Dgram) setCork(ctx vfs.Context, value []byte) error {
	v, err := socket.ParseInt(value)
	if err != nil {
		return err
	}
	c := &d.cork
	c.Lock()
	defer c.Unlock()
	if c.on = v != 0; !c.on && c.pending {
		d.uncorkLocked(ctx, 0)
		c.dropLocked()
	}
	return nil
}

// corked is UDP_CORK's value.
func (d *Dgram) corked() []byte {
	d.cork.Lock()
	defer d.cork.Unlock()
	return socket.Bool(d.cork.on)
}
