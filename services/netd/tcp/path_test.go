package tcp

import (
	"bytes"
	"container/heap"
	"math/rand"
	"testing"
	"time"

	"bulkhead/services/netd/wire"
)

// A path is a bottleneck in each direction: a rate, a queue that overflows, a
// delay, and what goes wrong on the way. Two machines with streams of a known
// pattern talk over it under virtual time.
type path struct {
	t     testing.TB
	rnd   *rand.Rand
	rate  int // bytes a second; 0: no limit
	queue int // bytes
	delay Time
	vary  Time
	loss  float64
	dup   float64
	bad   float64 // corrupted: the checksum tells, so it is lost after its time on the wire
	mark  int     // queue from which ECN marks; 0: never

	now   Time
	wire  packets
	ends  [2]*Conn
	send  [2]patternSend
	recv  [2]patternRecv
	free  [2]Time // when the bottleneck is free again
	limit int     // of steps
	sent  int
	drops int
	marks int

	checks int
}

const period = 65521

var pattern = func() []byte {
	b := make([]byte, period)
	rand.New(rand.NewSource(7)).Read(b)
	return append(append(b, b...), b...)
}()

// patternSend is a stream of `left` bytes of the pattern.
type patternSend struct{ at, left int }

func (q *patternSend) Len() int                { return min(q.left, 8<<20) }
func (q *patternSend) Slice(off, n int) []byte { o := (q.at + off) % period; return pattern[o : o+n] }
func (q *patternSend) Discard(n int)           { q.at += n; q.left -= n }
func (q *patternSend) Urgent() int             { return 0 }
func (q *patternSend) More() bool              { return false }

// patternRecv checks the stream, which a reader takes at once.
type patternRecv struct {
	t    testing.TB
	ring []byte
	got  int
}

func (q *patternRecv) Room() int { return len(q.ring) }
func (q *patternRecv) Put(off int, p []byte) {
	at := (q.got + off) % len(q.ring)
	if n := copy(q.ring[at:], p); n < len(p) {
		copy(q.ring, p[n:])
	}
}
func (q *patternRecv) Urge(int) {}
func (q *patternRecv) Commit(n int) {
	for n > 0 {
		at := q.got % len(q.ring)
		k := min(n, len(q.ring)-at, period)
		o := q.got % period
		if !bytes.Equal(q.ring[at:at+k], pattern[o:o+k]) {
			q.t.Fatalf("the stream differs within %d bytes from %d", k, q.got)
		}
		q.got += k
		n -= k
	}
}

func newPath(t testing.TB, seed int64, cfg Config, size [2]int) *path {
	m := &path{t: t, rnd: rand.New(rand.NewSource(seed)), limit: 50_000_000}
	for i := range m.recv {
		m.send[i].left = size[i]
		m.recv[i] = patternRecv{t: t, ring: make([]byte, cfg.ReceiveBuffer)}
	}
	m.ends[0] = Connect(cfg, 0, &m.send[0], &m.recv[0])
	return m
}

func (m *path) poll(i int) {
	c := m.ends[i]
	if c == nil {
		return
	}
	if m.send[i].left == 0 && c.Synchronized() {
		c.CloseSend(m.now)
	}
	c.Poll(m.now, m.now, func(s *Segment) {
		checkSegment(m.t, c, s)
		size := max(s.Size, 1)
		if s.Size == 0 || len(s.Payload) <= s.Size {
			m.forward(i, *s)
			return
		}
		for off := 0; off < len(s.Payload); off += size {
			k := *s
			end := min(off+size, len(s.Payload))
			k.Payload, k.Seq, k.Size = s.Payload[off:end], s.Seq+Seq(off), 0
			if end < len(s.Payload) {
				k.Flags &^= wire.FIN | wire.PSH
			}
			if off > 0 {
				k.Flags &^= wire.CWR
			}
			m.forward(i, k)
		}
	})
}

// forward puts a segment on the wire.
func (m *path) forward(from int, s Segment) {
	m.sent++
	copies := 1
	if m.rnd.Float64() < m.dup {
		copies = 2
	}
	for ; copies > 0; copies-- {
		at := m.now
		if m.rate > 0 {
			n := len(s.Payload) + 66
			start := max(m.now, m.free[from])
			backlog := int(float64(start-m.now) / float64(Second) * float64(m.rate))
			if backlog > m.queue {
				m.drops++
				continue
			}
			if m.mark > 0 && backlog > m.mark && s.ECN != NotECT {
				s.ECN = CE
				m.marks++
			}
			at = start + Time(float64(n)/float64(m.rate)*float64(Second))
			m.free[from] = at
		}
		if m.rnd.Float64() < m.loss || m.rnd.Float64() < m.bad {
			m.drops++
			continue
		}
		if m.vary > 0 {
			at += Time(m.rnd.Int63n(int64(m.vary)))
		}
		heap.Push(&m.wire, packet{at + m.delay, m.sent*2 + copies, 1 - from, s})
	}
}

// run goes on until both ends are done or `until` is reached.
func (m *path) run(until Time) {
	m.poll(0)
	for range m.limit {
		next := Never
		if len(m.wire) > 0 {
			next = m.wire[0].at
		}
		for _, c := range m.ends {
			if c != nil {
				next = min(next, c.Deadline())
			}
		}
		if next == Never || next > until {
			return
		}
		m.now = max(m.now, next)
		for len(m.wire) > 0 && m.wire[0].at <= m.now {
			p := heap.Pop(&m.wire).(packet)
			m.arrive(p.to, &p.seg)
		}
		m.poll(0)
		m.poll(1)
		if m.over() {
			return
		}
	}
	a, b := m.ends[0], m.ends[1]
	m.t.Fatalf("no end at %v: %v %v, wire %d, %d left, %+v\n%+v\n%+v", m.now, a.State(), b.State(), len(m.wire), m.send[0].left+m.send[1].left, a.timer, b.timer, a.loss)
}

func (m *path) over() bool {
	for i, c := range m.ends {
		if c == nil || m.send[i].left > 0 || c.State() != Closed && c.State() != TimeWait {
			return false
		}
	}
	return true
}

func (m *path) arrive(to int, s *Segment) {
	c := m.ends[to]
	switch {
	case c == nil:
		cfg := m.ends[0].Config()
		cfg.ISS += 12345
		c = Accept(cfg, m.now, s)
		c.Attach(&m.send[to], &m.recv[to])
		m.ends[to] = c
	case c.State() == Closed:
		if r, ok := ResetFor(s); ok {
			m.forward(to, r)
		}
	case !c.Stray(s):
		c.Receive(m.now, s)
		if m.checks++; m.checks%64 == 0 || len(c.board.pieces()) < 64 {
			checkConn(m.t, c)
		}
	}
	m.poll(to)
}

// checkSegment holds what no segment may break.
func checkSegment(t testing.TB, c *Conn, s *Segment) {
	t.Helper()
	end := s.Seq + s.Len()
	switch {
	case len(s.Payload) > 0 && s.Size == 0 && len(s.Payload) > c.mss && !s.has(wire.SYN):
		t.Fatalf("%d bytes in a segment of %d", len(s.Payload), c.mss)
	case s.Size > c.mss:
		t.Fatalf("segments of %d, not %d", s.Size, c.mss)
	case c.Synchronized() && c.nxt.Less(end) && !s.has(wire.RST):
		t.Fatalf("sent up to %d, nxt is %d", end, c.nxt)
	case !s.has(wire.SYN) && !s.has(wire.ACK) && !s.has(wire.RST):
		t.Fatal("no acknowledgement")
	case s.has(wire.SYN) && s.has(wire.FIN|wire.RST), s.has(wire.RST) && s.has(wire.FIN):
		t.Fatalf("flags %#x", s.Flags)
	case s.ECN != NotECT && (len(s.Payload) == 0 || !c.ecnOK):
		t.Fatal("an ECT mark where none may be")
	case len(s.Payload) > 0 && len(s.Payload)+s.Options.Len() > 65535:
		t.Fatal("too long")
	case s.has(wire.URG) && s.Urgent == 0:
		t.Fatal("URG without a pointer")
	}
	if s.has(wire.ACK) && !s.has(wire.SYN) && c.Synchronized() {
		// The window never shrinks: RFC 9293, 3.8.6.
		edge := s.Ack + Seq(uint32(s.Window)<<c.rcvScale)
		if edge.Less(c.rcvAdv - Seq(1<<c.rcvScale)) {
			t.Fatalf("the window shrank from %d to %d", c.rcvAdv, edge)
		}
	}
}

// checkConn holds what is true of a machine at all times.
func checkConn(t testing.TB, c *Conn) {
	t.Helper()
	if !c.una.Leq(c.nxt) || !c.rcvNxt.Leq(c.rcvAdv) || c.cwnd < 1 {
		t.Fatalf("una %d nxt %d rcvNxt %d rcvAdv %d cwnd %d", c.una, c.nxt, c.rcvNxt, c.rcvAdv, c.cwnd)
	}
	if !c.Synchronized() {
		return
	}
	var sacked, lost, air int
	at, listed := c.una, 0
	for _, p := range c.board.pieces() {
		if p.start != at || !p.start.Less(p.end) {
			t.Fatalf("the board has %d..%d after %d", p.start, p.end, at)
		}
		at = p.end
		if p.sacked {
			sacked += p.len()
		}
		if p.lost {
			lost += p.len()
		}
		if p.inAir {
			air += p.len()
		}
		if p.sacked && p.lost || p.inAir && !p.lost {
			t.Fatalf("%+v", p)
		}
		if !p.sacked && (!p.lost || p.inAir) {
			listed++
		}
	}
	if len(c.board.pieces()) > 0 && at != c.nxt || sacked != c.board.sacked || lost != c.board.lost || air != c.board.inAir {
		t.Fatalf("the board ends at %d of %d: %d %d, %d %d, %d %d", at, c.nxt, sacked, c.board.sacked, lost, c.board.lost, air, c.board.inAir)
	}
	n := 0
	for p := c.board.oldest; p != nil; p = p.newer {
		if n++; p.newer != nil && sentAfter(p.at, p.end, p.newer.at, p.newer.end) && p.at != p.newer.at {
			t.Fatal("the order of sending is lost")
		}
	}
	if n != listed {
		t.Fatalf("%d pieces in flight, %d in order of sending", listed, n)
	}
}

func pathConfig() Config {
	return Config{ISS: 1<<32 - 5_000_000, MSS: 1460, ReceiveBuffer: 4 << 20, DelayAck: DefaultDelayAck, SuperSegment: 65000, Retries: 30, SynRetries: 30}
}

// Each controller fills a link of 100 Mbit/s and 50 ms with a queue of one
// round trip.
func TestFillsLink(t *testing.T) {
	for _, cc := range Controllers {
		for _, tso := range []int{0, 65000} {
			if testing.Short() && tso == 0 {
				continue
			}
			cfg := pathConfig()
			cfg.Congestion, cfg.SuperSegment = cc, tso
			m := newPath(t, 1, cfg, [2]int{1 << 40, 0})
			m.rate, m.queue, m.delay = 100e6/8, 100e6/8/20, 25*Millisecond
			began := time.Now()
			m.run(10 * Second)
			got := float64(m.recv[1].got) * 8 / 10 / 1e6
			c := m.ends[0]
			t.Logf("%s tso %d: %.1f Mbit/s, %d dropped, %d sent again, %d timeouts, %d probes, cwnd %d, srtt %d ms (%v real)", cc, tso, got, m.drops, c.stats.Retransmits,
				c.stats.Timeouts, c.stats.TailProbes, c.cwnd/c.mss, c.rtt.srtt/Millisecond, time.Since(began))
			if got < 80 {
				t.Errorf("%s tso %d: %.1f Mbit/s of 100", cc, tso, got)
			}
		}
	}
}

// Whatever the wire does, the bytes arrive.
func TestBulkOverBadPaths(t *testing.T) {
	size := 100 << 20
	if testing.Short() {
		size = 4 << 20
	}
	for name, f := range map[string]func(m *path){
		"clean":        func(m *path) {},
		"1 % loss":     func(m *path) { m.loss = 0.01 },
		"5 % loss":     func(m *path) { m.loss = 0.05 },
		"reordering":   func(m *path) { m.vary = 3 * Millisecond },
		"everything":   func(m *path) { m.loss, m.vary, m.dup, m.bad = 0.01, 2*Millisecond, 0.01, 0.005 },
		"small queue":  func(m *path) { m.rate, m.queue = 100e6, 60000 },
		"marked queue": func(m *path) { m.rate, m.queue, m.mark = 100e6, 1e6, 200000 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := pathConfig()
			cfg.ECN = ECNActive
			m := newPath(t, 3, cfg, [2]int{size, 1000})
			m.delay = Millisecond
			f(m)
			m.run(Never - 1)
			c := m.ends[0]
			t.Logf("%.1f s, %.1f Mbit/s, %d segments, %d lost, %d sent again, %d timeouts, %d probes, %d undone, %d marked", float64(m.now)/1e9, float64(size)*8e3/float64(m.now), m.sent, m.drops,
				c.stats.Retransmits, c.stats.Timeouts, c.stats.TailProbes, c.stats.Undos, m.marks)
			if m.recv[1].got != size || m.recv[0].got != 1000 {
				t.Fatalf("%d of %d bytes, %d of 1000; %v %v", m.recv[1].got, size, m.recv[0].got, m.ends[0].State(), m.ends[1].State())
			}
			if m.mark > 0 && (m.marks == 0 || m.drops > 0) {
				t.Errorf("%d marks, %d drops", m.marks, m.drops)
			}
		})
	}
}

// FuzzPath lets the fuzzer choose the path, the machines' options and the sizes.
func FuzzPath(f *testing.F) {
	f.Add(int64(1), uint8(5), uint8(5), uint8(5), uint8(5), uint16(1460), uint16(40000), uint16(0x1234))
	f.Add(int64(2), uint8(40), uint8(0), uint8(90), uint8(0), uint16(536), uint16(3000), uint16(0xffff))
	f.Fuzz(func(t *testing.T, seed int64, loss, dup, bad, vary uint8, mss, rcv, flags uint16) {
		cfg := Config{ISS: Seq(seed), MSS: 100 + int(mss)%9000, ReceiveBuffer: 400 + int(rcv), Retries: 60, SynRetries: 60}
		cfg.Congestion = Controllers[int(flags)%3]
		cfg.NoDelay = flags&8 != 0
		cfg.ECN = ECNMode(flags >> 4 & 1)
		if flags&32 != 0 {
			cfg.SuperSegment = 65000
		}
		if flags&64 != 0 {
			cfg.DelayAck = DefaultDelayAck
		}
		if flags&128 != 0 {
			cfg.InitialWindow = 1 + int(rcv)/4
		}
		if flags&256 != 0 {
			cfg.KeepAlive = true
		}
		m := newPath(t, seed, cfg, [2]int{int(flags>>9) * 400, int(flags>>12) * 2000})
		m.delay, m.vary = Time(1+vary%50)*Millisecond, Time(vary)*Millisecond/2
		m.loss, m.dup, m.bad = float64(loss%64)/256, float64(dup)/512, float64(bad%64)/512
		if flags&1 != 0 {
			m.rate, m.queue, m.mark = 1e6, 30000, 10000
		}
		size := [2]int{m.send[0].left, m.send[1].left}
		m.limit = 2_000_000
		m.run(Never - 1)
		for i, n := range size {
			if c := m.ends[i]; c == nil || c.Cause() != None && c.Cause() != Reset {
				t.Fatalf("end %d: %+v", i, c)
			}
			if m.recv[1-i].got != n {
				t.Fatalf("direction %d: %d of %d; %v %v at %v", i, m.recv[1-i].got, n, m.ends[0].State(), m.ends[1].State(), m.now)
			}
		}
	})
}
