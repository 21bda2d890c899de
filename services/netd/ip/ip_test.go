package ip

import (
	"net/netip"
	"testing"
)

func TestLookup(t *testing.T) {
	var tab Table
	tab.Add(&Interface{Index: 1, Loopback: true, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")}})
	tab.Add(&Interface{Index: 2, Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.2.3/24"), netip.MustParsePrefix("fe80::1/64"), netip.MustParsePrefix("2001:db8::5/64")}})
	tab.AddRoute(Route{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.1.2.1"), Interface: 2})
	for _, c := range []struct {
		dst, src, next string
		out            int
	}{
		{"127.9.9.9", "127.0.0.1", "127.9.9.9", 1},
		{"10.1.2.3", "10.1.2.3", "10.1.2.3", 1},
		{"::1", "::1", "::1", 1},
		{"10.1.2.9", "10.1.2.3", "10.1.2.9", 2},
		{"8.8.8.8", "10.1.2.3", "10.1.2.1", 2},
		{"2001:db8::9", "2001:db8::5", "2001:db8::9", 2},
		{"fe80::9", "fe80::1", "fe80::9", 2},
	} {
		p, ok := tab.Lookup(netip.MustParseAddr(c.dst), netip.Addr{})
		if !ok || p.Out.Index != c.out || p.Source.String() != c.src || p.Next.String() != c.next {
			t.Errorf("%s: %+v %v", c.dst, p, ok)
		}
	}
	if _, ok := tab.Lookup(netip.MustParseAddr("2002::1"), netip.Addr{}); ok {
		t.Error("a route to nowhere")
	}
	if !tab.Broadcast(netip.MustParseAddr("10.1.2.255")) || tab.Broadcast(netip.MustParseAddr("10.1.2.4")) {
		t.Error("broadcast")
	}
}

func TestPortConflicts(t *testing.T) {
	lo := LocalhostV4
	for _, c := range []struct {
		name string
		a, b Binding
		free bool
	}{
		{"same", Binding{Families: V4}, Binding{Families: V4}, false},
		{"families apart", Binding{Families: V4}, Binding{Families: V6}, true},
		{"dual stack", Binding{Families: V4}, Binding{Families: V4 | V6}, false},
		{"any and one", Binding{Families: V4}, Binding{Families: V4, Addr: lo}, false},
		{"two addresses", Binding{Families: V4, Addr: lo.Next()}, Binding{Families: V4, Addr: lo}, true},
		{"one reuses", Binding{Families: V4, ReuseAddr: true}, Binding{Families: V4}, false},
		{"both reuse", Binding{Families: V4, ReuseAddr: true}, Binding{Families: V4, ReuseAddr: true}, true},
		{"both reuse, one listens", Binding{Families: V4, ReuseAddr: true, Listening: true}, Binding{Families: V4, ReuseAddr: true}, false},
		{"reuseport", Binding{Families: V4, ReusePort: true, Listening: true}, Binding{Families: V4, ReusePort: true}, true},
		{"reuseport, other user", Binding{Families: V4, ReusePort: true}, Binding{Families: V4, ReusePort: true, UID: 1}, false},
	} {
		var p Ports
		c.a.Port, c.b.Port = 80, 80
		p.Hold(&c.a)
		if p.Free(&c.b) != c.free {
			t.Errorf("%s: free = %v", c.name, !c.free)
		}
		p.Drop(&c.a)
		if !p.Free(&c.b) {
			t.Errorf("%s: still held after Drop", c.name)
		}
	}
}

func TestEphemeralRunsOut(t *testing.T) {
	var p Ports
	for i := 0; i <= LastEphemeral-FirstEphemeral; i++ {
		b := &Binding{Families: V4}
		if !p.Ephemeral(b, uint32(i)*7919, nil) {
			t.Fatal("ran out after", i)
		}
		p.Hold(b)
	}
	if p.Ephemeral(&Binding{Families: V4}, 1, nil) {
		t.Error("a port too many")
	}
	if !p.Ephemeral(&Binding{Families: V6}, 1, nil) {
		t.Error("the other family's ports are free")
	}
}
