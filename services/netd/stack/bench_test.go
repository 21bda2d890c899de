package stack

import (
	"net/netip"
	"syscall"
	"testing"

	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/tcp"
)

// benchQueue is a send and receive queue as the server's are: memory that is reused.
type benchQueue struct {
	owner
	mem  []byte
	n    int // to be sent
	got  int
	room int
}

// owner is a TCPOwner that takes everything.
type owner struct{ accepted func(*TCP) }

func (o *owner) Changed() {}
func (o *owner) Incoming(child *TCP) (TCPOwner, SendQueue, ReceiveQueue, error) {
	q := newBenchQueue()
	return q, q, benchIn{q}, nil
}
func (o *owner) Accepted(child *TCP) { o.accepted(child) }
func (o *owner) Pending() int        { return 0 }
func (o *owner) Released()           {}

func newBenchQueue() *benchQueue { return &benchQueue{mem: make([]byte, 2<<20), room: 1 << 20} }

func (q *benchQueue) Len() int                { return q.n }
func (q *benchQueue) Slice(off, n int) []byte { o := off & 0xfffff; return q.mem[o : o+n] }
func (q *benchQueue) Discard(n int)           { q.n -= n }
func (q *benchQueue) Seen() int               { return q.n }
func (q *benchQueue) Arm() bool               { return false }
func (q *benchQueue) Urgent() int             { return 0 }
func (q *benchQueue) More() bool              { return false }
func (q *benchQueue) Broken() bool            { return false }

type benchIn struct{ q *benchQueue }

func (b benchIn) Room() int             { return b.q.room }
func (b benchIn) Put(off int, p []byte) { copy(b.q.mem[(b.q.got+off)&0xfffff:], p) }
func (b benchIn) Commit(n int)          { b.q.got += n }
func (b benchIn) Urge(int)              {}
func (b benchIn) ArmRoom()              {}
func (b benchIn) Broken() bool          { return false }

// handOver hands packets to the other stack at the end of the entry, without a
// copy: what a shared-memory device would do.
type handOver struct {
	cable
	queue []*link.Packet
	pool  []*link.Packet
}

func (h *handOver) Send(batch []*link.Packet) {
	for _, p := range batch {
		var q *link.Packet
		if n := len(h.pool); n > 0 {
			q, h.pool = h.pool[n-1], h.pool[:n-1]
		} else {
			q = &link.Packet{}
		}
		copy(q.Make(len(p.Header)), p.Header)
		q.Payload, q.Offload = p.Payload, p.Offload
		h.queue = append(h.queue, q)
	}
}

func (h *handOver) carry(to *handOver) bool {
	if len(h.queue) == 0 {
		return false
	}
	batch := h.queue
	h.queue = nil
	to.sink(batch)
	h.pool = append(h.pool, batch...)
	return true
}

func benchStacks(b *testing.B, mtu int, f link.Features) {
	s, r := newStack(b), newStack(b)
	x := &handOver{cable: cable{mtu: mtu, mac: [6]byte{2, 0, 0, 0, 0, 1}, ether: true, feats: f}}
	y := &handOver{cable: cable{mtu: mtu, mac: [6]byte{2, 0, 0, 0, 0, 2}, ether: true, feats: f}}
	s.AddInterface(InterfaceConfig{Name: "a", Device: x, Addresses: ip.Static(netip.MustParsePrefix("10.0.0.1/24"))})
	r.AddInterface(InterfaceConfig{Name: "b", Device: y, Addresses: ip.Static(netip.MustParsePrefix("10.0.0.2/24"))})
	at := netip.MustParseAddrPort("10.0.0.2:80")
	var peer *TCP
	l, q := newBenchQueue(), newBenchQueue()
	l.accepted = func(e *TCP) { peer = e }
	le := r.NewTCP(false, Options{}, tcp.Config{ReceiveBuffer: 1 << 20}, l, nil, nil)
	qe := s.NewTCP(false, Options{}, tcp.Config{ReceiveBuffer: 1 << 20, NoDelay: true}, q, q, benchIn{q})
	r.Do(func() { le.BindLocked(at); le.ListenLocked(1) })
	s.Do(func() { qe.ConnectLocked(at) })
	carry := func() {
		for {
			one := x.carry(y)
			if two := y.carry(x); !one && !two {
				return
			}
		}
	}
	carry()
	if peer == nil {
		b.Fatal("no connection")
	}
	in := peer.OwnerLocked().(*benchQueue)
	b.ReportAllocs()
	b.SetBytes(1 << 20)
	began := processorTime()
	b.ResetTimer()
	for b.Loop() {
		q.n += 1 << 20
		want := in.got + 1<<20
		for in.got < want {
			s.Do(qe.KickLocked)
			carry()
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)*8*(1<<20)/1e9/(processorTime()-began), "Gbit/cpu-s")
	i := qe.InfoLocked()
	if i.Stats.Retransmits > 100 {
		b.Logf("%d segments sent again", i.Stats.Retransmits)
	}
}

// processorTime is what the process has used, in seconds: on a loaded machine
// it says more than the clock.
func processorTime() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func BenchmarkStacks(b *testing.B) {
	b.Run("64K segments, sums done", func(b *testing.B) { benchStacks(b, 1500, link.Features{TCPOffload: true}) })
	b.Run("1500, sums done", func(b *testing.B) { benchStacks(b, 1500, link.Features{SumOffload: true}) })
	b.Run("1500, sums here", func(b *testing.B) { benchStacks(b, 1500, link.Features{}) })
	b.Run("9000, sums here", func(b *testing.B) { benchStacks(b, 9000, link.Features{}) })
}
