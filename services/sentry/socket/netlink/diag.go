package netlink

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// This file answers sock_diag(7), which ss(8) asks: the sandbox's own sockets.

// Messages of linux/sock_diag.h and their parts: linux/inet_diag.h,
// linux/unix_diag.h. Sizes are in bytes.
const (
	byFamily    = 20
	destroyThat = 21

	inetRequestSize = 56
	unixRequestSize = 24

	inetInfo      = 2
	inetCongested = 4
	inetTOS       = 5
	inetTClass    = 6
	inetMemory    = 7
	inetShutdown  = 8
	inetV6Only    = 11

	unixName     = 0
	unixPeer     = 2
	unixWaiting  = 3
	unixQueues   = 4
	unixMemory   = 5
	unixShutdown = 6
	unixUID      = 7
)

// maxDiagAnswer is how long a datagram of a dump gets before the next begins, in
// bytes: programs read into 8 KiB.
const maxDiagAnswer = 7 << 10

// identity is what Base gives every socket.
type identity interface {
	Ino() uint64
	Owner() uint32
}

// diagnose gives the datagrams that answer the requests in b about the sockets
// that list gives.
func diagnose(ctx vfs.Context, source Source, list func() []socket.Socket, port uint32, b []byte) [][]byte {
	var out [][]byte
	for len(b) >= headerSize {
		n := int(le.Uint32(b))
		if n < headerSize || n > len(b) {
			break
		}
		r := request{typ: le.Uint16(b[4:]), flags: le.Uint16(b[6:]), seq: le.Uint32(b[8:]), port: port, header: b[:headerSize], body: b[headerSize:n]}
		if r.flags&flagRequest != 0 && r.typ >= 16 {
			out = append(out, r.diagnose(ctx, source, list)...)
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return out
}

// diagnose answers one request.
func (r *request) diagnose(ctx vfs.Context, source Source, list func() []socket.Socket) [][]byte {
	if list == nil {
		list = func() []socket.Socket { return nil }
	}
	if r.typ == destroyThat {
		return [][]byte{r.failed(r.destroy(ctx, source, list))}
	}
	if r.typ != byFamily || len(r.body) < 2 {
		return [][]byte{r.failed(linux.EINVAL)}
	}
	var orphans [][]byte
	var match func(vfs.Context, socket.Socket) []byte
	switch r.body[0] {
	case linux.AF_INET, linux.AF_INET6:
		q, err := parseInet(r.body)
		if err != 0 {
			return [][]byte{r.failed(err)}
		}
		match = q.match
		if s, ok := source.(Orphanage); ok && q.protocol == linux.IPPROTO_TCP && r.flags&flagDump != 0 {
			for _, o := range s.Orphans() {
				if body := q.orphan(&o); body != nil {
					orphans = append(orphans, body)
				}
			}
		}
	case linux.AF_UNIX:
		q, err := parseUnix(r.body)
		if err != 0 {
			return [][]byte{r.failed(err)}
		}
		q.one = r.flags&flagDump == 0
		match = q.match
	default:
		return [][]byte{r.failed(linux.ENOENT)}
	}
	if r.flags&flagDump == 0 {
		for _, s := range list() {
			if body := match(ctx, s); body != nil {
				return [][]byte{r.message(nil, byFamily, 0, body)}
			}
		}
		return [][]byte{r.failed(linux.ENOENT)}
	}
	return r.dumped(ctx, list(), match, orphans)
}

// dumped gives the datagrams of a dump: of those that match, and of further bodies.
func (r *request) dumped(ctx vfs.Context, list []socket.Socket, match func(vfs.Context, socket.Socket) []byte, bodies [][]byte) (out [][]byte) {
	var b []byte
	add := func(body []byte) {
		if body == nil {
			return
		}
		if len(b) > 0 && len(b)+headerSize+len(body) > maxDiagAnswer {
			out, b = append(out, b), nil
		}
		b = r.message(b, byFamily, flagMulti, body)
	}
	for _, s := range list {
		add(match(ctx, s))
	}
	for _, body := range bodies {
		add(body)
	}
	if len(b) > 0 {
		out = append(out, b)
	}
	return append(out, r.message(nil, msgDone, flagMulti, make([]byte, 4)))
}

// inetQuestion is a struct inet_diag_req_v2. The program that may follow it, which
// chooses among the sockets, is not run: ss(8) chooses again itself.
type inetQuestion struct {
	family, protocol byte
	extensions       byte
	states           uint32
	sport, dport     uint16
}

func parseInet(b []byte) (q inetQuestion, err linux.Errno) {
	if len(b) < inetRequestSize {
		return q, linux.EINVAL
	}
	q = inetQuestion{
		family: b[0], protocol: b[1], extensions: b[2], states: le.Uint32(b[4:]),
		sport: binary.BigEndian.Uint16(b[8:]), dport: binary.BigEndian.Uint16(b[10:]),
	}
	switch q.protocol {
	case linux.IPPROTO_TCP, linux.IPPROTO_UDP, linux.IPPROTO_RAW:
		return q, 0
	}
	return q, linux.ENOENT
}

// of says whether s is of the protocol that is asked for.
func (q *inetQuestion) of(s socket.Socket) bool {
	if s.Domain() != int(q.family) {
		return false
	}
	switch q.protocol {
	case linux.IPPROTO_TCP:
		return s.Type() == linux.SOCK_STREAM
	case linux.IPPROTO_UDP:
		return s.Type() == linux.SOCK_DGRAM && s.Protocol() == linux.IPPROTO_UDP
	}
	return s.Type() == linux.SOCK_RAW
}

// endpoint takes a struct sockaddr_in or sockaddr_in6 apart: the address in 16
// bytes. What is none is nowhere.
func endpoint(sa []byte) (addr [16]byte, port uint16) {
	switch {
	case len(sa) >= 28 && linux.SockaddrFamily(sa) == linux.AF_INET6:
		copy(addr[:], sa[8:24])
	case len(sa) >= 8 && linux.SockaddrFamily(sa) == linux.AF_INET:
		copy(addr[:4], sa[4:8])
	default:
		return addr, 0
	}
	return addr, binary.BigEndian.Uint16(sa[2:])
}

// match gives the struct inet_diag_msg of s with its attributes, nil if it is not
// asked for.
func (q *inetQuestion) match(ctx vfs.Context, s socket.Socket) []byte {
	if !q.of(s) {
		return nil
	}
	reporter, ok := s.(socket.Reporter)
	id, known := s.(identity)
	if !ok || !known {
		return nil
	}
	r := reporter.Report()
	name, _ := s.SockName(ctx)
	peer, err := s.PeerName(ctx)
	if err != nil {
		peer = nil
	}
	src, sport := endpoint(name)
	dst, dport := endpoint(peer)
	switch {
	case s.Type() == linux.SOCK_RAW:
		sport = uint16(s.Protocol())
	case s.Type() == linux.SOCK_STREAM && r.State == socket.StateClose, sport == 0:
		return nil // bound at most: nobody's connection
	}
	if q.states&(1<<r.State) == 0 || q.sport != 0 && q.sport != sport || q.dport != 0 && q.dport != dport {
		return nil
	}
	m := inetMessage{q.family, r, socket.Timer{}, src, dst, sport, dport, id.Ino(), ctx.Creds().UserNS.ShowUID(id.Owner())}
	var info []byte
	if d, ok := s.(diagnosed); ok && (q.extensions&(1<<(inetInfo-1)) != 0 || r.State != socket.StateListen) {
		info, m.timer = d.Diagnose(ctx)
	}
	return q.attributes(ctx, m.put(), s, r, info)
}

// diagnosed is a socket with a struct tcp_info and a timer, which take a question to
// netd.
type diagnosed interface {
	Diagnose(vfs.Context) ([]byte, socket.Timer)
}

// inetMessage is a struct inet_diag_msg.
type inetMessage struct {
	family       byte
	report       socket.Report
	timer        socket.Timer
	src, dst     [16]byte
	sport, dport uint16
	ino          uint64
	uid          uint32
}

func (m *inetMessage) put() []byte {
	b := []byte{m.family, byte(m.report.State), m.timer.Kind, m.timer.Count}
	b = binary.BigEndian.AppendUint16(b, m.sport)
	b = binary.BigEndian.AppendUint16(b, m.dport)
	b = append(append(b, m.src[:]...), m.dst[:]...)
	b = le.AppendUint32(b, m.report.Device)
	b = le.AppendUint64(b, m.ino)
	b = le.AppendUint32(b, m.timer.Due)
	b = le.AppendUint32(b, uint32(m.report.Receive))
	b = le.AppendUint32(b, uint32(m.report.Send))
	b = le.AppendUint32(b, m.uid)
	return le.AppendUint32(b, uint32(m.ino))
}

// attributes appends what the question's extensions ask for.
func (q *inetQuestion) attributes(ctx vfs.Context, b []byte, s socket.Socket, r socket.Report, info []byte) []byte {
	asked := func(kind int) bool { return q.extensions&(1<<(kind-1)) != 0 }
	b = attribute(b, inetShutdown, []byte{r.Shut})
	if asked(inetTOS) {
		if v, err := s.SockOpt(ctx, linux.IPPROTO_IP, linux.IP_TOS, 4); err == nil && len(v) > 0 {
			b = attribute(b, inetTOS, v[:1])
		}
	}
	if q.family == linux.AF_INET6 {
		if v, err := s.SockOpt(ctx, linux.IPPROTO_IPV6, linux.IPV6_TCLASS, 4); asked(inetTClass) && err == nil && len(v) > 0 {
			b = attribute(b, inetTClass, v[:1])
		}
		if v, err := s.SockOpt(ctx, linux.IPPROTO_IPV6, linux.IPV6_V6ONLY, 4); err == nil && len(v) > 0 && (r.State == socket.StateListen || r.State == socket.StateClose) {
			b = attribute(b, inetV6Only, v[:1])
		}
	}
	if asked(inetMemory) {
		b = attribute(b, inetMemory, memory(ctx, s, r))
	}
	if s.Type() != linux.SOCK_STREAM {
		return b
	}
	if asked(inetInfo) && info != nil {
		b = attribute(b, inetInfo, info)
	}
	if v, err := s.SockOpt(ctx, linux.IPPROTO_TCP, linux.TCP_CONGESTION, 16); asked(inetCongested) && err == nil {
		b = attribute(b, inetCongested, v)
	}
	return b
}

// memory is the SK_MEMINFO_ values of linux/sock_diag.h, of which the buffers'
// sizes and what waits in them are known.
func memory(ctx vfs.Context, s socket.Socket, r socket.Report) []byte {
	var v [9]uint32
	if r.State != socket.StateListen {
		v[0], v[2] = uint32(r.Receive), uint32(r.Send)
	}
	for i, name := range map[int]int{1: linux.SO_RCVBUF, 3: linux.SO_SNDBUF} {
		if o, err := s.SockOpt(ctx, linux.SOL_SOCKET, name, 4); err == nil {
			v[i] = number(o)
		}
	}
	var b []byte
	for _, n := range v {
		b = le.AppendUint32(b, n)
	}
	return b
}

// unixQuestion is a struct unix_diag_req.
type unixQuestion struct {
	states, ino, show uint32
	one               bool // about one socket, by its inode
}

func parseUnix(b []byte) (q unixQuestion, err linux.Errno) {
	if len(b) < unixRequestSize {
		return q, linux.EINVAL
	}
	return unixQuestion{states: le.Uint32(b[4:]), ino: le.Uint32(b[8:]), show: le.Uint32(b[12:])}, 0
}

// match gives the struct unix_diag_msg of s with its attributes, nil if it is not
// asked for.
func (q *unixQuestion) match(ctx vfs.Context, s socket.Socket) []byte {
	if s.Domain() != linux.AF_UNIX {
		return nil
	}
	reporter, ok := s.(socket.Reporter)
	id, known := s.(identity)
	if !ok || !known || q.one && uint32(id.Ino()) != q.ino {
		return nil
	}
	r := reporter.Report()
	if !q.one && q.states&(1<<r.State) == 0 {
		return nil
	}
	b := []byte{linux.AF_UNIX, byte(s.Type()), byte(r.State), 0}
	b = le.AppendUint32(b, uint32(id.Ino()))
	b = le.AppendUint64(b, id.Ino())
	shows := func(bit uint32) bool { return q.show&bit != 0 }
	if name, err := s.SockName(ctx); shows(1) && err == nil && len(name) > 2 {
		b = attribute(b, unixName, name[2:])
	}
	if shows(4) && r.Peer != 0 {
		b = attribute(b, unixPeer, le.AppendUint32(nil, uint32(r.Peer)))
	}
	if shows(8) && r.State == socket.StateListen {
		// The inodes of those who wait are not known: 0 is one that has gone.
		b = attribute(b, unixWaiting, make([]byte, 4*min(r.Receive, 256)))
	}
	if shows(16) {
		b = attribute(b, unixQueues, le.AppendUint32(le.AppendUint32(nil, uint32(r.Receive)), uint32(r.Send)))
	}
	if shows(32) {
		b = attribute(b, unixMemory, memory(ctx, s, r))
	}
	b = attribute(b, unixShutdown, []byte{r.Shut})
	if shows(64) {
		b = attribute(b, unixUID, le.AppendUint32(nil, ctx.Creds().UserNS.ShowUID(id.Owner())))
	}
	return b
}
