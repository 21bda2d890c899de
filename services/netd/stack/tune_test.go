package stack

import (
	"net/netip"
	"testing"

	"bulkhead/proto/linux"
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
