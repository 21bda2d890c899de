package wire

import "net/netip"

// MAC is an Ethernet address.
type MAC [6]byte

// Broadcast is the address of every station.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Multicast says whether m is a group's (or everybody's) address.
func (m MAC) Multicast() bool { return m[0]&1 != 0 }

// Types of an Ethernet frame.
const (
	EtherIPv4 = 0x0800
	EtherARP  = 0x0806
	EtherIPv6 = 0x86dd
)

// EthernetSize is the size of the header in bytes.
const EthernetSize = 14

// Ethernet is a checked Ethernet II header.
type Ethernet []byte

// ParseEthernet checks the header at the start of b.
func ParseEthernet(b []byte) (Ethernet, error) {
	if len(b) < EthernetSize {
		return nil, ErrShort
	}
	return Ethernet(b[:EthernetSize]), nil
}

func (h Ethernet) Dst() MAC     { return MAC(h[0:6]) }
func (h Ethernet) Src() MAC     { return MAC(h[6:12]) }
func (h Ethernet) Type() uint16 { return be.Uint16(h[12:]) }

// EthernetHeader is a header to be written.
type EthernetHeader struct {
	Dst, Src MAC
	Type     uint16
}

// Put writes h to b, of EthernetSize bytes at least.
func (h *EthernetHeader) Put(b []byte) {
	copy(b[0:6], h.Dst[:])
	copy(b[6:12], h.Src[:])
	be.PutUint16(b[12:], h.Type)
}

// Operations of ARP (RFC 826).
const (
	ARPRequest = 1
	ARPReply   = 2
)

// ARPSize is the size of an ARP packet for IPv4 over Ethernet in bytes.
const ARPSize = 28

// ARP is a checked ARP packet for IPv4 over Ethernet.
type ARP []byte

// ParseARP checks the packet at the start of b.
func ParseARP(b []byte) (ARP, error) {
	if len(b) < ARPSize {
		return nil, ErrShort
	}
	if be.Uint16(b) != 1 || be.Uint16(b[2:]) != EtherIPv4 || b[4] != 6 || b[5] != 4 {
		return nil, ErrVersion
	}
	return ARP(b[:ARPSize]), nil
}

func (p ARP) Op() uint16           { return be.Uint16(p[6:]) }
func (p ARP) SenderMAC() MAC       { return MAC(p[8:14]) }
func (p ARP) SenderIP() netip.Addr { return netip.AddrFrom4([4]byte(p[14:18])) }
func (p ARP) TargetMAC() MAC       { return MAC(p[18:24]) }
func (p ARP) TargetIP() netip.Addr { return netip.AddrFrom4([4]byte(p[24:28])) }

// ARPPacket is a packet to be written; the addresses are IPv4.
type ARPPacket struct {
	Op                   uint16
	SenderMAC, TargetMAC MAC
	SenderIP, TargetIP   netip.Addr
}

// Put writes p to b, of ARPSize bytes at least.
func (p *ARPPacket) Put(b []byte) {
	be.PutUint16(b, 1)
	be.PutUint16(b[2:], EtherIPv4)
	b[4], b[5] = 6, 4
	be.PutUint16(b[6:], p.Op)
	copy(b[8:], p.SenderMAC[:])
	s, t := p.SenderIP.As4(), p.TargetIP.As4()
	copy(b[14:], s[:])
	copy(b[18:], p.TargetMAC[:])
	copy(b[24:], t[:])
}
