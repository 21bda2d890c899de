package drill

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a packet or a call may be late before nobody waits for it any more.
const patience = 5 * time.Second

// drill is one run of a script.
type drill struct {
	local, remote netip.Addr
	tap           *tap
	agent         *agent
	tolerance     time.Duration // by which an event may be early or late

	now       time.Time     // when the last event happened
	since     time.Time     // when the calls began that come one right after another, and the last of which it was
	scriptNow time.Duration // when it was to happen, since the script's start

	conn      *connection
	past      map[ports]bool // of connections before it, which nobody looks at any more
	listening bool           // the next SYN that comes in begins a connection
	queue     []sentPacket
	fds       map[int64]int64
	under     int64 // the descriptor that TCP_INFO is of
	blocked   *blockedCall
	code      strings.Builder // for Python, at the end
}

// sentPacket is a segment that the local side sent.
type sentPacket struct {
	*packet
	ports
	at time.Time
}

type blockedCall struct {
	*call
	prepared
	line     int
	due      time.Time
	returned chan time.Time
}

// run runs a script's events.
func (d *drill) run(events []event) error {
	d.fds, d.past, d.now = map[int64]int64{}, map[ports]bool{}, time.Now()
	d.since = d.now
	for i := range events {
		e := &events[i]
		if err := d.event(e); err != nil {
			return fmt.Errorf("line %d: %w", e.line, err)
		}
	}
	if err := d.finish(time.Now().Add(patience)); err != nil {
		return err
	}
	return python(d.code.String())
}

// event waits for its time and has it happen.
func (d *drill) event(e *event) error {
	after := e.at
	if e.absolute {
		after = max(0, e.at-d.scriptNow)
	}
	if e.anyTime {
		after = 0
	}
	d.scriptNow += after
	due := d.now.Add(after)
	if e.packet != nil && e.out {
		return d.expect(e, due)
	}
	time.Sleep(time.Until(due))
	d.now = time.Now()
	if after > 0 || e.packet != nil {
		d.since = d.now
	}
	switch {
	case e.packet != nil:
		return d.inject(e.packet)
	case e.call != nil:
		return d.callEvent(e)
	case e.code != "":
		return d.note(e)
	}
	r := newRequest(commandNumber).memory(append([]byte(e.command), 0))
	status, _, err := d.agent.do(r)
	if err == nil && status != 0 {
		err = fmt.Errorf("the command ended with %d", status)
	}
	d.now = time.Now()
	return err
}

// inject has a packet arrive.
func (d *drill) inject(k *packet) error {
	if strings.Contains(k.flags, "S") && !strings.Contains(k.flags, ".") && d.listening {
		d.listening = false
		d.begin(ports{servicePort, ephemeral()})
	}
	if d.conn == nil {
		return fmt.Errorf("a packet of no connection")
	}
	kind := uint16(etherIPv4)
	if d.local.Is6() {
		kind = etherIPv6
	}
	if k.icmp != "" {
		w := *k
		w.seq += d.conn.live
		b, err := icmpError(d.local, d.remote, d.conn.ports, &w)
		if err != nil {
			return err
		}
		return d.tap.write(kind, b)
	}
	b, err := tcpSegment(d.conn.remote, d.conn.local, d.conn.toWire(k), true)
	if err != nil {
		return err
	}
	return d.tap.write(kind, ipPacket(d.remote, d.local, protoTCP, ecnBits[k.ecn], b, 16))
}

// next is the next segment that the local side sends to the remote, until a time.
func (d *drill) next(until time.Time) (sentPacket, error) {
	if len(d.queue) > 0 {
		k := d.queue[0]
		d.queue = d.queue[1:]
		return k, nil
	}
	late := time.NewTimer(time.Until(until))
	defer late.Stop()
	for {
		select {
		case f, ok := <-d.tap.frames:
			if !ok {
				return sentPacket{}, fmt.Errorf("the interface is gone")
			}
			if k, ok := d.segment(f.ip); ok {
				k.at = f.at
				return k, nil
			}
		case <-late.C:
			return sentPacket{}, fmt.Errorf("nothing was sent")
		}
	}
}

// segment reads an IP packet, if it holds a segment from the local side to the remote.
func (d *drill) segment(b []byte) (sentPacket, bool) {
	var from, to []byte
	var proto, tos byte
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		n, h := int(net16.Uint16(b[2:])), int(b[0]&15)*4
		if n > len(b) || h > n {
			return sentPacket{}, false
		}
		from, to, proto, tos, b = b[12:16], b[16:20], b[9], b[1], b[h:n]
	case len(b) >= 40 && b[0]>>4 == 6:
		n := 40 + int(net16.Uint16(b[4:]))
		if n > len(b) {
			return sentPacket{}, false
		}
		from, to, proto, tos, b = b[8:24], b[24:40], b[6], byte(net16.Uint16(b)>>4), b[40:n]
	}
	if proto != protoTCP || string(from) != string(d.local.AsSlice()) || string(to) != string(d.remote.AsSlice()) {
		return sentPacket{}, false
	}
	k, p, err := readSegment(b, tos)
	return sentPacket{packet: k, ports: p}, err == nil
}

// begin has a connection take the place of the one before.
func (d *drill) begin(p ports) {
	if d.conn != nil {
		d.past[d.conn.ports] = true
	}
	d.conn = newConnection(p)
	delete(d.past, p)
}

// expect waits for a segment and holds it against the script.
func (d *drill) expect(e *event, due time.Time) error {
	want := *e.packet
	for first := true; ; {
		k, err := d.next(due.Add(e.window + patience))
		if err != nil {
			return fmt.Errorf("%w: %s", err, &want)
		}
		if d.past[k.ports] {
			continue
		}
		if d.conn == nil || k.flags == "S" && k.ports != d.conn.ports {
			d.begin(k.ports)
		}
		d.conn.fromWire(k.packet, &want)
		if k.ports != d.conn.ports {
			return fmt.Errorf("sent %s from port %d", k.packet, k.local)
		}
		rest := d.piece(&k, &want)
		if err := d.conn.hold(k.packet, &want); err != nil {
			return fmt.Errorf("%w; wanted %s", err, &want)
		}
		if first && !e.anyTime {
			early, late := due.Sub(k.at), k.at.Sub(due.Add(e.window))
			early -= d.now.Sub(d.since) // any of the calls may have sent it, and each takes its time
			if early > d.tolerance || late > d.tolerance {
				return fmt.Errorf("sent %s %v after the event before, not %v", k.packet, k.at.Sub(d.now), due.Sub(d.now))
			}
		}
		if rest == nil {
			d.now, d.since = k.at, k.at
			return nil
		}
		want, first = *rest, false
	}
}

// piece cuts what was sent and what is wanted to the same bytes: what was sent beyond
// goes back into the queue, and what is wanted beyond is returned.
func (d *drill) piece(k *sentPacket, want *packet) *packet {
	if k.seq != want.seq || k.length == 0 || want.length == 0 {
		return nil
	}
	loose := func(f string) string { return strings.NewReplacer("P", "", "F", "").Replace(order(f)) }
	if loose(k.flags) != loose(want.flags) {
		return nil
	}
	cut := func(p *packet, n int) *packet {
		rest := *p
		rest.seq, rest.length = p.seq+uint32(n), p.length-n
		p.end, p.length, p.flags = rest.seq, n, loose(p.flags)
		return &rest
	}
	switch {
	case k.length > want.length:
		flags := want.flags
		rest := cut(k.packet, want.length)
		d.conn.again(rest)
		k.flags = order(flags) // only the last piece shows what was meant
		d.queue = append([]sentPacket{{rest, k.ports, k.at}}, d.queue...)
	case k.length < want.length:
		rest := cut(want, k.length)
		k.flags = loose(k.flags)
		return rest
	}
	return nil
}

// callEvent makes a call, or starts one that blocks.
func (d *drill) callEvent(e *event) error {
	if err := d.finish(time.Now().Add(patience)); err != nil {
		return err
	}
	p, err := d.prepare(e.call)
	if err != nil {
		return err
	}
	switch e.call.name {
	case "listen":
		d.listening = true
	case "connect", "accept":
		d.under = d.fd(e.call.args[0])
	}
	d.agent.start(p.request, e.blocking)
	if !e.blocking {
		select {
		case <-p.answered:
		case <-time.After(patience):
			return fmt.Errorf("%s does not return", e.call.name)
		}
		d.now = time.Now()
		return d.returned(e.call, p)
	}
	b := &blockedCall{e.call, p, e.line, d.now.Add(e.window), make(chan time.Time, 1)}
	go func() {
		<-p.answered
		b.returned <- time.Now()
	}()
	d.blocked = b
	return nil
}

// finish waits for a call that blocks.
func (d *drill) finish(until time.Time) error {
	b := d.blocked
	if b == nil {
		return nil
	}
	d.blocked = nil
	select {
	case at := <-b.returned:
		if b.due.Sub(at) > d.tolerance {
			return fmt.Errorf("line %d: %s returned %v early", b.line, b.name, b.due.Sub(at))
		}
		if err := d.returned(b.call, b.prepared); err != nil {
			return fmt.Errorf("line %d: %w", b.line, err)
		}
		return nil
	case <-time.After(time.Until(until)):
		return fmt.Errorf("line %d: %s does not return", b.line, b.name)
	}
}

// returned holds what a call returned against the script.
func (d *drill) returned(c *call, p prepared) error {
	if p.err != nil {
		return p.err
	}
	wrong := func() error {
		return fmt.Errorf("%s returned %d %s, not %d %s", c.name, p.result, unix.ErrnoName(p.errno), c.want.num, c.errn)
	}
	switch {
	case c.want.kind == exprEllipsis:
		return nil
	case c.want.num == -1:
		if p.result != -1 || c.errn != "" && unix.ErrnoName(p.errno) != c.errn {
			return wrong()
		}
		return nil
	case p.result < 0:
		return wrong()
	}
	switch c.name {
	case "socket", "accept", "epoll_create", "open":
		d.fds[c.want.num] = p.result
		if c.name == "socket" || c.name == "accept" {
			d.under = p.result
		}
	default:
		if p.result != c.want.num {
			return wrong()
		}
	}
	if p.check == nil {
		return nil
	}
	return p.check()
}

// note keeps a piece of code, and TCP_INFO as it is now.
func (d *drill) note(e *event) error {
	b := make([]byte, 256)
	n := host.AppendUint32(nil, uint32(len(b)))
	r := newRequest(unix.SYS_GETSOCKOPT).value(d.under).value(unix.SOL_TCP).value(unix.TCP_INFO).memory(b).memory(n)
	if _, _, err := d.agent.do(r); err != nil {
		return err
	}
	b = b[:min(binary.NativeEndian.Uint32(n), 256)]
	fmt.Fprintf(&d.code, "info(bytes.fromhex('%x'), %d)\n", b, e.line)
	lines := strings.Split(strings.TrimSpace(e.code), "\n")
	for _, l := range lines {
		fmt.Fprintln(&d.code, strings.TrimRight(l, " \t"))
	}
	return nil
}

// prelude gives code the fields of struct tcp_info and some constants.
const prelude = `
import struct, sys
TCP_ESTABLISHED, TCP_SYN_SENT, TCP_SYN_RECV, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_TIME_WAIT, TCP_CLOSE, TCP_CLOSE_WAIT, TCP_LAST_ACK, TCP_LISTEN, TCP_CLOSING = range(1, 12)
TCP_CA_Open, TCP_CA_Disorder, TCP_CA_CWR, TCP_CA_Recovery, TCP_CA_Loss = range(5)
TCPI_OPT_TIMESTAMPS, TCPI_OPT_SACK, TCPI_OPT_WSCALE, TCPI_OPT_ECN, TCPI_OPT_ECN_SEEN, TCPI_OPT_SYN_DATA = (1 << i for i in range(6))
layout = '''B state B ca_state B retransmits B probes B backoff B options B wscales B flags
I rto I ato I snd_mss I rcv_mss I unacked I sacked I lost I retrans I fackets
I last_data_sent I last_ack_sent I last_data_recv I last_ack_recv I pmtu I rcv_ssthresh I rtt I rttvar I snd_ssthresh I snd_cwnd I advmss I reordering
I rcv_rtt I rcv_space I total_retrans Q pacing_rate Q max_pacing_rate Q bytes_acked Q bytes_received I segs_out I segs_in
I notsent_bytes I min_rtt I data_segs_in I data_segs_out Q delivery_rate Q busy_time Q rwnd_limited Q sndbuf_limited
I delivered I delivered_ce Q bytes_sent Q bytes_retrans I dsack_dups I reord_seen I rcv_ooopack I snd_wnd'''.split()
def info(b, line):
	at = 0
	for kind, name in zip(layout[::2], layout[1::2]):
		if at + struct.calcsize(kind) > len(b):
			break
		globals()['tcpi_' + name], = struct.unpack_from('=' + kind, b, at)
		at += struct.calcsize(kind)
	globals()['tcpi_snd_wscale'], globals()['tcpi_rcv_wscale'] = tcpi_wscales & 15, tcpi_wscales >> 4
	globals()['script_line'] = line
def complain(kind, value, trace):
	print('line %s: %s: %s' % (globals().get('script_line'), kind.__name__, value), file=sys.stderr)
sys.excepthook = complain
`

// python runs what the script asserts.
func python(code string) error {
	if code == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "python3", "-")
	cmd.Stdin = strings.NewReader(prelude + code)
	if out, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%s", lines[len(lines)-1])
	}
	return nil
}
