package net_test

import (
	"slices"
	"strings"
	"testing"
)

// TestLocalTable has ip(8) show what is this host's own, as it does outside.
func TestLocalTable(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	const script = `ip address add 192.0.2.7/32 dev lo; ip address add 127.0.0.5/8 dev lo; ip address add 198.51.100.9/30 dev eth0
ip route show table local; ip -6 route show table local; ip -6 route show; ip route show table all | grep -v ^fe80
ip -o -4 address show; ip -o -6 address show dev lo`
	clean := func(s string) string {
		s = strings.NewReplacer(outsideV4, insideV4, outsideV6, insideV6).Replace(s)
		var lines []string
		for line := range strings.Lines(s) {
			if !strings.Contains(line, "fe80:") { // the link's, whose time of birth is anybody's guess
				lines = append(lines, strings.Join(strings.Fields(line), " "))
			}
		}
		slices.Sort(lines) // tables come in no order that anybody promises
		return strings.Join(lines, "\n")
	}
	want := clean(w.run(w.peer("sh", "-c", script)))
	if got := clean(w.run(w.sandbox(nil, "sh", "-c", script))); got != want {
		t.Errorf("inside:\n%s\nthe host's:\n%s", got, want)
	}
}
