package net_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"bulkhead/test/sandboxtest"
)

// quick are the scripts of testdata/rules that always run; the others take seconds
// each on Linux, which waits for its readers after each change.
var quick = map[string]bool{"nft-basic": true, "nft-sets": true, "nft-nat": true, "istio": true, "kube": true, "ufw": true}

// volatile is what of a listing may differ.
var volatile = regexp.MustCompile(`(?m)^# (Generated|Completed).*\n`)

// both runs a script in a namespace of the host's and in a sandbox, side by side.
func both(t *testing.T, script string, shell ...string) (linux, inside string) {
	t.Helper()
	w := bare(t)
	w.ip("-n", w.outside, "link", "set", "lo", "up")
	feed := func(line []string) chan string {
		done := make(chan string, 1)
		go func() {
			r := sandboxtest.Command{Args: line, Stdin: script, Timeout: 3 * time.Minute}.Run()
			done <- volatile.ReplaceAllString(r.Output, "")
		}()
		return done
	}
	line := append([]string{filepath.Join(sandboxtest.Bin(t), "sandbox-launch"), "run"}, sandboxtest.Flags()...)
	a, b := feed(w.peer(shell...)), feed(append(append(line, "--"), shell...))
	return <-a, <-b
}

// same wants a script to say the same in both. A difference must show in each of three
// tries: who waits for a packet that is dropped, or for a flow to end, does so for a
// fraction of a second, which on a busy machine one that arrives can take too.
func same(t *testing.T, script string, shell ...string) {
	t.Helper()
	for try := 1; ; try++ {
		linux, inside := both(t, script, shell...)
		differ := differences(linux, inside)
		switch {
		case len(strings.Split(linux, "\n")) < 3:
			t.Errorf("this has shown nothing: %s", linux)
		case differ == nil:
		case try < 3:
			t.Logf("try %d: %s", try, strings.Join(differ, "\n"))
			continue
		default:
			t.Error(strings.Join(differ, "\n"))
		}
		return
	}
}

// differences tells in which lines two outputs differ, of ten at most.
func differences(linux, inside string) (all []string) {
	a, b := strings.Split(linux, "\n"), strings.Split(inside, "\n")
	for i := 0; i < max(len(a), len(b)) && len(all) < 10; i++ {
		at := func(list []string) string {
			if i < len(list) {
				return list[i]
			}
			return "(nothing)"
		}
		if x, y := at(a), at(b); x != y {
			all = append(all, fmt.Sprintf("line %d: Linux says %q, the sandbox %q", i+1, x, y))
		}
	}
	return all
}

// TestRules_listing gives nft(8) and iptables(8) the same orders outside and inside,
// and wants them to list the same, and to complain of the same.
func TestRules_listing(t *testing.T) {
	t.Parallel()
	needs(t, "nft", "iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy")
	filters(t)
	files, err := filepath.Glob("testdata/rules/*.sh")
	if err != nil || len(files) < len(quick) {
		t.Fatalf("%d scripts: %v", len(files), err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".sh")
		t.Run(name, func(t *testing.T) {
			if !long && !quick[name] {
				t.Skip("with BULKHEAD_TEST_FULL=1 only")
			}
			script, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			same(t, string(script), "sh")
		})
	}
}

// TestRules_traffic has the same rules do the same to traffic over the loopback.
func TestRules_traffic(t *testing.T) {
	t.Parallel()
	needs(t, "nft", "iptables-nft", "iptables-legacy", "python3", "busybox")
	filters(t)
	script, err := os.ReadFile("testdata/rules/traffic.py")
	if err != nil {
		t.Fatal(err)
	}
	scenes := []string{"redirect", "destination", "denied", "states", "counting", "rewriting"}
	if long {
		scenes = nil
	}
	same(t, string(script), append([]string{"python3", "-"}, scenes...)...)
}

// TestConntrack has conntrack(8) show the same of the same connections.
func TestConntrack(t *testing.T) {
	t.Parallel()
	needs(t, "nft", "conntrack", "python3")
	filters(t)
	script, err := os.ReadFile("testdata/rules/conntrack.py")
	if err != nil {
		t.Fatal(err)
	}
	same(t, string(script), "python3", "-")
}

// filters skips a test where Linux itself has no packet filter.
func filters(t *testing.T) {
	t.Helper()
	w := bare(t)
	if out, err := exec.Command("ip", "netns", "exec", w.outside, "nft", "list", "ruleset").CombinedOutput(); err != nil {
		t.Skipf("this kernel has no nf_tables: %s", out)
	}
	if out, err := exec.Command("ip", "netns", "exec", w.outside, "iptables-legacy", "-L").CombinedOutput(); err != nil {
		t.Skipf("this kernel has no ip_tables: %s", out)
	}
}

// TestRules_outside translates what comes and goes over a wire: a redirected port, a
// source address that is not the interface's first, a destination elsewhere, and who
// may not in.
func TestRules_outside(t *testing.T) {
	t.Parallel()
	needs(t, "nft", "python3")
	w := newWire(t)
	w.ip("-n", w.inside, "address", "add", "10.98.0.77/24", "dev", "eth0")
	const say = `
import socket, sys, threading
def server(family, port):
    l = socket.create_server(("", port), family=family)
    def run():
        while True:
            c, peer = l.accept()
            c.sendall(("port %d for %s\n" % (port, peer[0])).encode() + b"x" * 300000)
            c.close()
    threading.Thread(target=run, daemon=True).start()
def ask(to, port):
    try:
        c = socket.create_connection((to, port), timeout=2 if port == 82 else 30)
        b = b""
        while True:
            n = c.recv(65536)
            if not n: break
            b += n
        print("%s %d: %s, %d bytes" % (to, port, b.split(b"\n")[0].decode(), len(b)))
    except OSError as e:
        print("%s %d: %s" % (to, port, type(e).__name__))
`
	server := w.start(w.peer("python3", "-u", "-c", say+`
server(socket.AF_INET, 9000); server(socket.AF_INET6, 9000)
print("ready")
sys.stdin.read()`), "ready")
	rules := `
table inet t {
	chain in { type filter hook input priority 0; policy drop; ct state established,related accept; tcp dport 8080 accept; meta l4proto ipv6-icmp accept; tcp dport 81 reject with tcp reset; }
	chain pre { type nat hook prerouting priority -100; tcp dport 80 redirect to :8080; }
	chain out { type nat hook output priority -100; ip daddr 10.96.0.1 tcp dport 443 dnat ip to ` + outsideV4 + `:9000; ip6 daddr fd98::96 tcp dport 443 dnat ip6 to [` + outsideV6 + `]:9000; }
	chain post { type nat hook postrouting priority 100; ip daddr ` + outsideV4 + ` tcp dport 9000 snat ip to 10.98.0.77; }
}`
	inside := w.start(w.sandbox(nil, "python3", "-u", "-c", say+`
import subprocess
subprocess.run(["ip", "route", "add", "10.96.0.0/16", "dev", "eth0"], check=True)
subprocess.run(["nft", "-f", "-"], input="""`+rules+`
""".replace("; }", ";\n}"), text=True, check=True)
for family in socket.AF_INET, socket.AF_INET6:
    server(family, 8080); server(family, 81); server(family, 82)
ask("10.96.0.1", 443); ask("fd98::96", 443); ask("`+outsideV4+`", 9000)
print("ready")
sys.stdin.read()`), "ready")
	out := w.run(w.peer("python3", "-c", say+`
for to in "`+insideV4+`", "`+insideV6+`":
    for port in 80, 8080, 81, 82: ask(to, port)`))
	for _, to := range []struct{ inside, outside string }{{insideV4, outsideV4}, {insideV6, outsideV6}} {
		for _, want := range []string{" 80: port 8080 for " + to.outside, " 8080: port 8080 for " + to.outside, " 81: ConnectionRefusedError", " 82: TimeoutError"} {
			if !strings.Contains(out, to.inside+want) {
				t.Errorf("there is no %q in:\n%s", to.inside+want, out)
			}
		}
	}
	said := inside.output()
	for _, want := range []string{"10.96.0.1 443: port 9000 for 10.98.0.77, 3000", "fd98::96 443: port 9000 for " + insideV6, outsideV4 + " 9000: port 9000 for 10.98.0.77, 3000"} {
		if !strings.Contains(said, want) {
			t.Errorf("there is no %q in:\n%s", want, said)
		}
	}
	server.end()
}
