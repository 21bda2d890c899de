package mm

import (
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

// Mappings begin below the stack, with room for it to grow, and with a usual stack
// in its GiB, at many different places.
func TestLayout(t *testing.T) {
	random := func(n uint64) uint64 { return rand.Uint64N(n) * PageSize }
	for _, limit := range []uint64{0, 8 << 20, 200 << 20, 1 << 30, 1 << 40, unix.RLIM_INFINITY} {
		tops := map[Addr]bool{}
		for range 1000 {
			low, high, top := Layout(limit, random)
			tops[top] = true
			if high > GuestTop || high-low < 128<<10 || high-low > 1<<30 || top >= low || top%PageSize != 0 || low%PageSize != 0 {
				t.Fatalf("limit %#x: stack %#x to %#x, mappings below %#x", limit, low, high, top)
			}
			if (limit == 8<<20 || limit == unix.RLIM_INFINITY) && top>>30 != low>>30 {
				t.Fatalf("limit %#x: mappings begin at %#x, the stack at %#x", limit, top, low)
			}
		}
		if len(tops) < 900 {
			t.Errorf("limit %#x: %d places in 1000 times", limit, len(tops))
		}
	}
}
