package net_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// changes is what the test does, and what it watches: a shell's command line. It ends
// once the last of it has been told.
const changes = `
out=$(mktemp)
told() { for n in $(seq 600); do grep -q "$1" $out && return; sleep 0.05; $2; done; echo "nobody tells of $1"; }
again() { ip neigh add 10.98.0.51 lladdr 02:00:00:00:00:51 dev eth0 nud permanent; ip neigh del 10.98.0.51 dev eth0; }
ip -o monitor link address route neigh > $out & told 10.98.0.51 again
ip link set dev eth0 mtu 1400
ip address add 10.98.0.77/24 dev eth0
ip address add fd98::77/64 dev eth0 nodad
ip route add 198.51.100.0/24 via 10.98.0.2 metric 7
ip route replace 198.51.100.0/24 via 10.98.0.9 metric 7
ip route del 198.51.100.0/24
ip -6 route add 2001:db8::/32 via fd98::2
ip -6 route del 2001:db8::/32
ip neigh add 10.98.0.50 lladdr 02:00:00:00:00:50 dev eth0 nud permanent
ip neigh del 10.98.0.50 dev eth0
ip address del 10.98.0.77/24 dev eth0
ip address del fd98::77/64 dev eth0
told "Deleted.*fd98::77/64" :; sleep 0.5; kill $!; wait $! 2>/dev/null; cat $out; rm $out`

// told is what ip-monitor(8) said, without what the sandbox has not: the table of this
// host's own addresses, qdiscs; and without what goes by time.
func told(output string) (lines []string) {
	lifetime := regexp.MustCompile(`(valid_lft|preferred_lft) [^ ]+`)
	noise := regexp.MustCompile(`\b(table local|local|broadcast|multicast|anycast|ff00::/8)\b`)
	for line := range strings.Lines(output) {
		line = lifetime.ReplaceAllString(strings.ReplaceAll(line, `\`, " "), "")
		switch {
		case strings.Contains(line, "link/ether"):
			line = regexp.MustCompile(`.*(eth0).*(mtu [0-9]+).*`).ReplaceAllString(line, "link $1 $2")
		case strings.HasPrefix(line, "Error: Peer netns"): // another test's has gone just now
			continue
		case noise.MatchString(line), strings.Contains(line, "fe80"), strings.Contains(line, "10.98.0.51"):
			continue
		}
		// Linux lets a neighbour fail before it takes it away.
		if strings.Contains(line, "FAILED") && !strings.HasPrefix(line, "Deleted") {
			continue
		}
		line = regexp.MustCompile(`^(Deleted 10.98.0.50 dev eth0).*`).ReplaceAllString(line, "$1")
		line = strings.Join(strings.Fields(line), " ")
		for _, word := range []string{" proto static", " proto boot", " pref medium", " linkdown", " PERMANENT", " proto kernel_ll"} {
			line = strings.ReplaceAll(line, word, "")
		}
		lines = append(lines, line)
	}
	return lines
}

// ip monitor in a sandbox shows the changes that it shows outside.
func TestMonitor(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	settled(t, func() bool { return !strings.Contains(w.ip("-n", w.inside, "address"), "tentative") })
	host := told(w.run([]string{"ip", "netns", "exec", w.inside, "bash", "-c", changes}))
	w.ip("-n", w.inside, "link", "set", "dev", "eth0", "mtu", "1500")
	got := w.run(w.sandbox(nil, "bash", "-c", changes))
	inside := told(got)
	if len(host) < 8 {
		t.Fatalf("the host tells little: %q", host)
	}
	// Within one order Linux and netd differ in what they tell first.
	for _, l := range host {
		if !slices.Contains(inside, l) {
			t.Errorf("not told in the sandbox: %s", l)
		}
	}
	for _, l := range inside {
		if !slices.Contains(host, l) {
			t.Errorf("told in the sandbox only: %s", l)
		}
	}
	if t.Failed() {
		t.Logf("host:\n%s\nsandbox:\n%s", strings.Join(host, "\n"), got)
	}
}

// ip route get chooses as the host does.
func TestRouteGet(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.ip("-n", w.inside, "route", "add", "default", "via", outsideV4)
	w.ip("-n", w.inside, "-6", "route", "add", "default", "via", outsideV6)
	w.ip("-n", w.inside, "route", "add", "198.51.100.0/24", "via", "10.98.0.9")
	settled(t, func() bool { return !strings.Contains(w.ip("-n", w.inside, "address"), "tentative") })
	ask := "for a in " + outsideV4 + " 198.51.100.7 8.8.8.8 " + insideV4 + " 127.0.0.1 " + outsideV6 + ` 2001:db8::1; do
		ip -o route get $a | sed 's/uid 0//; s/from :: //; s/proto [a-z_]*//; s/pref medium//; s/table local//; s/metric [0-9]*//' | tr -s ' \\' '  '; done`
	host := w.run([]string{"ip", "netns", "exec", w.inside, "bash", "-c", ask})
	if inside := w.run(w.sandbox(nil, "bash", "-c", ask)); host != inside {
		t.Errorf("host:\n%s\nsandbox:\n%s", host, inside)
	}
}
