package inet

import (
	"encoding/binary"
	"net/netip"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// sizeofTCPInfo is that of the part of struct tcp_info that is filled in, in bytes.
const sizeofTCPInfo = 248

// Diagnose tells what sock_diag(7) wants to know of a connection: struct tcp_info, and
// its timer.
func (s *Stream) Diagnose(ctx vfs.Context) ([]byte, socket.Timer) {
	b := make([]byte, sizeofTCPInfo)
	if h := s.direct.Load(); h != nil {
		h.info(b)
		return b, socket.Timer{}
	}
	b[0] = socket.StateClose
	e := s.end.Load()
	if e == nil {
		return b, socket.Timer{}
	}
	resp, fds, err := s.n.call(&netdv1.Request{Socket: e.id, Op: &netdv1.Request_Info{Info: &netdv1.Info{}}})
	closeAll(fds)
	if err != nil || resp.Info == nil {
		return b, socket.Timer{}
	}
	tcpInfo(b, resp.Info)
	if b[0] == socket.StateListen {
		r := s.Report()
		binary.LittleEndian.PutUint32(b[24:], uint32(r.Receive)) // tcpi_unacked
		binary.LittleEndian.PutUint32(b[28:], uint32(r.Send))    // tcpi_sacked
	}
	return b, timerOf(resp.Info.Timer)
}

func timerOf(t *netdv1.Timer) socket.Timer {
	if t == nil {
		return socket.Timer{}
	}
	return socket.Timer{Kind: uint8(min(t.Kind, 4)), Count: uint8(min(t.Count, 255)), Due: t.Due}
}

// tcpInfo writes struct tcp_info: linux/tcp.h.
func tcpInfo(b []byte, i *netdv1.InfoResult) {
	b[0], b[1], b[2], b[3], b[4] = byte(i.State), byte(i.Phase), byte(i.Retransmits), byte(i.Probes), byte(i.Retransmits)
	b[5], b[6], b[7] = byte(i.Options), byte(i.SendScale&15|i.ReceiveScale<<4), byte(boolInt(i.ApplicationLimited))
	const ato, reordering, leastMSS = 40000, 3, 536 // of which netd has none
	for k, v := range [...]uint32{
		i.Rto, ato, i.SendMss, max(i.ReceiveMss, leastMSS), i.Unacked, i.Sacked, i.Lost, i.InFlightAgain, 0, i.LastSent, 0, i.LastHeard, i.LastHeard,
		i.PathMtu, i.ReceiveWindow, i.Rtt, i.RttVariation, i.SlowStartThreshold, i.CongestionWindow, i.AdvertisedMss, reordering,
		i.ReceiveRtt, i.ReceiveSpace, i.TotalRetransmits,
	} {
		binary.LittleEndian.PutUint32(b[8+4*k:], v)
	}
	put64 := func(at int, v uint64) { binary.LittleEndian.PutUint64(b[at:], v) }
	put := func(at int, v ...uint32) {
		for k, n := range v {
			binary.LittleEndian.PutUint32(b[at+4*k:], n)
		}
	}
	put64(104, i.PacingRate)
	put64(112, ^uint64(0))
	put64(120, i.BytesAcked)
	put64(128, i.BytesReceived)
	put(136, i.SegmentsOut, i.SegmentsIn, i.NotSent, i.MinRtt, i.DataSegmentsIn, i.DataSegmentsOut)
	put64(160, i.DeliveryRate)
	put(192, i.Delivered, i.DeliveredCe)
	put64(200, i.BytesSent)
	put64(208, i.BytesAgain)
	put(216, i.Dsacks, i.Reordered, 0, i.SendWindow, i.ReceiveWindow)
}

// Queued are the connections that wait to be accepted.
func (s *Stream) Queued() (list []socket.Socket) {
	s.queue.Lock()
	defer s.queue.Unlock()
	for _, c := range s.queue.waiting {
		list = append(list, c)
	}
	return list
}

// Destroy ends the connection, or what listens: SOCK_DESTROY of sock_diag(7). The socket
// gets ECONNABORTED, its peer a reset.
func (s *Stream) Destroy() {
	if h := s.direct.Load(); h != nil {
		h.destroy()
		return
	}
	s.queue.Lock()
	waiting := s.queue.waiting
	s.queue.waiting, s.queue.listening = nil, false
	s.queue.Unlock()
	s.stopListening()
	for _, c := range waiting {
		c.abort()
	}
	if e := s.end.Load(); e != nil {
		s.n.post(&netdv1.Request{Socket: e.id, Op: &netdv1.Request_Destroy{Destroy: &netdv1.Destroy{}}})
	}
	s.Queue().Notify(ended) // who waits to accept
}

// destroy is Stream.Destroy of a connection within the sentry.
func (h *half) destroy() {
	h.d.Lock()
	p := h.peer
	over := h.over()
	if !over {
		h.in.read(h.in.size)
		h.reset, h.err = true, linux.ECONNABORTED
		if !p.released {
			p.reset, p.err = true, linux.ECONNRESET
		}
	}
	h.finSent = true
	h.d.Unlock()
	if !over {
		h.owner.Queue().Notify(ended | wait.Err)
		p.owner.Queue().Notify(ended | wait.Err)
	}
}

// Destroy gives the socket ECONNABORTED and takes its peer away.
func (d *Dgram) Destroy() {
	e := d.end.Load()
	if e == nil {
		return
	}
	d.mu.Lock()
	d.mu.remote = netip.AddrPort{}
	d.settleLocked()
	d.mu.Unlock()
	d.n.post(&netdv1.Request{Socket: e.id, Op: &netdv1.Request_Destroy{Destroy: &netdv1.Destroy{}}})
}

// Orphans are netd's connections that no socket has, or not yet.
func (n *Network) Orphans() (list []socket.Orphan) {
	resp, fds, err := n.call(&netdv1.Request{Op: &netdv1.Request_Connections{Connections: &netdv1.ConnectionDump{}}})
	closeAll(fds)
	if err != nil {
		return nil
	}
	for _, c := range resp.Connections {
		o := socket.Orphan{Domain: linux.AF_INET, Report: socket.Report{State: int(c.State & 15), Send: int(c.SendQueue)}, UID: c.Uid, Timer: timerOf(c.Timer)}
		if c.V6 {
			o.Domain = linux.AF_INET6
		}
		o.Local, o.Remote = sockaddr(c.V6, address(c.Local)), sockaddr(c.V6, address(c.Remote))
		list = append(list, o)
	}
	return list
}

// DestroyOrphan ends one of them: ENOENT.
func (n *Network) DestroyOrphan(o socket.Orphan) error {
	v6 := o.Domain == linux.AF_INET6
	local, _, err1 := parseSockaddr(v6, o.Local)
	remote, _, err2 := parseSockaddr(v6, o.Remote)
	if err1 != nil || err2 != nil {
		return linux.ENOENT
	}
	unmap := func(a *netdv1.Address) *netdv1.Address {
		if ip := address(a).Addr().Unmap(); ip.IsValid() {
			a.Ip = ip.AsSlice()
		}
		return a
	}
	resp, fds, err := n.call(&netdv1.Request{Op: &netdv1.Request_Destroy{Destroy: &netdv1.Destroy{
		Local: unmap(message(v6, local, 0)), Remote: unmap(message(v6, remote, 0)),
	}}})
	closeAll(fds)
	if err != nil {
		return err
	}
	return errnoOf(resp.Error)
}
