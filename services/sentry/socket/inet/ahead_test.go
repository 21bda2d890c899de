package inet

import "testing"

// FuzzOptions feeds what checks options of IPv4: it stays within them, and what it has
// accepted it accepts again.
func FuzzOptions(f *testing.F) {
	f.Add([]byte("\x07\x07\x04....\x00"), true)
	f.Add([]byte("\x44\x08\x05\x00....\x94\x04\x00\x00"), false)
	f.Fuzz(func(t *testing.T, b []byte, raw bool) {
		echoed(b)
		if cleanOptions(b, raw) && !cleanOptions(b, raw) {
			t.Errorf("% x is no longer accepted", b)
		}
		if finishAhead(appendAhead(nil, 0, b[:min(len(b), maxOptions4)])); len(b) > 0 {
			(&Dgram{}).headers(gram{}, b)
		}
	})
}

func TestCleanOptions(t *testing.T) {
	for _, c := range []struct {
		in, want string
		raw, ok  bool
	}{
		{"", "", false, true},
		{"\x01\x00\x05\x06", "\x01\x00\x00\x00", false, true},
		{"\x07\x07\x04\x00\x00\x00\x00", "\x07\x07\x04\x00\x00\x00\x00", false, true},
		{"\x07\x07\x06\x00\x00\x00\x00", "", false, false},
		{"\x82\x03\x00", "", false, false},
		{"\x82\x03\x00", "\x82\x03\x00", true, true},
		{"\x83\x07\x04\x0a\x00\x00\x01", "", true, false},
		{"\x02", "", true, false},
	} {
		b := []byte(c.in)
		if ok := cleanOptions(b, c.raw); ok != c.ok || ok && string(b) != c.want {
			t.Errorf("%q: %q, %t", c.in, b, ok)
		}
	}
}
