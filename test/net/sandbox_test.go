package net_test

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"bulkhead/test/sandboxtest"
)

// long has the transfers move as much as shows a slow leak or a rare stall.
var long = os.Getenv("BULKHEAD_TEST_FULL") != ""

func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if !sandboxtest.Installed(p) {
			t.Skipf("%s is not installed", p)
		}
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	needs(t, "ping")
	w := newWire(t)
	for _, to := range []string{outsideV4, outsideV6} {
		if out := w.run(w.sandbox(nil, "ping", "-c", "3", "-i", "0.2", "-W", "5", to)); !strings.Contains(out, "3 received") {
			t.Errorf("ping %s from inside:\n%s", to, out)
		}
	}
	prog := sandboxtest.GoProgram(t, "./test/net/netprog")
	w.start(w.sandbox(nil, prog, "serve"), "ready")
	for _, to := range []string{insideV4, insideV6} {
		if out := w.run(w.peer("ping", "-c", "3", "-i", "0.2", "-W", "5", to)); !strings.Contains(out, "3 received") || strings.Contains(out, "DUP") {
			t.Errorf("ping %s from outside:\n%s", to, out)
		}
	}
}

// TestRoute finds the way over a router, by UDP and by raw ICMP, and learns from the
// error queue who said that there is one.
func TestRoute(t *testing.T) {
	t.Parallel()
	needs(t, "busybox", "python3")
	w := bare(t)
	far := bare(t)
	w.ip("link", "add", "eth0", "netns", w.inside, "type", "veth", "peer", "name", "eth0", "netns", w.outside)
	w.ip("link", "add", "eth1", "netns", w.outside, "type", "veth", "peer", "name", "eth0", "netns", far.outside)
	w.address()
	w.ip("-n", w.outside, "address", "add", "10.98.1.2/24", "dev", "eth1")
	w.ip("-n", w.outside, "link", "set", "eth1", "up")
	w.ip("-n", far.outside, "address", "add", "10.98.1.3/24", "dev", "eth0")
	w.ip("-n", far.outside, "link", "set", "eth0", "up")
	w.ip("-n", far.outside, "route", "add", "default", "via", "10.98.1.2")
	w.ip("-n", w.inside, "route", "add", "default", "via", outsideV4)
	w.run(w.peer("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"))
	for _, how := range [][]string{{}, {"-I"}} {
		args := append([]string{"busybox", "traceroute", "-n", "-q", "1", "-w", "3"}, how...)
		out := w.run(w.sandbox(nil, append(args, "10.98.1.3")...))
		if !strings.Contains(out, " 1  "+outsideV4+" ") || !strings.Contains(out, " 2  10.98.1.3 ") {
			t.Errorf("traceroute %v:\n%s", how, out)
		}
	}
	out := w.run(w.sandbox(nil, "python3", "-c", `
import select, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 11, 1)
s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
s.sendto(b"probe", ("10.98.1.3", 33434))
p = select.poll()
p.register(s, 0)
p.poll(5000)
data, control, flags, to = s.recvmsg(100, 200, socket.MSG_ERRQUEUE)
level, kind, value = control[0]
print(data, level, kind, value[:8].hex(), socket.inet_ntoa(value[20:24]), to)
`))
	if want := "b'probe' 0 11 71000000020b0000 " + outsideV4 + " ('10.98.1.3', 33434)"; strings.TrimSpace(out) != want {
		t.Errorf("error queue: %s, want %s", out, want)
	}
}

// TestTcpdump watches from inside, on an interface and on the loopback, and finds
// nothing to complain of.
func TestTcpdump(t *testing.T) {
	t.Parallel()
	needs(t, "tcpdump", "ping", "python3", "bash")
	w := newWire(t)
	const exchange = `import socket
l = socket.create_server(("127.0.0.1", 7777)); c = socket.create_connection(("127.0.0.1", 7777)); s, _ = l.accept()
c.sendall(b"x" * 100000); c.close()
n = 0
while True:
    b = s.recv(65536)
    if not b: break
    n += len(b)
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); u.sendto(b"nobody", ("::1", 7777))
print(n, "bytes")`
	out := w.run(w.sandbox(nil, "bash", "-c", `
tcpdump -i eth0 -nvv -c 4 icmp > /tmp/eth0 & eth=$!; tcpdump -i lo -nvv -U -w /tmp/lo 'port 7777 or icmp6' & lo=$!
sleep 1
ping -c 2 -i 0.2 `+outsideV4+`
python3 -c '`+exchange+`'
wait $eth; sleep 1.2; kill -INT $lo; wait $lo # libpcap has blocks wait for a second
cat /tmp/eth0; tcpdump -nvvr /tmp/lo`))
	for _, want := range []string{"echo request", "echo reply", "100000 bytes", "Flags [S.]", "Flags [F.]", "UDP", "destination unreachable, unreachable port", "0 packets dropped by kernel"} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q", want)
		}
	}
	for _, bad := range []string{"incorrect", "bad ", "malformed", "truncated", "invalid"} {
		if strings.Contains(out, bad) {
			t.Errorf("there is a packet that is %s", bad)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// TestUser goes out by passt, which nothing is left of afterwards.
func TestUser(t *testing.T) {
	t.Parallel()
	needs(t, "passt", "python3", "curl", "bash")
	w := newWire(t)
	w.ip("-n", w.inside, "route", "add", "default", "via", outsideV4)
	w.ip("-n", w.inside, "-6", "route", "add", "default", "via", outsideV6)
	prog := sandboxtest.GoProgram(t, "./test/net/netprog")
	dir := t.TempDir()
	large := make([]byte, 20<<20)
	rand.Read(large)
	if err := os.WriteFile(filepath.Join(dir, "large"), large, 0o644); err != nil {
		t.Fatal(err)
	}
	w.start(w.peer("python3", "-u", "-m", "http.server", "8000", "--bind", outsideV4, "--directory", dir), "Serving")
	w.start(w.peer("python3", "-u", "-m", "http.server", "8001", "--bind", outsideV6, "--directory", dir), "Serving")
	w.start(w.peer(prog, "names", outsideV4+":53", "good.example="+outsideV4), "ready")
	w.start(append([]string{"ip", "netns", "exec", w.inside}, prog, "receive", "127.0.0.1:7001"), "ready")
	line := []string{"ip", "netns", "exec", w.inside, filepath.Join(sandboxtest.Bin(t), "sandbox-launch"), "run", "--network", "user"}
	line = append(append(line, sandboxtest.Flags()...), "--", "bash", "-c", strings.Join([]string{
		"ip -br address show dev eth0", prog + " lookup " + outsideV4 + ":53 good.example",
		"curl -s http://" + outsideV4 + ":8000/large | sha256sum", "curl -s http://[" + outsideV6 + "]:8001/large | sha256sum | sed s/^/v6:/",
		prog + " dial 10.0.2.2:7001 & " + prog + " dial [fd00:2::2]:7001 & wait"}, " && "))
	out := w.run(line)
	sum := fmt.Sprintf("%x", sha256.Sum256(large))
	for _, want := range []string{"10.0.2.15/24", "fd00:2::15/64", "\n" + outsideV4 + "\n", "\n" + sum, "\nv6:" + sum} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "connected") {
		t.Errorf("the machine's loopback is within reach:\n%s", out)
	}
	left := ""
	for range 300 {
		list, _ := exec.Command("ip", "netns", "pids", w.inside).Output()
		if left = ""; !strings.Contains(commands(list), "passt") {
			return
		}
		left = commands(list)
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("still there: %s", left)
}

// commands are the names of processes.
func commands(pids []byte) string {
	var names []string
	for _, pid := range strings.Fields(string(pids)) {
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		names = append(names, strings.TrimSpace(string(name)))
	}
	return strings.Join(names, " ")
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	needs(t, "python3", "curl")
	dir := sandboxtest.VisibleDir(t)
	page := strings.Repeat("a page of some size\n", 100_000)
	if err := os.WriteFile(filepath.Join(dir, "page"), []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ family, inside, outside string }{{"IPv4", insideV4, outsideV4}, {"IPv6", insideV6, outsideV6}} {
		t.Run(c.family, func(t *testing.T) {
			w := newWire(t)
			serve := []string{"python3", "-u", "-m", "http.server", "--directory", dir, "--bind"}
			w.start(w.peer(append(serve, c.outside, "80")...), "Serving")
			fetch := func(host string) []string {
				return []string{"curl", "-sS", "--max-time", "60", "http://" + net.JoinHostPort(host, "80") + "/page"}
			}
			if got := w.run(w.sandbox(nil, fetch(c.outside)...)); got != page {
				t.Errorf("from inside: %d bytes of %d", len(got), len(page))
			}
			w.start(w.sandbox(nil, append(serve, c.inside, "80")...), "Serving")
			if got := w.run(w.peer(fetch(c.inside)...)); got != page {
				t.Errorf("from outside: %d bytes of %d", len(got), len(page))
			}
		})
	}
}

// transfer moves n bytes each way.
func (w *wire) transfer(prog, inside, outside string, n int) {
	w.t.Helper()
	size := fmt.Sprint(n)
	out := net.JoinHostPort(outside, "7000")
	w.start(w.peer(prog, "receive", out), "ready")
	began := time.Now()
	w.run(w.sandbox(nil, prog, "send", out, size))
	w.t.Logf("%s bytes out in %s", size, time.Since(began).Round(time.Millisecond))
	in := net.JoinHostPort(inside, "7001")
	s := w.start(w.sandbox(nil, prog, "receive", in), "ready")
	began = time.Now()
	w.run(w.peer(prog, "send", in, size))
	w.t.Logf("%s bytes in in %s", size, time.Since(began).Round(time.Millisecond))
	s.end() // the next sandbox finds the addresses again
}

func TestTransfer(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	prog := sandboxtest.GoProgram(t, "./test/net/netprog")
	size := 20_000_000
	if long {
		size *= 5
	}
	w.transfer(prog, insideV4, outsideV4, size)
	w.transfer(prog, insideV6, outsideV6, size)
}

// What a bad link does to frames, and how much is moved in spite of it.
func TestBadLink(t *testing.T) {
	t.Parallel()
	prog := sandboxtest.GoProgram(t, "./test/net/netprog")
	for _, c := range []struct {
		name   string
		faults faults
		size   int
	}{
		{"delayed", faults{delay: 10 * time.Millisecond}, 2_000_000},
		{"one percent", faults{drop: 0.01, duplicate: 0.01, reorder: 0.01, corrupt: 0.01}, 2_000_000},
		{"two percent", faults{drop: 0.02, duplicate: 0.02, reorder: 0.05, corrupt: 0.005}, 1_000_000},
		{"five percent", faults{drop: 0.05, duplicate: 0.01, reorder: 0.02, corrupt: 0.001}, 500_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newBadWire(t, c.faults)
			size := c.size
			if long {
				size = 100_000_000
			}
			w.transfer(prog, insideV4, outsideV4, size)
			w.transfer(prog, insideV6, outsideV6, size)
		})
	}
}

// config is what ip(8) says of inside's side, without what counts on.
func (w *wire) config() string {
	out := w.ip("-n", w.inside, "-o", "address", "show", "dev", "eth0") + w.ip("-n", w.inside, "route") + w.ip("-n", w.inside, "-6", "route")
	var lines []string
	for line := range strings.Lines(out) {
		line, _, _ = strings.Cut(line, `\`)
		line = strings.NewReplacer(" tentative", "", " nodad", "", " dadfailed", "").Replace(line)
		line = regexp.MustCompile(" expires [0-9]+sec").ReplaceAllString(line, "")
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

// While the sandbox has the addresses the host has none; after its end it has
// them again, and its routes: however the end came.
func TestGiveBack(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.ip("-n", w.inside, "route", "add", "default", "via", outsideV4)
	w.ip("-n", w.inside, "route", "add", "198.51.100.0/24", "via", outsideV4, "metric", "7")
	w.ip("-n", w.inside, "-6", "route", "add", "default", "via", outsideV6)
	settled(t, func() bool { return !strings.Contains(w.ip("-n", w.inside, "address"), "tentative") })
	before := w.config()
	prog := sandboxtest.GoProgram(t, "./test/net/netprog")
	for _, kill := range []bool{false, true} {
		s := w.start(w.sandbox(nil, prog, "serve"), "ready")
		if now := w.ip("-n", w.inside, "address", "show", "dev", "eth0"); strings.Contains(now, "inet") {
			t.Errorf("the host's side has addresses:\n%s", now)
		}
		if kill {
			s.cmd.Process.Kill() // ip has become the launcher
		}
		s.end()
		settled(t, func() bool { return w.config() == before })
		if now := w.config(); now != before {
			t.Errorf("killed: %v: before\n%s\nafter\n%s", kill, before, now)
		}
	}
}

// settled waits until the host's kernel has come so far.
func settled(t *testing.T, so func() bool) {
	t.Helper()
	for range 600 {
		if so() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// The machine's own interfaces stay its own.
func TestNotTheMachines(t *testing.T) {
	t.Parallel()
	r := sandboxtest.Command{Args: []string{"true"}}.InSandbox(t, "--network", "sandbox").Run()
	if r.Code != 125 || !strings.Contains(r.Output, "machine's own") {
		t.Errorf("status %d: %s", r.Code, r.Output)
	}
}
