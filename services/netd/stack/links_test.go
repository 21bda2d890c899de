package stack

import (
	"net/netip"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
)

// An interface goes with all that is its own; who is in a group there, or bound to it, does
// no harm to another of its index.
func TestRemoveInterface(t *testing.T) {
	s := newStack(t)
	fabric := &link.Fabric{}
	build := func() int {
		i, err := s.AddInterface(InterfaceConfig{Name: "d0", Index: 5, Device: fabric.Dummy(link.Wiring{MAC: [6]byte{2}, Ether: true}), Kind: ip.Dummy,
			MTU: 1500, Addresses: ip.Static(netip.MustParsePrefix("10.9.0.1/24"))})
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	var told []string
	s.Do(func() {
		s.WatchLocked(func(c Change) {
			if c.Route == nil && c.Neighbour == nil {
				told = append(told, map[bool]string{false: "+", true: "-"}[c.Removed]+c.Link.Name)
			}
		})
	})
	group := netip.MustParseAddr("239.1.2.3")
	index := build()
	d := s.NewDatagram(17, false, Options{}, &user{})
	s.Do(func() {
		if err := d.JoinLocked(group, index, netip.Addr{}, netip.Addr{}); err != nil {
			t.Error(err)
		}
		if _, err := s.RemoveInterfaceLocked(index); err != nil {
			t.Error(err)
		}
		if _, err := s.RemoveInterfaceLocked(index); err != linux.ENODEV {
			t.Error("removed twice:", err)
		}
		if _, err := s.RemoveInterfaceLocked(1); err != linux.ENODEV {
			t.Error("the loopback:", err)
		}
		if _, ok := s.findPath(netip.MustParseAddr("10.9.0.2"), netip.Addr{}, 0); ok {
			t.Error("a route has stayed")
		}
	})
	build()
	s.Do(func() {
		d.LeaveLocked(group, index, netip.Addr{}, netip.Addr{})
		d.CloseLocked()
	})
	if n := len(told); n < 4 || told[0] != "+d0" {
		t.Errorf("told %q", told)
	}
}

func TestNames(t *testing.T) {
	s := newStack(t)
	s.Do(func() {
		for pattern, want := range map[string]error{
			"": linux.EINVAL, ".": linux.EINVAL, "..": linux.EINVAL, "a/b": linux.EINVAL, "a b": linux.EINVAL, "a:b": linux.EINVAL, "lo": linux.EEXIST,
			"sixteen-letters-": linux.EINVAL, "fifteen-letters": nil, "%d": nil, "a%d%d": linux.EINVAL, "fifteen-lette%d": nil,
		} {
			if name, err := s.NameLocked(pattern); err != want {
				t.Errorf("%q: %q, %v; want %v", pattern, name, err, want)
			}
		}
	})
}
