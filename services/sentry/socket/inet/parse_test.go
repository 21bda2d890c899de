package inet

import (
	"strings"
	"testing"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// The seconds of so many retransmissions as are needed: what Linux makes of them.
func TestDeferral(t *testing.T) {
	for v, want := range map[int]int{-1: 0, 0: 0, 1: 1, 2: 3, 7: 7, 100: 127, 70000: 29887} {
		if got, err := deferral(v); got != want || err != nil {
			t.Errorf("%d seconds are %d, %v; not %d", v, got, err, want)
		}
	}
}

// deadOutlet is an outlet whose netd is gone, which keeps settings all the same.
func deadOutlet() *Outlet {
	n := &Network{tuning: newTuning()}
	n.dead.Store(true)
	o := &Outlet{tuner: tuner{tuning: n.tuning}}
	o.now.Store(n)
	return o
}

func TestTune(t *testing.T) {
	o := deadOutlet()
	for _, c := range []struct {
		path, value string
		want        error
	}{
		{"net/ipv4/ip_local_port_range", "10\t20", nil}, {"net/ipv4/ip_local_port_range", "20\t10", linux.EINVAL},
		{"net/ipv4/ip_local_port_range", "10", linux.EINVAL}, {"net/ipv4/tcp_congestion_control", "vegas", linux.ENOENT},
		{"net/ipv4/ip_default_ttl", "0", linux.EINVAL}, {"net/core/somaxconn", "70000", nil}, {"net/ipv4/rp_filter", "1", nil},
		{"kernel/hostname", "x", nil}, {"net/ipv4/ping_group_range", "9\t3", nil}, {"net/ipv4/tcp_syncookies", "3", linux.EINVAL},
	} {
		if err := o.Tune(c.path, c.value); err != c.want {
			t.Errorf("%s = %s: %v, want %v", c.path, c.value, err, c.want)
		}
	}
	if p := o.tuner.tuning; p.firstPort.Load() != 10 || p.lastPort.Load() != 20 || p.maySendPings(0, 1, 9) {
		t.Error("what was set is not so")
	}
	if len(o.tuner.tunes) != 1 {
		t.Errorf("another netd would be told of %v", o.tuner.tunes)
	}
}

func FuzzTune(f *testing.F) {
	f.Add("ipv4/ip_local_port_range", "1\t2")
	f.Add("ipv4/ping_group_range", "-1 4294967296")
	f.Fuzz(func(t *testing.T, name, value string) {
		o := deadOutlet()
		o.Tune("net/"+strings.TrimPrefix(name, "net/"), value)
		p := o.tuner.tuning
		if first, last := p.firstPort.Load(), p.lastPort.Load(); first < 1 || last > 65535 || first > last {
			t.Errorf("ports from %d to %d", first, last)
		}
		if p.hops.Load() < 1 || p.hops.Load() > 255 || p.unprivileged.Load() < 0 {
			t.Error("out of bounds")
		}
	})
}

func FuzzSourceFilter(f *testing.F) {
	f.Add(true, false, true, make([]byte, sizeofGroupFilter))
	f.Add(false, false, true, make([]byte, sizeofFilter+8))
	f.Fuzz(func(t *testing.T, general, v6, setting bool, v []byte) {
		m, n, err := parseFilter(general, v6 && general, setting, v)
		if err == nil && (m == nil || n < 0 || len(m.Group) != 4 && len(m.Group) != 16) {
			t.Error(m, n)
		}
	})
}

// What netd says of a connection fits, whatever it says.
func FuzzTCPInfo(f *testing.F) {
	f.Fuzz(func(t *testing.T, state, phase, scale, count, due uint32) {
		b := make([]byte, sizeofTCPInfo)
		tcpInfo(b, &netdv1.InfoResult{State: state, Phase: phase, SendScale: scale, ReceiveScale: scale})
		if k := timerOf(&netdv1.Timer{Kind: state, Count: count, Due: due}); k.Kind > 4 {
			t.Error(k)
		}
	})
}
