package net_test

import (
	"strings"
	"testing"

	"bulkhead/test/sandboxtest"
)

// TestRouter has the sandbox forward between two interfaces, and translate: what leaves
// by the second has the sandbox's address, and a port of the first leads behind it.
func TestRouter(t *testing.T) {
	t.Parallel()
	needs(t, "nft", "python3", "ping")
	w, far := bare(t), bare(t)
	w.ip("link", "add", "eth0", "netns", w.inside, "type", "veth", "peer", "name", "eth0", "netns", w.outside)
	w.ip("link", "add", "eth1", "netns", w.inside, "type", "veth", "peer", "name", "eth0", "netns", far.outside)
	w.address()
	w.ip("-n", w.inside, "address", "add", "10.98.1.1/24", "dev", "eth1")
	w.ip("-n", w.inside, "address", "add", "fd98:1::1/64", "dev", "eth1", "nodad")
	w.ip("-n", w.inside, "link", "set", "eth1", "up")
	w.ip("-n", far.outside, "address", "add", "10.98.1.2/24", "dev", "eth0")
	w.ip("-n", far.outside, "address", "add", "fd98:1::2/64", "dev", "eth0", "nodad")
	w.ip("-n", far.outside, "link", "set", "lo", "up")
	w.ip("-n", far.outside, "link", "set", "eth0", "up")
	w.ip("-n", w.outside, "route", "add", "10.98.1.0/24", "via", insideV4)
	w.ip("-n", w.outside, "route", "add", "fd98:1::/64", "via", insideV6)
	// The far side knows no way back: what is not translated is not answered.
	const server = `
import socket, sys, threading
def serve(family):
    l = socket.create_server(("", 9000), family=family)
    u = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6: u.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    u.bind(("", 9000))
    def streams():
        while True:
            c, peer = l.accept()
            b = b""
            while len(b) < 200000: b += c.recv(65536)
            c.sendall(peer[0].encode() + b"\n" + b); c.close()
    def datagrams():
        while True:
            b, peer = u.recvfrom(65536)
            u.sendto(peer[0].encode() + b" %d" % len(b), peer)
    for f in streams, datagrams: threading.Thread(target=f, daemon=True).start()
serve(socket.AF_INET); serve(socket.AF_INET6)
print("serving"); sys.stdin.read()`
	w.start(far.peer("python3", "-u", "-c", server), "serving")
	rules := `
table inet t {
	chain pre {
		type nat hook prerouting priority -100
		ip daddr ` + insideV4 + ` tcp dport 80 dnat ip to 10.98.1.2:9000
		ip6 daddr ` + insideV6 + ` udp dport 80 dnat ip6 to [fd98:1::2]:9000
	}
	chain post {
		type nat hook postrouting priority 100
		oifname "eth1" masquerade
	}
	chain fw {
		type filter hook forward priority 0; policy drop
		ct state established,related accept
		iifname "eth0" meta l4proto { tcp, udp, icmp, ipv6-icmp } accept
	}
}
`
	s := w.start(w.sandbox(nil, "python3", "-u", "-c", `
import subprocess, sys
for name in "ipv4/ip_forward", "ipv6/conf/all/forwarding":
    open("/proc/sys/net/" + name, "w").write("1")
subprocess.run(["nft", "-f", "-"], input="""`+rules+`""", text=True, check=True)
print("ready"); sys.stdin.read()
print(subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout)`), "ready")
	out := w.run(w.peer("python3", "-c", `
import socket
def stream(to, port):
    c = socket.create_connection((to, port), timeout=30)
    c.sendall(b"x" * 200000)
    b = b""
    while True:
        n = c.recv(65536)
        if not n: break
        b += n
    print("tcp", to, port, b.split(b"\n")[0].decode(), len(b.split(b"\n")[1]), "by", c.getpeername()[0])
def datagram(to, port, size):
    u = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(30)
    u.sendto(b"y" * size, (to, port))
    b, peer = u.recvfrom(100)
    print("udp", to, port, b.decode(), "by", peer[0])
for what, *args in (stream, "10.98.1.2", 9000), (stream, "fd98:1::2", 9000), (stream, "`+insideV4+`", 80), (datagram, "10.98.1.2", 9000, 100), \
        (datagram, "fd98:1::2", 9000, 100), (datagram, "`+insideV6+`", 80, 100), (datagram, "10.98.1.2", 9000, 4000):
    try: what(*args)
    except OSError as e: print(args, e)`))
	for _, want := range []string{
		"tcp 10.98.1.2 9000 10.98.1.1 200000 by 10.98.1.2", "tcp fd98:1::2 9000 fd98:1::1 200000 by fd98:1::2",
		"tcp " + insideV4 + " 80 10.98.1.1 200000 by " + insideV4,
		"udp 10.98.1.2 9000 10.98.1.1 100 by 10.98.1.2", "udp fd98:1::2 9000 fd98:1::1 100 by fd98:1::2",
		"udp " + insideV6 + " 80 fd98:1::1 100 by " + insideV6, "udp 10.98.1.2 9000 10.98.1.1 4000 by 10.98.1.2",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q in:\n%s", want, out)
		}
	}
	for _, to := range []string{"10.98.1.2", "fd98:1::2"} {
		if out := w.run(w.peer("ping", "-c", "2", "-i", "0.2", "-W", "5", to)); !strings.Contains(out, "2 received") {
			t.Errorf("ping %s:\n%s", to, out)
		}
	}
	// From the far side nothing begins.
	r := sandboxtest.Command{Args: far.peer("ping", "-c", "1", "-W", "10", "10.98.1.1")}.Run()
	if r.Code != 0 {
		t.Errorf("the router itself is not reached: %s", r.Output)
	}
	w.ip("-n", far.outside, "route", "add", "10.98.0.0/24", "via", "10.98.1.1")
	if r := (sandboxtest.Command{Args: far.peer("ping", "-c", "1", "-W", "1", outsideV4)}).Run(); r.Code == 0 {
		t.Errorf("what the rules drop is forwarded: %s", r.Output)
	}
	if t.Failed() {
		t.Log(s.output())
	}
}
