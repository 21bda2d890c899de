package wire

import (
	"bytes"
	"net/netip"
	"testing"
)

var recorder = netip.MustParseAddr("10.0.0.7")

func nobody(netip.Addr) bool { return false }

func TestRecordIPv4(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"a free slot", "\x07\x07\x04....\x00", "\x07\x07\x08\x0a\x00\x00\x07\x00"},
		{"no slot", "\x07\x07\x08abcd\x00", "\x07\x07\x08abcd\x00"},
		{"a time", "\x44\x08\x05\x00....", "\x44\x08\x09\x00\x00\x00\x01\x02"},
		{"no room for a time", "\x44\x08\x09\x00abcd", "\x44\x08\x09\x10abcd"},
		{"an address and a time", "\x44\x0c\x05\x01........", "\x44\x0c\x0d\x01\x0a\x00\x00\x07\x00\x00\x01\x02"},
		{"another's time", "\x44\x0c\x05\x03abcd....", "\x44\x0c\x05\x03abcd...."},
	} {
		b := []byte(c.in)
		if bad, _ := CheckIPv4Options(b); bad >= 0 {
			t.Errorf("%s: bad at %d", c.name, bad)
			continue
		}
		if RecordIPv4(b, recorder, nobody, 0x102); string(b) != c.want {
			t.Errorf("%s: %q, want %q", c.name, b, c.want)
		}
	}
}

func TestCheckIPv4Options(t *testing.T) {
	for _, c := range []struct {
		in     string
		bad    int
		routed bool
	}{
		{"\x01\x01\x01\x00", -1, false},
		{"\x83\x07\x04\x0a\x00\x00\x01\x00", -1, true},
		{"\x01\x07\x00\x00", 1, false},          // no length
		{"\x07\x07\x03....\x00", 2, false},      // the pointer is before the first slot
		{"\x07\x07\x05....\x00", 2, false},      // it is between two
		{"\x07\x09\x04....\x00", 0, false},      // longer than what is there
		{"\x44\x08\x04\x00....", 2, false},      // the pointer of a time
		{"\x94\x04\x00\x00", -1, false},         // router alert
		{"\x00\xff\xff\xff\xff\xff", -1, false}, // after the end
	} {
		if bad, routed := CheckIPv4Options([]byte(c.in)); bad != c.bad || routed != c.routed {
			t.Errorf("%q: %d %t, want %d %t", c.in, bad, routed, c.bad, c.routed)
		}
	}
}

func TestParseAhead(t *testing.T) {
	hop, dst := []byte("\x00\x00\x05\x02\x00\x00\x01\x00"), []byte("\x00\x00\x01\x04\x00\x00\x00\x00")
	ring := AppendAhead(nil, nil, ProtoHopByHop, append(append([]byte{ProtoDestOpts}, hop[1:]...), dst...))
	a, err := ParseAhead(true, ring)
	if err != nil || a.First != ProtoHopByHop || a.Size() != 16 || a.Unfragmentable() != 8 {
		t.Fatalf("%+v, %v", a, err)
	}
	b := make([]byte, 16)
	a.PutV6(b, ProtoUDP)
	if proto, n, err := Extensions(a.First, b); proto != ProtoUDP || n != 16 || err != nil {
		t.Errorf("%d %d %v: % x", proto, n, err, b)
	}
	if _, err := ParseAhead(true, AppendAhead(nil, nil, ProtoRouting, dst)); err == nil {
		t.Error("a routing header is sent")
	}
	if a, err := ParseAhead(false, AppendAhead(nil, []byte("\x94\x04\x00\x00"), 0, nil)); err != nil || !bytes.Equal(a.V4, []byte("\x94\x04\x00\x00")) {
		t.Errorf("%+v, %v", a, err)
	}
}

// FuzzAhead feeds what walks options and headers: nothing is read or written out of bounds,
// and what is accepted goes into a packet that is well-formed.
func FuzzAhead(f *testing.F) {
	f.Add([]byte("\x00\x00\x08\x00\x07\x07\x04....\x00"), false)
	f.Add([]byte("\x3c\x00\x08\x00\x00\x00\x01\x04\x00\x00\x00\x00\x00\x00\x00\x00"), true)
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		o := append([]byte(nil), b...)
		if bad, _ := CheckIPv4Options(o); bad < 0 {
			RecordIPv4(o, recorder, nobody, 1)
			if bad, _ := CheckIPv4Options(EchoIPv4(o)); bad >= 0 {
				t.Fatalf("% x became worse: % x", b, o)
			}
			LaterIPv4(o)
		}
		a, err := ParseAhead(v6, b)
		if err != nil {
			return
		}
		if len(a.V4)%4 != 0 || len(a.V4) > MaxIPv4Options || len(a.V6)%8 != 0 || a.Unfragmentable() > len(a.V6) {
			t.Fatalf("%+v of % x", a, b)
		}
		if len(a.V6) > 0 {
			p := make([]byte, len(a.V6))
			a.PutV6(p, ProtoUDP)
			if proto, n, err := Extensions(a.First, p); err == nil && (proto != ProtoUDP || n != len(p)) {
				t.Fatalf("%d after %d bytes of % x", proto, n, p)
			}
		}
		AppendAhead(nil, a.V4, a.First, a.V6)
	})
}
