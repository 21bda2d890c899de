package ip

import (
	"math/bits"
	"net/netip"
)

// Address is one of an interface's addresses, with the length of its network's
// prefix.
type Address struct {
	netip.Prefix
	// Peer is the other end, and the prefix's length is about its network; not valid: there is
	// none. Broadcast is only told.
	Peer, Broadcast netip.Addr
	Flags           AddressFlags
	// Preferred and Valid are when the address becomes deprecated and when it goes
	// (RFC 4862, section 5.5.4), in nanoseconds of the stack's clock; 0: never.
	Preferred, Valid int64
}

// AddressFlags are numbered as the IFA_F_ bits of rtnetlink(7).
type AddressFlags uint32

// The flags.
const (
	Temporary     AddressFlags = 0x01  // RFC 8981
	NoDAD         AddressFlags = 0x02  // nobody is asked whether they have it too
	Failed        AddressFlags = 0x08  // somebody has it too; Tentative stays
	Deprecated    AddressFlags = 0x20  // not for what begins: RFC 4862, section 5.5.4
	Tentative     AddressFlags = 0x40  // not ours yet: RFC 4862, section 5.4
	Permanent     AddressFlags = 0x80  // of those who list: it has no lifetime
	Autonomous    AddressFlags = 0x100 // IFA_F_MANAGETEMPADDR: made for a router's prefix
	NoPrefixRoute AddressFlags = 0x200 // its network is not on the link by it
)

// Is says whether any of the flags f is set.
func (a *Address) Is(f AddressFlags) bool { return a.Flags&f != 0 }

// Network is what is on the link by the address.
func (a *Address) Network() netip.Prefix {
	if a.Peer.IsValid() {
		return netip.PrefixFrom(a.Peer, a.Bits()).Masked()
	}
	return a.Masked()
}

// Usable says whether the address is this host's: not one that is being checked,
// or that another host has.
func (a *Address) Usable() bool { return a.Flags&Tentative == 0 }

// Static are addresses that nobody takes back.
func Static(prefixes ...netip.Prefix) []Address {
	out := make([]Address, len(prefixes))
	for k, p := range prefixes {
		out[k].Prefix = p
	}
	return out
}

// Scope of an IPv6 address: RFC 4291, section 2.7; RFC 6724, section 3.1.
type scope uint8

const (
	linkLocal scope = 0x2
	siteLocal scope = 0x5
	global    scope = 0xe
)

func scopeOf(a netip.Addr) scope {
	b := a.As16()
	switch {
	case a.IsMulticast():
		return scope(b[1] & 0xf)
	case a.IsLinkLocalUnicast(), a.IsLoopback():
		return linkLocal
	case b[0] == 0xfe && b[1]&0xc0 == 0xc0:
		return siteLocal
	}
	return global
}

// labels is the policy table of RFC 6724, section 2.1, the longest prefix first.
var labels = []struct {
	prefix netip.Prefix
	label  int
}{
	{netip.MustParsePrefix("::1/128"), 0},
	{netip.MustParsePrefix("::ffff:0:0/96"), 4},
	{netip.MustParsePrefix("::/96"), 3},
	{netip.MustParsePrefix("2001::/32"), 5},
	{netip.MustParsePrefix("2002::/16"), 2},
	{netip.MustParsePrefix("3ffe::/16"), 12},
	{netip.MustParsePrefix("fec0::/10"), 11},
	{netip.MustParsePrefix("fc00::/7"), 13},
}

func labelOf(a netip.Addr) int {
	for _, l := range labels {
		if l.prefix.Contains(a) {
			return l.label
		}
	}
	return 1
}

// better says whether a is the better source for dst than b: RFC 6724, section 5,
// for two addresses of one interface. Rule 4 is about Mobile IPv6; as Linux does
// by default, rule 7 makes no difference.
func better(a, b *Address, dst netip.Addr) bool {
	if a.Addr() == dst || b.Addr() == dst { // rule 1
		return a.Addr() == dst
	}
	sa, sb, sd := scopeOf(a.Addr()), scopeOf(b.Addr()), scopeOf(dst)
	if sa < sb { // rule 2
		return sa >= sd
	}
	if sb < sa {
		return sb < sd
	}
	if a.Is(Deprecated) != b.Is(Deprecated) { // rule 3
		return b.Is(Deprecated)
	}
	l := labelOf(dst)
	if la, lb := labelOf(a.Addr()) == l, labelOf(b.Addr()) == l; la != lb { // rule 6
		return la
	}
	return common(a, dst) > common(b, dst) // rule 8
}

// common is the length of the prefix that a and dst have in common, up to that of
// a's network: RFC 6724, section 2.2.
func common(a *Address, dst netip.Addr) int {
	x, y := a.Addr().As16(), dst.As16()
	for k := range x {
		if d := x[k] ^ y[k]; d != 0 {
			return min(8*k+bits.LeadingZeros8(d), a.Bits())
		}
	}
	return a.Bits()
}
