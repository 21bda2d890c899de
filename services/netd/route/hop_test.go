package route

import (
	"net/netip"
	"testing"

	"bulkhead/services/netd/ip"
)

func ways() *Table {
	t := &Table{}
	t.AddInterface(&ip.Interface{Index: 1, MTU: 65536, Loopback: true, Addresses: ip.Static(prefix("127.0.0.1/8"))})
	t.AddInterface(&ip.Interface{Index: 2, MTU: 1500, Addresses: ip.Static(prefix("10.0.0.1/24"))})
	t.AddInterface(&ip.Interface{Index: 3, MTU: 1500, Addresses: ip.Static(prefix("10.0.1.1/24"))})
	return t
}

// taken is how many of 256 destinations below 198.18.0.0/24 each interface has.
func taken(t *Table) map[int]int {
	n := map[int]int{}
	for i := range 256 {
		if p, v := t.Find(Query{Dst: netip.AddrFrom4([4]byte{198, 18, 0, byte(i)})}); v == Found {
			n[p.Out.Index]++
		}
	}
	return n
}

// Each way is taken about as often as its weight says, and the others while one is down.
func TestWays(t *testing.T) {
	tab := ways()
	tab.Add(Route{Destination: prefix("198.18.0.0/24"), Hops: &Hops{[]Hop{
		{Gateway: netip.MustParseAddr("10.0.0.2"), Interface: 2, Weight: 3}, {Gateway: netip.MustParseAddr("10.0.1.2"), Interface: 3, Weight: 1}}}})
	if n := taken(tab); n[2] < 150 || n[3] < 25 || n[2]+n[3] != 256 {
		t.Error("by weight:", n)
	}
	tab.Interface(2).Down = true
	if n := taken(tab); n[3] != 256 {
		t.Error("one down:", n)
	}
	tab.Flush(2)
	if n := taken(tab); n[3] != 256 {
		t.Error("one flushed:", n)
	}
	tab.Flush(3)
	if n := taken(tab); len(n) != 0 {
		t.Error("both flushed:", n)
	}
}

// Objects change under the routes by them, and take them along.
func TestNexthops(t *testing.T) {
	tab := ways()
	hop := func(out int) Hop { return Hop{Interface: out, Weight: 1} }
	for id, out := range []int{2, 3} {
		if err := tab.SetNexthop(Nexthop{ID: uint32(id + 1), Hop: hop(out)}, false, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := tab.SetNexthop(Nexthop{ID: 1}, false, true); err != ErrExists {
		t.Error(err)
	}
	if err := tab.SetNexthop(Nexthop{ID: 3, Members: []Member{{1, 1}, {9, 1}}}, false, true); err != ErrNone {
		t.Error(err)
	}
	if err := tab.SetNexthop(Nexthop{ID: 3, Members: []Member{{1, 1}, {2, 1}}}, false, true); err != nil {
		t.Fatal(err)
	}
	if err := tab.SetNexthop(Nexthop{ID: 4, Members: []Member{{3, 1}}}, false, true); err != ErrNone {
		t.Error("a group of groups:", err)
	}
	tab.Add(Route{Destination: prefix("198.18.0.0/24"), Nexthop: 3})
	if n := taken(tab); n[2] == 0 || n[3] == 0 {
		t.Error("a group:", n)
	}
	tab.SetNexthop(Nexthop{ID: 1, Blackhole: true}, true, false)
	if n := taken(tab); n[3] != 256 {
		t.Error("a member that leads nowhere:", n)
	}
	tab.DeleteNexthop(2)
	tab.DeleteNexthop(1)
	if len(tab.Nexthops()) != 0 || len(taken(tab)) != 0 {
		t.Error("a group outlives its members:", tab.Nexthops())
	}
	for range maxNexthops + 1 {
		if err := tab.SetNexthop(Nexthop{Hop: hop(2)}, false, true); err != nil && len(tab.Nexthops()) < maxNexthops {
			t.Fatal(err)
		}
	}
	if len(tab.Nexthops()) != maxNexthops {
		t.Error("without bounds:", len(tab.Nexthops()))
	}
}

// Rules go by ports, users and traffic classes, and jump; a route can send on to the next rule.
func TestRuleKinds(t *testing.T) {
	tab := ways()
	tab.Add(Route{Destination: prefix("0.0.0.0/0"), Interface: 2, Table: 100})
	tab.Add(Route{Destination: prefix("0.0.0.0/0"), Interface: 3})
	far := netip.MustParseAddr("198.18.0.1")
	out := func(q Query) int {
		q.Dst = far
		p, v := tab.Find(q)
		if v != Found {
			return -int(v)
		}
		return p.Out.Index
	}
	for _, c := range []struct {
		name    string
		r       Rule
		yes, no Query
	}{
		{"port", Rule{Priority: 1, Table: 100, Protocol: 6, Targets: Range{80, 90}}, Query{Protocol: 6, DstPort: 85}, Query{Protocol: 6, DstPort: 91}},
		{"protocol", Rule{Priority: 1, Table: 100, Protocol: 6, Targets: Range{80, 90}}, Query{Protocol: 6, DstPort: 80}, Query{Protocol: 17, DstPort: 80}},
		{"source", Rule{Priority: 1, Table: 100, Sources: Range{7, 7}}, Query{SourcePort: 7}, Query{}},
		{"root", Rule{Priority: 1, Table: 100, Whose: true}, Query{}, Query{UID: 1}},
		{"tos", Rule{Priority: 1, Table: 100, TOS: 0x10}, Query{TOS: 0x12}, Query{TOS: 0x20}},
	} {
		tab.SetRules([]Rule{c.r})
		if y, n := out(c.yes), out(c.no); y != 2 || n != 3 {
			t.Error(c.name, y, n)
		}
	}
	tab.SetRules([]Rule{{Priority: 1, Kind: Goto, Target: 5, Mark: 1, Mask: 1}, {Priority: 2, Kind: Goto, Target: 7, Mark: 2, Mask: 2}, {Priority: 4, Kind: Prohibit}, {Priority: 5, Table: 100}})
	if out(Query{Mark: 1}) != 2 || out(Query{Mark: 2}) != -int(Forbidden) || out(Query{}) != -int(Forbidden) {
		t.Error("jumps:", out(Query{Mark: 1}), out(Query{Mark: 2}), out(Query{}))
	}
	tab.SetRules([]Rule{{Priority: 1, Kind: Goto, Target: MainPriority}, {Priority: 2, Table: 100}})
	if out(Query{}) != 3 {
		t.Error("a jump to the end")
	}
	tab.Add(Route{Destination: prefix("198.18.0.0/24"), Kind: Throw, Table: 100})
	tab.SetRules([]Rule{{Priority: 1, Table: 100}})
	if out(Query{}) != 3 {
		t.Error("a thrown one")
	}
	tab.Add(Route{Destination: prefix("198.18.0.0/16"), Kind: Own, Table: Local, Interface: 1})
	if p, v := tab.Find(Query{Dst: far}); v != Found || !p.Out.Loopback {
		t.Error("a network of our own:", p, v)
	}
}
