package net_test

import (
	"os"
	"testing"
	"time"
)

// TestUrgent has urgent bytes go each way over the wire and within a sandbox, and wants
// all to be as on the host's loopback.
func TestUrgent(t *testing.T) {
	t.Parallel()
	needs(t, "python3")
	w := newWire(t)
	b, err := os.ReadFile("testdata/urgent.py")
	if err != nil {
		t.Fatal(err)
	}
	script := string(b)
	want := w.run(w.peer("python3", "-u", "-c", script, "both"))
	check := func(what, got string) {
		t.Helper()
		if got != want {
			t.Errorf("%s:\n%s\nthe host's:\n%s", what, got, want)
		}
	}
	check("within", w.run(w.sandbox(nil, "python3", "-u", "-c", script, "both")))
	// A packet socket has new connections go by netd.
	listening := "import socket\nsniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x300)\n"
	check("by netd", w.run(w.sandbox(nil, "python3", "-u", "-c", listening+script, "both")))

	in := w.start(w.sandbox(nil, "python3", "-u", "-c", script, "take", insideV4), "ready")
	w.run(w.peer("python3", "-c", script, "send", insideV4))
	check("in", in.finish(t))
	out := w.start(w.peer("python3", "-u", "-c", script, "take", outsideV4), "ready")
	w.run(w.sandbox(nil, "python3", "-c", script, "send", outsideV4))
	check("out", out.finish(t))
}

// finish waits for the program's own end and gives what it printed.
func (s *server) finish(t *testing.T) string {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(time.Minute):
		t.Error("it does not end")
	}
	return s.output()
}
