package neigh

import (
	"net/netip"
	"testing"

	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/wire"
)

var (
	autoMAC   = [6]byte{2, 0, 0, 0, 0, 1}
	autoLocal = netip.MustParseAddr("fe80::ff:fe00:1")
	router1   = netip.MustParseAddr("fe80::a")
	router2   = netip.MustParseAddr("fe80::b")
	net1      = netip.MustParsePrefix("2001:db8:1::/64")
	made1     = netip.MustParseAddr("2001:db8:1::ff:fe00:1")
)

// auto is an interface under virtual time: now moves on by run alone.
type auto struct {
	Autoconf
	now  Time
	last map[netip.Addr]ip.Address
	sent map[ChangeKind]int
	all  []Change
}

func newAuto(s Settings, have ...ip.Address) *auto {
	x := &auto{now: Second, last: map[netip.Addr]ip.Address{}, sent: map[ChangeKind]int{}}
	x.Settings, x.MAC = s, autoMAC
	x.Random = func(n int64) int64 { return n / 2 }
	x.Start(x.now, have)
	x.poll()
	return x
}

func (x *auto) poll() {
	for _, c := range x.Poll(x.now) {
		x.sent[c.Kind]++
		x.all = append(x.all, c)
		switch c.Kind {
		case AddAddress, SetAddress:
			x.last[c.Address.Addr()] = c.Address
		case RemoveAddress:
			delete(x.last, c.Address.Addr())
		}
	}
}

// run lets d pass.
func (x *auto) run(d Time) {
	end := x.now + d
	for n := 0; x.Deadline() <= end; n++ {
		if n == 10000 {
			panic("it does not come to rest")
		}
		x.now = max(x.Deadline(), x.now)
		x.poll()
	}
	x.now = end
	x.poll()
}

func (x *auto) flags(a netip.Addr) ip.AddressFlags {
	l := x.last[a]
	return l.Flags
}

var defaults = Settings{Enabled: true, AcceptRA: true, Autoconf: true, AcceptRedirects: true, DADTransmits: 1, RouterSolicits: -1, SolicitationWait: Second}

func advert(prefix netip.Prefix, valid, preferred uint32) *wire.RouterAdvert {
	ra := &wire.RouterAdvert{Lifetime: 1800}
	ra.Options.Prefixes[0] = wire.PrefixInfo{Prefix: prefix, OnLink: true, Auto: true, Valid: valid, Preferred: preferred}
	ra.Options.PrefixCount = 1
	return ra
}

// The way to a link-local address and the question for routers, with Linux's times.
func TestAutoconf_start(t *testing.T) {
	x := newAuto(defaults)
	if x.flags(autoLocal) != ip.Tentative {
		t.Fatalf("%v", x.last)
	}
	x.run(Second / 2)
	if x.sent[ProbeAddress] != 1 || x.flags(autoLocal) != ip.Tentative || x.sent[AskRouters] != 0 {
		t.Error(x.sent, x.last)
	}
	x.run(Second)
	if x.flags(autoLocal) != 0 || x.sent[AskRouters] != 1 {
		t.Error(x.sent, x.last)
	}
	x.run(4 * Second)
	if x.sent[AskRouters] != 2 {
		t.Error(x.sent)
	}
	x.run(24 * 3600 * Second)
	if n := x.sent[AskRouters]; n < 24 || n > 60 {
		t.Error("in a day", n, "solicitations")
	}
	x.Advertised(x.now, router1, &wire.RouterAdvert{})
	before := x.sent[AskRouters]
	x.run(24 * 3600 * Second)
	if x.sent[AskRouters] != before {
		t.Error("it goes on asking")
	}
}

func TestAutoconf_settings(t *testing.T) {
	s := defaults
	s.DADTransmits = 0
	x := newAuto(s)
	if x.flags(autoLocal) != 0 || x.sent[ProbeAddress] != 0 || x.sent[AskRouters] != 1 {
		t.Error("no DAD:", x.sent, x.last)
	}
	s = defaults
	s.DADTransmits, s.RouterSolicits, s.Retransmit = 3, 2, Second/10
	x = newAuto(s)
	x.run(3600 * Second)
	if x.sent[ProbeAddress] != 3 || x.sent[AskRouters] != 2 {
		t.Error(x.sent)
	}
	s.AcceptRA = false
	x = newAuto(s)
	x.Advertised(x.now, router1, advert(net1, 9, 9))
	x.run(3600 * Second)
	if x.sent[AskRouters] != 0 || x.sent[SetRouter] != 0 || x.sent[AddAddress] != 1 {
		t.Error("routers are not to be believed:", x.sent)
	}
	s = defaults
	s.Autoconf = false
	x = newAuto(s)
	x.Advertised(x.now, router1, advert(net1, 9, 9))
	x.run(Second)
	if x.sent[SetRouter] != 1 || x.sent[SetNetwork] != 1 || x.sent[AddAddress] != 1 {
		t.Error("no addresses are to be made:", x.sent)
	}
	x = newAuto(Settings{}, ip.Static(netip.MustParsePrefix("fd00::1/64"))...)
	if a := x.Add(x.now, ip.Address{Prefix: netip.MustParsePrefix("fd00::2/64")}); a.Flags != 0 || len(x.all) != 0 || x.Deadline() != Never {
		t.Error("switched off:", a, x.all)
	}
}

// Whoever solicits for an address as we do, or advertises it, has it: RFC 4862, 5.4.
func TestAutoconf_duplicate(t *testing.T) {
	for what, heard := range map[string]func(x *auto){
		"another looks too":  func(x *auto) { x.Heard(autoLocal, true, Nonce{}) },
		"with its own nonce": func(x *auto) { x.Heard(autoLocal, true, Nonce{1}) },
	} {
		x := newAuto(defaults)
		x.run(Second)
		heard(x)
		x.run(10 * Second)
		if x.flags(autoLocal) != ip.Tentative|ip.Failed || x.sent[AskRouters] != 0 {
			t.Error(what, x.last, x.sent)
		}
	}
	x := newAuto(defaults)
	x.run(Second)
	nonce := x.all[len(x.all)-1].Nonce
	if (nonce == Nonce{}) {
		t.Error("no nonce")
	}
	if !x.Heard(autoLocal, true, nonce) || !x.Heard(autoLocal, false, Nonce{}) {
		t.Error("it is answered for")
	}
	x.run(10 * Second)
	if x.flags(autoLocal) != 0 {
		t.Error("our own solicitation, or somebody's resolution, counts:", x.last)
	}
	if x.Heard(autoLocal, true, Nonce{}) {
		t.Error("it is ours by now")
	}
}

func TestAutoconf_prefix(t *testing.T) {
	x := newAuto(defaults)
	x.run(2 * Second)
	x.Advertised(x.now, router1, advert(net1, 7200+600, 600))
	x.poll()
	if x.flags(made1) != ip.Autonomous|ip.Tentative || x.sent[SetNetwork] != 1 || x.sent[SetRouter] != 1 {
		t.Fatal(x.last, x.sent)
	}
	x.run(2 * Second)
	if x.flags(made1) != ip.Autonomous {
		t.Error(x.last)
	}
	x.run(599 * Second)
	if x.flags(made1) != ip.Autonomous|ip.Deprecated {
		t.Error("not deprecated:", x.last)
	}
	x.Advertised(x.now, router1, advert(net1, 9000, 600))
	x.poll()
	if x.flags(made1) != ip.Autonomous || x.last[made1].Valid != x.now+9000*Second || x.sent[AddAddress] != 2 {
		t.Error("not refreshed:", x.last, x.sent)
	}
	x.run(9000 * Second)
	if _, there := x.last[made1]; there || x.sent[RemoveNetwork] != 1 || x.sent[RemoveRouter] != 1 {
		t.Error("it outlives its lifetime:", x.last, x.sent)
	}
}

// RFC 4862, section 5.5.3, e.
func TestAutoconf_twoHours(t *testing.T) {
	const forever = wire.NDForever
	for _, c := range []struct{ have, said, want uint32 }{
		{86400, 3600, 7200}, // 3
		{86400, 0, 7200},
		{86400, 7300, 7300}, // 1
		{3600, 1800, 3600},  // 2
		{3600, 3700, 3700},
		{3600, 0, 3600},
		{forever, 60, 7200},
		{3600, forever, forever},
		{forever, forever, forever},
	} {
		x := newAuto(defaults)
		x.Advertised(x.now, router1, advert(net1, c.have, c.have))
		x.poll()
		x.Advertised(x.now, router1, advert(net1, c.said, 0))
		x.poll()
		if x.last[made1].Valid != expiry(x.now, c.want) || !(c.said == 0 || x.flags(made1)&ip.Deprecated != 0) {
			t.Errorf("%d, then %d: %+v", c.have, c.said, x.last[made1])
		}
	}
}

// What a router must not do: RFC 4862, section 5.5.3, a to d.
func TestAutoconf_refusedPrefixes(t *testing.T) {
	x := newAuto(defaults)
	x.run(2 * Second)
	for _, ra := range []*wire.RouterAdvert{
		advert(netip.MustParsePrefix("fe80::/64"), 9000, 9000),
		advert(netip.MustParsePrefix("ff02::/64"), 9000, 9000),
		advert(netip.MustParsePrefix("::/0"), 9000, 9000),
		advert(net1, 600, 601),
		advert(net1, 0, 0),
	} {
		x.Advertised(x.now, router1, ra)
	}
	x.poll()
	if x.sent[SetNetwork] != 0 || x.sent[AddAddress] != 1 {
		t.Error(x.all)
	}
	x.Advertised(x.now, router1, advert(netip.MustParsePrefix("2001:db8:2::/56"), 9000, 9000))
	x.poll()
	if x.sent[SetNetwork] != 1 || x.sent[AddAddress] != 1 {
		t.Error("a prefix that no identifier fits:", x.all)
	}
	for n := range 1000 {
		p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, byte(n >> 8), byte(n)}), 64)
		x.Advertised(x.now, netip.AddrFrom16([16]byte{0xfe, 0x80, 14: byte(n >> 8), 15: byte(n)}), advert(p, 9000, 9000))
		x.Redirected(x.now, p.Addr(), router1)
	}
	x.poll()
	if len(x.addresses) > 1+maxAddresses || len(x.networks) > maxNetworks || len(x.routers) > maxRouters || len(x.redirects) > maxRedirects {
		t.Error(len(x.addresses), len(x.networks), len(x.routers), len(x.redirects))
	}
}

// An address and a router that the host had heard of go on as its own would.
func TestAutoconf_takenOver(t *testing.T) {
	x := newAuto(defaults, ip.Address{Prefix: netip.MustParsePrefix("fe80::77/64")},
		ip.Address{Prefix: netip.MustParsePrefix("2001:db8:1::1234/64"), Flags: ip.Autonomous, Valid: Second + 300*Second, Preferred: Second + 200*Second})
	x.KnowRouter(router1, x.now+100*Second)
	x.poll()
	if x.sent[ProbeAddress] != 0 || x.sent[AddAddress] != 0 || x.sent[AskRouters] != 1 || x.sent[SetNetwork] != 1 {
		t.Fatal(x.all)
	}
	x.run(90 * Second)
	x.Advertised(x.now, router1, advert(net1, 7300, 400))
	x.run(1000 * Second)
	a := x.last[netip.MustParseAddr("2001:db8:1::1234")]
	if a.Flags != ip.Autonomous|ip.Deprecated || x.sent[AddAddress] != 0 || x.sent[RemoveRouter] != 0 {
		t.Error(a, x.sent)
	}
	x.run(7300 * Second)
	if x.sent[RemoveAddress] != 1 || x.sent[RemoveRouter] != 1 || x.sent[RemoveNetwork] != 1 {
		t.Error(x.sent)
	}
}

func TestAutoconf_routers(t *testing.T) {
	x := newAuto(defaults)
	last := func() Change { return x.all[len(x.all)-1] }
	x.Advertised(x.now, router1, &wire.RouterAdvert{Lifetime: 100, Preference: 1})
	x.Advertised(x.now, router2, &wire.RouterAdvert{Lifetime: 200})
	x.poll()
	x.Silent(router1)
	x.poll()
	if c := last(); c.Kind != SetRouter || c.Router != router1 || c.Preference != leastPreferred {
		t.Error("silent:", c)
	}
	x.Redirected(x.now, made1, router2)
	x.NoRouter(router2)
	x.poll()
	if c := last(); c.Kind != RemoveRedirect || x.sent[RemoveRouter] != 1 {
		t.Error("what it led to stays:", c)
	}
	x.Advertised(x.now, router1, &wire.RouterAdvert{Lifetime: 0})
	x.poll()
	if c := last(); c.Kind != RemoveRouter || c.Router != router1 {
		t.Error("lifetime 0:", c)
	}
	x.Stop()
	x.poll()
	if x.Deadline() != Never || len(x.last) != 0 {
		t.Error("after the end:", x.last)
	}
}

func FuzzAutoconf(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Fuzz(func(t *testing.T, b []byte) {
		x := newAuto(defaults)
		for i := 0; i+3 < len(b); i += 4 {
			p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, b[i+1]}), int(b[i+2]&3)+62).Masked()
			r := netip.AddrFrom16([16]byte{0xfe, 0x80, 15: b[i+1]})
			a := netip.PrefixFrom(x.eui64(p).Addr(), 64)
			seconds := uint32(b[i+3]) * 40
			if b[i+3] == 255 {
				seconds = wire.NDForever
			}
			switch b[i] % 11 {
			case 0, 1:
				ra := advert(p, seconds, seconds/uint32(1+b[i+2]&3))
				ra.Lifetime = uint16(b[i+2]) * 9
				x.Advertised(x.now, r, ra)
			case 2:
				x.Heard(a.Addr(), b[i+2]&1 != 0, Nonce{b[i+3] & 1})
			case 3:
				x.Add(x.now, ip.Address{Prefix: a, Valid: x.now + Time(seconds)*Second})
			case 4:
				x.Forget(a.Addr())
			case 5:
				x.Silent(r)
			case 6:
				x.NoRouter(r)
			case 7:
				x.Redirected(x.now, a.Addr(), r)
			case 8:
				x.Stop()
				x.poll()
				x.Start(x.now, nil)
			case 9:
				x.Change(x.now, ip.Address{Prefix: a, Flags: ip.AddressFlags(b[i+2]), Preferred: x.now + Time(b[i+3])})
			default:
				x.run(Time(b[i+3]) * 3 * Second)
			}
			x.poll()
			if x.Deadline() <= x.now {
				t.Fatal("a deadline in the past is left")
			}
		}
	})
}

// An address that somebody added for a time goes after it, of IPv4 too; changed, it
// stays.
func TestAutoconf_lifetimes(t *testing.T) {
	v4 := ip.Address{Prefix: netip.MustParsePrefix("169.254.0.1/16")}
	x := newAuto(Settings{AcceptRA: true, RouterSolicits: 1}, v4)
	v4.Valid = x.now + 100*Second
	x.Add(x.now, v4)
	v6 := ip.Address{Prefix: netip.MustParsePrefix("fd00::1/64"), Valid: x.now + 100*Second, Preferred: x.now + 50*Second}
	x.last[v6.Addr()] = x.Add(x.now, v6)
	x.run(60 * Second)
	if x.flags(v6.Addr()) != ip.Deprecated || x.sent[AskRouters] != 0 {
		t.Error(x.last, x.sent)
	}
	v6.Valid, v6.Preferred = 0, 0
	x.Change(x.now, v6)
	x.run(60 * Second)
	if a, there := x.last[v6.Addr()]; !there || a.Flags != 0 || x.sent[RemoveAddress] != 1 {
		t.Error(x.last, x.sent)
	}
}
