package net_test

import (
	"os/exec"
	"strings"
	"testing"

	"bulkhead/test/sandboxtest"
)

// The counters of /proc/net go by what happens, as Linux's do: the same program does the
// same to the same peer, in the namespace itself and then in a sandbox on it.
func TestCounters(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	prog := sandboxtest.GoProgram(t, "./test/net/netprog")
	w.ip("-n", w.inside, "route", "add", "239.0.0.0/8", "dev", "eth0")
	w.start(w.peer(prog, "echo", outsideV4+":7000"), "ready")
	deeds := []string{prog, "counters", outsideV4 + ":7000"}
	host := w.run(append([]string{"ip", "netns", "exec", w.inside}, deeds...))
	inside := w.run(w.sandbox(nil, deeds...))
	if host != inside {
		h, i := strings.Split(host, "\n"), strings.Split(inside, "\n")
		for k := range min(len(h), len(i)) {
			if h[k] != i[k] {
				t.Errorf("host    %s\nsandbox %s", h[k], i[k])
			}
		}
	}
}

// The programs that show counters and groups understand the files.
func TestCounterPrograms(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	for _, c := range []struct{ args, want string }{
		{"nstat -asz", "TcpExtTCPOrigDataSent"}, {"netstat -s", "active connection openings"}, {"netstat -s -6", "Ip6"},
		{"ip maddress show dev eth0", "inet6 ff02::1"}, {"ip maddress show dev eth0", "33:33:00:00:00:01"}, {"netstat -g", "224.0.0.1"},
		{"ss -s", "TCP:"},
	} {
		args := strings.Fields(c.args)
		if _, err := exec.LookPath(args[0]); err != nil {
			t.Logf("%s is not installed", args[0])
			continue
		}
		if out := w.run(w.sandbox(nil, args...)); !strings.Contains(out, c.want) || strings.Contains(out, "rror") && !strings.Contains(c.args, "stat -") {
			t.Errorf("%s: no %q in\n%s", c.args, c.want, out)
		}
	}
}
