package stack

import (
	"net/netip"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/tcp"
)

func (s *Stack) tune(t *testing.T, name string, v ...int64) (err error) {
	t.Helper()
	s.Do(func() { err = s.TuneLocked(name, v) })
	return err
}

// The ports that are chosen are those of the range, from then on.
func TestTune_ports(t *testing.T) {
	s := newStack(t)
	if err := s.tune(t, "ipv4/ip_local_port_range", 5000, 5003); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		var d *Datagram
		var err error
		s.Do(func() {
			d = s.NewDatagram(17, false, Options{}, &user{})
			err = d.BindLocked(netip.MustParseAddrPort("127.0.0.1:0"))
		})
		if p := d.LocalLocked().Port(); err != nil || p < 5000 || p > 5003 {
			t.Error(p, err)
		}
	}
	s.Do(func() {
		d := s.NewDatagram(17, false, Options{}, &user{})
		if err := d.BindLocked(netip.MustParseAddrPort("127.0.0.1:0")); err != linux.EADDRINUSE {
			t.Error("a fifth of four ports:", err)
		}
	})
	for _, v := range [][]int64{{0, 10}, {10, 9}, {1, 65536}, {1}, nil} {
		if err := s.tune(t, "ipv4/ip_local_port_range", v...); err != linux.EINVAL {
			t.Error(v, err)
		}
	}
}

func TestTune_nonlocal(t *testing.T) {
	s := newStack(t)
	bind := func() (err error) {
		s.Do(func() {
			err = s.NewDatagram(17, false, Options{}, &user{}).BindLocked(netip.MustParseAddrPort("192.0.2.1:0"))
		})
		return err
	}
	if err := bind(); err != linux.EADDRNOTAVAIL {
		t.Error(err)
	}
	if err := s.tune(t, "ipv4/ip_nonlocal_bind", 1); err != nil {
		t.Error(err)
	}
	if err := bind(); err != nil {
		t.Error(err)
	}
	if err := s.tune(t, "ipv4/no_such", 1); err != linux.ENOENT {
		t.Error(err)
	}
}

// TCP's settings go into new connections, and those that are none are refused.
func TestTune_tcp(t *testing.T) {
	s := newStack(t)
	if got := s.windowScale(); got != 7 {
		t.Errorf("a window scale of %d at first", got)
	}
	for name, v := range map[string][]int64{"tcp_window_scaling": {0}, "tcp_timestamps": {0}, "tcp_sack": {0}, "tcp_slow_start_after_idle": {0},
		"tcp_retries2": {5}, "tcp_tso_win_divisor": {9}, "tcp_rmem": {4096, 131072, 15 << 20}, "tcp_fastopen": {0x202}} {
		if err := s.tune(t, "ipv4/"+name, v...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := s.windowScale(); got != 8 {
		t.Errorf("a window scale of %d for 15 MiB", got)
	}
	local := netip.MustParseAddrPort("10.0.0.1:1")
	cfg := s.machine(tcp.Config{}, &Options{}, tuple{local, local}, route.Path{MTU: 1500, Out: &ip.Interface{}})
	if !cfg.NoScaling || !cfg.NoTimestamps || !cfg.NoSACK || !cfg.KeepWindow || cfg.Retries != 5 || cfg.Gather != 9 || s.tuned.fastOpen != 0x202 {
		t.Errorf("%+v", cfg)
	}
	for _, v := range [][]int64{{1}, {1, 2}, {1, 2, 0}, {1, 2, 3, 4}} {
		if err := s.tune(t, "ipv4/tcp_rmem", v...); err != linux.EINVAL {
			t.Errorf("tcp_rmem %v: %v", v, err)
		}
	}
}
