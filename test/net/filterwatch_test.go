package net_test

import (
	"regexp"
	"strings"
	"testing"
)

// TestFilterWatch has nft(8) and conntrack(8) told of rules and flows as they change.
func TestFilterWatch(t *testing.T) {
	t.Parallel()
	needs(t, "nft", "conntrack", "ping", "bash", "python3")
	w := newWire(t)
	out := w.run(w.sandbox(nil, "bash", "-c", `
nft monitor > /tmp/rules 2>&1 & monitor=$!
until nft add table ip ready && grep -q ready /tmp/rules; do sleep 0.1; nft delete table ip ready; done
nft add table ip t
nft add chain ip t c '{ type filter hook input priority 0; }'
nft add rule ip t c tcp dport 80 drop
nft add set ip t s '{ type ipv4_addr; }'
nft add element ip t s '{ 10.0.0.1 }'
nft delete element ip t s '{ 10.0.0.1 }'
nft flush chain ip t c
nft add rule ip t c nonsense 2>/dev/null
nft delete set ip t s
nft add rule ip t c ct state new counter
conntrack -E > /tmp/flows 2>/dev/null & events=$!
until grep -q icmp /tmp/flows; do ping -c 1 -W 1 `+outsideV4+` > /dev/null; sleep 0.1; done
python3 -c '
import socket
l = socket.create_server(("127.0.0.1", 7777)); c = socket.create_connection(("127.0.0.1", 7777)); s, _ = l.accept(); c.close(); s.close()'
sleep 0.5; conntrack -F 2> /dev/null; sleep 0.5
kill -INT $events; wait $events
nft delete table ip t; sleep 0.5
kill $monitor
grep -v -e '^#' -e ready /tmp/rules; sed -E 's/ +/ /g' /tmp/flows
python3 -c '
import os, socket
os.setuid(1000)
try: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12).bind((0, 1))
except OSError as e: print(e)'`))
	for _, want := range []string{
		`add table ip t\nadd chain ip t c \{ type filter hook input priority filter; policy accept; \}\nadd rule ip t c tcp dport 80 drop\nadd set ip t s \{ type ipv4_addr; \}\s*\n` +
			`add element ip t s \{ 10.0.0.1 \}\ndelete element ip t s \{ 10.0.0.1 \}\ndelete rule ip t c handle \d+\ndelete set ip t s\nadd rule ip t c ct state new counter packets 0 bytes 0\n` +
			`delete rule ip t c handle \d+\ndelete chain ip t c\ndelete table ip t\n`,
		`\[NEW\] icmp 1 30 src=` + insideV4 + ` dst=` + outsideV4 + ` .*\[UNREPLIED\]`, `\[UPDATE\] icmp 1 30 src=`, `\[NEW\] tcp 6 120 SYN_SENT src=127.0.0.1 dst=127.0.0.1`,
		`\[UPDATE\] tcp 6 \d+ ESTABLISHED .*dport=7777 .*\[ASSURED\]`, `\[DESTROY\] tcp 6 .*dport=7777`, `Operation not permitted`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("there is no %s", want)
		}
	}
	if t.Failed() {
		t.Log(strings.TrimSpace(out))
	}
}
