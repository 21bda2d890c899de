package tcp

import (
	"bytes"
	"testing"

	"bulkhead/services/netd/wire"
)

// sendBuf and recvBuf are queues in plain memory.
type sendBuf struct {
	b      []byte
	urgent int // bytes up to the urgent one's end
	more   bool
}

func (q *sendBuf) Len() int                { return len(q.b) }
func (q *sendBuf) Slice(off, n int) []byte { return q.b[off : off+n] }
func (q *sendBuf) Discard(n int)           { q.b, q.urgent = q.b[n:], max(q.urgent-n, 0) }
func (q *sendBuf) Urgent() int             { return q.urgent }
func (q *sendBuf) More() bool              { return q.more }

type recvBuf struct {
	limit int
	ahead []byte // behind the end, gaps and all
	got   []byte // committed, not yet read
	read  int    // bytes that were
	mark  int    // place of the urgent byte in the stream
}

func (q *recvBuf) Room() int { return q.limit - len(q.got) }
func (q *recvBuf) Put(off int, p []byte) {
	if off+len(p) > q.limit {
		panic("past the room that was offered")
	}
	if n := off + len(p); n > len(q.ahead) {
		q.ahead = append(q.ahead, make([]byte, n-len(q.ahead))...)
	}
	copy(q.ahead[off:], p)
}
func (q *recvBuf) Urge(off int) { q.mark = q.read + len(q.got) + off }
func (q *recvBuf) Commit(n int) {
	q.got = append(q.got, q.ahead[:n]...)
	q.ahead = q.ahead[n:]
}

// side is a connection in a test, with its queues and what it sent.
type side struct {
	*Conn
	s   sendBuf
	r   recvBuf
	out []Segment
}

func (x *side) poll(now Time) []Segment { return x.pollAfter(now, now) }

func (x *side) pollAfter(now, heard Time) []Segment {
	x.out = nil
	x.Poll(now, heard, func(s *Segment) {
		c := *s
		c.Payload = bytes.Clone(s.Payload)
		x.out = append(x.out, c)
	})
	return x.out
}

func testConfig() Config { return Config{ISS: 1000, MSS: 1000, ReceiveBuffer: 8000, NoDelay: true} }

// established is a connection in ESTABLISHED at time 1 s: ours is 1001, the
// peer's next is 5001 with window 10000, without options.
func established(t *testing.T, change func(*Config)) *side {
	t.Helper()
	cfg := testConfig()
	if change != nil {
		change(&cfg)
	}
	x := &side{r: recvBuf{limit: cfg.ReceiveBuffer}}
	x.Conn = Connect(cfg, Second, &x.s, &x.r)
	if out := x.poll(Second); len(out) != 1 || out[0].Flags != wire.SYN || out[0].Seq != 1000 {
		t.Fatalf("SYN: %+v", out)
	}
	x.Receive(Second, &Segment{Seq: 5000, Ack: 1001, Flags: wire.SYN | wire.ACK, Window: 10000, Options: wire.TCPOptions{MSS: 1000, WindowScale: -1}})
	if out := x.poll(Second); x.State() != Established || len(out) != 1 || out[0].Flags != wire.ACK || out[0].Ack != 5001 {
		t.Fatalf("%v %+v", x.State(), out)
	}
	return x
}

// seg makes a segment of the peer's.
func seg(seq, ack Seq, flags uint8, payload string) *Segment {
	return &Segment{Seq: seq, Ack: ack, Flags: flags, Window: 10000, Payload: []byte(payload), Options: wire.TCPOptions{WindowScale: -1}}
}

func want(t *testing.T, x *side, now Time, state State, segs ...Segment) {
	t.Helper()
	out := x.poll(now)
	if x.State() != state {
		t.Errorf("state %v, want %v", x.State(), state)
	}
	if len(out) != len(segs) {
		t.Fatalf("sent %d segments, want %d: %+v", len(out), len(segs), out)
	}
	for i, w := range segs {
		g := out[i]
		if g.Seq != w.Seq || g.Ack != w.Ack || g.Flags&^wire.PSH != w.Flags || string(g.Payload) != string(w.Payload) {
			t.Errorf("segment %d: seq %d ack %d flags %#x %q, want %d %d %#x %q", i, g.Seq, g.Ack, g.Flags, g.Payload, w.Seq, w.Ack, w.Flags, w.Payload)
		}
	}
}

const ack = wire.ACK

func TestSynSent_resetIsRefusal(t *testing.T) {
	x := &side{r: recvBuf{limit: 8000}}
	x.Conn = Connect(testConfig(), 0, &x.s, &x.r)
	x.poll(0)
	x.Receive(0, seg(0, 77, wire.RST|ack, ""))
	if x.State() != SynSent {
		t.Fatal("a reset that acknowledges nothing of ours was believed")
	}
	x.Receive(0, seg(0, 1001, wire.RST|ack, ""))
	if x.State() != Closed || x.Cause() != Refused {
		t.Fatal(x.State(), x.Cause())
	}
}

func TestSynSent_timeoutsBackOffThenEnd(t *testing.T) {
	cfg := testConfig()
	cfg.SynRetries = 2
	x := &side{r: recvBuf{limit: 8000}}
	x.Conn = Connect(cfg, 0, &x.s, &x.r)
	var at []Time
	for now := Time(0); now != Never && len(at) < 10; now = x.Deadline() {
		if len(x.poll(now)) == 1 {
			at = append(at, now)
		}
	}
	if len(at) != 3 || at[1] != Second || at[2] != 3*Second || x.Cause() != TimedOut {
		t.Fatalf("SYNs at %v, %v", at, x.Cause())
	}
}

func TestSynSent_bothCallAtOnce(t *testing.T) {
	x := &side{r: recvBuf{limit: 8000}}
	x.Conn = Connect(testConfig(), 0, &x.s, &x.r)
	x.poll(0)
	x.Receive(0, seg(5000, 0, wire.SYN, ""))
	want(t, x, 0, SynReceived, Segment{Seq: 1000, Ack: 5001, Flags: wire.SYN | ack})
	x.Receive(0, seg(5000, 1001, wire.SYN|ack, ""))
	x.Receive(0, seg(5001, 1001, ack, ""))
	if x.State() != Established {
		t.Fatal(x.State())
	}
}

func TestSynReceived_ackEstablishes(t *testing.T) {
	x := &side{r: recvBuf{limit: 8000}}
	x.Conn = Accept(testConfig(), 0, seg(5000, 0, wire.SYN, ""))
	want(t, x, 0, SynReceived, Segment{Seq: 1000, Ack: 5001, Flags: wire.SYN | ack})
	x.Receive(0, seg(5000, 0, wire.SYN, ""))
	want(t, x, 0, SynReceived, Segment{Seq: 1000, Ack: 5001, Flags: wire.SYN | ack})
	x.Attach(&x.s, &x.r)
	if !x.Stray(seg(5001, 1002, ack, "")) || x.Stray(seg(5001, 1001, ack, "")) {
		t.Fatal("Stray")
	}
	x.Receive(0, seg(5001, 1001, ack, "hello"))
	want(t, x, 0, Established, Segment{Seq: 1001, Ack: 5006, Flags: ack})
	if string(x.r.got) != "hello" {
		t.Fatalf("got %q", x.r.got)
	}
}

func TestEstablished_dataInOrder(t *testing.T) {
	x := established(t, nil)
	x.Receive(Second, seg(5001, 1001, ack, "abc"))
	want(t, x, Second, Established, Segment{Seq: 1001, Ack: 5004, Flags: ack})
	x.s.b = []byte("xyz")
	want(t, x, Second, Established, Segment{Seq: 1001, Ack: 5004, Flags: ack, Payload: []byte("xyz")})
}

func TestEstablished_gapThenFilled(t *testing.T) {
	x := established(t, nil)
	x.Receive(Second, seg(5004, 1001, ack|wire.FIN, "def"))
	want(t, x, Second, Established, Segment{Seq: 1001, Ack: 5001, Flags: ack})
	x.Receive(Second, seg(5000, 1001, ack, "?ab"))
	x.Receive(Second, seg(5002, 1001, ack, "bcde"))
	want(t, x, Second, CloseWait, Segment{Seq: 1001, Ack: 5008, Flags: ack})
	if string(x.r.got) != "abcdef" {
		t.Fatalf("got %q", x.r.got)
	}
}

func TestEstablished_dataBeyondWindowIsCut(t *testing.T) {
	x := established(t, nil)
	x.Receive(Second, seg(5001, 1001, ack, string(make([]byte, 9000))))
	want(t, x, Second, Established, Segment{Seq: 1001, Ack: 13001, Flags: ack})
	x.Receive(Second, seg(13001, 1001, ack, "more"))
	want(t, x, Second, Established, Segment{Seq: 1001, Ack: 13001, Flags: ack})
	x.r.got = nil
	x.Opened()
	want(t, x, Second, Established, Segment{Seq: 1001, Ack: 13001, Flags: ack})
	if x.out[0].Window != 8000 {
		t.Fatal("window", x.out[0].Window)
	}
}

func TestEstablished_resets(t *testing.T) {
	x := established(t, nil)
	x.Receive(Second, seg(4000, 1001, wire.RST, ""))
	want(t, x, Second, Established)
	x.Receive(Second, seg(5002, 1001, wire.RST, ""))
	want(t, x, Second, Established, Segment{Seq: 1001, Ack: 5001, Flags: ack}) // RFC 5961
	x.Receive(Second, seg(5001, 1001, wire.SYN, ""))
	want(t, x, Second, Established, Segment{Seq: 1001, Ack: 5001, Flags: ack})
	x.Receive(Second, seg(5001, 1001, wire.RST, ""))
	want(t, x, Second, Closed)
	if x.Cause() != Reset {
		t.Fatal(x.Cause())
	}
}

func TestEstablished_ackOfUnsent(t *testing.T) {
	x := established(t, nil)
	x.Receive(Second, seg(5001, 1002, ack, "x"))
	want(t, x, Second, Established, Segment{Seq: 1001, Ack: 5001, Flags: ack})
}

func TestEstablished_nagleHoldsSmall(t *testing.T) {
	x := established(t, func(c *Config) { c.NoDelay = false })
	x.s.b = []byte("a")
	want(t, x, Second, Established, Segment{Seq: 1001, Ack: 5001, Flags: ack, Payload: []byte("a")})
	x.s.b = []byte("ab")
	want(t, x, Second, Established)
	x.Receive(Second, seg(5001, 1002, ack, ""))
	want(t, x, Second, Established, Segment{Seq: 1002, Ack: 5001, Flags: ack, Payload: []byte("b")})
}

func TestEstablished_corkHolds200ms(t *testing.T) {
	x := established(t, func(c *Config) { c.Cork = true })
	x.s.b = []byte("a")
	want(t, x, Second, Established)
	if d := x.Deadline(); d != Second+200*Millisecond {
		t.Fatal("deadline", d)
	}
	want(t, x, Second+200*Millisecond, Established, Segment{Seq: 1001, Ack: 5001, Flags: ack, Payload: []byte("a")})
}

func TestEstablished_delayedAck(t *testing.T) {
	x := established(t, func(c *Config) { c.DelayAck = 40 * Millisecond })
	x.quickAcks = 0
	x.rcvMSS = 1000
	x.Receive(Second, seg(5001, 1001, ack, "a"))
	want(t, x, Second, Established)
	want(t, x, x.Deadline(), Established, Segment{Seq: 1001, Ack: 5002, Flags: ack})
	x.Receive(Second, seg(5002, 1001, ack, string(make([]byte, 1000))))
	x.Receive(Second, seg(6002, 1001, ack, string(make([]byte, 1000))))
	want(t, x, Second, Established, Segment{Seq: 1001, Ack: 7002, Flags: ack})
}

func TestEstablished_timeoutSendsAgain(t *testing.T) {
	x := established(t, nil)
	x.s.b = []byte("lost")
	x.poll(Second)
	first := x.Deadline()
	want(t, x, first, Established, Segment{Seq: 1001, Ack: 5001, Flags: ack, Payload: []byte("lost")})
	if d := x.Deadline() - first; d != 2*x.rto() {
		t.Fatalf("second timeout after %v", d)
	}
	x.Receive(first, seg(5001, 1005, ack, ""))
	want(t, x, first, Established)
	if x.Deadline() != Never {
		t.Fatal("a timer is left", x.Deadline())
	}
}

func TestEstablished_threeDuplicatesSendAgain(t *testing.T) {
	x := established(t, nil)
	x.s.b = make([]byte, 5000)
	if out := x.poll(Second); len(out) != 5 {
		t.Fatal(len(out))
	}
	for i := 0; i < 3; i++ {
		want(t, x, Second, Established)
		x.Receive(Second, seg(5001, 1001, ack, ""))
	}
	want(t, x, Second, Established, Segment{Seq: 1001, Ack: 5001, Flags: ack, Payload: make([]byte, 1000)})
	// A partial acknowledgement sends the next hole.
	x.Receive(Second, seg(5001, 3001, ack, ""))
	want(t, x, Second, Established, Segment{Seq: 3001, Ack: 5001, Flags: ack, Payload: make([]byte, 1000)})
	x.Receive(Second, seg(5001, 6001, ack, ""))
	want(t, x, Second, Established)
}

func TestEstablished_zeroWindowIsProbed(t *testing.T) {
	x := established(t, nil)
	s := seg(5001, 1001, ack, "")
	s.Window = 0
	x.Receive(Second, s)
	x.s.b = []byte("abc")
	want(t, x, Second, Established)
	last := Second
	for i := 0; i < 4; i++ {
		at := x.Deadline()
		if at <= last || at == Never {
			t.Fatal("probe at", at)
		}
		want(t, x, at, Established, Segment{Seq: 1000, Ack: 5001, Flags: ack})
		x.Receive(at, s)
		last = at
	}
	x.Receive(last, seg(5001, 1001, ack, ""))
	want(t, x, last, Established, Segment{Seq: 1001, Ack: 5001, Flags: ack, Payload: []byte("abc")})
}

func TestEstablished_keepAlive(t *testing.T) {
	x := established(t, func(c *Config) { c.KeepAlive, c.KeepIdle, c.KeepInterval, c.KeepCount = true, 10*Second, Second, 2 })
	want(t, x, 11*Second, Established, Segment{Seq: 1000, Ack: 5001, Flags: ack})
	x.Receive(11*Second, seg(5001, 1001, ack, ""))
	want(t, x, 21*Second, Established, Segment{Seq: 1000, Ack: 5001, Flags: ack})
	want(t, x, 22*Second, Established, Segment{Seq: 1000, Ack: 5001, Flags: ack})
	want(t, x, 23*Second, Closed, Segment{Seq: 1001, Ack: 5001, Flags: wire.RST | ack})
	if x.Cause() != TimedOut {
		t.Fatal(x.Cause())
	}
}

// A peer that has every second byte does not have us keep a piece for each.
func TestSACK_ofBytes(t *testing.T) {
	cfg := testConfig()
	x := &side{r: recvBuf{limit: cfg.ReceiveBuffer}}
	x.Conn = Connect(cfg, Second, &x.s, &x.r)
	x.poll(Second)
	x.Receive(Second, &Segment{Seq: 5000, Ack: 1001, Flags: wire.SYN | wire.ACK, Window: 60000, Options: wire.TCPOptions{MSS: 1000, SACKPermitted: true, WindowScale: -1}})
	x.poll(Second)
	x.s.b = make([]byte, 50000)
	sent := 0
	for _, s := range x.poll(Second) {
		sent += len(s.Payload)
	}
	if sent < 8000 {
		t.Fatalf("sent %d bytes", sent)
	}
	for at := 2; at+6 < sent; at += 6 {
		s := seg(5001, 1001, ack, "")
		s.Window, s.Options.SACKBlocks = 60000, 3
		for i := range 3 {
			s.Options.SACK[i].Start, s.Options.SACK[i].End = uint32(1001+at+2*i), uint32(1001+at+2*i+1)
		}
		x.Receive(2*Second, s)
	}
	if n := len(x.board.pieces()); n < fewPieces || n > fewPieces+100 {
		t.Errorf("%d pieces of %d bytes in flight", n, sent)
	}
	// What it says of whole ones still counts, and all of it can end.
	x.Receive(3*Second, seg(5001, Seq(1001+sent), ack, ""))
	if n := len(x.board.pieces()); n > 0 && x.board.pieces()[0].start.Less(Seq(1001+sent)) {
		t.Errorf("%d pieces are left", n)
	}
}

// What is written byte by byte is a piece for each, up to a bound that neither window
// sets; and goes on when the peer has some of it.
func TestEstablished_piecesAreBounded(t *testing.T) {
	x := established(t, nil)
	x.cwnd = 4 * maxPieces
	wide := func(ackNr Seq) {
		s := seg(5001, ackNr, ack, "")
		s.Window = 60000
		x.Receive(Second, s)
	}
	wide(1001)
	write := func(n int) (sent int) {
		for range n {
			x.s.b = append(x.s.b, 'x')
			for _, s := range x.poll(Second) {
				sent += len(s.Payload)
			}
		}
		return sent
	}
	if sent := write(maxPieces + 100); sent != maxPieces || len(x.board.pieces()) != maxPieces {
		t.Fatalf("sent %d bytes in %d pieces", sent, len(x.board.pieces()))
	}
	wide(1001 + 10)
	if sent := write(1); sent != 101 || len(x.board.pieces()) != maxPieces-10+1 {
		t.Errorf("sent %d bytes more, and there are %d pieces", sent, len(x.board.pieces()))
	}
}

func TestFinWait1_allWaysOut(t *testing.T) {
	open := func() *side {
		x := established(t, nil)
		x.s.b = []byte("bye")
		x.CloseSend(Second)
		want(t, x, Second, FinWait1, Segment{Seq: 1001, Ack: 5001, Flags: ack | wire.FIN, Payload: []byte("bye")})
		return x
	}
	x := open()
	x.Receive(Second, seg(5001, 1004, ack, "")) // the data alone
	want(t, x, Second, FinWait1)
	x.Receive(Second, seg(5001, 1005, ack, ""))
	want(t, x, Second, FinWait2)
	x.Receive(Second, seg(5001, 1005, ack, "late"))
	want(t, x, Second, FinWait2, Segment{Seq: 1005, Ack: 5005, Flags: ack})
	x.Receive(Second, seg(5005, 1005, ack|wire.FIN, ""))
	want(t, x, Second, TimeWait, Segment{Seq: 1005, Ack: 5006, Flags: ack})
	want(t, x, x.Deadline(), Closed)

	x = open()
	x.Receive(Second, seg(5001, 1001, ack|wire.FIN, ""))
	want(t, x, Second, Closing, Segment{Seq: 1005, Ack: 5002, Flags: ack})
	x.Receive(Second, seg(5002, 1005, ack, ""))
	want(t, x, Second, TimeWait)

	x = open()
	x.Receive(Second, seg(5001, 1005, ack|wire.FIN, ""))
	want(t, x, Second, TimeWait, Segment{Seq: 1005, Ack: 5002, Flags: ack})
	x.Receive(2*Second, seg(5001, 1005, ack|wire.FIN, ""))
	want(t, x, 2*Second, TimeWait, Segment{Seq: 1005, Ack: 5002, Flags: ack})
	if !x.ReusableBy(seg(9000, 0, wire.SYN, "")) || x.ReusableBy(seg(4000, 0, wire.SYN, "")) {
		t.Error("reuse")
	}
}

func TestFinWait2_orphanEndsAlone(t *testing.T) {
	x := established(t, nil)
	x.Close(Second)
	x.poll(Second)
	x.Receive(Second, seg(5001, 1002, ack, ""))
	x.Detach()
	want(t, x, Second+DefaultLinger2, Closed)

	x = established(t, nil)
	x.Close(Second)
	x.poll(Second)
	x.Receive(Second, seg(5001, 1002, ack, ""))
	x.Detach()
	x.Receive(Second, seg(5001, 1002, ack, "who reads this"))
	want(t, x, Second, Closed, Segment{Seq: 1002, Flags: wire.RST})
}

func TestCloseWait_lastAck(t *testing.T) {
	x := established(t, nil)
	x.Receive(Second, seg(5001, 1001, ack|wire.FIN, ""))
	want(t, x, Second, CloseWait, Segment{Seq: 1001, Ack: 5002, Flags: ack})
	x.CloseSend(Second)
	want(t, x, Second, LastAck, Segment{Seq: 1001, Ack: 5002, Flags: ack | wire.FIN})
	if x.Drained() {
		t.Error("drained before the acknowledgement")
	}
	x.Receive(Second, seg(5002, 1002, ack, ""))
	want(t, x, Second, Closed)
	if x.Cause() != None {
		t.Fatal(x.Cause())
	}
}

func TestResetFor(t *testing.T) {
	if _, ok := ResetFor(seg(1, 2, wire.RST, "")); ok {
		t.Error("a reset was answered")
	}
	if s, _ := ResetFor(seg(1, 2, ack, "x")); s.Seq != 2 || s.Flags != wire.RST {
		t.Errorf("%+v", s)
	}
	if s, _ := ResetFor(seg(1, 0, wire.SYN, "ab")); s.Ack != 4 || s.Flags != wire.RST|ack {
		t.Errorf("%+v", s)
	}
}

func TestInsertBlock(t *testing.T) {
	var bs []block
	for _, b := range []block{{10, 20}, {30, 40}, {50, 60}, {20, 30}, {5, 7}, {0, 100}} {
		bs, _, _ = insertBlock(bs, b, 3)
	}
	if len(bs) != 1 || bs[0] != (block{0, 100}) {
		t.Fatal(bs)
	}
	bs = []block{{1, 2}, {3, 4}}
	if _, _, ok := insertBlock(bs, block{6, 7}, 2); ok {
		t.Fatal("limit")
	}
}

// The peer is not silent before what it has sent was looked for.
func TestTimers_waitForWhatArrived(t *testing.T) {
	x := established(t, nil)
	x.s.b = []byte("tail")
	x.poll(Second)
	due := x.Deadline()
	if early := x.pollAfter(due+5*Second, due-1); len(early) != 0 {
		t.Errorf("lost before anybody looked: %+v", early)
	}
	if late := x.pollAfter(due+5*Second, due); len(late) != 1 || string(late[0].Payload) != "tail" {
		t.Errorf("not sent again: %+v", late)
	}
}
