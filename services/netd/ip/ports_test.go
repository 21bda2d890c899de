package ip

import "testing"

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
		{"narrowed", Binding{Families: V4, Addr: lo}, Binding{Families: V4, Addr: lo.Next()}, true},
		{"dual, at its IPv6 address, and 0.0.0.0", Binding{Families: V4 | V6, Addr: LocalhostV6}, Binding{Families: V4}, false},
		{"dual, at its IPv6 address, and one of IPv4", Binding{Families: V4 | V6, Addr: LocalhostV6}, Binding{Families: V4, Addr: lo}, true},
		{"dual, at its IPv6 address, and ::ffff:0.0.0.0", Binding{Families: V4 | V6, Addr: LocalhostV6}, Binding{Families: V4, Mapped: true}, true},
		{"dual, at its IPv6 address, and ::", Binding{Families: V4 | V6, Addr: LocalhostV6}, Binding{Families: V4 | V6}, false},
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
