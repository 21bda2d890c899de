package net_test

import (
	"strings"
	"testing"
)

// TestIoctls changes addresses, routes and neighbours the way that was there before netlink.
func TestIoctls(t *testing.T) {
	t.Parallel()
	needs(t, "busybox", "ip", "bash", "ping")
	w := newWire(t)
	out := w.run(w.sandbox(nil, "bash", "-c", `
b() { busybox "$@" 2>&1; }
b ifconfig eth0 10.55.0.1 && ip -4 -br address show eth0
b ifconfig eth0 10.55.0.1 netmask 255.255.255.0 && ip -4 -br address show eth0
b ifconfig eth0 netmask 255.0.255.0
b route add -net 10.66.0.0 netmask 255.255.0.0 gw 10.55.0.9 metric 3 && ip route show 10.66.0.0/16
b route add -host 10.77.0.1 dev eth0 && ip route show 10.77.0.1
b route add default gw 10.55.0.9 && ip route show default
b route del default && b route del -net 10.66.0.0 netmask 255.255.0.0 && ip route show 10.66.0.0/16 && echo gone
b route del default
b route add default gw 10.88.0.9
b arp -s 10.55.0.7 02:00:00:00:00:77 -i eth0 && ip neigh show 10.55.0.7
b arp -d 10.55.0.7 -i eth0 && ip neigh show 10.55.0.7 && echo forgotten
b ifconfig eth0 `+insideV4+` netmask 255.255.255.0 && ping -c 1 -W 5 `+outsideV4+`
b ifconfig eth0 0.0.0.0 && ip -4 -br address show eth0; echo end`))
	at := 0
	for _, want := range []string{"10.55.0.1/8", "10.55.0.1/24", "Invalid argument", "10.66.0.0/16 via 10.55.0.9 dev eth0", "metric 3", "10.77.0.1 dev eth0", "scope link",
		"default via 10.55.0.9 dev eth0", "gone", "No such process", "unreachable", "10.55.0.7 dev eth0 lladdr 02:00:00:00:00:77 PERMANENT", "forgotten", "1 received", "end"} {
		i := strings.Index(out[at:], want)
		if i < 0 {
			t.Fatalf("there is no %q behind byte %d of:\n%s", want, at, out)
		}
		at += i + len(want)
	}
}
