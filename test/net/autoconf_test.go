package net_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"bulkhead/test/sandboxtest"
)

// What the router advertises, its own address in that network, and one behind it.
const (
	routerNet  = "fd98:6::"
	routerOwn  = "fd98:6::2"
	behindOwn  = "fd99::1"
	eventually = "for n in $(seq 600); do %s && break; sleep 0.05; done; "
)

// newRouted has IPv6 only, and a router at its outside. What would take a second in
// Linux takes a twentieth.
func newRouted(t *testing.T) *wire {
	w := bare(t)
	w.ip("link", "add", "eth0", "netns", w.inside, "type", "veth", "peer", "name", "eth0", "netns", w.outside)
	settings := func(ns string, lines ...string) {
		for _, line := range lines {
			path, value, _ := strings.Cut(line, " ")
			w.run([]string{"ip", "netns", "exec", ns, "sh", "-c", fmt.Sprintf("echo %s > /proc/sys/net/ipv6/%s", value, path)})
		}
	}
	settings(w.inside, "conf/eth0/router_solicitation_delay 0", "neigh/eth0/retrans_time_ms 50")
	settings(w.outside, "conf/all/accept_dad 0", "conf/eth0/accept_dad 0", "conf/eth0/forwarding 1")
	for _, ns := range []string{w.inside, w.outside} {
		w.ip("-n", ns, "link", "set", "lo", "up")
		w.ip("-n", ns, "link", "set", "eth0", "up")
	}
	w.ip("-n", w.outside, "address", "add", routerOwn+"/64", "dev", "eth0", "nodad")
	w.ip("-n", w.outside, "address", "add", behindOwn+"/128", "dev", "lo", "nodad")
	return w
}

// A sandbox finds its address and its router by itself, and reaches what is on the
// link and what is behind; another's address it does not use.
func TestAutoconfiguration(t *testing.T) {
	t.Parallel()
	needs(t, "bash", "ping")
	prog := sandboxtest.GoProgram(t, "./test/net/netprog")
	w := newRouted(t)
	w.start(w.peer(prog, "advertise", "eth0", routerNet+"/64", "9000"), "ready")
	w.start(w.peer(prog, "receive", "["+behindOwn+"]:7000"), "ready")
	out := w.run(w.sandbox(nil, "bash", "-c", strings.Join([]string{
		fmt.Sprintf(eventually, "ip -6 address show dev eth0 -tentative | grep -q dynamic"),
		"ip -6 address show dev eth0; ip -6 route; ",
		"ping -c 1 -W 5 " + routerOwn + "; " + prog + " send [" + behindOwn + "]:7000 200000; ",
		"ip -6 address add " + routerOwn + "/64 dev eth0; ",
		fmt.Sprintf(eventually, "ip -6 address show dev eth0 dadfailed | grep -q "+routerOwn),
		"ip -6 address show dev eth0 dadfailed; ",
		"cd /proc/sys/net/ipv6/conf/eth0; echo 0 > accept_ra; echo 3 > dad_transmits; echo settings $(cat accept_ra autoconf dad_transmits)",
	}, "")))
	for _, want := range []string{
		`inet6 fd98:6:[0-9a-f:]*/64 scope global dynamic mngtmpaddr`, `inet6 fe80::[0-9a-f:]*/64 scope link *\n`,
		`default via fe80:[0-9a-f:]* dev eth0 proto ra metric 1024 expires [0-9]*sec pref high`,
		`fd98:6::/64 dev eth0 proto kernel .*metric 256 expires [0-9]*sec`, ` 1 received`, `intact`,
		`inet6 ` + routerOwn + `/64 scope global .*dadfailed`, `settings 0 1 3`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("there is no %q", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// What the host has learnt before is not asked for again, and the router refreshes it.
func TestAutoconfigurationGoesOn(t *testing.T) {
	t.Parallel()
	needs(t, "bash", "ping")
	prog := sandboxtest.GoProgram(t, "./test/net/netprog")
	w := newRouted(t)
	first := w.start(w.peer(prog, "advertise", "eth0", routerNet+"/64", "9000"), "ready")
	learnt := func() string {
		return regexp.MustCompile(`fd98:6:[0-9a-f:]*`).FindString(w.ip("-n", w.inside, "-6", "address", "show", "dev", "eth0", "-tentative"))
	}
	settled(t, func() bool { return learnt() != "" })
	address := learnt()
	if address == "" {
		t.Fatal("the host's side has learnt nothing")
	}
	first.end()
	w.start(w.peer(prog, "advertise", "eth0", routerNet+"/64", "20000"), "ready")
	had := w.config()
	out := w.run(w.sandbox(nil, "bash", "-c", "ip -6 address show dev eth0; "+
		fmt.Sprintf(eventually, "ip -6 address show dev eth0 | grep -q 'valid_lft [12][0-9][0-9][0-9][0-9]sec'")+
		"echo then; ip -6 address show dev eth0; ping -c 1 -W 5 "+behindOwn))
	before, after, _ := strings.Cut(out, "then\n")
	lifetime := regexp.MustCompile(regexp.QuoteMeta(address) + `/64 scope global dynamic[^\n]*\n *valid_lft ([0-9]+)sec`)
	for what, c := range map[string]struct {
		text        string
		least, most int
	}{"before": {before, 8900, 20000}, "after": {after, 19000, 20000}} {
		m := lifetime.FindStringSubmatch(c.text)
		if m == nil {
			t.Errorf("%s there is no %s:\n%s", what, address, out)
			continue
		}
		if n, _ := strconv.Atoi(m[1]); n < c.least || n > c.most {
			t.Errorf("%s %s is valid for %d s", what, address, n)
		}
	}
	if strings.Contains(out, "tentative") || strings.Count(after, "fd98:6:") < 1 || !strings.Contains(after, " 1 received") {
		t.Error(out)
	}
	settled(t, func() bool { return w.config() == had })
	if has := w.config(); has != had {
		t.Errorf("the host's side before\n%s\nand after\n%s", had, has)
	}
}
