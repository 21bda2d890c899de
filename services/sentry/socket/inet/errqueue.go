package inet

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// maxReports is how many errors wait in a socket; those beyond are lost.
const maxReports = 64

// reports is a socket's error queue: ip(7), IP_RECVERR.
type reports struct {
	sync.Mutex
	list []*netdv1.SocketError
}

func (q *reports) waiting() bool {
	q.Lock()
	defer q.Unlock()
	return len(q.list) > 0
}

// report takes an error that netd tells of.
func (d *Dgram) report(e *netdv1.SocketError) {
	d.reports.Lock()
	room := len(d.reports.list) < maxReports
	if room {
		d.reports.list = append(d.reports.list, e)
	}
	d.reports.Unlock()
	if room {
		d.Queue().Notify(wait.Err)
	}
}

// Origins of an error: SO_EE_ORIGIN_.
const (
	originLocal = 1
	originICMP  = 2
	originICMP6 = 3
)

// receiveReport takes the first error off the queue: what was sent, where to, and in
// a control message struct sock_extended_err with who told. EAGAIN.
func (d *Dgram) receiveReport(ctx vfs.Context, m *socket.Msg) (int, error) {
	if d.done.waiting() {
		return d.done.receive(m, d.v6, d.stamping.Load()&stampIDs != 0)
	}
	if e := d.end.Load(); e != nil && !d.reports.waiting() && d.conf.receivesErrors() && d.errors.pending(d.n, e) {
		// The error is in the head before its report is here. What netd answers
		// now comes after that, which may lie in the bell and not have been heard.
		d.tell(ctx, &netdv1.Request{})
		d.n.hear()
	}
	d.reports.Lock()
	if len(d.reports.list) == 0 {
		d.reports.Unlock()
		return 0, linux.EAGAIN
	}
	r := d.reports.list[0]
	if m.Flags&linux.MSG_PEEK == 0 {
		d.reports.list = d.reports.list[1:]
	}
	last := len(d.reports.list) == 0
	d.reports.Unlock()
	if e := d.end.Load(); last && e != nil {
		d.errors.skip(e) // who has read it need not be told again
	}
	at := 0
	for _, p := range m.Data {
		at += copy(p, r.Payload[at:])
	}
	m.Addr = sockaddr(d.v6, d.shown(address(r.Destination)))
	m.Control.Other = append(d.hopsOf(r), d.extended(r))
	m.Out = linux.MSG_ERRQUEUE
	if at < len(r.Payload) {
		m.Out |= linux.MSG_TRUNC
	}
	return at, nil
}

// hopsOf is the control message about an ICMP message's hops, where the socket asks for
// those of what it receives: what tracepath(8) finds the way back by.
func (d *Dgram) hopsOf(r *netdv1.SocketError) []linux.Cmsg {
	d.conf.mu.Lock()
	defer d.conf.mu.Unlock()
	if r.Local || !d.conf.receiveHops {
		return nil
	}
	c := linux.Cmsg{Level: linux.IPPROTO_IP, Type: linux.IP_TTL, Data: socket.Int(int(r.Hops))}
	if d.v6 {
		c.Level, c.Type = linux.IPPROTO_IPV6, linux.IPV6_HOPLIMIT
	}
	return []linux.Cmsg{c}
}

// shown is a in the form of the socket's family.
func (d *Dgram) shown(a netip.AddrPort) netip.AddrPort {
	if !d.v6 || !a.Addr().Is4() {
		return a
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
}

// extended makes the control message of an error.
func (d *Dgram) extended(r *netdv1.SocketError) linux.Cmsg {
	offender, _ := netip.AddrFromSlice(r.Offender)
	origin := byte(originICMP)
	switch {
	case r.Local:
		origin = originLocal
	case offender.Is6():
		origin = originICMP6
	}
	b := binary.LittleEndian.AppendUint32(nil, r.Error)
	b = append(b, origin, byte(r.Type), byte(r.Code), 0)
	b = binary.LittleEndian.AppendUint32(b, r.Mtu)
	b = binary.LittleEndian.AppendUint32(b, 0)
	if r.Local || !offender.IsValid() {
		none := make([]byte, linux.SizeofSockaddrIn) // AF_UNSPEC
		if d.v6 {
			none = make([]byte, linux.SizeofSockaddrIn6)
		}
		b = append(b, none...)
	} else {
		b = append(b, sockaddr(d.v6, d.shown(netip.AddrPortFrom(offender, 0)))...)
	}
	if d.v6 {
		return linux.Cmsg{Level: linux.IPPROTO_IPV6, Type: linux.IPV6_RECVERR, Data: b}
	}
	return linux.Cmsg{Level: linux.IPPROTO_IP, Type: linux.IP_RECVERR, Data: b}
}
