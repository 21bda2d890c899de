package pcapng

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// capture is two packets on two interfaces, the second one cut.
func capture(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	eth, err := w.Interface("eth0", Ethernet, 64)
	if err != nil {
		t.Fatal(err)
	}
	tun, err := w.Interface("tun", RawIP, 64)
	if err != nil {
		t.Fatal(err)
	}
	arp := append(bytes.Repeat([]byte{0xff}, 6), 2, 0, 0, 0, 0, 1, 8, 6)
	body := []byte{0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2}
	if err := w.Packet(eth, time.Unix(1, 2), Outbound, 64, arp, body); err != nil {
		t.Fatal(err)
	}
	if err := w.Packet(tun, time.Unix(3, 0), Inbound, 64, make([]byte, 50), make([]byte, 51)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	packets, names, err := Read(capture(t))
	if err != nil || len(packets) != 2 || len(names) != 2 || names[0] != "eth0" || names[1] != "tun" {
		t.Fatalf("%v, %q, %v", packets, names, err)
	}
	if p := packets[0]; p.Interface != 0 || p.Direction != Outbound || len(p.Data) != 42 || p.Size != 42 || !p.Time.Equal(time.Unix(1, 2)) {
		t.Errorf("first packet: %+v", p)
	}
	if p := packets[1]; p.Interface != 1 || p.Direction != Inbound || len(p.Data) != 64 || p.Size != 101 {
		t.Errorf("second packet: %+v", p)
	}
}

// A capture that ends anywhere is one of the blocks that are whole.
func TestCutOff(t *testing.T) {
	whole := capture(t)
	for n := range whole {
		if _, _, err := Read(whole[:n]); err != nil {
			t.Fatalf("the first %d bytes: %v", n, err)
		}
	}
}

// tcpdump is the oracle, where it is.
func TestTcpdumpReads(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("there is no tcpdump")
	}
	var b bytes.Buffer
	w, _ := NewWriter(&b)
	w.Interface("eth0", Ethernet, 1<<16)
	packets, _, _ := Read(capture(t))
	w.Packet(0, packets[0].Time, Outbound, 1<<16, packets[0].Data)
	path := filepath.Join(t.TempDir(), "capture")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tcpdump", "-nr", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "who-has 10.0.0.2 tell 10.0.0.1") {
		t.Errorf("tcpdump: %v\n%s", err, out)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(capture(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		packets, names, _ := Read(b)
		for _, p := range packets {
			if int(p.Interface) >= len(names) || len(p.Data) > len(b) {
				t.Fatal("a packet from nowhere")
			}
		}
	})
}
