// Package tcp is the Transmission Control Protocol of RFC 9293 as a pure state
// machine: segments and the present time go in, segments and the next deadline
// come out. It has no clock, no goroutine and does no I/O, and whoever owns a
// Conn serialises the calls.
//
//	                      passive: Accept            active: Connect
//	                            |                          |
//	                       SynReceived <--- SYN ------- SynSent
//	                            | ACK                      | SYN+ACK
//	                            +-------> Established <----+
//	           CloseSend            |               | FIN
//	      FinWait1 <----------------+               +--> CloseWait
//	  FIN |     | ACK                                      | CloseSend
//	Closing   FinWait2                                   LastAck
//	  ACK |     | FIN                                      | ACK
//	      +--> TimeWait -- 60 s --> Closed <---------------+
//
// Implemented: window scaling, timestamps and PAWS (RFC 7323), SACK and D-SACK
// (RFC 2018, RFC 2883), loss detection by time and tail loss probes (RFC 8985),
// NewReno for peers without SACK (RFC 6582), proportional rate reduction (RFC
// 6937), undoing of spurious recoveries (RFC 3522, RFC 3708), retransmission
// timeout (RFC 6298), CUBIC with HyStart++ (RFC 9438, RFC 9406), NewReno (RFC
// 5681) and a model of BBR with pacing, ECN (RFC 3168), limited transmit, delayed
// and quick acknowledgements, Nagle, corking, both sides' avoidance of silly
// windows, zero-window probes, keepalive, user timeout (RFC 5482), urgent data,
// challenge acknowledgements with a limit (RFC 5961), TIME-WAIT and its reuse by
// timestamps or sequence numbers (RFC 6191), simultaneous open and close, Fast
// Open (RFC 7413), SYN cookies, path-MTU discovery with a guess at black holes,
// receive windows that grow with the reader, and segments that stand for several
// (segmentation offload) both ways.
package tcp

import (
	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/wire"
)

// Time is a point in time in nanoseconds since any start that does not change.
type Time int64

// Durations in Time's unit.
const (
	Millisecond Time = 1e6
	Second      Time = 1e9

	// Never is the deadline of nothing.
	Never Time = 1<<63 - 1
)

// Seq is a sequence number, compared modulo 2^32.
type Seq uint32

// Less says whether a comes before b.
func (a Seq) Less(b Seq) bool { return int32(a-b) < 0 }

// Leq says whether a comes before b or is b.
func (a Seq) Leq(b Seq) bool { return int32(a-b) <= 0 }

func maxSeq(a, b Seq) Seq {
	if a.Less(b) {
		return b
	}
	return a
}

func minSeq(a, b Seq) Seq {
	if a.Less(b) {
		return a
	}
	return b
}

// State is a state of RFC 9293, section 3.3.2, in the numbering of tcp_info.
type State uint8

// The states. LISTEN belongs to the owner: a listening port is not a Conn.
const (
	Established State = iota + 1
	SynSent
	SynReceived
	FinWait1
	FinWait2
	TimeWait
	Closed
	CloseWait
	LastAck
	Listen
	Closing
)

var stateNames = [...]string{"", "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2",
	"TIME-WAIT", "CLOSED", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "?"
}

// Cause is why a connection ended other than by both sides' closing.
type Cause uint8

// The causes, with the error number that a socket shows for them.
const (
	None        Cause = iota
	Refused           // ECONNREFUSED: a reset while connecting
	Reset             // ECONNRESET: a reset
	TimedOut          // ETIMEDOUT
	Aborted           // nothing: we reset it ourselves
	Unreachable       // EHOSTUNREACH or what the owner was told
)

// Segment is a TCP segment without ports and checksum.
type Segment struct {
	Seq, Ack Seq
	Flags    uint8
	Window   uint16
	Urgent   uint16
	Options  wire.TCPOptions
	Payload  []byte
	// Size, if not 0, says that this segment stands for several, each with Size
	// bytes of payload but the last.
	Size int
	// ECN is that field of the IP header.
	ECN uint8
}

// Values of the ECN field: RFC 3168, section 5.
const (
	NotECT = 0
	ECT1   = 1
	ECT0   = 2
	CE     = 3
)

// Len is how many sequence numbers s takes.
func (s *Segment) Len() Seq {
	n := Seq(len(s.Payload))
	if s.Flags&wire.SYN != 0 {
		n++
	}
	if s.Flags&wire.FIN != 0 {
		n++
	}
	return n
}

func (s *Segment) has(flags uint8) bool { return s.Flags&flags != 0 }

// ResetFor is the answer to a segment that no connection wants: RFC 9293,
// section 3.10.7.1. There is none to a reset.
func ResetFor(s *Segment) (Segment, bool) {
	if s.has(wire.RST) {
		return Segment{}, false
	}
	none := wire.TCPOptions{WindowScale: -1}
	if s.has(wire.ACK) {
		return Segment{Seq: s.Ack, Flags: wire.RST, Options: none}, true
	}
	return Segment{Ack: s.Seq + s.Len(), Flags: wire.RST | wire.ACK, Options: none}, true
}

// SendQueue holds what the user wants sent, from the first byte that is not
// acknowledged on.
type SendQueue interface {
	// Len is how many bytes it holds. It only shrinks by Discard.
	Len() int
	// Slice gives n bytes from off on; off+n is at most Len.
	Slice(off, n int) []byte
	// Discard drops the first n bytes, which are acknowledged.
	Discard(n int)
	// Urgent is how many bytes from the first on end with the last urgent one, of
	// those that Len has counted; 0 if none is.
	Urgent() int
	// More says that the last bytes were written with the promise of more: MSG_MORE.
	More() bool
}

// ReceiveQueue takes what arrives. Bytes that came before those ahead of them
// lie behind its end until the gap is filled.
type ReceiveQueue interface {
	// Room is how many bytes from its end on it is ready to take: what to
	// advertise. Put works for as much as Room ever promised.
	Room() int
	// Put stores p off bytes past the end.
	Put(off int, p []byte)
	// Commit moves the end on by n bytes, which the user may read then.
	Commit(n int)
	// Urge says that the byte off bytes past the end is urgent. It comes by Put
	// like the others, maybe later, maybe never.
	Urge(off int)
}

// Config is how a connection behaves. The owner may change it at any time by
// Conn.Configure, but for the fields of the first group.
type Config struct {
	// ISS is the first sequence number: secret and unpredictable (RFC 6528).
	ISS Seq
	// TSOffset is Tuple.TSOffset's.
	TSOffset uint32
	// MSS is the most payload that the route carries in one segment, in bytes,
	// with a TCP header without options.
	MSS int
	// ReceiveBuffer is the most that Room will ever say.
	ReceiveBuffer int

	// SuperSegment is how much payload a segment may have that stands for
	// several, in bytes; less than two of the path's segments: none do.
	SuperSegment int
	// ECN is whether to ask for it, or only to agree.
	ECN ECNMode
	// FastOpen is the cookie to show with data in the SYN; one of length 0 that
	// is not nil asks for one (RFC 7413).
	FastOpen []byte
	// FastOpenMSS is what the peer's segments took when it gave the cookie; 0 is not known.
	FastOpenMSS int
	// InitialWindow is how much of ReceiveLimit is announced at first: it grows
	// as the user reads. 0 is all of it.
	InitialWindow int
	// LeastScale is of our window scale: 0 is what ReceiveBuffer needs. It is the scale itself
	// if FixedScale says so.
	LeastScale uint8
	FixedScale bool
	// NoScaling, NoTimestamps and NoSACK neither offer nor accept the option.
	NoScaling, NoTimestamps, NoSACK bool
	// Gather is the share of the congestion window that a segment that stands for several
	// waits for: net.ipv4.tcp_tso_win_divisor. 0 is DefaultGather.
	Gather int
	// NoDSACK says nothing of what came twice: RFC 2883.
	NoDSACK bool
	// KeepWindow goes on with the congestion window of before a pause.
	KeepWindow bool
	// Counters are the host's, which the connection's deeds go into; nil: none.
	Counters *mib.Counters

	// Bounds are what few connections have; nil: the defaults. They do not change.
	Bounds *Bounds

	// ReceiveLimit is the most that Room says now; 0 is ReceiveBuffer.
	ReceiveLimit int
	// Congestion is one of Controllers; "" is the first.
	Congestion string
	// MaxPacing bounds the rate, in bytes a second; 0 does not.
	MaxPacing uint64
	// QuickAck does without delayed acknowledgements.
	QuickAck bool
	// UnsentLow is TCP_NOTSENT_LOWAT, which the owner looks at.
	UnsentLow int

	NoDelay bool
	Cork    bool
	// DelayAck is how long an acknowledgement may wait; 0 is not at all.
	DelayAck Time

	KeepAlive    bool
	KeepIdle     Time
	KeepInterval Time
	KeepCount    int
	// UserTimeout ends a connection whose data is not acknowledged; 0 is none.
	UserTimeout Time
	// SynRetries, SynAckRetries and Retries are how often a SYN, its answer and data are
	// sent again. The second is as the first, if that is set.
	SynRetries, SynAckRetries, Retries int
	// Linger2 is how long FIN-WAIT-2 lasts when nobody reads any more.
	Linger2 Time
	// TimeWait is how long TIME-WAIT lasts.
	TimeWait Time
}

// ECNMode is net.ipv4.tcp_ecn.
type ECNMode uint8

// The modes.
const (
	ECNPassive ECNMode = iota // agree when asked
	ECNActive                 // ask, too
	ECNOff
)

// Defaults of a Config: tcp(7).
const (
	DefaultKeepIdle     = 7200 * Second
	DefaultKeepInterval = 75 * Second
	DefaultKeepCount    = 9
	DefaultSynRetries   = 6
	// DefaultSynAckRetries are tcp_synack_retries.
	DefaultSynAckRetries = 5
	DefaultRetries       = 15
	DefaultLinger2       = 60 * Second
	DefaultTimeWait      = 60 * Second
	DefaultDelayAck      = 40 * Millisecond
	// MinMSS is the least segment that we send, whatever the peer announces.
	MinMSS = 88
	// defaultMSS is what a peer that announces nothing takes: RFC 9293, 3.7.1.
	defaultMSS = 536
	// DefaultGather is a third.
	DefaultGather = 3
)

// Bounds are what routes and sockets may say of a connection.
type Bounds struct {
	// FirstWindow is the congestion window at first, in segments; 0: RFC 6928's.
	FirstWindow int
	// Announce is the segment size that the peer is told, in bytes; 0: MSS.
	Announce int
	// LeastRTO and MostRTO bound the retransmission timeout; 0: minRTO and maxRTO.
	LeastRTO, MostRTO Time
}

// firstWindow is the congestion window at first, in segments.
func (cfg *Config) firstWindow() int {
	if b := cfg.Bounds; b != nil && b.FirstWindow > 0 {
		return b.FirstWindow
	}
	return initialWindow
}

// announced is the segment size that the peer is told.
func (cfg *Config) announced() uint16 {
	if b := cfg.Bounds; b != nil && b.Announce > 0 {
		return uint16(min(b.Announce, 65535))
	}
	return uint16(min(cfg.MSS, 65535))
}

// withDefaults fills in what is zero and must not be.
func (cfg Config) withDefaults() Config {
	set := func(v *Time, d Time) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&cfg.KeepIdle, DefaultKeepIdle)
	set(&cfg.KeepInterval, DefaultKeepInterval)
	set(&cfg.Linger2, DefaultLinger2)
	set(&cfg.TimeWait, DefaultTimeWait)
	if cfg.SynAckRetries <= 0 {
		cfg.SynAckRetries = cfg.SynRetries
	}
	for _, f := range []struct {
		v *int
		d int
	}{{&cfg.SynAckRetries, DefaultSynAckRetries}, {&cfg.Gather, DefaultGather}, {&cfg.KeepCount, DefaultKeepCount}, {&cfg.SynRetries, DefaultSynRetries}, {&cfg.Retries, DefaultRetries}} {
		if *f.v <= 0 {
			*f.v = f.d
		}
	}
	cfg.MSS = max(cfg.MSS, MinMSS)
	if cfg.ReceiveLimit <= 0 || cfg.ReceiveLimit > cfg.ReceiveBuffer {
		cfg.ReceiveLimit = cfg.ReceiveBuffer
	}
	return cfg
}
