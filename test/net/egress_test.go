package net_test

import (
	"testing"

	"bulkhead/test/sandboxtest"
)

// What a rule does not allow does not arrive; answers to those outside do.
func TestEgress(t *testing.T) {
	needs(t, "ping")
	w := newWire(t)
	ping := []string{"ping", "-c", "1", "-W", "1", outsideV4}
	w.run(w.sandbox([]string{"--egress-allow", "icmp:" + outsideV4}, ping...))
	for _, flags := range [][]string{{"--egress-deny", "10.98.0.0/24"}, {"--egress-allow", "tcp:*"}} {
		if r := (sandboxtest.Command{Args: w.sandbox(flags, ping...)}).Run(); r.Code != 1 {
			t.Errorf("%q: ping: status %d\n%s", flags, r.Code, r.Output)
		}
	}
	prog := sandboxtest.GoProgram(t, "./test/net/netprog")
	s := w.start(w.sandbox([]string{"--egress-deny", "*"}, prog, "receive", insideV4+":7000"), "ready")
	w.run(w.peer(prog, "send", insideV4+":7000", "1000000"))
	s.end()
	if r := (sandboxtest.Command{Args: w.sandbox([]string{"--egress-deny", "nonsense"}, "true")}).Run(); r.Code != 125 {
		t.Errorf("a wrong rule: status %d\n%s", r.Code, r.Output)
	}
}
