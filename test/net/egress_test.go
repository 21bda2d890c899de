package net_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/test/sandboxtest"
)

// What a rule does not allow does not arrive; answers to those outside do.
func TestEgress(t *testing.T) {
	t.Parallel()
	needs(t, "ping")
	w := newWire(t)
	ping := []string{"ping", "-c", "1", "-W", "1", outsideV4}
	w.run(w.sandbox([]string{"--egress-allow", "icmp:" + outsideV4}, ping...))
	for _, flags := range [][]string{{"--egress-deny", "10.98.0.0/24"}, {"--egress-allow", "tcp:*"}} {
		if r := (sandboxtest.Command{Args: w.sandbox(flags, ping...)}).Run(); r.Code != 1 {
			t.Errorf("%q: ping: status %d\n%s", flags, r.Code, r.Output)
		}
	}
	refused := filepath.Join(t.TempDir(), "refused")
	sandboxtest.Command{Args: w.sandbox([]string{"--egress-deny", "10.98.0.0/24", "--egress-log", refused}, ping...)}.Run()
	if b, err := os.ReadFile(refused); err != nil || strings.Count(string(b), "egress refused") != 1 || !strings.Contains(string(b), `"to":"`+outsideV4) {
		t.Errorf("the log: %v\n%s", err, b)
	}
	prog := sandboxtest.GoProgram(t, "./test/net/netprog")
	s := w.start(w.sandbox([]string{"--egress-deny", "*"}, prog, "receive", insideV4+":7000"), "ready")
	w.run(w.peer(prog, "send", insideV4+":7000", "1000000"))
	s.end()
	if r := (sandboxtest.Command{Args: w.sandbox([]string{"--egress-deny", "non/sense"}, "true")}).Run(); r.Code != 125 {
		t.Errorf("a wrong rule: status %d\n%s", r.Code, r.Output)
	}
}

// A rule by name lets what the resolver says of it be reached, and the resolver be
// asked for it alone; who may not leave is told so at once.
func TestEgressNames(t *testing.T) {
	t.Parallel()
	needs(t, "bash")
	w := newWire(t)
	const second = "10.98.0.3"
	w.ip("-n", w.outside, "address", "add", second+"/24", "dev", "eth0")
	prog := sandboxtest.GoProgram(t, "./test/net/netprog")
	dns := w.start(w.peer(prog, "names", outsideV4+":53", "good.example="+outsideV4, "bad.example="+second), "ready")
	w.start(w.peer(prog, "receive", outsideV4+":8000"), "ready")
	w.start(w.peer(prog, "receive", second+":8000"), "ready")
	r := sandboxtest.Command{Args: w.sandbox([]string{"--egress-allow", "tcp:*.example:8000", "--egress-deny", "bad.example", "--egress-allow", "tcp:good.example", "--egress-resolver", outsideV4},
		"bash", "-c", strings.ReplaceAll(`
P dial `+outsideV4+`:8000
P lookup `+outsideV4+`:53 good.example
P dial `+outsideV4+`:8000
P lookup `+outsideV4+`:53 secret.elsewhere
P dial `+second+`:8000
P dial `+outsideV4+`:53
true`, "P ", prog+" "))}.Run()
	lines := strings.Split(strings.TrimSpace(r.Output), "\n")
	want := []string{"at once: dial tcp 10.98.0.2:8000: connect: no route to host", outsideV4, "connected", "secret.elsewhere", "at once: dial tcp 10.98.0.3:8000: connect: no route to host", "at once: dial tcp 10.98.0.2:53: connect"}
	if len(lines) != len(want) {
		t.Fatalf("%s", r.Output)
	}
	for i, l := range lines {
		if !strings.Contains(l, want[i]) {
			t.Errorf("%q, want %q", l, want[i])
		}
	}
	if out := dns.output(); !strings.Contains(out, "good.example") || strings.Contains(out, "secret") {
		t.Errorf("the resolver was %s", out)
	}
	if r := (sandboxtest.Command{Args: w.sandbox([]string{"--egress-allow", "good..example", "--egress-resolver", outsideV4}, "true")}).Run(); r.Code != 125 {
		t.Errorf("a wrong name: status %d\n%s", r.Code, r.Output)
	}
}

// What an allowed packet is made into on its way out is what may leave: the checksum that a
// program's own interface leaves to be filled in is not written over a port.
func TestEgressForgedSum(t *testing.T) {
	t.Parallel()
	needs(t, "python3", "ethtool")
	w := newWire(t)
	w.run([]string{"ip", "netns", "exec", w.inside, "ethtool", "-K", "eth0", "tx", "off"}) // a card's part is the kernel's then
	script, err := os.ReadFile("testdata/forged.py")
	if err != nil {
		t.Fatal(err)
	}
	const listen = `
import select, socket, sys
ends = []
for port in (5300, 8000):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("10.98.0.2", port))
    ends.append(s)
print("ready", flush=True)
while True:
    for s in select.select(ends + [sys.stdin], [], [])[0]:
        if s is sys.stdin: sys.exit()
        print(s.getsockname()[1], s.recv(2000), flush=True)
`
	peer := w.start(w.peer("python3", "-c", listen), "ready")
	w.run(w.sandbox([]string{"--egress-allow", "udp:" + outsideV4 + ":5300"}, "python3", "-c", string(script), insideV4, outsideV4, "5300", "8000"))
	out := peer.output()
	if !strings.Contains(out, "5300 b'plainly'") {
		t.Errorf("nothing came at all:\n%s", out)
	}
	if strings.Contains(out, "8000 b") {
		t.Errorf("a datagram came to a port that is not allowed:\n%s", out)
	}
}
