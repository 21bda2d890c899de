package tcp

import "testing"

// Over a long path both buffers grow until they do not limit the rate, and over a short one
// they stay within what a cache holds.
func TestBuffersFollowThePath(t *testing.T) {
	for _, c := range []struct {
		name  string
		rate  int  // bytes a second
		queue int  // bytes
		delay Time // one way
		far   bool
		long  Time
	}{
		{"far", 40e6, 1 << 20, 50 * Millisecond, true, 8 * Second},
		{"near", 1e9, 1 << 20, Millisecond / 10, false, Second / 5},
		{"near, behind a queue", 40e6, 4 << 20, Millisecond / 10, false, Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := pathConfig()
			cfg.ReceiveBuffer, cfg.ReceiveLimit, cfg.InitialWindow = 4<<20, 4<<20, 64<<10
			m := newPath(t, 5, cfg, [2]int{1 << 40, 0})
			m.rate, m.queue, m.delay = c.rate, c.queue, c.delay
			m.run(c.long)
			const short = 1 << 20
			window, space := m.ends[1].Window(), m.ends[0].SendSpace()
			if far := window > short; far != c.far {
				t.Errorf("the window is %d bytes", window)
			}
			if far := space > short; far != c.far {
				t.Errorf("the send buffer is to hold %d bytes", space)
			}
			if got, all := m.recv[1].got, c.rate*int(c.long/Millisecond)/1000; got < all/2 {
				t.Errorf("%d bytes of %d", got, all)
			}
		})
	}
}

// An accepted connection whose queue holds more than its listener's opens its window by what
// is read, and not because an option is set.
func TestAttach_larger(t *testing.T) {
	cfg := pathConfig()
	cfg.ReceiveBuffer, cfg.InitialWindow = 1<<20, 64<<10
	m := newPath(t, 5, cfg, [2]int{1000, 1000})
	m.recv[1].ring = make([]byte, 4<<20)
	m.run(Second)
	c := m.ends[1]
	cfg = c.Config()
	if cfg.ReceiveLimit != 4<<20 {
		t.Errorf("it may hold %d bytes", cfg.ReceiveLimit)
	}
	edge := c.rcvAdv
	if c.Configure(cfg, m.now); c.windowEdge() != edge {
		t.Errorf("the window opens by %d bytes", c.windowEdge()-edge)
	}
}
