package mib

import (
	"strings"
	"testing"
)

// Every counter has a name of its own, and a pair's two names are one object's.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for k := Counter(0); k < counters; k++ {
		name := k.Name()
		if name == "" || seen[name] {
			t.Errorf("counter %d: name %q", k, name)
		}
		seen[name] = true
	}
	for _, p := range pairs {
		bare := strings.NewReplacer("IpExt", "", "Ip", "").Replace(p[0])
		if want := strings.Replace(p[1], "6", "", 1); want != p[0] && !strings.HasSuffix(p[1], bare) {
			t.Errorf("%s beside %s", p[0], p[1])
		}
	}
	for k, want := range map[Counter]string{
		DeliveredCE: "TcpExtTCPDeliveredCE", Of(true, LiteIgnoredMulti): "UdpLite6IgnoredMulti", InBcastPkts: "IpExtInBcastPkts",
		Of(true, ICMPInMsgs): "Icmp6InMsgs", KeepAlive: "TcpExtTCPKeepAlive", TCPOutRsts: "TcpOutRsts", Of(false, InCE): "IpExtInCEPkts",
	} {
		if k.Name() != want {
			t.Errorf("%d is %s, not %s", k, k.Name(), want)
		}
	}
}

func TestCounters(t *testing.T) {
	var c Counters
	c.Inc(Of(true, InReceives))
	c.Add(TCPInSegs, 3)
	c.ICMP(false, true, 8)
	got := c.All()
	for name, n := range map[string]uint64{"Ip6InReceives": 1, "TcpInSegs": 3, "IcmpOutMsgs": 1, "IcmpMsgOutType8": 1} {
		if got[name] != n {
			t.Errorf("%s: %d, not %d", name, got[name], n)
		}
	}
	if len(got) != 4 {
		t.Error(got)
	}
}
