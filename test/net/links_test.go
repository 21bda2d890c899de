package net_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"bulkhead/test/sandboxtest"
)

// alone runs a script of testdata in namespaces of its own.
func alone(t *testing.T, interpreter, name string) sandboxtest.Command {
	script, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return sandboxtest.Command{Args: []string{"unshare", "-n", "-m", interpreter, "-c", string(script)}, Dir: "/", Timeout: 3 * time.Minute,
		Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}}
}

// alike runs a script on the host and in a sandbox.
func alike(t *testing.T, interpreter, name string) {
	t.Parallel()
	needs(t, "unshare", "ip", "ping", "python3", "setpriv", "ethtool")
	c := alone(t, interpreter, name)
	want, got := c.Run(), c.InSandbox(t).Run()
	if got.Output != want.Output || got.Code != want.Code {
		t.Errorf("inside (%d):\n%s\nthe host (%d):\n%s", got.Code, got.Output, want.Code, want.Output)
	}
}

// TestVeth makes pairs of interfaces, some with an end in another namespace.
func TestVeth(t *testing.T) { alike(t, "sh", "veth.sh") }

// TestTunnel makes TUN and TAP interfaces and speaks their other side. Where the host has
// none, what Linux 6.18 says stands for it.
func TestTunnel(t *testing.T) {
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err == nil {
		f.Close()
		alike(t, "python3", "tunnel.py")
		return
	}
	t.Parallel()
	needs(t, "unshare", "ip", "python3")
	want, err := os.ReadFile("testdata/tunnel.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got := alone(t, "python3", "tunnel.py").InSandbox(t).Run(); got.Output != string(want) {
		t.Errorf("inside (%d):\n%s\nwant:\n%s", got.Code, got.Output, want)
	}
}

// TestDummy makes interfaces that lose what they are given, which the host may not have.
func TestDummy(t *testing.T) {
	t.Parallel()
	needs(t, "unshare", "ip", "ping", "python3")
	const script = `ip link add type dummy
ip link add d1 address 02:00:00:00:00:0a mtu 9000 type dummy
ip addr add 10.9.0.1/24 dev d1; ip link set d1 up; ip link set lo up
ip -br link show dummy0 | grep -o '<.*>'
ip link show d1; ip -d link show d1 | grep -o '^ *dummy'
ip route; ping -c1 -W20 10.9.0.1 | grep -c ttl=64
python3 -c 'import socket; print(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"lost", ("10.9.0.2", 9)))'
ip neigh; ip -s link show d1 | tail -1 | grep -c ' [1-9]'
ip link del d1; ip route; ip -br link | cut -d' ' -f1
yes 'link add type dummy' | head -300 | ip -batch - >/dev/null 2>&1; n=$(ip -o link | wc -l); test $n -gt 200 && test $n -lt 300 && echo bounded`
	c := alone(t, "sh", "veth.sh")
	c.Args = []string{"unshare", "-n", "-m", "sh", "-c", script}
	const want = `<BROADCAST,NOARP>
3: d1: <BROADCAST,NOARP,UP,LOWER_UP> mtu 9000 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/ether 02:00:00:00:00:0a brd ff:ff:ff:ff:ff:ff
    dummy
10.9.0.0/24 dev d1 proto kernel scope link src 10.9.0.1 
1
4
1
lo
dummy0
bounded
`
	if got := c.InSandbox(t).Run(); got.Output != want || got.Code != 0 {
		t.Errorf("inside (%d):\n%s\nwant:\n%s", got.Code, got.Output, want)
	}
}

// TestTunnelAway has a program carry a connection between two namespaces, as a VPN does.
func TestTunnelAway(t *testing.T) {
	t.Parallel()
	needs(t, "unshare", "ip", "ping", "python3")
	c := alone(t, "python3", "vpn.py")
	if got := c.InSandbox(t).Run(); got.Code != 0 || !strings.Contains(got.Output, "carried") {
		t.Errorf("inside (%d):\n%s", got.Code, got.Output)
	}
}

// TestPolicy has rules of routing go by more than addresses.
func TestPolicy(t *testing.T) { alike(t, "sh", "policy.sh") }

// TestBridge has a nested network as container engines make it: namespaces on a bridge, with a
// way out and a way in by address translation.
func TestBridge(t *testing.T) {
	needs(t, "bridge", "iptables")
	alike(t, "sh", "bridge.sh")
}

// TestMacvlan has interfaces with addresses of their own upon another, where the host has them.
func TestMacvlan(t *testing.T) {
	const script = "ip link add v0 type veth peer name v1 && ip link add link v0 name m0 type macvlan"
	c := alone(t, "sh", "macvlan.sh")
	c.Args = []string{"unshare", "-n", "sh", "-c", script}
	if got := c.Run(); got.Code != 0 {
		t.Skipf("the host has no macvlan: %s", got.Output)
	}
	alike(t, "sh", "macvlan.sh")
}

// TestVLAN has VLANs upon a pair. Few machines that test have them.
func TestVLAN(t *testing.T) {
	t.Parallel()
	needs(t, "unshare", "ip", "ping", "python3")
	want, err := os.ReadFile("testdata/vlan.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got := alone(t, "sh", "vlan.sh").InSandbox(t).Run(); got.Output != string(want) || got.Code != 0 {
		t.Errorf("inside (%d):\n%s\nwant:\n%s", got.Code, got.Output, want)
	}
}

// TestMetrics looks at the packets of connections whose routes and sockets say how they are to be.
func TestMetrics(t *testing.T) { alike(t, "python3", "metrics.py") }

// TestRoutes has routes of several ways, with metrics and by objects, and rules by ports and users.
func TestRoutes(t *testing.T) { alike(t, "sh", "routes.sh") }

// TestBridgeLoop joins two bridges twice, which without a spanning tree is a loop. On the host it
// would take a core of everybody's.
func TestBridgeLoop(t *testing.T) {
	t.Parallel()
	needs(t, "unshare", "ip", "python3")
	const want = "goes round True\nothers are served\nends True\n"
	if got := alone(t, "sh", "loop.sh").InSandbox(t).Run(); got.Output != want {
		t.Errorf("%s\nwant:\n%s", got.Output, want)
	}
}
