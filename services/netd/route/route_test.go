package route

import (
	"net/netip"
	"testing"

	"bulkhead/services/netd/ip"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func table() *Table {
	t := &Table{}
	t.AddInterface(&ip.Interface{Index: 1, MTU: 65536, Loopback: true, Addresses: ip.Static(prefix("127.0.0.1/8"), prefix("::1/128"))})
	t.AddInterface(&ip.Interface{Index: 2, MTU: 1500, Addresses: ip.Static(prefix("10.1.2.3/24"), prefix("fe80::1/64"), prefix("2001:db8::5/64"))})
	t.AddInterface(&ip.Interface{Index: 3, MTU: 1400, Addresses: ip.Static(prefix("10.9.0.1/16"), prefix("fe80::2/64"))})
	t.Add(Route{Destination: prefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.1.2.1"), Interface: 2})
	return t
}

func TestLookup(t *testing.T) {
	tab := table()
	tab.Add(Route{Destination: prefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.9.0.9"), Interface: 3, Metric: 7})
	tab.Add(Route{Destination: prefix("192.0.2.0/24"), Interface: 3, Source: netip.MustParseAddr("10.1.2.3"), MTU: 1300})
	for _, c := range []struct {
		dst, src, next string
		out, mtu       int
	}{
		{"127.9.9.9", "127.0.0.1", "127.9.9.9", 1, 65536},
		{"10.1.2.3", "10.1.2.3", "10.1.2.3", 1, 65536},
		{"::1", "::1", "::1", 1, 65536},
		{"10.1.2.9", "10.1.2.3", "10.1.2.9", 2, 1500},
		{"10.9.3.3", "10.9.0.1", "10.9.3.3", 3, 1400},
		{"8.8.8.8", "10.1.2.3", "10.1.2.1", 2, 1500},
		{"192.0.2.8", "10.1.2.3", "192.0.2.8", 3, 1300},
		{"2001:db8::9", "2001:db8::5", "2001:db8::9", 2, 1500},
		{"fe80::9", "fe80::1", "fe80::9", 2, 1500},
		{"224.0.0.251", "10.1.2.3", "10.1.2.1", 2, 1500},
		{"ff02::1", "fe80::1", "ff02::1", 2, 1500},
	} {
		p, ok := tab.Lookup(netip.MustParseAddr(c.dst), netip.Addr{})
		if !ok || p.Out.Index != c.out || p.Source.String() != c.src || p.MTU != c.mtu || p.Next.String() != c.next && !p.Next.IsMulticast() {
			t.Errorf("%s: %+v %v", c.dst, p, ok)
		}
	}
	if _, ok := tab.Lookup(netip.MustParseAddr("2002::1"), netip.Addr{}); ok {
		t.Error("a route to nowhere")
	}
	if p, v := tab.Find(Query{Dst: netip.MustParseAddr("8.8.8.8"), Out: 3}); v != Found || p.Next.String() != "10.9.0.9" {
		t.Error("bound to an interface:", p, v)
	}
	if p, v := tab.Find(Query{Dst: netip.MustParseAddr("fe80::77"), Out: 3}); v != Found || p.Source.String() != "fe80::2" {
		t.Error("scoped:", p, v)
	}
	if !tab.Broadcast(netip.MustParseAddr("10.1.2.255")) || tab.Broadcast(netip.MustParseAddr("10.1.2.4")) {
		t.Error("broadcast")
	}
}

func TestChanges(t *testing.T) {
	tab := table()
	far := netip.MustParseAddr("8.8.8.8")
	gen := tab.Generation
	if err := tab.Add(Route{Destination: prefix("0.0.0.0/0"), Interface: 3}); err != ErrExists {
		t.Error(err)
	}
	tab.Replace(Route{Destination: prefix("0.0.0.0/0"), Interface: 3})
	if p, _ := tab.Lookup(far, netip.Addr{}); p.Out.Index != 3 || tab.Generation == gen {
		t.Error("replace", p)
	}
	if err := tab.Delete(Route{Destination: prefix("0.0.0.0/0"), Gateway: far}); err != ErrNone {
		t.Error(err)
	}
	if err := tab.Delete(Route{Destination: prefix("0.0.0.0/0")}); err != nil {
		t.Error(err)
	}
	if _, v := tab.Find(Query{Dst: far}); v != NoRoute {
		t.Error(v)
	}
	for kind, want := range map[Kind]Verdict{Blackhole: Dropped, Unreachable: Refused, Prohibit: Forbidden} {
		tab.Replace(Route{Destination: prefix("8.0.0.0/8"), Kind: kind})
		if _, v := tab.Find(Query{Dst: far}); v != want {
			t.Error(kind, v)
		}
	}
	tab.SetRules([]Rule{{Priority: 5, From: prefix("10.9.0.1/32"), Table: 7}})
	tab.Add(Route{Destination: prefix("0.0.0.0/0"), Interface: 2, Table: 7})
	if p, v := tab.Find(Query{Dst: far, Source: netip.MustParseAddr("10.9.0.1")}); v != Found || p.Out.Index != 2 {
		t.Error("policy", p, v)
	}
	i := tab.Interface(2)
	if err := tab.RemoveAddress(i, netip.MustParseAddr("10.1.2.3")); err != nil {
		t.Error(err)
	}
	if _, v := tab.Find(Query{Dst: netip.MustParseAddr("10.1.2.9")}); v != NoRoute {
		t.Error("the connected route outlives its address:", v)
	}
}

// Routes and addresses are bounded; what is there can be replaced.
func TestFull(t *testing.T) {
	tab := table()
	to := func(i int) Route {
		return Route{Destination: netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)}), 32), Interface: 3}
	}
	tab.routes = nil
	for i := range maxRoutes { // Add would look at all for each
		r := to(i)
		r.normal()
		tab.routes = append(tab.routes, r)
	}
	if err := tab.Add(to(maxRoutes)); err != ErrFull {
		t.Errorf("one more: %v", err)
	}
	if err := tab.Replace(to(maxRoutes)); err != ErrFull {
		t.Errorf("one more, replacing: %v", err)
	}
	if err := tab.Replace(to(7)); err != nil {
		t.Errorf("one that is there: %v", err)
	}
	tab.routes = nil
	i := &ip.Interface{Index: 7}
	for k := range maxAddresses {
		i.Addresses = append(i.Addresses, ip.Address{Prefix: to(k).Destination})
	}
	if err := tab.AddAddress(i, ip.Address{Prefix: to(maxAddresses).Destination}); err != ErrFull {
		t.Errorf("one more address: %v", err)
	}
}
