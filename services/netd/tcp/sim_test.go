package tcp

import (
	"bytes"
	"container/heap"
	"math/rand"
	"testing"

	"bulkhead/services/netd/wire"
)

// A simulation has two machines and a wire between them that loses, delays,
// reorders and duplicates, under virtual time.
type simulation struct {
	t     *testing.T
	rnd   *rand.Rand
	now   Time
	ends  [2]*side
	wire  packets
	loss  int // of 1000
	dup   int
	delay Time
	vary  Time
	sent  int
	drops int
}

type packet struct {
	at  Time
	n   int
	to  int
	seg Segment
}

type packets []packet

func (p packets) Len() int { return len(p) }
func (p packets) Less(i, j int) bool {
	return p[i].at < p[j].at || p[i].at == p[j].at && p[i].n < p[j].n
}
func (p packets) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *packets) Push(x any)   { *p = append(*p, x.(packet)) }
func (p *packets) Pop() any {
	x := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return x
}

func (m *simulation) pollEnd(i int) {
	x := m.ends[i]
	if x == nil {
		return
	}
	x.Poll(m.now, m.now, func(s *Segment) {
		c := *s
		c.Payload = bytes.Clone(s.Payload)
		m.sent++
		if m.sent > 2_000_000 {
			m.t.Fatal("a storm of segments")
		}
		copies := 1
		if m.rnd.Intn(1000) < m.loss {
			m.drops++
			copies = 0
		} else if m.rnd.Intn(1000) < m.dup {
			copies = 2
		}
		for ; copies > 0; copies-- {
			d := m.delay
			if m.vary > 0 {
				d += Time(m.rnd.Int63n(int64(m.vary)))
			}
			heap.Push(&m.wire, packet{m.now + d, m.sent*2 + copies, 1 - i, c})
		}
	})
}

// step goes on to the next event; false if there is none.
func (m *simulation) step() bool {
	next := Never
	if len(m.wire) > 0 {
		next = m.wire[0].at
	}
	for _, x := range m.ends {
		if x != nil {
			next = min(next, x.Deadline())
		}
	}
	if next == Never {
		return false
	}
	m.now = max(m.now, next)
	for len(m.wire) > 0 && m.wire[0].at <= m.now {
		p := heap.Pop(&m.wire).(packet)
		m.deliver(p.to, &p.seg)
	}
	m.pollEnd(0)
	m.pollEnd(1)
	return true
}

func (m *simulation) deliver(to int, s *Segment) {
	x := m.ends[to]
	if x == nil {
		if !s.has(wire.SYN) {
			return
		}
		cfg := m.ends[0].Config()
		cfg.ISS = Seq(m.rnd.Uint32())
		x = &side{r: recvBuf{limit: cfg.ReceiveBuffer}}
		x.Conn = Accept(cfg, m.now, s)
		x.Attach(&x.s, &x.r)
		m.ends[to] = x
	} else if x.State() == Closed {
		if r, ok := ResetFor(s); ok {
			heap.Push(&m.wire, packet{m.now + m.delay, m.sent * 2, 1 - to, r})
		}
		return
	} else if !x.Stray(s) {
		x.Receive(m.now, s)
	}
	m.pollEnd(to)
}

type simCase struct {
	seed             int64
	loss, dup        int
	delay, vary      Time
	size, mss, rcv   int
	nodelay, delayed bool
}

func simulate(t *testing.T, sc simCase) {
	m := &simulation{t: t, rnd: rand.New(rand.NewSource(sc.seed)), loss: sc.loss, dup: sc.dup, delay: sc.delay, vary: sc.vary}
	cfg := Config{ISS: Seq(m.rnd.Uint32()), MSS: sc.mss, ReceiveBuffer: sc.rcv, NoDelay: sc.nodelay, Retries: 40, SynRetries: 40}
	if sc.delayed {
		cfg.DelayAck = 40 * Millisecond
	}
	a := &side{r: recvBuf{limit: sc.rcv}}
	a.Conn = Connect(cfg, 0, &a.s, &a.r)
	m.ends[0] = a
	var want, got, left [2][]byte
	for i := range want {
		want[i] = make([]byte, sc.size)
		m.rnd.Read(want[i])
		left[i] = want[i]
	}
	m.pollEnd(0)
	for steps := 0; ; steps++ {
		if steps > 3_000_000 {
			t.Fatalf("no end: %d and %d of %d bytes", len(got[0]), len(got[1]), sc.size)
		}
		for i, x := range m.ends {
			if x == nil || x.send == nil {
				continue
			}
			// The user writes a piece and reads a piece.
			if n := min(len(left[i]), 1+m.rnd.Intn(3*sc.mss)); x.s.Len() < 4*sc.rcv {
				x.s.b = append(x.s.b, left[i][:n]...)
				if left[i] = left[i][n:]; len(left[i]) == 0 && x.Synchronized() {
					x.CloseSend(m.now)
				}
			}
			if n := m.rnd.Intn(2*sc.rcv + 1); m.rnd.Intn(3) > 0 {
				n = min(n, len(x.r.got))
				got[i] = append(got[i], x.r.got[:n]...)
				x.r.got = bytes.Clone(x.r.got[n:])
				x.Opened()
			}
			m.pollEnd(i)
		}
		if !m.step() {
			break
		}
		if a, b := m.ends[0], m.ends[1]; b != nil && done(a) && done(b) && len(a.r.got)+len(b.r.got) == 0 {
			break
		}
	}
	if testing.Verbose() {
		t.Logf("%+v: %v, %d segments, %d lost, %d and %d sent again", sc, m.now, m.sent, m.drops, m.ends[0].Stats().Retransmits, m.ends[1].Stats().Retransmits)
	}
	for i := range want {
		x := m.ends[1-i]
		all := append(got[1-i], x.r.got...)
		if !bytes.Equal(want[i], all) {
			t.Fatalf("direction %d: %d of %d bytes, states %v %v, causes %v %v at %v (%d sent, %d lost)", i, len(all), sc.size,
				m.ends[0].State(), m.ends[1].State(), m.ends[0].Cause(), m.ends[1].Cause(), m.now, m.sent, m.drops)
		}
		if c := x.Cause(); c != None && c != Reset {
			t.Fatal("cause", c)
		}
	}
}

func done(x *side) bool { return x.State() == Closed || x.State() == TimeWait }

func TestSimulation(t *testing.T) {
	const ms = Millisecond
	for name, sc := range map[string]simCase{
		"clean":          {1, 0, 0, 10 * ms, 0, 300000, 1460, 65536, true, true},
		"one percent":    {2, 10, 0, 10 * ms, 0, 300000, 1460, 65536, true, true},
		"five percent":   {3, 50, 5, 10 * ms, 5 * ms, 200000, 1460, 65536, false, true},
		"thirty percent": {4, 300, 50, 10 * ms, 30 * ms, 20000, 1460, 65536, true, false},
		"reordering":     {5, 0, 0, 10 * ms, 40 * ms, 200000, 1000, 65536, true, true},
		"small window":   {6, 20, 10, 5 * ms, 5 * ms, 50000, 1000, 3000, false, true},
		"tiny window":    {7, 10, 0, 5 * ms, 0, 5000, 1000, 700, false, true},
		"loopback":       {8, 0, 0, 0, 0, 3000000, 65483, 262144, true, false},
	} {
		t.Run(name, func(t *testing.T) { simulate(t, sc) })
	}
	n := 60
	if testing.Short() {
		n = 10
	}
	for seed := int64(100); seed < 100+int64(n); seed++ {
		r := rand.New(rand.NewSource(seed))
		simulate(t, simCase{seed, r.Intn(150), r.Intn(100), Time(r.Intn(100)) * ms, Time(r.Intn(100)) * ms,
			r.Intn(60000), 100 + r.Intn(3000), 500 + r.Intn(100000), r.Intn(2) == 0, r.Intn(2) == 0})
	}
}

func FuzzSimulation(f *testing.F) {
	f.Add(int64(1), uint8(10), uint8(10), uint8(10), uint16(1000), uint16(2000))
	f.Fuzz(func(t *testing.T, seed int64, loss, dup, vary uint8, mss, rcv uint16) {
		simulate(t, simCase{seed, int(loss) % 200, int(dup), 10 * Millisecond, Time(vary) * Millisecond,
			30000, 100 + int(mss)%9000, 300 + int(rcv), seed&1 == 0, seed&2 == 0})
	})
}

// FuzzReceive throws arbitrary segments at an established connection.
func FuzzReceive(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x02\x10\x05hello\x00\x09\x00\x02\x11\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		x := &side{r: recvBuf{limit: 8000}}
		x.Conn = Connect(Config{ISS: 1000, MSS: 1000, ReceiveBuffer: 8000}, 0, &x.s, &x.r)
		x.poll(0)
		x.Receive(0, &Segment{Seq: 5000, Ack: 1001, Flags: wire.SYN | wire.ACK, Window: 10000, Options: wire.TCPOptions{MSS: 1000, WindowScale: 2, SACKPermitted: true}})
		x.s.b = make([]byte, 20000)
		now := Time(0)
		for len(b) >= 6 {
			s := Segment{Seq: 4990 + Seq(b[0])<<6 + Seq(b[1]), Ack: 990 + Seq(b[2])<<6 + Seq(b[3]), Flags: b[4], Window: uint16(b[5]) << 4, Options: wire.TCPOptions{WindowScale: -1}}
			n := min(int(b[5]), len(b)-6)
			s.Payload = b[6 : 6+n]
			b = b[6+n:]
			if len(s.Payload) > 8 {
				s.Options.SACKBlocks = 1
				s.Options.SACK[0] = wire.SACKBlock{Start: 1000 + uint32(s.Payload[0])<<5, End: 1000 + uint32(s.Payload[1])<<5}
			}
			x.Receive(now, &s)
			if len(x.poll(now)) > 100 {
				t.Fatal("one segment was answered with more than a hundred")
			}
			if !x.una.Leq(x.nxt) || !x.rcvNxt.Leq(x.rcvAdv) {
				t.Fatalf("una %d nxt %d rcvNxt %d rcvAdv %d", x.una, x.nxt, x.rcvNxt, x.rcvAdv)
			}
			if d := x.Deadline(); d != Never && d < now {
				t.Fatal("a deadline in the past is left")
			}
			now += Time(n) * 10 * Millisecond
		}
	})
}
