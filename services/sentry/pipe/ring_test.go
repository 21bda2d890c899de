package pipe

import "testing"

func TestRing_unread(t *testing.T) {
	var r ring
	r.limit = 2
	long := make([]byte, 3*PageSize+7)
	for i := range long {
		long[i] = byte(i * 7)
	}
	for _, before := range []int{0, 1, PageSize} {
		for _, n := range []int{1, PageSize - 1, PageSize, PageSize + 1, len(long)} {
			r.write(long[:before], false)
			r.unread(long[:n])
			if r.bytes != before+n {
				t.Errorf("%d before %d: %d bytes", n, before, r.bytes)
			}
			got := make([]byte, before+n)
			if k := r.read(got); k != before+n || string(got[:n]) != string(long[:n]) || string(got[n:]) != string(long[:before]) || !r.empty() {
				t.Errorf("%d before %d: read %d, or others", n, before, k)
			}
		}
	}
}

// TestRing_unreadPacket gives a packet back, which is one still.
func TestRing_unreadPacket(t *testing.T) {
	var r ring
	r.limit = 4
	r.write([]byte("one"), true)
	r.write([]byte("two"), true)
	got := make([]byte, 10)
	r.unread(got[:r.read(got)])
	for _, want := range []string{"one", "two"} {
		if n := r.read(got); string(got[:n]) != want {
			t.Errorf("read %q, want %q", got[:n], want)
		}
	}
}
