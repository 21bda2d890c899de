package linux

import "encoding/binary"

// Address families of socket(2).
const (
	AF_UNSPEC  = 0
	AF_UNIX    = 1
	AF_INET    = 2
	AF_INET6   = 10
	AF_NETLINK = 16
	AF_PACKET  = 17
)

// Socket types of socket(2), and the flags that may be or'ed to them.
const (
	SOCK_STREAM    = 1
	SOCK_DGRAM     = 2
	SOCK_RAW       = 3
	SOCK_RDM       = 4
	SOCK_SEQPACKET = 5
	SOCK_TYPE_MASK = 0xf

	SOCK_CLOEXEC  = 0o2000000
	SOCK_NONBLOCK = 0o4000
)

// Protocols of socket(2).
const (
	IPPROTO_IP      = 0
	IPPROTO_ICMP    = 1
	IPPROTO_TCP     = 6
	IPPROTO_UDP     = 17
	IPPROTO_IPV6    = 41
	IPPROTO_ICMPV6  = 58
	IPPROTO_UDPLITE = 136
	IPPROTO_MAX     = 263
	IPPROTO_RAW     = 255
	IPPROTO_MPTCP   = 262
)

// Flags of send(2) and recv(2).
const (
	MSG_OOB          = 0x1
	MSG_PEEK         = 0x2
	MSG_DONTROUTE    = 0x4
	MSG_CTRUNC       = 0x8
	MSG_PROXY        = 0x10
	MSG_TRUNC        = 0x20
	MSG_DONTWAIT     = 0x40
	MSG_EOR          = 0x80
	MSG_WAITALL      = 0x100
	MSG_FIN          = 0x200
	MSG_SYN          = 0x400
	MSG_CONFIRM      = 0x800
	MSG_RST          = 0x1000
	MSG_ERRQUEUE     = 0x2000
	MSG_NOSIGNAL     = 0x4000
	MSG_MORE         = 0x8000
	MSG_WAITFORONE   = 0x10000
	MSG_BATCH        = 0x40000
	MSG_ZEROCOPY     = 0x4000000
	MSG_FASTOPEN     = 0x20000000
	MSG_CMSG_CLOEXEC = 0x40000000
)

// Arguments of shutdown(2).
const (
	SHUT_RD   = 0
	SHUT_WR   = 1
	SHUT_RDWR = 2
)

// Levels of getsockopt(2) that are not protocols.
const (
	SOL_SOCKET  = 1
	SOL_RAW     = 255
	SOL_PACKET  = 263
	SOL_NETLINK = 270
)

// Options of level SOL_NETLINK: netlink(7).
const (
	NETLINK_ADD_MEMBERSHIP   = 1
	NETLINK_DROP_MEMBERSHIP  = 2
	NETLINK_PKTINFO          = 3
	NETLINK_BROADCAST_ERROR  = 4
	NETLINK_NO_ENOBUFS       = 5
	NETLINK_LISTEN_ALL_NSID  = 8
	NETLINK_LIST_MEMBERSHIPS = 9
	NETLINK_CAP_ACK          = 10
	NETLINK_EXT_ACK          = 11
	NETLINK_GET_STRICT_CHK   = 12
)

// Options of level SOL_SOCKET: socket(7).
const (
	SO_DEBUG                 = 1
	SO_REUSEADDR             = 2
	SO_TYPE                  = 3
	SO_ERROR                 = 4
	SO_DONTROUTE             = 5
	SO_BROADCAST             = 6
	SO_SNDBUF                = 7
	SO_RCVBUF                = 8
	SO_KEEPALIVE             = 9
	SO_OOBINLINE             = 10
	SO_NO_CHECK              = 11
	SO_PRIORITY              = 12
	SO_LINGER                = 13
	SO_BSDCOMPAT             = 14
	SO_REUSEPORT             = 15
	SO_PASSCRED              = 16
	SO_PEERCRED              = 17
	SO_RCVLOWAT              = 18
	SO_SNDLOWAT              = 19
	SO_RCVTIMEO              = 20
	SO_SNDTIMEO              = 21
	SO_BPF_EXTENSIONS        = 48
	SO_BINDTODEVICE          = 25
	SO_ATTACH_FILTER         = 26
	SO_DETACH_FILTER         = 27
	SO_PEERNAME              = 28
	SO_TIMESTAMP             = 29
	SO_ACCEPTCONN            = 30
	SO_PEERSEC               = 31
	SO_SNDBUFFORCE           = 32
	SO_RCVBUFFORCE           = 33
	SO_PASSSEC               = 34
	SO_TIMESTAMPNS           = 35
	SO_MARK                  = 36
	SO_TIMESTAMPING          = 37
	SO_PROTOCOL              = 38
	SO_DOMAIN                = 39
	SO_RXQ_OVFL              = 40
	SO_WIFI_STATUS           = 41
	SO_PEEK_OFF              = 42
	SO_NOFCS                 = 43
	SO_LOCK_FILTER           = 44
	SO_SELECT_ERR_QUEUE      = 45
	SO_BUSY_POLL             = 46
	SO_MAX_PACING_RATE       = 47
	SO_INCOMING_CPU          = 49
	SO_ATTACH_BPF            = 50
	SO_ATTACH_REUSEPORT_CBPF = 51
	SO_ATTACH_REUSEPORT_EBPF = 52
	SO_CNX_ADVICE            = 53
	SO_MEMINFO               = 55
	SO_INCOMING_NAPI_ID      = 56
	SO_COOKIE                = 57
	SO_PEERGROUPS            = 59
	SO_ZEROCOPY              = 60
	SO_TXTIME                = 61
	SO_BINDTOIFINDEX         = 62
	SO_TIMESTAMP_NEW         = 63
	SO_TIMESTAMPNS_NEW       = 64
	SO_TIMESTAMPING_NEW      = 65
	SO_RCVTIMEO_NEW          = 66
	SO_SNDTIMEO_NEW          = 67
	SO_DETACH_REUSEPORT_BPF  = 68
	SO_PREFER_BUSY_POLL      = 69
	SO_BUSY_POLL_BUDGET      = 70
	SO_NETNS_COOKIE          = 71
	SO_BUF_LOCK              = 72
	SO_RESERVE_MEM           = 73
	SO_TXREHASH              = 74
	SO_PASSPIDFD             = 76
	SO_PEERPIDFD             = 77
)

// Control messages of level SOL_SOCKET: unix(7).
const (
	SCM_RIGHTS      = 1
	SCM_CREDENTIALS = 2
	SCM_SECURITY    = 3
	SCM_PIDFD       = 4
	SCM_MAX_FD      = 253
)

// Options of level IPPROTO_IP: ip(7).
const (
	IP_TOS                    = 1
	IP_TTL                    = 2
	IP_HDRINCL                = 3
	IP_OPTIONS                = 4
	IP_ROUTER_ALERT           = 5
	IP_RECVOPTS               = 6
	IP_RETOPTS                = 7
	IP_PKTINFO                = 8
	IP_MTU_DISCOVER           = 10
	IP_RECVERR                = 11
	IP_RECVTTL                = 12
	IP_RECVTOS                = 13
	IP_MTU                    = 14
	IP_FREEBIND               = 15
	IP_PASSSEC                = 18
	IP_TRANSPARENT            = 19
	IP_RECVORIGDSTADDR        = 20
	IP_MINTTL                 = 21
	IP_NODEFRAG               = 22
	IP_CHECKSUM               = 23
	IP_BIND_ADDRESS_NO_PORT   = 24
	IP_RECVFRAGSIZE           = 25
	IP_RECVERR_RFC4884        = 26
	IP_MULTICAST_IF           = 32
	IP_MULTICAST_TTL          = 33
	IP_MULTICAST_LOOP         = 34
	IP_ADD_MEMBERSHIP         = 35
	IP_DROP_MEMBERSHIP        = 36
	IP_UNBLOCK_SOURCE         = 37
	IP_BLOCK_SOURCE           = 38
	IP_ADD_SOURCE_MEMBERSHIP  = 39
	IP_DROP_SOURCE_MEMBERSHIP = 40
	IP_MSFILTER               = 41
	MCAST_JOIN_GROUP          = 42 // of level IPPROTO_IPV6 too, as are the next five
	MCAST_BLOCK_SOURCE        = 43
	MCAST_UNBLOCK_SOURCE      = 44
	MCAST_LEAVE_GROUP         = 45
	MCAST_JOIN_SOURCE_GROUP   = 46
	MCAST_LEAVE_SOURCE_GROUP  = 47
	MCAST_MSFILTER            = 48
	IP_MULTICAST_ALL          = 49
	IP_UNICAST_IF             = 50
	IP_LOCAL_PORT_RANGE       = 51
)

// Options of level IPPROTO_IPV6: ipv6(7).
const (
	IPV6_ADDRFORM             = 1
	IPV6_2292PKTINFO          = 2
	IPV6_2292HOPOPTS          = 3
	IPV6_2292DSTOPTS          = 4
	IPV6_2292RTHDR            = 5
	IPV6_2292PKTOPTIONS       = 6
	IPV6_CHECKSUM             = 7
	IPV6_2292HOPLIMIT         = 8
	IPV6_FLOWINFO             = 11
	IPV6_ROUTER_ALERT         = 22
	IPV6_JOIN_ANYCAST         = 27
	IPV6_LEAVE_ANYCAST        = 28
	IPV6_ROUTER_ALERT_ISOLATE = 30
	IPV6_RECVERR_RFC4884      = 31
	IPV6_FLOWLABEL_MGR        = 32
	IPV6_FLOWINFO_SEND        = 33
	IPV6_HDRINCL              = 36
	IPV6_RECVHOPOPTS          = 53
	IPV6_HOPOPTS              = 54
	IPV6_RTHDRDSTOPTS         = 55
	IPV6_RECVRTHDR            = 56
	IPV6_RTHDR                = 57
	IPV6_RECVDSTOPTS          = 58
	IPV6_DSTOPTS              = 59
	IPV6_RECVPATHMTU          = 60
	IPV6_PATHMTU              = 61
	IPV6_DONTFRAG             = 62
	IPV6_AUTOFLOWLABEL        = 70
	IPV6_ADDR_PREFERENCES     = 72
	IPV6_MINHOPCOUNT          = 73
	IPV6_RECVORIGDSTADDR      = 74
	IPV6_TRANSPARENT          = 75
	IPV6_UNICAST_IF           = 76
	IPV6_RECVFRAGSIZE         = 77
	IPV6_FREEBIND             = 78

	IPV6_UNICAST_HOPS    = 16
	IPV6_MULTICAST_IF    = 17
	IPV6_MULTICAST_HOPS  = 18
	IPV6_MULTICAST_LOOP  = 19
	IPV6_ADD_MEMBERSHIP  = 20
	IPV6_DROP_MEMBERSHIP = 21
	IPV6_MTU_DISCOVER    = 23
	IPV6_MTU             = 24
	IPV6_RECVERR         = 25
	IPV6_V6ONLY          = 26
	IPV6_MULTICAST_ALL   = 29
	IPV6_RECVPKTINFO     = 49
	IPV6_PKTINFO         = 50
	IPV6_RECVHOPLIMIT    = 51
	IPV6_HOPLIMIT        = 52
	IPV6_RECVTCLASS      = 66
	IPV6_TCLASS          = 67
)

// Options of level IPPROTO_TCP: tcp(7).
const (
	TCP_NODELAY              = 1
	TCP_MAXSEG               = 2
	TCP_CORK                 = 3
	TCP_KEEPIDLE             = 4
	TCP_KEEPINTVL            = 5
	TCP_KEEPCNT              = 6
	TCP_SYNCNT               = 7
	TCP_LINGER2              = 8
	TCP_DEFER_ACCEPT         = 9
	TCP_WINDOW_CLAMP         = 10
	TCP_INFO                 = 11
	TCP_QUICKACK             = 12
	TCP_CONGESTION           = 13
	TCP_MD5SIG               = 14
	TCP_THIN_LINEAR_TIMEOUTS = 16
	TCP_THIN_DUPACK          = 17
	TCP_USER_TIMEOUT         = 18
	TCP_REPAIR               = 19
	TCP_REPAIR_QUEUE         = 20
	TCP_QUEUE_SEQ            = 21
	TCP_REPAIR_OPTIONS       = 22
	TCP_FASTOPEN             = 23
	TCP_TIMESTAMP            = 24
	TCP_NOTSENT_LOWAT        = 25
	TCP_IS_MPTCP             = 43
	TCP_RTO_MAX_MS           = 44
	TCP_RTO_MIN_US           = 45
	TCP_DELACK_MAX_US        = 46
	TCP_CC_INFO              = 26
	TCP_SAVE_SYN             = 27
	TCP_SAVED_SYN            = 28
	TCP_REPAIR_WINDOW        = 29
	TCP_FASTOPEN_CONNECT     = 30
	TCP_ULP                  = 31
	TCP_MD5SIG_EXT           = 32
	TCP_FASTOPEN_KEY         = 33
	TCP_FASTOPEN_NO_COOKIE   = 34
	TCP_ZEROCOPY_RECEIVE     = 35
	TCP_INQ                  = 36
	TCP_TX_DELAY             = 37
)

// Options of level IPPROTO_UDP: udp(7).
const (
	UDP_CORK         = 1
	UDP_NO_CHECK6_TX = 101
	UDP_NO_CHECK6_RX = 102
	UDP_SEGMENT      = 103
	UDP_GRO          = 104

	// UDP_MAX_SEGMENTS is how many datagrams one call may send by UDP_SEGMENT.
	UDP_MAX_SEGMENTS = 128
)

// Options of level IPPROTO_UDPLITE: RFC 3828, udplite(7).
const (
	UDPLITE_SEND_CSCOV = 10
	UDPLITE_RECV_CSCOV = 11
)

// Options of raw sockets: ICMP_FILTER of level SOL_RAW, ICMP6_FILTER of level
// IPPROTO_ICMPV6.
const (
	ICMP_FILTER  = 1
	ICMP6_FILTER = 1
)

// Options of level SOL_PACKET: packet(7), linux/if_packet.h.
const (
	PACKET_ADD_MEMBERSHIP  = 1
	PACKET_DROP_MEMBERSHIP = 2
	PACKET_RX_RING         = 5
	PACKET_STATISTICS      = 6
	PACKET_AUXDATA         = 8
	PACKET_ORIGDEV         = 9
	PACKET_VERSION         = 10
	PACKET_HDRLEN          = 11
	PACKET_RESERVE         = 12
	PACKET_TIMESTAMP       = 17
	PACKET_IGNORE_OUTGOING = 23
)

// Versions of a packet socket's mapped ring.
const (
	TPACKET_V1 = 0
	TPACKET_V2 = 1
	TPACKET_V3 = 2
)

// Status of a frame in a packet socket's ring.
const (
	TP_STATUS_KERNEL       = 0
	TP_STATUS_USER         = 1 << 0
	TP_STATUS_COPY         = 1 << 1
	TP_STATUS_LOSING       = 1 << 2
	TP_STATUS_CSUMNOTREADY = 1 << 3
	TP_STATUS_CSUM_VALID   = 1 << 7
)

// SOMAXCONN is the largest backlog: /proc/sys/net/core/somaxconn.
const SOMAXCONN = 4096

// Sizes of socket addresses in bytes.
const (
	SizeofSockaddrIn      = 16
	SizeofSockaddrIn6     = 28
	SizeofSockaddrIn6Min  = 24 // SIN6_LEN_RFC2133
	SizeofSockaddrStorage = 128
	SizeofSockaddrUn      = 110
	SizeofSockaddrNetlink = 12
)

// Linger is struct linger of SO_LINGER.
type Linger struct {
	OnOff  int32
	Linger int32 // seconds
}

// Ucred is struct ucred of SO_PEERCRED and SCM_CREDENTIALS.
type Ucred struct {
	PID int32
	UID uint32
	GID uint32
}

// SizeofUcred is its size in bytes.
const SizeofUcred = 12

// Bytes gives u as the guest sees it.
func (u Ucred) Bytes() []byte {
	b := make([]byte, SizeofUcred)
	binary.LittleEndian.PutUint32(b[0:], uint32(u.PID))
	binary.LittleEndian.PutUint32(b[4:], u.UID)
	binary.LittleEndian.PutUint32(b[8:], u.GID)
	return b
}
