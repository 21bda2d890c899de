package net_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/test/sandboxtest"
)

// settings lists the names below /proc/sys/net that are one for all interfaces.
const settings = `cd /proc/sys/net && find core ipv4 ipv6/*.* ipv6/[a-z]*_* ipv6/bindv6only ipv6/icmp ipv6/route unix -type f 2>/dev/null | grep -v -e /conf/ -e /neigh/ | sort`

// absent are parts of names that a sandbox has not, because what they are about is not
// there.
var absent = []string{"xfrm", "fwmark", "l3mdev", "ioam6", "seg6", "fib_multipath", "tcp_fastopen_key", "rps_", "flow_limit", "warnings", "tcp_ecn_option",
	"flowlabel_state", "bpf_jit", "skb_", "message_", "fb_tunnels", "gro_", "high_order", "mem_pcpu", "netdev_", "dev_weight_", "devconf", "tstamp", "cipso",
	"flush", "gc_", "error_", "max_size", "redirect_", "mld_", "ip6frag_secret", "ipfrag_secret", "route/"}

// What a program may look for is there, and what is written acts, or is refused as on
// Linux.
func TestSysctl(t *testing.T) {
	t.Parallel()
	w := bare(t)
	host, err := exec.Command("ip", "netns", "exec", w.inside, "sh", "-c", settings).Output()
	if err != nil {
		t.Skip(err)
	}
	script := settings + `
echo --
set_and_show() { echo "$2" > /proc/sys/net/$1 2>/dev/null && echo "$1: $(cat /proc/sys/net/$1)" || echo "$1: $2 refused"; }
set_and_show ipv4/ip_local_port_range "6000 6001"
set_and_show ipv4/ip_local_port_range "7 6"
set_and_show ipv4/tcp_congestion_control none
set_and_show ipv4/tcp_congestion_control reno
set_and_show ipv4/tcp_keepalive_time 100
set_and_show ipv4/ip_default_ttl 0
set_and_show ipv4/ip_default_ttl 77
set_and_show core/somaxconn 3
set_and_show ipv4/ip_nonlocal_bind 1
set_and_show ipv4/ping_group_range "5 10"
set_and_show ipv4/ip_unprivileged_port_start 80
set_and_show ipv4/ip_forward 1
python3 - <<'END'
import socket
def port():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); return s
a, b = port(), port()
print(sorted(s.getsockname()[1] for s in (a, b)))
s = socket.socket()
print(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode(), s.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), s.getsockopt(socket.IPPROTO_IP, socket.IP_TTL))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("192.0.2.7", 6100)); print(u.getsockname())
try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP); print("ping socket")
except OSError as e: print(e.strerror)
l = socket.socket(); l.bind(("127.0.0.1", 6200)); l.listen(100)
import subprocess
print(subprocess.run(["ss", "-Hltn"], capture_output=True, text=True).stdout.split()[:3])
END`
	line := append([]string{filepath.Join(sandboxtest.Bin(t), "sandbox-launch"), "run"}, sandboxtest.Flags()...)
	names, acts, _ := strings.Cut(w.run(append(line, "--", "bash", "-c", script)), "--\n")
	there := map[string]bool{}
	for name := range strings.FieldsSeq(names) {
		there[name] = true
	}
	for name := range strings.FieldsSeq(string(host)) {
		if !there[name] && !about(name, absent) {
			t.Errorf("%s is not there", name)
		}
	}
	inside := w.run([]string{"ip", "netns", "exec", w.inside, "bash", "-c", "ip link set lo up\n" + script})
	_, want, _ := strings.Cut(inside, "--\n")
	if acts != want {
		t.Errorf("host:\n%s\nsandbox:\n%s", want, acts)
	}
}

func about(name string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(name, p) {
			return true
		}
	}
	return false
}
