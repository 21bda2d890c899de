package netlink

import (
	"bytes"
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// Orphanage is a Source that knows the TCP connections that no process has a socket of.
type Orphanage interface {
	Orphans() []socket.Orphan
	DestroyOrphan(socket.Orphan) error
}

// destroyer is a socket that can be destroyed.
type destroyer interface{ Destroy() }

// orphan gives the struct inet_diag_msg of o, nil if it is not asked for.
func (q *inetQuestion) orphan(o *socket.Orphan) []byte {
	src, sport := endpoint(o.Local)
	dst, dport := endpoint(o.Remote)
	if o.Domain != int(q.family) || q.states&(1<<o.Report.State) == 0 || q.sport != 0 && q.sport != sport || q.dport != 0 && q.dport != dport {
		return nil
	}
	m := inetMessage{q.family, o.Report, o.Timer, src, dst, sport, dport, 0, o.UID}
	b := m.put()
	if o.Report.State != timeWait {
		b = attribute(b, inetShutdown, []byte{3})
	}
	return b
}

// timeWait is a state that only orphans are in: net/tcp_states.h.
const timeWait = 6

// noCookie is the cookie of who does not know it: INET_DIAG_NOCOOKIE.
const noCookie = 1<<64 - 1

// destroy is SOCK_DESTROY: 0 for success. ENOENT, EPERM, EOPNOTSUPP.
func (r *request) destroy(ctx vfs.Context, source Source, list func() []socket.Socket) linux.Errno {
	if !rules(ctx, source) {
		return linux.EPERM
	}
	if len(r.body) < 2 || r.body[0] != linux.AF_INET && r.body[0] != linux.AF_INET6 {
		return linux.ENOENT
	}
	q, err := parseInet(r.body)
	if err != 0 {
		return err
	}
	if q.protocol == linux.IPPROTO_RAW {
		return linux.EOPNOTSUPP
	}
	for _, s := range list() {
		d, can := s.(destroyer)
		id, known := s.(identity)
		if !can || !known || !q.of(s) {
			continue
		}
		name, _ := s.SockName(ctx)
		peer, _ := s.PeerName(ctx)
		if q.named(r.body, name, peer, id.Ino()) {
			d.Destroy()
			return 0
		}
	}
	if s, ok := source.(Orphanage); ok && q.protocol == linux.IPPROTO_TCP {
		for _, o := range s.Orphans() {
			if o.Domain != int(q.family) || !q.named(r.body, o.Local, o.Remote, 0) {
				continue
			}
			if s.DestroyOrphan(o) == nil {
				return 0
			}
		}
	}
	return linux.ENOENT
}

// named says whether the request in body means the socket with these addresses and that
// number.
func (q *inetQuestion) named(body, local, remote []byte, ino uint64) bool {
	src, sport := endpoint(local)
	dst, dport := endpoint(remote)
	cookie := binary.LittleEndian.Uint64(body[48:])
	n := 4
	if q.family == linux.AF_INET6 {
		n = 16
	}
	return q.sport == sport && q.dport == dport && bytes.Equal(body[12:12+n], src[:n]) && bytes.Equal(body[28:28+n], dst[:n]) &&
		(cookie == noCookie || cookie == ino)
}
