package route

import (
	"net/netip"
	"testing"

	"bulkhead/services/netd/ip"
)

// Rules go by more than addresses, and some lead nowhere.
func TestRules(t *testing.T) {
	var tab Table
	for i, net := range []string{"10.0.0.1/24", "10.1.0.1/24", "10.2.0.1/24"} {
		tab.AddInterface(&ip.Interface{Index: i + 1, Name: string(rune('a' + i)), MTU: 1500, Addresses: ip.Static(netip.MustParsePrefix(net))})
		tab.Add(Route{Destination: netip.MustParsePrefix("0.0.0.0/0"), Interface: i + 1, Table: uint32(100 + i)})
	}
	tab.Add(Route{Destination: netip.MustParsePrefix("0.0.0.0/0"), Interface: 1})
	far, near := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.2.0.9")
	for name, c := range map[string]struct {
		rules []Rule
		q     Query
		out   int
		v     Verdict
	}{
		"no rule":          {nil, Query{Dst: far}, 1, Found},
		"mark":             {[]Rule{{Mark: 1, Mask: 1<<32 - 1, Table: 101}}, Query{Dst: far, Mark: 1}, 2, Found},
		"another mark":     {[]Rule{{Mark: 1, Mask: 1<<32 - 1, Table: 101}}, Query{Dst: far, Mark: 2}, 1, Found},
		"some bits":        {[]Rule{{Mark: 0x20, Mask: 0xf0, Table: 101}}, Query{Dst: far, Mark: 0x12f}, 2, Found},
		"not a mark":       {[]Rule{{Mark: 1, Mask: 1<<32 - 1, Invert: true, Table: 101}}, Query{Dst: far}, 2, Found},
		"not, and it is":   {[]Rule{{Mark: 1, Mask: 1<<32 - 1, Invert: true, Table: 101}}, Query{Dst: far, Mark: 1}, 1, Found},
		"came by":          {[]Rule{{In: "b", Table: 102}}, Query{Dst: far, In: "b"}, 3, Found},
		"came by another":  {[]Rule{{In: "b", Table: 102}}, Query{Dst: far, In: "a"}, 1, Found},
		"this host's":      {[]Rule{{In: "lo", Table: 102}}, Query{Dst: far}, 3, Found},
		"bound to":         {[]Rule{{Out: "c", Table: 102}}, Query{Dst: far, Out: 3}, 3, Found},
		"blackhole":        {[]Rule{{Kind: Blackhole}}, Query{Dst: far}, 0, Dropped},
		"prohibit":         {[]Rule{{Kind: Prohibit}}, Query{Dst: far}, 0, Forbidden},
		"unreachable":      {[]Rule{{Kind: Unreachable}}, Query{Dst: far}, 0, NoRoute},
		"no default route": {[]Rule{{Table: Main, Longer: 1}, {Table: 101, Priority: 1}}, Query{Dst: far}, 2, Found},
		"a longer one":     {[]Rule{{Table: Main, Longer: 1}, {Table: 101, Priority: 1}}, Query{Dst: near}, 3, Found},
		"an IPv6 one":      {[]Rule{{V6: true, Table: 101}}, Query{Dst: far}, 1, Found},
	} {
		tab.SetRules(c.rules)
		p, v := tab.Find(c.q)
		if v != c.v || v == Found && p.Out.Index != c.out {
			t.Errorf("%s: %v by %+v, want %v by %d", name, v, p.Out, c.v, c.out)
		}
	}
	r := Rule{Priority: 5, Mark: 1, Mask: 3, Invert: true, Table: 7}
	tab.SetRules(nil)
	if tab.AddRule(r) != nil || tab.AddRule(r) != ErrExists || tab.DeleteRule(Rule{Mark: 2, Mask: 3}) != ErrNone || tab.DeleteRule(Rule{Mark: 1, Mask: 3}) != nil {
		t.Error("a rule is not told by its mark")
	}
}
