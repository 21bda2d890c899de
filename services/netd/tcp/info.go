package tcp

// Info are the numbers of tcp_info (linux/tcp.h).
type Info struct {
	State                      State
	Phase                      uint8 // tcpi_ca_state: Open, Disorder, CWR, Recovery, Loss
	RTT, RTTVar, RTO, MinRTT   Time
	ReceiveRTT                 Time
	MSS, ReceiveMSS, PathMSS   int
	CongestionWindow, SSThresh int // bytes
	Backoff, Probes            int
	Unacked, Unsent            int // bytes
	Sacked, Lost, Retransmit   int // bytes of those unacknowledged
	PeerWindow, Window         int // bytes
	ReceiveSpace               int
	WindowScale, PeerScale     uint8
	Timestamps, SACK, ECN      bool
	ECNSeen, FastOpen          bool
	PacingRate, DeliveryRate   uint64 // bytes a second
	AppLimited                 bool
	LastSent, LastHeard        Time // points in time
	Congestion                 string
	Timer                      TimerKind
	Due                        Time // a point in time
	Count                      int  // how often it was due in a row
	Stats                      Stats
}

// Info gives the numbers.
func (c *Conn) Info() Info {
	i := Info{State: c.state, RTT: c.rtt.srtt, RTTVar: c.rtt.rttvar, RTO: c.rto(), MinRTT: c.minRTT.get(), ReceiveRTT: c.tune.rtt,
		MSS: c.mss, ReceiveMSS: c.rcvMSS, PathMSS: c.cfg.MSS, CongestionWindow: c.cwnd, SSThresh: c.ssthresh, Backoff: c.timer.retries,
		Probes: c.timer.probes + c.timer.probing, Unacked: int(c.nxt - c.una), Unsent: max(c.Unsent(), 0),
		Sacked: c.board.sacked, Lost: c.board.lost, Retransmit: c.board.inAir, PeerWindow: int(c.wnd), Window: c.Window(),
		ReceiveSpace: c.tune.bound(c.cfg.ReceiveLimit, c.cfg.ReceiveLimit), WindowScale: c.rcvScale, PeerScale: c.wndScale,
		Timestamps: c.tsOK, SACK: c.sackOK, ECN: c.ecnOK, ECNSeen: c.stats.DeliveredCE > 0, FastOpen: c.fast.worked,
		PacingRate: uint64(c.pacing), DeliveryRate: c.deliveryRate(), AppLimited: c.appLimited > c.delivered,
		LastSent: c.lastSent, LastHeard: c.lastHeard, Congestion: c.cc.name(), Stats: c.stats}
	if c.cfg.MaxPacing > 0 {
		i.PacingRate = uint64(c.pacingRate())
	}
	i.Timer, i.Due, i.Count = c.timer.shown()
	switch {
	case c.loss.phase == reduced:
		i.Phase = 2
	case c.loss.phase == recovering:
		i.Phase = 3
	case c.loss.phase == timedOut:
		i.Phase = 4
	case c.board.sacked > 0:
		i.Phase = 1
	}
	return i
}
