package stack

import (
	"slices"

	"bulkhead/services/netd/route"
	"bulkhead/services/netd/tcp"
	"bulkhead/services/netd/wire"
)

// This file makes the configuration of a connection's state machine from what its socket, its
// path and the host's settings say.

// superSegment is how much payload one packet takes to a device, which makes
// segments of it: what fits with all headers into 64 KiB.
const superSegment = 65535 - wire.IPv6Size - wire.MaxTCPSize - wire.EthernetSize

// machine completes a connection's configuration for its path.
func (s *Stack) machine(cfg tcp.Config, o *Options, t tuple, path route.Path) tcp.Config {
	name := tcp.Tuple{Local: t.local, Remote: t.remote}
	cfg.ISS, cfg.TSOffset = name.ISS(&s.secret, s.now), name.TSOffset(&s.secret)
	cfg.Counters, cfg.ECN = &s.counts, s.tuned.ecn
	cfg.NoScaling, cfg.NoTimestamps, cfg.NoSACK, cfg.KeepWindow = s.tuned.noScaling, s.tuned.noTimestamps, s.tuned.noSACK, s.tuned.keepWindow
	cfg.Gather, cfg.NoDSACK = s.tuned.gather, s.tuned.noDSACK
	if cfg.SynRetries == 0 { // TCP_SYNCNT is about both
		cfg.SynAckRetries = s.tuned.answers
	}
	if cfg.Retries == 0 {
		cfg.Retries = s.tuned.retries
	}
	ahead := aheadOf(o, t.local.Addr()).Size()
	mss := mssFor(path.MTU, t.remote.Addr())
	announce := mss // what the peer sends does not have our options
	if cfg.MSS > 0 {
		announce = min(mss, cfg.MSS)
	}
	mss -= ahead
	byRoute(&cfg, path.Metrics, announce, ahead > 0)
	if cfg.MSS == 0 || cfg.MSS > mss {
		cfg.MSS = mss
	}
	if cfg.DelayAck == 0 || cfg.DelayAck > tcp.DefaultDelayAck {
		cfg.DelayAck = tcp.DefaultDelayAck
	}
	if path.Out.Loopback {
		cfg.DelayAck = 0 // an acknowledgement costs nothing there
		return cfg
	}
	cfg.SuperSegment = superSegment - ahead
	s.openWindow(&cfg, path.Metrics)
	return cfg
}

// openWindow says how much is announced at first, and with which scale: half of the buffer, as
// Linux does, of which a buffer that the user has set is never said to be more.
func (s *Stack) openWindow(cfg *tcp.Config, m *route.Metrics) {
	cfg.InitialWindow, cfg.LeastScale = min(s.firstWindow(), cfg.ReceiveBuffer), s.windowScale()
	if cfg.ReceiveLimit != 0 && cfg.ReceiveLimit != cfg.ReceiveBuffer { // SO_RCVBUF
		cfg.InitialWindow = max(cfg.ReceiveLimit/2, 1)
		cfg.LeastScale, cfg.FixedScale = min(scaleOf(cfg.InitialWindow), cfg.LeastScale), true
	}
	if n := m.Of(route.InitRwnd); n > 0 {
		cfg.InitialWindow = min(int(min(n, 1<<16))*cfg.MSS, cfg.InitialWindow)
	}
	if n := m.Of(route.Window); n > 0 {
		cfg.InitialWindow = min(cfg.InitialWindow, int(min(n, 1<<30)))
	}
}

// byRoute has a connection do what its route says, where nobody has said otherwise. The peer
// is told a segment size that the route may lower.
func byRoute(cfg *tcp.Config, m *route.Metrics, announce int, wide bool) {
	if m == nil && !wide {
		return
	}
	b := tcp.Bounds{Announce: announce}
	if cfg.Bounds != nil {
		b.LeastRTO, b.MostRTO = cfg.Bounds.LeastRTO, cfg.Bounds.MostRTO
	}
	b.FirstWindow = int(min(m.Of(route.InitCwnd), 1<<14))
	if n := int(min(m.Of(route.AdvMSS), 65535)); n > 0 {
		b.Announce = min(announce, max(n, tcp.MinMSS))
	}
	if b.LeastRTO == 0 {
		b.LeastRTO = tcp.Time(min(m.Of(route.RTOMin), 120_000)) * tcp.Millisecond
	}
	cfg.Bounds = &b
	if m == nil {
		return
	}
	cfg.QuickAck = cfg.QuickAck || m.Of(route.QuickAck) != 0
	if m.Of(route.Features)&route.FeatureECN != 0 && cfg.ECN == tcp.ECNPassive {
		cfg.ECN = tcp.ECNActive
	}
	if cfg.Congestion == "" && slices.Contains(tcp.Controllers, m.Congestion) {
		cfg.Congestion = m.Congestion
	}
}
