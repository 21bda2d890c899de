package net_test

import (
	"strings"
	"testing"
)

// TestIPOptions has routes and times recorded on the way, and asks for datagrams that are
// not to be taken apart.
func TestIPOptions(t *testing.T) {
	t.Parallel()
	needs(t, "ping", "python3")
	w := newWire(t)
	for _, c := range []struct {
		option []string
		want   []string
	}{
		{[]string{"-R"}, []string{"RR: \t" + insideV4 + "\n\t" + outsideV4 + "\n\t" + outsideV4 + "\n\t" + insideV4}},
		{[]string{"-T", "tsandaddr"}, []string{"TS: \t" + insideV4, outsideV4}},
	} {
		out := w.run(w.sandbox(nil, append([]string{"ping", "-n", "-c", "1", "-W", "5", outsideV4}, c.option...)...))
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("ping %v: there is no %q in:\n%s", c.option, want, out)
			}
		}
	}
	out := w.run(w.sandbox(nil, "python3", "-c", `
import errno, socket
for family, level, option, value, host, fits in ((socket.AF_INET, socket.IPPROTO_IP, 10, 2, "`+outsideV4+`", 1472), (socket.AF_INET6, socket.IPPROTO_IPV6, 62, 1, "`+outsideV6+`", 1452)):
    for linked in False, True:
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.setsockopt(level, option, value)
        if linked: s.connect((host, 9))
        for n in fits + 1, fits:
            try: print(s.send(bytes(n)) if linked else s.sendto(bytes(n), (host, 9)))
            except OSError as e: print(errno.errorcode[e.errno])
`))
	if want := "EMSGSIZE 1472 EMSGSIZE 1472 EMSGSIZE 1452 EMSGSIZE 1452"; strings.Join(strings.Fields(out), " ") != want {
		t.Errorf("not to be taken apart: %s, want %s", out, want)
	}
}

// TestRoutingRules sends by a rule's table, and takes the rule away again.
func TestRoutingRules(t *testing.T) {
	t.Parallel()
	needs(t, "ip", "ping", "bash")
	w := newWire(t)
	out := w.run(w.sandbox(nil, "bash", "-c", strings.Join([]string{
		"ip rule", "ip -6 rule", "ip rule add from " + insideV4 + " table 100", "ip route add blackhole default table 100", "ip rule",
		"ping -c 1 -W 1 -I " + insideV4 + " " + outsideV4, "ip rule del from " + insideV4 + " table 100",
		"ip rule del from " + insideV4 + " table 100", "ping -c 1 -W 5 -I " + insideV4 + " " + outsideV4, "ip neigh flush dev eth0 && echo flushed", "tc qdisc show dev eth0",
		"ip rule add l3mdev pref 1000", "true"}, "; ")+" 2>&1"))
	at := 0
	for _, want := range []string{"0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n0:\tfrom all lookup local\n32766:\tfrom all lookup main\n",
		"32765:\tfrom " + insideV4 + " lookup 100", "0 received", "No such file or directory", "1 received", "flushed", "qdisc noqueue 0: root", "not supported"} {
		i := strings.Index(out[at:], want)
		if i < 0 {
			t.Fatalf("there is no %q behind byte %d of:\n%s", want, at, out)
		}
		at += i + len(want)
	}
}
