package inet

import (
	"encoding/binary"
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/wait"
)

// duct is a TCP connection between two sockets of this sentry. Its bytes wait in
// the sentry's memory, and netd knows nothing of it: no packet is made of them,
// no capture sees them and no packet filter. To the two sockets it looks like a
// connection over the loopback whose segments take no time.
type duct struct {
	sync.Mutex
	halves [2]half
}

// half is one socket's side of a duct. What has no lock of its own is guarded by
// the duct's; no other lock is taken under that one.
type half struct {
	d     *duct
	peer  *half
	owner *Stream

	sending   sync.Mutex // one writer into peer.in at a time
	receiving sync.Mutex // one reader of in

	in       byteQueue
	consumed uint64 // bytes read from in
	sent     uint64
	urgent   urgent
	finSent  bool // our side sends no more: shutdown(2) or close(2)
	shutRead bool
	reset    bool // by the peer, or by what we sent to nobody
	done     bool // the peer's FIN came before that: SOCK_DONE
	released bool // by close(2)
	blocked  bool // somebody of ours waits for room in peer.in
	err      linux.Errno
}

// Buffers of a socket that nobody has tuned, in bytes. What a direction holds is
// the sender's and the receiver's together.
const (
	untunedDirectReceive = 384 << 10
	untunedDirectSend    = 128 << 10
)

func newDuct(a, b *Stream) *duct {
	d := &duct{}
	d.halves[0] = half{d: d, owner: a, peer: &d.halves[1]}
	d.halves[1] = half{d: d, owner: b, peer: &d.halves[0]}
	return d
}

// limit is how many bytes h.in may hold.
func (h *half) limit() int {
	receive, _ := h.owner.conf.buffers()
	if receive == 0 {
		receive = untunedDirectReceive
	}
	_, send := h.peer.owner.conf.buffers()
	if send == 0 {
		send = untunedDirectSend
	}
	return receive + send
}

// over says that both sides have closed, or a reset has ended it.
func (h *half) over() bool { return h.reset || h.finSent && h.peer.finSent }

// takeLocked takes the error: it is reported once.
func (h *half) takeLocked() error {
	if err := h.err; err != 0 {
		h.err = 0
		return err
	}
	return nil
}

func (h *half) takeError() error {
	h.d.Lock()
	defer h.d.Unlock()
	return h.takeLocked()
}

// send puts bytes into the peer's queue.
func (h *half) send(by wait.Sleeper, m *socket.Msg) (int, error) {
	h.sending.Lock()
	defer h.sending.Unlock()
	h.d.Lock()
	room, err := h.roomLocked(m.Len())
	n := min(room, m.Len())
	h.d.Unlock()
	if err != nil || n == 0 {
		return 0, err
	}
	h.copyIn(m.Data, n)
	h.d.Lock()
	h.sent += uint64(n)
	events := wait.In
	if m.Flags&linux.MSG_OOB != 0 {
		p := h.peer
		drop := p.urgent.mark(h.sent-1, p.consumed, p.in.size-1, p.owner.conf.inline())
		p.in.read(drop)
		p.consumed += uint64(drop)
		events |= wait.Pri
	}
	gone := h.peer.released
	if gone {
		h.unheardLocked()
	}
	h.d.Unlock()
	if gone {
		h.owner.Queue().Notify(ended)
		return n, nil
	}
	h.peer.owner.Queue().NotifyBy(by, events)
	if m.Flags&linux.MSG_OOB != 0 {
		h.peer.owner.Queue().NotifyBy(by, wait.Urg)
	}
	return n, nil
}

// roomLocked is how many of n bytes there is room for: EAGAIN if for none.
func (h *half) roomLocked(n int) (int, error) {
	if err := h.takeLocked(); err != nil {
		return 0, err
	}
	if h.finSent || h.reset {
		return 0, linux.EPIPE
	}
	room := h.peer.limit() - h.peer.in.size
	if h.peer.released {
		room = h.peer.limit() // the reset comes back before more is taken
	}
	if room <= 0 && n > 0 {
		h.blocked = true
		return 0, linux.EAGAIN
	}
	if room < n {
		h.blocked = true // a part counts as a full buffer for epoll(7)'s edges, as in Linux
	}
	return max(room, 0), nil
}

// copyIn moves the first n bytes of data into the peer's queue, without the lock
// but for the ends of each piece.
func (h *half) copyIn(data [][]byte, n int) {
	q := &h.peer.in
	for _, p := range data {
		p = p[:min(len(p), n)]
		n -= len(p)
		for len(p) > 0 {
			h.d.Lock()
			to := q.room(len(p))
			h.d.Unlock()
			k := copy(to, p)
			h.d.Lock()
			q.wrote(k)
			h.d.Unlock()
			p = p[k:]
		}
	}
}

// unheardLocked is what happens to bytes for one who has closed: they vanish, and
// a reset comes back.
func (h *half) unheardLocked() {
	h.peer.in.read(h.peer.in.size)
	if !h.reset {
		h.reset, h.done = true, true
		h.err = linux.EPIPE // its FIN came before
	}
}

// receive takes bytes out of the queue.
func (h *half) receive(m *socket.Msg) (int, error) {
	if m.Flags&linux.MSG_OOB != 0 {
		return h.receiveUrgent(m)
	}
	h.receiving.Lock()
	defer h.receiving.Unlock()
	h.d.Lock()
	skip := h.holeLocked(m.Flags) + h.owner.PeekFrom(m.Flags)
	have := max(h.in.size-skip, 0)
	var err error
	if have == 0 {
		err = h.emptyLocked()
	}
	n := min(have, m.Len(), h.urgent.before(h.consumed+uint64(skip)))
	h.d.Unlock()
	if have == 0 || n == 0 {
		return 0, err
	}
	if m.Flags&linux.MSG_TRUNC == 0 {
		h.copyOut(m.Data, skip, n)
	}
	h.owner.Received(m.Flags, n)
	if m.Flags&linux.MSG_PEEK != 0 {
		return n, nil
	}
	h.d.Lock()
	h.consumeLocked(n)
	wake := h.peer.blocked && h.roomyLocked()
	if wake {
		h.peer.blocked = false
	}
	h.d.Unlock()
	if wake {
		h.peer.owner.Queue().Notify(wait.Out)
	}
	return n, nil
}

// roomyLocked says whether poll(2) tells the peer that it can write: a third of
// the room is free.
func (h *half) roomyLocked() bool { return h.in.size <= h.limit()*2/3 }

// copyOut copies n bytes that lie skip behind the first.
func (h *half) copyOut(data [][]byte, skip, n int) {
	at := 0
	for _, p := range data {
		for len(p) > 0 && at < n {
			h.d.Lock()
			from := h.in.at(skip+at, min(n-at, len(p)))
			h.d.Unlock()
			k := copy(p, from)
			p = p[k:]
			at += k
		}
	}
}

// emptyLocked is the answer of an empty queue, in the order of tcp_recvmsg: the
// end, an error, EAGAIN.
func (h *half) emptyLocked() error {
	if h.peer.finSent && !h.reset || h.done {
		return nil
	}
	if err := h.takeLocked(); err != nil {
		return err
	}
	if h.peer.finSent || h.shutRead || h.reset {
		return nil
	}
	return linux.EAGAIN
}

// ready is tcp_poll.
func (h *half) ready() wait.Events {
	h.d.Lock()
	defer h.d.Unlock()
	var ev wait.Events
	if h.err != 0 {
		ev |= wait.Err
	}
	if h.urgent.here(h.consumed, h.in.size) {
		ev |= wait.Pri
	}
	if h.over() {
		return ev | wait.In | wait.Out | wait.RDHup | wait.Hup
	}
	least := min(h.owner.LowWater(), h.limit()/2) + h.urgent.hole(h.consumed, h.in.size, h.owner.conf.inline())
	if h.in.size > 0 && h.in.size >= least {
		ev |= wait.In
	}
	if h.peer.finSent || h.shutRead {
		ev |= wait.In | wait.RDHup
		if h.finSent {
			ev |= wait.Hup
		}
	}
	if h.finSent || h.peer.roomyLocked() {
		return ev | wait.Out
	}
	h.blocked = true
	return ev
}

// ended is what the end of a connection makes ready.
const ended = wait.In | wait.Out | wait.RDHup | wait.Hup

// shutdown ends halves: ENOTCONN once it is over.
func (h *half) shutdown(read, write bool) error {
	h.d.Lock()
	if h.over() {
		h.d.Unlock()
		return linux.ENOTCONN
	}
	h.shutRead = h.shutRead || read
	told := write && !h.finSent
	h.finSent = h.finSent || write
	ev := wait.In | wait.RDHup
	if h.over() {
		ev |= wait.Hup
	}
	h.d.Unlock()
	if told {
		h.peer.owner.Queue().Notify(ev)
	}
	h.owner.Queue().Notify(ended)
	return nil
}

// close ends our side for good. Bytes that nobody has read reset the connection:
// RFC 2525, 2.17.
func (h *half) close(abort bool) {
	h.d.Lock()
	p := h.peer
	abort = abort || h.in.size > 0
	h.in.read(h.in.size)
	ev := wait.In | wait.RDHup
	if abort && !h.over() && !p.released {
		p.reset, p.done, p.err = true, h.finSent, linux.ECONNRESET
		if h.finSent && !p.finSent {
			p.err = linux.EPIPE
		}
		ev |= wait.Err
	}
	h.released, h.finSent = true, true
	if p.over() {
		ev |= wait.Out | wait.Hup
	}
	gone := p.released
	h.d.Unlock()
	if !gone {
		p.owner.Queue().Notify(ev)
	}
}

// Numbers of TCP's states: net/tcp_states.h.
const (
	stateEstablished = 1
	stateFinWait2    = 5
	stateClose       = 7
	stateCloseWait   = 8
	stateListen      = 10
	stateSynSent     = 2
)

// state is what ss(8) and TCP_INFO show.
func (h *half) state() int {
	h.d.Lock()
	defer h.d.Unlock()
	switch {
	case h.over():
		return stateClose
	case h.finSent:
		return stateFinWait2
	case h.peer.finSent:
		return stateCloseWait
	}
	return stateEstablished
}

// queued is SIOCINQ and SIOCOUTQ. What the peer's receive buffer took counts as
// acknowledged.
func (h *half) queued() (in, out int) {
	h.d.Lock()
	defer h.d.Unlock()
	receive, _ := h.peer.owner.conf.buffers()
	if receive == 0 {
		receive = untunedDirectReceive
	}
	return h.urgent.unread(h.consumed, h.in.size, h.owner.conf.inline()), max(0, h.peer.in.size-receive)
}

// segment is the longest that Linux sends over its loopback to a peer with untuned
// buffers: half of the window that the handshake told.
func (h *half) segment() uint32 {
	if h == &h.d.halves[0] { // who connected, by a window of 65483
		return 32741
	}
	return 32768
}

// info fills a struct tcp_info of 232 bytes with what a connection over the
// loopback that never waits would show.
func (h *half) info(b []byte) {
	const mss = 65483
	state := h.state()
	h.d.Lock()
	sent, received := h.sent, h.peer.sent
	h.d.Unlock()
	in, _ := h.queued()
	le := binary.LittleEndian
	b[0] = byte(state)
	b[5] = 1 | 2 | 4 // timestamps, SACK, window scaling
	b[6] = 7 | 7<<4  // window scales
	put := func(at int, v uint32) { le.PutUint32(b[at:], v) }
	put(8, 204000) // rto
	put(12, 40000) // ato
	put(16, h.segment())
	put(20, 536)   // rcv_mss
	put(60, 65535) // pmtu
	put(64, 65483) // rcv_ssthresh
	put(68, 20)    // rtt
	put(72, 10)    // rttvar
	put(76, 1<<31-1)
	put(80, 10)                       // snd_cwnd
	put(84, mss)                      // advmss
	put(88, 3)                        // reordering
	put(96, uint32(max(65483, in)))   // rcv_space
	le.PutUint64(b[104:], ^uint64(0)) // pacing_rate
	le.PutUint64(b[112:], ^uint64(0))
	le.PutUint64(b[120:], sent+1)
	le.PutUint64(b[128:], received)
	put(136, uint32(sent/mss)+2)
	put(140, uint32(received/mss)+2)
}
