package net_test

import (
	"os"
	"testing"
)

// TestFastOpen has clients send data with their SYNs to the host's stack, as one of the
// host's does.
func TestFastOpen(t *testing.T) {
	t.Parallel()
	needs(t, "python3")
	w := newWire(t)
	b, err := os.ReadFile("testdata/fastopen.py")
	if err != nil {
		t.Fatal(err)
	}
	script := string(b)
	w.run(w.peer("sh", "-c", "echo 3 >/proc/sys/net/ipv4/tcp_fastopen"))
	w.start(w.peer("python3", "-u", "-c", script, "serve"), "ready")
	want := w.run(w.peer("python3", "-c", script, "use", outsideV4, outsideV6))
	if got := w.run(w.sandbox(nil, "python3", "-c", script, "use", outsideV4, outsideV6)); got != want {
		t.Errorf("inside:\n%s\nthe host's:\n%s", got, want)
	}
}
