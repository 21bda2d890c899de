// Package mib counts what a host's protocols do: the objects of RFC 4293 (IP and
// ICMP), RFC 4022 (TCP) and RFC 4113 (UDP), and Linux's own, by the names that
// nstat(8) gives them. It is pure, and whoever owns Counters serialises the calls.
package mib

import "strconv"

// Counter is one object. Those of IP and UDP come in pairs: Of gives IPv6's.
type Counter uint8

// Of is IPv4's counter k, or IPv6's beside it.
func Of(v6 bool, k Counter) Counter {
	if v6 {
		return k + 1
	}
	return k
}

// The counters that come in pairs, IPv4's first.
const (
	InReceives Counter = 2 * iota
	InHdrErrors
	InAddrErrors
	ForwDatagrams
	InUnknownProtos
	InDiscards
	InDelivers
	OutRequests
	OutDiscards
	OutNoRoutes
	ReasmTimeout
	ReasmReqds
	ReasmOKs
	ReasmFails
	FragOKs
	FragFails
	FragCreates
	OutTransmits
	InMcastPkts
	OutMcastPkts
	InOctets
	OutOctets
	InMcastOctets
	OutMcastOctets
	InNotECT
	InECT1
	InECT0
	InCE
	ICMPInMsgs
	ICMPInErrors
	ICMPInCsumErrors
	ICMPOutMsgs
	ICMPOutErrors
	ICMPOutRateLimitHost
	UDPInDatagrams
	UDPNoPorts
	UDPInErrors
	UDPOutDatagrams
	UDPRcvbufErrors
	UDPInCsumErrors
	UDPIgnoredMulti
	LiteInDatagrams
	LiteNoPorts
	LiteInErrors
	LiteOutDatagrams
	LiteRcvbufErrors
	LiteInCsumErrors
	LiteIgnoredMulti
	afterPairs
)

// The others: IPv4's alone, TCP's, and Linux's TcpExt.
const (
	InBcastPkts Counter = iota + afterPairs
	OutBcastPkts
	InBcastOctets
	OutBcastOctets
	TCPActiveOpens
	TCPPassiveOpens
	TCPAttemptFails
	TCPEstabResets
	TCPInSegs
	TCPOutSegs
	TCPRetransSegs
	TCPInErrs
	TCPOutRsts
	TCPInCsumErrors
	SyncookiesSent
	SyncookiesRecv
	SyncookiesFailed
	EmbryonicRsts
	OutOfWindowIcmps
	TW
	TWRecycled
	PAWSEstab
	DelayedACKs
	ListenOverflows
	ListenDrops
	RenoRecovery
	SackRecovery
	SACKReneging
	SACKReorder
	FullUndo
	FastRetrans
	SlowStartRetrans
	Timeouts
	LossProbes
	LossProbeRecovery
	DSACKOldSent
	DSACKRecv
	AbortOnData
	AbortOnClose
	AbortOnTimeout
	AbortOnLinger
	OFOQueue
	OFODrop
	ChallengeACK
	SYNChallenge
	FastOpenActive
	FastOpenActiveFail
	FastOpenPassive
	FastOpenPassiveFail
	FastOpenListenOverflow
	FastOpenCookieReqd
	ReqQFullDoCookies
	SynRetrans
	OrigDataSent
	WinProbe
	KeepAlive
	ToZeroWindowAdv
	FromZeroWindowAdv
	Delivered
	DeliveredCE
	MinTTLDrop
	counters
)

// pairs are the names of the first, without their protocol.
var pairs = [afterPairs / 2][2]string{
	{"IpInReceives", "Ip6InReceives"}, {"IpInHdrErrors", "Ip6InHdrErrors"}, {"IpInAddrErrors", "Ip6InAddrErrors"},
	{"IpForwDatagrams", "Ip6OutForwDatagrams"}, {"IpInUnknownProtos", "Ip6InUnknownProtos"}, {"IpInDiscards", "Ip6InDiscards"},
	{"IpInDelivers", "Ip6InDelivers"}, {"IpOutRequests", "Ip6OutRequests"}, {"IpOutDiscards", "Ip6OutDiscards"},
	{"IpOutNoRoutes", "Ip6OutNoRoutes"}, {"IpReasmTimeout", "Ip6ReasmTimeout"}, {"IpReasmReqds", "Ip6ReasmReqds"},
	{"IpReasmOKs", "Ip6ReasmOKs"}, {"IpReasmFails", "Ip6ReasmFails"}, {"IpFragOKs", "Ip6FragOKs"}, {"IpFragFails", "Ip6FragFails"},
	{"IpFragCreates", "Ip6FragCreates"}, {"IpOutTransmits", "Ip6OutTransmits"}, {"IpExtInMcastPkts", "Ip6InMcastPkts"},
	{"IpExtOutMcastPkts", "Ip6OutMcastPkts"}, {"IpExtInOctets", "Ip6InOctets"}, {"IpExtOutOctets", "Ip6OutOctets"},
	{"IpExtInMcastOctets", "Ip6InMcastOctets"}, {"IpExtOutMcastOctets", "Ip6OutMcastOctets"}, {"IpExtInNoECTPkts", "Ip6InNoECTPkts"},
	{"IpExtInECT1Pkts", "Ip6InECT1Pkts"}, {"IpExtInECT0Pkts", "Ip6InECT0Pkts"}, {"IpExtInCEPkts", "Ip6InCEPkts"},
	{"IcmpInMsgs", "Icmp6InMsgs"}, {"IcmpInErrors", "Icmp6InErrors"}, {"IcmpInCsumErrors", "Icmp6InCsumErrors"},
	{"IcmpOutMsgs", "Icmp6OutMsgs"}, {"IcmpOutErrors", "Icmp6OutErrors"}, {"IcmpOutRateLimitHost", "Icmp6OutRateLimitHost"},
	{"UdpInDatagrams", "Udp6InDatagrams"}, {"UdpNoPorts", "Udp6NoPorts"}, {"UdpInErrors", "Udp6InErrors"},
	{"UdpOutDatagrams", "Udp6OutDatagrams"}, {"UdpRcvbufErrors", "Udp6RcvbufErrors"}, {"UdpInCsumErrors", "Udp6InCsumErrors"},
	{"UdpIgnoredMulti", "Udp6IgnoredMulti"},
	{"UdpLiteInDatagrams", "UdpLite6InDatagrams"}, {"UdpLiteNoPorts", "UdpLite6NoPorts"}, {"UdpLiteInErrors", "UdpLite6InErrors"},
	{"UdpLiteOutDatagrams", "UdpLite6OutDatagrams"}, {"UdpLiteRcvbufErrors", "UdpLite6RcvbufErrors"},
	{"UdpLiteInCsumErrors", "UdpLite6InCsumErrors"}, {"UdpLiteIgnoredMulti", "UdpLite6IgnoredMulti"},
}

// singles are the names of the others.
var singles = [counters - afterPairs]string{
	"IpExtInBcastPkts", "IpExtOutBcastPkts", "IpExtInBcastOctets", "IpExtOutBcastOctets",
	"TcpActiveOpens", "TcpPassiveOpens", "TcpAttemptFails", "TcpEstabResets", "TcpInSegs", "TcpOutSegs", "TcpRetransSegs",
	"TcpInErrs", "TcpOutRsts", "TcpInCsumErrors", "TcpExtSyncookiesSent", "TcpExtSyncookiesRecv", "TcpExtSyncookiesFailed",
	"TcpExtEmbryonicRsts", "TcpExtOutOfWindowIcmps", "TcpExtTW", "TcpExtTWRecycled", "TcpExtPAWSEstab", "TcpExtDelayedACKs",
	"TcpExtListenOverflows", "TcpExtListenDrops", "TcpExtTCPRenoRecovery", "TcpExtTCPSackRecovery", "TcpExtTCPSACKReneging",
	"TcpExtTCPSACKReorder", "TcpExtTCPFullUndo", "TcpExtTCPFastRetrans", "TcpExtTCPSlowStartRetrans", "TcpExtTCPTimeouts",
	"TcpExtTCPLossProbes", "TcpExtTCPLossProbeRecovery", "TcpExtTCPDSACKOldSent", "TcpExtTCPDSACKRecv", "TcpExtTCPAbortOnData",
	"TcpExtTCPAbortOnClose", "TcpExtTCPAbortOnTimeout", "TcpExtTCPAbortOnLinger", "TcpExtTCPOFOQueue", "TcpExtTCPOFODrop",
	"TcpExtTCPChallengeACK", "TcpExtTCPSYNChallenge", "TcpExtTCPFastOpenActive", "TcpExtTCPFastOpenActiveFail", "TcpExtTCPFastOpenPassive",
	"TcpExtTCPFastOpenPassiveFail", "TcpExtTCPFastOpenListenOverflow", "TcpExtTCPFastOpenCookieReqd", "TcpExtTCPReqQFullDoCookies",
	"TcpExtTCPSynRetrans", "TcpExtTCPOrigDataSent", "TcpExtTCPWinProbe", "TcpExtTCPKeepAlive", "TcpExtTCPToZeroWindowAdv",
	"TcpExtTCPFromZeroWindowAdv", "TcpExtTCPDelivered", "TcpExtTCPDeliveredCE", "TcpExtTCPMinTTLDrop",
}

// Name is what nstat(8) calls it.
func (k Counter) Name() string {
	if k < afterPairs {
		return pairs[k/2][k&1]
	}
	return singles[k-afterPairs]
}

// Counters are a host's. The zero value is ready.
type Counters struct {
	n    [counters]uint64
	icmp [2][2][256]uint64 // by version and direction, and type
}

// Inc counts one.
func (c *Counters) Inc(k Counter) { c.n[k]++ }

// Add counts n.
func (c *Counters) Add(k Counter, n int) { c.n[k] += uint64(n) }

// Get is how many there were.
func (c *Counters) Get(k Counter) uint64 { return c.n[k] }

// ICMP counts a message of a type that came in or went out.
func (c *Counters) ICMP(v6, out bool, typ uint8) {
	k := ICMPInMsgs
	if out {
		k = ICMPOutMsgs
	}
	c.n[Of(v6, k)]++
	c.icmp[one(v6)][one(out)][typ]++
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// All are those that are not 0, by name. ICMP's types have names such as
// IcmpMsgInType8 and Icmp6OutType128.
func (c *Counters) All() map[string]uint64 {
	out := map[string]uint64{}
	for k, n := range c.n {
		if n != 0 {
			out[Counter(k).Name()] = n
		}
	}
	for v, prefix := range []string{"IcmpMsg", "Icmp6"} {
		for d, direction := range []string{"In", "Out"} {
			for typ, n := range c.icmp[v][d] {
				if n != 0 {
					out[prefix+direction+"Type"+strconv.Itoa(typ)] = n
				}
			}
		}
	}
	return out
}
