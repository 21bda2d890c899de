package server

import (
	"math"
	"time"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/stack"
	"bulkhead/services/netd/tcp"
)

// Bits of tcpi_options: linux/tcp.h.
const (
	optTimestamps = 1
	optSACK       = 2
	optScales     = 4
	optECN        = 8
	optECNSeen    = 16
	optSynData    = 32
)

// infoOf are a connection's numbers; room is its receive buffer in bytes.
func (s *server) infoOf(e *stack.TCP, room int) *netdv1.InfoResult {
	i := e.InfoLocked()
	mss := max(i.MSS, 1)
	us := func(t tcp.Time) uint32 { return uint32(min(max(t/1000, 0), math.MaxUint32)) }
	age := func(at tcp.Time) uint32 {
		if at == 0 {
			return 0
		}
		return uint32(min(s.stack.AgeLocked(at)/time.Millisecond, math.MaxUint32))
	}
	segments := func(n int) uint32 { return uint32((max(n, 0) + mss - 1) / mss) }
	options := uint32(0)
	for _, o := range []struct {
		on  bool
		bit uint32
	}{{i.Timestamps, optTimestamps}, {i.SACK, optSACK}, {i.WindowScale > 0 || i.PeerScale > 0, optScales}, {i.ECN, optECN}, {i.ECNSeen, optECNSeen}, {i.FastOpen, optSynData}} {
		if o.on {
			options |= o.bit
		}
	}
	m := &netdv1.InfoResult{
		State: uint32(i.State), Rtt: us(i.RTT), RttVariation: us(i.RTTVar), Rto: us(i.RTO), SendMss: uint32(i.MSS), ReceiveMss: uint32(i.ReceiveMSS),
		CongestionWindow: uint32(i.CongestionWindow / mss), SlowStartThreshold: uint32(min(i.SSThresh/mss, math.MaxInt32)),
		Retransmits: uint32(i.Backoff), TotalRetransmits: i.Stats.Retransmits, Unacked: segments(i.Unacked),
		ReceiveSpace: uint32(room), BytesAcked: i.Stats.BytesAcked, BytesReceived: i.Stats.BytesReceived,
		SegmentsOut: i.Stats.SegmentsOut, SegmentsIn: i.Stats.SegmentsIn, SendQueue: uint32(max(i.Unsent, 0) + i.Unacked),
		Phase: uint32(i.Phase), Probes: uint32(i.Probes), Options: options, SendScale: uint32(i.PeerScale), ReceiveScale: uint32(i.WindowScale),
		Sacked: segments(i.Sacked), Lost: segments(i.Lost), InFlightAgain: segments(i.Retransmit), PathMtu: uint32(e.PathMTULocked()),
		AdvertisedMss: uint32(i.PathMSS), ReceiveRtt: us(i.ReceiveRTT), MinRtt: us(i.MinRTT), NotSent: uint32(max(i.Unsent, 0)),
		DataSegmentsIn: i.Stats.DataIn, DataSegmentsOut: i.Stats.DataOut, PacingRate: i.PacingRate, DeliveryRate: i.DeliveryRate,
		ApplicationLimited: i.AppLimited, Delivered: i.Stats.Delivered, DeliveredCe: i.Stats.DeliveredCE, BytesSent: i.Stats.BytesSent,
		BytesAgain: i.Stats.BytesAgain, Dsacks: i.Stats.DSACKs, Reordered: i.Stats.Reordered, SendWindow: uint32(i.PeerWindow),
		ReceiveWindow: uint32(max(i.Window, 0)), LastSent: age(i.LastSent), LastHeard: age(i.LastHeard), Timer: s.timerMessage(i), Congestion: i.Congestion,
	}
	if m.PacingRate == 0 {
		m.PacingRate = math.MaxUint64
	}
	return m
}

func (s *server) timerMessage(i tcp.Info) *netdv1.Timer {
	return &netdv1.Timer{Kind: uint32(i.Timer), Due: uint32(s.stack.RemainingLocked(int64(i.Due)) / time.Millisecond), Count: uint32(i.Count)}
}

// connections are those that are no socket of the sentry's.
func (s *server) connections() *netdv1.Response {
	resp := &netdv1.Response{}
	for _, e := range s.stack.OrphansLocked() {
		i := e.InfoLocked()
		resp.Connections = append(resp.Connections, &netdv1.Connection{
			Local: address(e.LocalLocked()), Remote: address(e.RemoteLocked()), State: uint32(i.State), Timer: s.timerMessage(i),
			SendQueue: uint32(max(i.Unsent, 0) + i.Unacked), Uid: e.UIDLocked(), V6: e.V6Locked(),
		})
	}
	return resp
}

// destroy ends a connection that is no socket of the sentry's: ENOENT, EINVAL.
func (s *server) destroy(d *netdv1.Destroy) error {
	local, err1 := parseAddress(d.Local)
	remote, err2 := parseAddress(d.Remote)
	if err1 != nil || err2 != nil {
		return linux.EINVAL
	}
	for _, e := range s.stack.OrphansLocked() {
		if e.LocalLocked() == local && e.RemoteLocked() == remote {
			e.DestroyLocked()
			return nil
		}
	}
	return linux.ENOENT
}

// destroy ends the socket, which gets ECONNABORTED: SOCK_DESTROY of sock_diag(7).
func (k *socket) destroy() error {
	switch {
	case k.tcp != nil:
		k.tcp.DestroyLocked()
		return nil
	case k.gram != nil:
		k.Failed(linux.ECONNABORTED)
		return k.gram.ConnectLocked(noAddress)
	}
	return linux.EOPNOTSUPP
}
