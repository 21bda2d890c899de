package policy

import (
	"net/netip"
	"testing"
)

func TestAllows(t *testing.T) {
	for _, c := range []struct {
		rules []string
		proto uint8
		to    string
		port  uint16
		want  bool
	}{
		{nil, TCP, "1.2.3.4", 80, true},
		{[]string{"deny 10.0.0.0/8"}, TCP, "10.1.2.3", 80, false},
		{[]string{"deny 10.0.0.0/8"}, UDP, "11.1.2.3", 80, true},
		{[]string{"allow tcp:*:443"}, TCP, "1.2.3.4", 443, true},
		{[]string{"allow tcp:*:443"}, TCP, "1.2.3.4", 80, false},
		{[]string{"allow tcp:*:443"}, UDP, "1.2.3.4", 443, false},
		{[]string{"allow 10.0.0.5", "deny 10.0.0.0/8"}, TCP, "10.0.0.5", 1, true},
		{[]string{"deny 10.0.0.0/8", "allow *"}, TCP, "10.0.0.5", 1, false},
		{[]string{"allow udp:[fd00::/8]:53-54"}, UDP, "fd00::1", 54, true},
		{[]string{"allow udp:[fd00::/8]:53-54"}, UDP, "fd00::1", 55, false},
		{[]string{"allow icmp:*"}, ICMPv6, "fd00::1", 0, true},
		{[]string{"allow icmp:*"}, TCP, "fd00::1", 1, false},
		{[]string{"deny 10.0.0.1"}, TCP, "::ffff:10.0.0.1", 1, false},
		{[]string{"allow *:53"}, ICMP, "10.0.0.1", 0, false},
	} {
		p, err := Parse(c.rules)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := p.Allows(Flow{Protocol: c.proto, To: netip.MustParseAddr(c.to), Port: c.port}); got != c.want {
			t.Errorf("%q: %d to %s:%d: %v", c.rules, c.proto, c.to, c.port, got)
		}
	}
}

func TestNames(t *testing.T) {
	p, err := Parse([]string{"deny bad.example.com", "allow tcp:*.Example.com:443", "allow redis", "resolver 10.0.0.2"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"bad.example.com": false, "a.example.com": true, "a.b.example.com": true, "example.com": false,
		"xexample.com": false, "redis": true, "redis.evil": false} {
		if p.Resolves(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
		f := Flow{Protocol: TCP, To: netip.MustParseAddr("1.2.3.4"), Port: 443, Names: []string{"other", name}}
		if p.Allows(f) != want {
			t.Errorf("to %s: %v", name, !want)
		}
	}
	if p.Allows(Flow{Protocol: TCP, To: netip.MustParseAddr("1.2.3.4"), Port: 80, Names: []string{"a.example.com"}}) {
		t.Error("another port passed")
	}
	if _, err := Parse([]string{"allow example.com"}); err == nil {
		t.Error("names without a resolver are taken")
	}
	if p, _ := Parse([]string{"deny evil.com", "resolver 10.0.0.2"}); !p.Resolves("good.com") || p.Resolves("evil.com") {
		t.Error("a deny rule by name denies others or not its own")
	}
}

func TestWrongRules(t *testing.T) {
	for _, line := range []string{"", "allow", "permit *", "allow 1.2.3", "allow a..b", "allow -a", "allow a b", "resolver x", "allow [a]", "allow *.", "allow 10.0.0.0/33", "deny tcp:*:0", "deny *:9-3", "deny *:70000", "deny icmp:*:1", "allow [::1", "allow [::1]x", "deny fe80::1%eth0"} {
		if p, err := Parse([]string{line}); err == nil {
			t.Errorf("%q is taken as %+v", line, p)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("allow tcp:[fd00::/8]:1-2")
	f.Fuzz(func(t *testing.T, line string) {
		if p, err := Parse([]string{line}); err == nil {
			p.Allows(Flow{Protocol: TCP, To: netip.IPv6Unspecified(), Port: 1})
			p.Resolves(line)
		}
	})
}

// TestDeniedByTranslation: an IPv6 address that a router makes the denied one of.
func TestDeniedByTranslation(t *testing.T) {
	p, err := Parse([]string{"deny 10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	allowed, err := Parse([]string{"allow 10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	for to, denied := range map[string]bool{
		"64:ff9b::a01:203": true, "2002:a01:203::1": true, "::ffff:10.1.2.3": true,
		"64:ff9b::b01:203": false, "2002:b01:203::1": false, "64:ff9b:1::a01:203": false,
	} {
		f := Flow{Protocol: TCP, To: netip.MustParseAddr(to), Port: 80}
		if p.Allows(f) == denied {
			t.Errorf("%s: denied %v", to, !denied)
		}
		if to != "::ffff:10.1.2.3" && allowed.Allows(f) {
			t.Errorf("%s is allowed, and is another network's", to)
		}
	}
}
