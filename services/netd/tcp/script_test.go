package tcp

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bulkhead/services/netd/wire"
)

// The scripts in testdata/rules show one rule of an RFC each, in the manner of
// packetdrill. A line is a time in milliseconds (or +n since the last line) and
// one of
//
//	connect KEY=VALUE...    open actively; ours is sequence number 0
//	established KEY=VALUE... the same and the handshake, with the peer's options
//	listen KEY=VALUE...     the next segment in opens passively
//	< FLAGS SEQ:END KEY=VALUE...   a segment arrives
//	> FLAGS SEQ:END KEY=VALUE...   this one is sent then, and no other before
//	none                    nothing is sent
//	write N [more], read N, close, shutdown, abort, urgent, path N
//	configure KEY=VALUE...  options of the socket change
//	state NAME, cause N, window N, unread N, mark N
//	learned COOKIE [dropped] of Fast Open, "none" for no cookie
//
// FLAGS are of S F R P U E W and . for ACK. Of a segment that is sent only what a
// line names is looked at. Sequence numbers count from each side's SYN.
type script struct {
	t    *testing.T
	name string
	line int
	now  Time
	c    *Conn
	s    sendBuf
	r    recvBuf
	cfg  Config
	out  []sentAt
}

type sentAt struct {
	at  Time
	seg Segment
}

const (
	scriptISS  = 4294967000 // the sequence numbers wrap on the way
	scriptPeer = 77000
)

func (x *script) fatal(format string, args ...any) {
	x.t.Helper()
	x.t.Fatalf("%s:%d: %s", x.name, x.line, fmt.Sprintf(format, args...))
}

// args are the KEY=VALUE pairs of a line; a key alone is 1.
type args map[string]string

func (a args) has(k string) bool { _, ok := a[k]; return ok }

func (x *script) num(a args, k string, otherwise int) int {
	v, ok := a[k]
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		x.fatal("%s=%s is no number", k, v)
	}
	return n
}

func parseArgs(words []string) args {
	a := args{}
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if !ok {
			v = "1"
		}
		a[k] = v
	}
	return a
}

// advance lets time pass up to t, with everything that falls due.
func (x *script) advance(t Time) {
	for x.c != nil {
		d := x.c.Deadline()
		if d > t {
			break
		}
		x.now = max(x.now, d)
		x.poll()
	}
	x.now = t
}

func (x *script) poll() {
	if x.c == nil {
		return
	}
	x.c.Poll(x.now, x.now, func(s *Segment) {
		checkSegment(x.t, x.c, s)
		k := *s
		x.out = append(x.out, sentAt{x.now, k})
	})
}

func (x *script) config(a args) Config {
	ms := func(k string, d int) Time { return Time(x.num(a, k, d)) * Millisecond }
	cfg := Config{ISS: scriptISS, MSS: x.num(a, "pmss", 1000), ReceiveBuffer: x.num(a, "rcv", 60000), NoDelay: !a.has("nagle"), Cork: a.has("cork"),
		DelayAck: ms("delack", 0), KeepAlive: a.has("keep"), KeepIdle: ms("idle", 0), KeepInterval: ms("interval", 0), KeepCount: x.num(a, "probes", 0),
		UserTimeout: ms("usertimeout", 0), SynRetries: x.num(a, "synretries", 0), Congestion: a["cc"], SuperSegment: x.num(a, "super", 0),
		InitialWindow: x.num(a, "initial", 0), Linger2: ms("linger2", 0)}
	if a.has("ecn") {
		cfg.ECN = ECNActive
	}
	if v, ok := a["cookie"]; ok {
		cfg.FastOpen, cfg.FastOpenMSS = []byte(strings.TrimPrefix(v, "none")), x.num(a, "fastmss", 0)
	}
	x.r.limit = cfg.ReceiveBuffer
	return cfg
}

func (x *script) options(a args) wire.TCPOptions {
	o := wire.TCPOptions{WindowScale: int8(x.num(a, "ws", -1)), MSS: uint16(x.num(a, "mss", 0)), SACKPermitted: a.has("sackok")}
	if v, ok := a["cookie"]; ok {
		o.PutFastOpen([]byte(strings.TrimPrefix(v, "none")))
	}
	if v, ok := a["ts"]; ok {
		o.Timestamps = true
		val, ecr, _ := strings.Cut(v, "/")
		n, _ := strconv.Atoi(val)
		m, _ := strconv.Atoi(ecr)
		o.TSVal, o.TSEcr = uint32(n), uint32(m)
	}
	if v := a["sack"]; v != "" {
		for _, b := range strings.Split(v, ",") {
			s, e, _ := strings.Cut(b, "-")
			n, _ := strconv.Atoi(s)
			m, _ := strconv.Atoi(e)
			o.SACK[o.SACKBlocks] = wire.SACKBlock{Start: uint32(n) + scriptISS, End: uint32(m) + scriptISS}
			o.SACKBlocks++
		}
	}
	return o
}

var flagLetters = map[rune]uint8{'S': wire.SYN, 'F': wire.FIN, 'R': wire.RST, 'P': wire.PSH, '.': wire.ACK, 'U': wire.URG, 'E': wire.ECE, 'W': wire.CWR}

// segment reads FLAGS and SEQ:END; base is the sender's first sequence number.
func (x *script) segment(words []string, base Seq) (s Segment, a args) {
	if len(words) < 2 {
		x.fatal("a segment is FLAGS SEQ:END ...")
	}
	for _, f := range words[0] {
		s.Flags |= flagLetters[f]
	}
	from, to, _ := strings.Cut(words[1], ":")
	n, err1 := strconv.Atoi(from)
	m, err2 := strconv.Atoi(to)
	if err1 != nil || err2 != nil || m < n {
		x.fatal("%s is no range", words[1])
	}
	s.Seq = base + Seq(n)
	s.Payload = make([]byte, m-n)
	for i := range s.Payload {
		s.Payload[i] = byte(n + i)
	}
	return s, parseArgs(words[2:])
}

func (x *script) arrive(words []string) {
	s, a := x.segment(words, scriptPeer)
	s.Ack = scriptISS + Seq(x.num(a, "ack", 0))
	s.Window = uint16(x.num(a, "win", 60000))
	s.Options = x.options(a)
	s.Urgent = uint16(x.num(a, "urg", 0))
	s.Size = x.num(a, "size", 0)
	if a.has("ce") {
		s.ECN = CE
	}
	switch {
	case x.c == nil:
		x.c = Accept(x.cfg, x.now, &s)
		x.c.Attach(&x.s, &x.r)
	case x.c.Stray(&s):
		r, _ := ResetFor(&s)
		x.out = append(x.out, sentAt{x.now, r})
	default:
		x.c.Receive(x.now, &s)
		checkConn(x.t, x.c)
	}
	x.poll()
}

func (x *script) expect(words []string) {
	if len(x.out) == 0 {
		x.fatal("nothing is sent")
	}
	o := x.out[0]
	x.out = x.out[1:]
	want, a := x.segment(words, scriptISS)
	g := &o.seg
	have := fmt.Sprintf("flags %#x seq %d:%d ack %d win %d at %.1f ms, %+v", g.Flags, g.Seq-scriptISS, int(g.Seq-scriptISS)+len(g.Payload), g.Ack-scriptPeer, g.Window, float64(o.at)/1e6, g.Options)
	if d := o.at - x.now; d < -Millisecond || d > Millisecond {
		x.fatal("not now: %s", have)
	}
	if g.Flags&^wire.PSH != want.Flags&^wire.PSH || g.Seq != want.Seq || len(g.Payload) != len(want.Payload) {
		x.fatal("another one: %s", have)
	}
	opts := x.options(a)
	sacks := ""
	for _, b := range g.Options.SACK[:g.Options.SACKBlocks] {
		sacks += fmt.Sprintf(",%d-%d", b.Start-scriptPeer, b.End-scriptPeer)
	}
	if _, ok := a["cookie"]; ok && !bytes.Equal(opts.Cookie(), g.Options.Cookie()) || a.has("nocookie") && g.Options.HasFastOpen {
		x.fatal("cookie: %s", have)
	}
	if v, ok := a["sack"]; ok && strings.TrimPrefix(sacks, ",") != strings.TrimSuffix(v, "none") {
		x.fatal("sack: %s", have)
	}
	for _, c := range []struct {
		key       string
		got, want int
	}{
		{"ack", int(int32(g.Ack - scriptPeer)), x.num(a, "ack", 0)}, {"win", int(g.Window), x.num(a, "win", 0)}, {"mss", int(g.Options.MSS), int(opts.MSS)},
		{"ws", int(g.Options.WindowScale), int(opts.WindowScale)}, {"urg", int(g.Urgent), x.num(a, "urg", 0)}, {"ect", int(g.ECN), x.num(a, "ect", 0)},
		{"ecr", int(g.Options.TSEcr), x.num(a, "ecr", 0)}, {"size", g.Size, x.num(a, "size", 0)},
	} {
		if a.has(c.key) && c.got != c.want {
			x.fatal("%s is %d, not %d: %s", c.key, c.got, c.want, have)
		}
	}
	if a.has("sackok") && !g.Options.SACKPermitted || a.has("nots") && g.Options.Timestamps {
		x.fatal("options: %s", have)
	}
}

func (x *script) do(op string, words []string) {
	if op != ">" && len(x.out) > 0 {
		g := x.out[0].seg
		x.fatal("not expected: flags %#x seq %d:+%d ack %d at %.1f ms", g.Flags, g.Seq-scriptISS, len(g.Payload), g.Ack-scriptPeer, float64(x.out[0].at)/1e6)
	}
	n := 0
	if len(words) > 0 {
		n, _ = strconv.Atoi(words[0])
	}
	switch op {
	case "connect", "established":
		a := parseArgs(words)
		x.c = Connect(x.config(a), x.now, &x.s, &x.r)
		x.c.offerTS = a.has("ts")
		x.c.tsOK = a.has("ts")
		x.poll()
		if op == "established" {
			x.out = nil
			flags := "S."
			if a.has("ecn") {
				flags = "S.E"
			}
			x.arrive(append([]string{flags, "0:0", "ack=1", "mss=1000"}, words...))
			x.out = nil
		}
	case "listen":
		x.cfg = x.config(parseArgs(words))
	case "<":
		x.arrive(words)
	case ">":
		x.expect(words)
	case "none":
	case "write":
		for range n {
			x.s.b = append(x.s.b, byte(len(x.s.b)))
		}
		x.s.more = slices.Contains(words, "more")
		x.poll()
	case "read":
		n = min(n, len(x.r.got))
		x.r.got = x.r.got[n:]
		x.r.read += n
		x.c.Opened()
		x.poll()
	case "close":
		x.c.Close(x.now)
		x.poll()
	case "shutdown":
		x.c.CloseSend(x.now)
		x.poll()
	case "abort":
		x.c.Abort()
		x.poll()
	case "urgent":
		x.s.b = append(x.s.b, '!')
		x.s.urgent = len(x.s.b)
		x.poll()
	case "configure":
		x.c.Configure(x.config(parseArgs(words)), x.now)
		x.poll()
	case "path":
		x.c.LimitMSS(x.now, n)
		x.poll()
	case "state":
		if got := x.c.State().String(); got != words[0] {
			x.fatal("state %s", got)
		}
	case "cause":
		if int(x.c.Cause()) != n {
			x.fatal("cause %d", x.c.Cause())
		}
	case "unread":
		if len(x.r.got) != n {
			x.fatal("%d bytes are to be read", len(x.r.got))
		}
	case "mark":
		if x.r.mark != n {
			x.fatal("the urgent mark is at %d", x.r.mark)
		}
	case "learned":
		l, ok := x.c.FastOpenLearned()
		if want := strings.TrimPrefix(words[0], "none"); !ok || string(l.Cookie) != want || l.Dropped != (len(words) > 1) {
			x.fatal("learned %v: %q, dropped %v", ok, l.Cookie, l.Dropped)
		}
	case "cwnd":
		if x.c.cwnd != n {
			x.fatal("cwnd %d", x.c.cwnd)
		}
	default:
		x.fatal("what is %s?", op)
	}
}

func TestRules(t *testing.T) {
	files, _ := filepath.Glob("testdata/rules/*.txt")
	if len(files) == 0 {
		t.Fatal("no scripts")
	}
	for _, f := range files {
		name := filepath.Base(f)
		t.Run(strings.TrimSuffix(name, ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			x := &script{t: t, name: name}
			for i, line := range strings.Split(string(b), "\n") {
				line, _, _ = strings.Cut(line, "#")
				words := strings.Fields(line)
				if len(words) == 0 {
					continue
				}
				x.line = i + 1
				at, err := strconv.Atoi(strings.TrimPrefix(words[0], "+"))
				if err != nil || len(words) < 2 {
					x.fatal("a line is TIME OP ...")
				}
				when := Time(at) * Millisecond
				if words[0][0] == '+' {
					when += x.now
				}
				x.advance(when)
				x.do(words[1], words[2:])
			}
			x.do("none", nil)
		})
	}
}
