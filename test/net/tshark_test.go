package net_test

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"bulkhead/test/sandboxtest"
)

// malformed is what no frame may be: broken, at odds with its protocol, or with a
// wrong checksum.
const malformed = "_ws.malformed || _ws.expert.severity == error || ip.checksum.status == 0 || tcp.checksum.status == 0 || " +
	"udp.checksum.status == 0 || icmp.checksum.status == 0 || icmpv6.checksum.status == 0 || ip.bogus_ip_length || tcp.option.len.invalid"

// outOfSpec is what TCP may not do where nothing is lost. What is sent again is needless's
// matter.
const outOfSpec = "tcp.analysis.ack_lost_segment || tcp.options.wscale.shift > 14"

// tshark gives what a display filter finds in a capture, by frame: its fields, or what
// there is to complain of.
func tshark(t *testing.T, file, filter string, fields ...string) []string {
	t.Helper()
	if len(fields) == 0 {
		fields = []string{"frame.number", "frame.protocols", "tcp.flags.str", "_ws.expert.message"}
	}
	args := []string{"-r", file, "-Y", filter, "-T", "fields", "-E", "separator=|"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	for _, p := range []string{"ip", "tcp", "udp"} {
		args = append(args, "-o", p+".check_checksum:TRUE")
	}
	cmd := exec.Command("tshark", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark -Y %q: %v: %s", filter, err, stderr.String())
	}
	if s := strings.TrimSpace(string(out)); s != "" {
		return strings.Split(s, "\n")
	}
	return nil
}

// crossing is how long an acknowledgement may be on its way to who has it in front of
// him, in seconds.
const crossing = 0.1

// needless gives the frames from inside that were sent again for a timeout though they
// had been acknowledged before. Those that were not are nobody's fault: a busy machine
// is late with its acknowledgements.
func needless(t *testing.T, file string) (bad []string) {
	t.Helper()
	type stream struct{ acked, at float64 }
	streams := map[string][]stream{}
	for _, line := range tshark(t, file, "tcp", "frame.number", "frame.time_relative", "tcp.stream", "ip.src", "ipv6.src", "tcp.seq", "tcp.nxtseq", "tcp.ack", "tcp.analysis.rto") {
		f := strings.Split(line, "|")
		if len(f) != 9 {
			t.Fatalf("tshark: %q", line)
		}
		num := func(s string) float64 { n, _ := strconv.ParseFloat(s, 64); return n }
		if src := f[3] + f[4]; src != insideV4 && src != insideV6 {
			streams[f[2]] = append(streams[f[2]], stream{num(f[7]), num(f[1])})
			continue
		}
		if f[8] == "" {
			continue
		}
		end := max(num(f[6]), num(f[5])+1)
		for _, a := range streams[f[2]] {
			if a.acked >= end && num(f[1])-a.at > crossing {
				bad = append(bad, fmt.Sprintf("frame %s was acknowledged %.3f s before: %s", f[0], num(f[1])-a.at, line))
				break
			}
		}
		t.Logf("sent again after %s s: %s", f[8], line)
	}
	return bad
}

// Wireshark's eyes see nothing wrong in what netd sends, as the wire has it and as
// the sandbox's own capture does.
func TestTshark(t *testing.T) {
	t.Parallel()
	needs(t, "tshark", "tcpdump", "ethtool", "curl", "python3", "ping")
	w := newWire(t)
	for _, ns := range []string{w.inside, w.outside} { // checksums and segments as they are on a wire
		if out, err := exec.Command("ip", "netns", "exec", ns, "ethtool", "-K", "eth0", "tx", "off", "gso", "off", "tso", "off", "gro", "off").CombinedOutput(); err != nil {
			t.Skipf("ethtool: %v: %s", err, out)
		}
	}
	prog := sandboxtest.GoProgram(t, "./test/net/netprog")
	dir := sandboxtest.VisibleDir(t)
	outside, inside := filepath.Join(dir, "outside.pcap"), filepath.Join(dir, "inside.pcapng")
	capture := w.start(w.peer("tcpdump", "-i", "eth0", "-s", "0", "-B", "65536", "-Z", "root", "-w", outside), "listening")

	const size = 4_000_000
	out4, out6 := net.JoinHostPort(outsideV4, "17000"), net.JoinHostPort(outsideV6, "17000")
	w.start(w.peer(prog, "receive", out4), "ready")
	w.start(w.peer(prog, "receive", out6), "ready")
	w.start(w.peer("python3", "-u", "-m", "http.server", "--directory", dir, "--bind", outsideV4, "80"), "Serving")
	w.run(w.sandbox([]string{"--pcap", inside}, "sh", "-c", fmt.Sprintf(`set -e
		%[1]s send %[2]s %[4]d; %[1]s send %[3]s %[4]d
		curl -sS -o /dev/null http://%[5]s/; curl -sS http://%[5]s:81/ && exit 1
		ping -q -c 2 -i 0.2 -s 4000 %[5]s; ping -6 -q -c 2 -i 0.2 -s 4000 %[6]s
		! ping -q -c 1 -W 1 10.98.0.77`, prog, out4, out6, size, outsideV4, outsideV6)))
	in := net.JoinHostPort(insideV4, "17001")
	s := w.start(w.sandbox(nil, prog, "receive", in), "ready")
	w.run(w.peer(prog, "send", in, fmt.Sprint(size)))
	w.run(w.peer("ping", "-q", "-c", "2", "-i", "0.2", "-s", "3000", insideV4))
	s.end()
	time.Sleep(200 * time.Millisecond)
	exec.Command("kill", "-INT", fmt.Sprint(capture.cmd.Process.Pid)).Run() // ip has become tcpdump
	said := capture.output()

	if n := len(tshark(t, outside, "tcp.port == 17000")); n < size/1448 {
		t.Fatalf("only %d frames were captured", n)
	}
	for _, bad := range tshark(t, outside, malformed) {
		t.Errorf("on the wire: %s", bad)
	}
	if !strings.Contains(said, "\n0 packets dropped by kernel") {
		t.Log("the capture is not whole, and so does not show what TCP did")
	} else {
		for _, bad := range tshark(t, outside, "(ip.src == "+insideV4+" || ipv6.src == "+insideV6+") && ("+outOfSpec+")") {
			t.Errorf("on the wire: %s", bad)
		}
		for _, bad := range needless(t, outside) {
			t.Errorf("on the wire: %s", bad)
		}
	}
	// Segments are still whole there, and their checksums to be filled in.
	for _, bad := range tshark(t, inside, "_ws.malformed || (_ws.expert.severity == error && !tcp && !udp)") {
		t.Errorf("in the sandbox's capture: %s", bad)
	}
}
