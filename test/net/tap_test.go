package net_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"bulkhead/test/sandboxtest"
)

// tcpdump reads what --pcap wrote, and finds both directions in it.
func TestPcap(t *testing.T) {
	t.Parallel()
	needs(t, "ping", "tcpdump")
	w := newWire(t)
	file := filepath.Join(t.TempDir(), "capture")
	w.run(w.sandbox([]string{"--pcap", file}, "ping", "-c", "1", "-W", "5", outsideV4))
	out, err := exec.Command("tcpdump", "-nr", file).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("ICMP echo request")) || !bytes.Contains(out, []byte("ICMP echo reply")) {
		t.Errorf("tcpdump: %v\n%s", err, out)
	}
}

// A sandbox at a TAP interface talks to the host's side of it.
func TestTAP(t *testing.T) {
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("there is no /dev/net/tun")
	}
	w := bare(t)
	w.ip("-n", w.outside, "tuntap", "add", "dev", "tap0", "mode", "tap")
	w.ip("-n", w.outside, "address", "add", "10.97.0.1/24", "dev", "tap0")
	w.ip("-n", w.outside, "link", "set", "dev", "tap0", "up")
	prog := sandboxtest.GoProgram(t, "./test/net/netprog")
	w.start(w.peer(prog, "receive", "10.97.0.1:7000"), "ready")
	line := append(w.peer(filepath.Join(sandboxtest.Bin(t), "sandbox-launch"), "run", "--network", "tap:tap0"), sandboxtest.Flags()...)
	w.run(append(line, "--", prog, "send", "10.97.0.1:7000", "20000000"))
}
