package ip

import (
	"net/netip"
	"testing"
)

// RFC 6724, section 10.1, and rule 3, whatever the order.
func TestSource(t *testing.T) {
	for _, c := range []struct {
		dst, want, other string
		flags            AddressFlags // of the other
	}{
		{"2001:db8:1::1", "2001:db8:3::1", "fe80::1", 0},                     // rule 2
		{"ff05::1", "2001:db8:3::1", "fe80::1", 0},                           // rule 2
		{"fe80::5", "fe80::1", "2001:db8:3::1", 0},                           // rule 2
		{"2001:db8:1::1", "2001:db8:1::1", "2001:db8:2::1", 0},               // rule 1
		{"2001:db8:1::1", "2001:db8:1::2", "2001:db8:3::2", 0},               // rule 8
		{"2002:c633:6401::1", "2002:c633:6401::d5e3", "2001:db8:1::2", 0},    // rule 6
		{"fd12::9", "fdff::1", "2001:db8::1", 0},                             // rule 6
		{"2001:db8:1::1", "2001:db8:3::2", "2001:db8:1::2", Deprecated},      // rule 3
		{"2001:db8:1::1", "2001:db8:1::5", "fe80::1", Deprecated},            // rule 2
		{"2001:db8:1::1", "2001:db8:3::2", "2001:db8:1::1", Tentative},       // not ours
		{"2001:db8:1::1", "fe80::1", "2001:db8:1::2", Tentative | Failed},    // not ours
		{"2001:db8:1::1", "2001:db8:3::2", "2001:db8:3::7", Deprecated},      // rule 3
		{"2001:db8:1:ffff::1", "2001:db8:1::1", "2001:db8:2:ffff::2", NoDAD}, // rule 8
	} {
		parse := func(s string, f AddressFlags) Address {
			return Address{Prefix: netip.PrefixFrom(netip.MustParseAddr(s), 64), Flags: f}
		}
		a, b := parse(c.want, 0), parse(c.other, c.flags)
		for _, all := range [][]Address{{a, b}, {b, a}} {
			i := Interface{Addresses: all}
			if got := i.Source(netip.MustParseAddr(c.dst)); got != a.Addr() {
				t.Errorf("to %s: %s of %s and %s", c.dst, got, c.want, c.other)
			}
		}
	}
	i := Interface{Addresses: []Address{{Prefix: netip.MustParsePrefix("fd00::1/64"), Flags: Deprecated}}}
	if got := i.Source(netip.MustParseAddr("fd00::2")); !got.IsValid() {
		t.Error("a deprecated one is better than none")
	}
}
