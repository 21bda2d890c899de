package inet

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// tuning are the settings below /proc/sys/net that sockets go by, as they are now:
// Linux's Documentation/networking/ip-sysctl.rst. Whoever reads one several times may
// find that it has changed.
type tuning struct {
	unprivileged        atomic.Int64 // the first port that anybody may bind
	backlog             atomic.Int64 // the most that listen(2) takes
	firstPort, lastPort atomic.Int64 // that are chosen for sockets
	firstPing, lastPing atomic.Int64 // groups that may make ping sockets
	mostReceive         atomic.Int64 // of SO_RCVBUF, in bytes
	mostSend            atomic.Int64
	hops                atomic.Int64
	keepIdle, keepEvery atomic.Int64 // seconds
	keepProbes, synTry  atomic.Int64
	linger2             atomic.Int64 // seconds
	fastOpen            atomic.Int64 // 1: connecting, 2: listening
	v6Only              atomic.Bool  // of new sockets
	congestion          atomic.Pointer[string]
}

func newTuning() *tuning {
	t := &tuning{}
	for v, n := range t.numbers() {
		v.Store(n)
	}
	name := defaultCongestion
	t.congestion.Store(&name)
	return t
}

// numbers are the fields with what they are at first.
func (t *tuning) numbers() map[*atomic.Int64]int64 {
	return map[*atomic.Int64]int64{
		&t.unprivileged: 1024, &t.backlog: linux.SOMAXCONN, &t.firstPort: firstEphemeral, &t.lastPort: lastEphemeral,
		&t.firstPing: 0, &t.lastPing: math.MaxInt32, &t.mostReceive: maxBuffer / 2, &t.mostSend: maxBuffer / 2, &t.hops: 64,
		&t.keepIdle: 7200, &t.keepEvery: 75, &t.keepProbes: 9, &t.synTry: 6, &t.linger2: 60, &t.fastOpen: 1,
	}
}

// maySendPings says whether one of a group or groups may make ping sockets.
func (t *tuning) maySendPings(groups ...uint32) bool {
	return slices.ContainsFunc(groups, func(g uint32) bool { return int64(g) >= t.firstPing.Load() && int64(g) <= t.lastPing.Load() })
}

// tuned is one setting of one number that is kept here.
type tuned struct {
	to        func(*tuning) *atomic.Int64
	low, high int64
	netd      bool // netd goes by it too
}

// tunedNumbers are those settings, by their path below /proc/sys/net.
var tunedNumbers = map[string]tuned{
	"core/somaxconn":                  {func(t *tuning) *atomic.Int64 { return &t.backlog }, 0, math.MaxInt32, false},
	"core/rmem_max":                   {func(t *tuning) *atomic.Int64 { return &t.mostReceive }, 2304, maxBuffer / 2, true},
	"core/wmem_max":                   {func(t *tuning) *atomic.Int64 { return &t.mostSend }, 4608, maxBuffer / 2, false},
	"ipv4/ip_unprivileged_port_start": {func(t *tuning) *atomic.Int64 { return &t.unprivileged }, 0, 65535, false},
	"ipv4/ip_default_ttl":             {func(t *tuning) *atomic.Int64 { return &t.hops }, 1, 255, true},
	"ipv4/tcp_keepalive_time":         {func(t *tuning) *atomic.Int64 { return &t.keepIdle }, 1, 32767, false},
	"ipv4/tcp_keepalive_intvl":        {func(t *tuning) *atomic.Int64 { return &t.keepEvery }, 1, 32767, false},
	"ipv4/tcp_keepalive_probes":       {func(t *tuning) *atomic.Int64 { return &t.keepProbes }, 1, 127, false},
	"ipv4/tcp_syn_retries":            {func(t *tuning) *atomic.Int64 { return &t.synTry }, 1, 127, false},
	"ipv4/tcp_fin_timeout":            {func(t *tuning) *atomic.Int64 { return &t.linger2 }, 1, 120, false},
	"ipv4/tcp_fastopen":               {func(t *tuning) *atomic.Int64 { return &t.fastOpen }, 0, math.MaxInt32, true},
}

// netdTunes are settings that netd alone goes by, with the values that they may have.
var netdTunes = map[string][2]int64{
	"ipv4/ip_forward": {math.MinInt32, math.MaxInt32}, "ipv4/conf/all/forwarding": {math.MinInt32, math.MaxInt32},
	"ipv6/conf/all/forwarding": {math.MinInt32, math.MaxInt32}, "ipv4/ip_nonlocal_bind": {0, 1}, "ipv6/ip_nonlocal_bind": {0, 1},
	"ipv4/icmp_echo_ignore_all": {0, 1}, "ipv6/icmp/echo_ignore_all": {0, 1}, "ipv4/tcp_syncookies": {0, 2}, "ipv4/tcp_ecn": {0, 5},
	"ipv4/tcp_window_scaling": {0, 255}, "ipv4/tcp_timestamps": {0, 2}, "ipv4/tcp_sack": {0, 255}, "ipv4/tcp_slow_start_after_idle": {0, 255},
	"ipv6/auto_flowlabels": {0, 3}, "ipv4/tcp_dsack": {0, 255}, "ipv4/tcp_synack_retries": {0, 255},
	"ipv4/tcp_retries2": {0, 255}, "ipv4/tcp_tso_win_divisor": {0, math.MaxInt32},
}

// tuner carries settings out, and again where another netd takes the place of one.
type tuner struct {
	*tuning
	mu    sync.Mutex
	tunes map[string]*netdv1.Tuning // what netd was told
}

// Tune carries out what was written below /proc/sys/net: EINVAL, ENOENT for a name that
// there is not. What nobody here goes by is nothing to do.
func (o *Outlet) Tune(path, value string) error {
	name, ok := strings.CutPrefix(path, "net/")
	if !ok {
		return nil
	}
	m := &netdv1.Tuning{Name: name}
	for f := range strings.FieldsSeq(value) {
		n, err := strconv.ParseInt(f, 0, 64)
		if err != nil {
			break
		}
		m.Values = append(m.Values, n)
	}
	t := o.tuner.tuning
	toNetd := false
	switch name {
	case "ipv4/tcp_congestion_control":
		if value != "reno" && value != "cubic" && value != "bbr" {
			return linux.ENOENT
		}
		t.congestion.Store(&value)
		return nil
	case "ipv6/bindv6only":
		t.v6Only.Store(len(m.Values) > 0 && m.Values[0] != 0)
		return nil
	case "ipv4/ip_local_port_range":
		if !setRange(m.Values, 1, 65535, &t.firstPort, &t.lastPort) {
			return linux.EINVAL
		}
		toNetd = true
	case "ipv4/tcp_rmem":
		if len(m.Values) != 3 || slices.Min(m.Values) < 1 || slices.Max(m.Values) > math.MaxInt32 {
			return linux.EINVAL
		}
		toNetd = true
	case "ipv4/ping_group_range":
		if len(m.Values) == 2 && m.Values[0] > m.Values[1] { // nobody
			m.Values = []int64{1, 0}
			t.firstPing.Store(1)
			t.lastPing.Store(0)
			return nil
		}
		if !setRange(m.Values, 0, math.MaxUint32-1, &t.firstPing, &t.lastPing) {
			return linux.EINVAL
		}
	default:
		if x, ok := tunedNumbers[name]; ok {
			if len(m.Values) != 1 || m.Values[0] < x.low {
				return linux.EINVAL
			}
			if m.Values[0] > x.high && !strings.HasPrefix(name, "core/") {
				return linux.EINVAL
			}
			x.to(t).Store(min(m.Values[0], x.high)) // there is no more than that here
			toNetd = x.netd
		} else if limits, ok := netdTunes[name]; ok {
			if len(m.Values) != 1 || m.Values[0] < limits[0] || m.Values[0] > limits[1] {
				return linux.EINVAL
			}
			toNetd = true
		}
	}
	if toNetd {
		return o.tuneNetd(m)
	}
	return nil
}

// setRange sets both ends of a range: false if it is none.
func setRange(v []int64, low, high int64, first, last *atomic.Int64) bool {
	if len(v) != 2 || v[0] < low || v[1] > high || v[0] > v[1] {
		return false
	}
	first.Store(v[0])
	last.Store(v[1])
	return true
}

// tuneNetd tells netd, and whoever takes its place.
func (o *Outlet) tuneNetd(m *netdv1.Tuning) error {
	o.tuner.mu.Lock()
	defer o.tuner.mu.Unlock()
	if o.tuner.tunes == nil {
		o.tuner.tunes = map[string]*netdv1.Tuning{}
	}
	err := o.now.Load().tuneNetd(m)
	if err == nil || err == linux.ENETDOWN {
		o.tuner.tunes[m.Name] = m
		return nil
	}
	return err
}

func (n *Network) tuneNetd(m *netdv1.Tuning) error {
	resp, fds, err := n.call(&netdv1.Request{Op: &netdv1.Request_Tuning{Tuning: m}})
	closeAll(fds)
	if err != nil {
		return err
	}
	return errnoOf(resp.Error)
}

// retune tells a new netd what the old one was told.
func (o *Outlet) retune(n *Network) {
	o.tuner.mu.Lock()
	defer o.tuner.mu.Unlock()
	for _, m := range o.tuner.tunes {
		n.tuneNetd(m)
	}
}
