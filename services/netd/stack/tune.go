package stack

import (
	"math"
	"math/bits"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/tcp"
	"bulkhead/services/netd/wire"
)

// tuned are the settings of /proc/sys/net that the stack goes by. The zero value is
// Linux's own.
type tuned struct {
	hops                 uint8 // 0: defaultHops
	nonlocal4, nonlocal6 bool
	noEcho4, noEcho6     bool
	cookies              cookieMode
	ecn                  tcp.ECNMode
	firstPort, lastPort  uint16 // 0: ip.FirstEphemeral on

	// Of TCP. mostReceive is tcp_rmem's last, in bytes, and 0 stands for defaultReceive; firstReceive
	// is the one before, and 0 stands for Linux's; largestReceive is rmem_max, likewise;
	// retries are tcp_retries2, and 0 stands for tcp.DefaultRetries; answers are
	// tcp_synack_retries, likewise; gather is tcp.Config's.
	noScaling, noTimestamps, noSACK, noDSACK, keepWindow bool
	mostReceive, firstReceive, largestReceive            int
	retries, answers, gather                             int
	fastOpen                                             int64 // tcp_fastopen
	autoLabels                                           autoLabels
}

// fastOpenTrusts is a bit of tcp_fastopen: data in a SYN is taken with no cookie.
const fastOpenTrusts = 0x200

// cookieMode is when SYN cookies are sent: net.ipv4.tcp_syncookies.
type cookieMode uint8

const (
	cookiesWhenFull cookieMode = iota
	cookiesNever
	cookiesAlways
)

// hops is the time to live of what says nothing else.
func (s *Stack) defaultHops() uint8 {
	if h := s.tuned.hops; h != 0 {
		return h
	}
	return defaultHops
}

// TuneLocked sets what is at name below /proc/sys/net: ENOENT, EINVAL.
func (s *Stack) TuneLocked(name string, v []int64) error {
	if len(v) == 0 || len(v) > 3 {
		return linux.EINVAL
	}
	on := v[0] != 0
	switch name {
	case "ipv4/ip_forward", "ipv4/conf/all/forwarding":
		s.forward4 = on
	case "ipv6/conf/all/forwarding":
		s.forward6 = on
	case "ipv4/ip_nonlocal_bind":
		s.tuned.nonlocal4 = on
	case "ipv6/ip_nonlocal_bind":
		s.tuned.nonlocal6 = on
	case "ipv4/icmp_echo_ignore_all":
		s.tuned.noEcho4 = on
	case "ipv6/icmp/echo_ignore_all":
		s.tuned.noEcho6 = on
	case "ipv6/auto_flowlabels":
		if v[0] < 0 || v[0] > 3 {
			return linux.EINVAL
		}
		s.tuned.autoLabels = [...]autoLabels{labelsNever, labelsUnlessRefused, labelsIfAsked, labelsAlways}[v[0]]
	case "ipv4/ip_default_ttl":
		if v[0] < 1 || v[0] > 255 {
			return linux.EINVAL
		}
		s.tuned.hops = uint8(v[0])
	case "ipv4/tcp_syncookies":
		s.tuned.cookies = map[int64]cookieMode{0: cookiesNever, 2: cookiesAlways}[v[0]]
	case "ipv4/tcp_ecn":
		s.tuned.ecn = map[int64]tcp.ECNMode{0: tcp.ECNOff, 1: tcp.ECNActive}[v[0]]
	case "ipv4/tcp_window_scaling":
		s.tuned.noScaling = !on
	case "ipv4/tcp_timestamps":
		s.tuned.noTimestamps = !on
	case "ipv4/tcp_sack":
		s.tuned.noSACK = !on
	case "ipv4/tcp_dsack":
		s.tuned.noDSACK = !on
	case "ipv4/tcp_synack_retries":
		s.tuned.answers = int(max(v[0], 1))
	case "ipv4/tcp_slow_start_after_idle":
		s.tuned.keepWindow = !on
	case "ipv4/tcp_retries2":
		s.tuned.retries = int(max(v[0], 1))
	case "ipv4/tcp_fastopen":
		s.tuned.fastOpen = v[0]
	case "ipv4/tcp_tso_win_divisor":
		s.tuned.gather = int(max(v[0], 1))
	case "ipv4/tcp_rmem":
		if len(v) != 3 || v[1] < 1 || v[2] < 1 || v[1] > math.MaxInt32 || v[2] > math.MaxInt32 {
			return linux.EINVAL
		}
		s.tuned.firstReceive, s.tuned.mostReceive = int(v[1]), int(v[2])
	case "core/rmem_max":
		if v[0] < 1 || v[0] > math.MaxInt32 {
			return linux.EINVAL
		}
		s.tuned.largestReceive = int(v[0])
	case "ipv4/ip_local_port_range":
		return s.tunePortsLocked(v)
	default:
		return linux.ENOENT
	}
	return nil
}

// tunePortsLocked sets which ports are given to who asks for none: ip_local_port_range.
func (s *Stack) tunePortsLocked(v []int64) error {
	if len(v) != 2 || v[0] < 1 || v[1] > 65535 || v[0] > v[1] {
		return linux.EINVAL
	}
	s.tuned.firstPort, s.tuned.lastPort = uint16(v[0]), uint16(v[1])
	for _, proto := range []uint8{wire.ProtoTCP, wire.ProtoUDP, wire.ProtoUDPLite} {
		s.portsOf(proto).SetRange(uint16(v[0]), uint16(v[1]))
	}
	return nil
}

// defaultReceive is tcp_rmem's last, and defaultLargest is rmem_max, in bytes.
const (
	defaultReceive = 6 << 20
	defaultLargest = 4 << 20
)

// windowScale is what Linux offers: enough for the largest receive buffer that a
// socket may ever have.
func (s *Stack) windowScale() uint8 {
	n, largest := s.tuned.mostReceive, s.tuned.largestReceive
	if n == 0 {
		n = defaultReceive
	}
	if largest == 0 {
		largest = defaultLargest
	}
	return scaleOf(max(n, largest))
}

// scaleOf is the window scale for a buffer of n bytes.
func scaleOf(n int) uint8 { return uint8(min(max(bits.Len(uint(n))-16, 0), 14)) }

// firstWindow is what is announced at first of a receive buffer that the user left as it is:
// tcp_rmem's default, halved.
func (s *Stack) firstWindow() int {
	if n := s.tuned.firstReceive; n != 0 {
		return n / 2
	}
	return 65536
}

// newPorts are a protocol's, none of which is held.
func (s *Stack) newPorts() *ip.Ports {
	p := &ip.Ports{}
	if s.tuned.firstPort != 0 {
		p.SetRange(s.tuned.firstPort, s.tuned.lastPort)
	}
	return p
}
