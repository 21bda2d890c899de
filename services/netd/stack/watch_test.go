package stack

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/route"
)

// Each change is told once, at the end of the entry that made it; what does not last that
// long is not.
func TestWatch(t *testing.T) {
	s := newStack(t)
	var told []string
	s.Do(func() {
		s.WatchLocked(func(c Change) {
			what := ""
			switch {
			case c.Link != nil && c.Address == nil:
				what = fmt.Sprintf("link %d", c.Link.Index)
			case c.Address != nil:
				what = "address " + c.Address.Prefix.String()
			case c.Route != nil:
				what = fmt.Sprintf("route %v via %v", c.Route.Destination, c.Route.Gateway)
			}
			if c.Removed {
				what += " removed"
			}
			if c.Replaced {
				what += " replaced"
			}
			told = append(told, what)
		})
	})
	expect := func(name string, want ...string) {
		t.Helper()
		if !slices.Equal(told, want) {
			t.Errorf("%s: told %q, want %q", name, told, want)
		}
		told = nil
	}
	mtu := 9000
	s.Do(func() { s.SetLinkLocked(1, nil, &mtu) })
	expect("mtu", "link 1")
	s.Do(func() { s.SetLinkLocked(1, nil, &mtu) })
	expect("the same mtu")
	a := ip.Address{Prefix: netip.MustParsePrefix("192.0.2.1/24")}
	s.Do(func() { s.AddAddressLocked(1, a, false) })
	expect("address", "address 192.0.2.1/24")
	s.Do(func() { s.RemoveAddressLocked(1, a.Addr()); s.AddAddressLocked(1, a, false) })
	expect("taken away and back")
	to := netip.MustParsePrefix("198.51.100.0/24")
	first, second := netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")
	s.Do(func() {
		s.ChangeRouteLocked(route.Route{Destination: to, Gateway: first, Interface: 1}, false, false)
	})
	expect("route", "route 198.51.100.0/24 via 127.0.0.2")
	s.Do(func() {
		s.ChangeRouteLocked(route.Route{Destination: to, Gateway: second, Interface: 1}, false, true)
	})
	expect("another gateway", "route 198.51.100.0/24 via 127.0.0.3 replaced")
	s.Do(func() { s.ChangeRouteLocked(route.Route{Destination: to}, true, false) })
	expect("route removed", "route 198.51.100.0/24 via 127.0.0.3 removed")
	s.Do(func() { s.RemoveAddressLocked(1, a.Addr()) })
	expect("address removed", "address 192.0.2.1/24 removed")
}
