// Package link carries packets between a stack and what is outside it.
//
// A Device is one interface to the outside: AF_PACKET, TAP, or something in
// front of one of them, like a tracer or a fault injector. What a device
// receives, it gives to its Sink in batches; what the stack sends, the device
// gets in batches. The loopback is no Device: it never leaves the stack.
package link

import "slices"

// HeaderRoom is the room for the headers of a packet that we make, in bytes,
// after the Ethernet header: an IPv6 header with extensions and the longest TCP
// header.
const HeaderRoom = 128

// etherRoom is the room for the Ethernet header before it, such that what
// follows is aligned.
const etherRoom = 16

// Packet is a frame or an IP packet in two pieces. On a Device with Ethernet,
// Header begins with the Ethernet header; elsewhere with the IP header. What it
// has beyond the headers comes before Payload. A device that receives may put
// everything into Header.
type Packet struct {
	Header  []byte
	Payload []byte
	// Trusted packets have never left the stack: their transport checksums are
	// not filled in and not to be checked.
	Trusted bool
	Offload Offload
	// Interface is the interface that a packet on the loopback seems to come
	// from: a copy of what went to many. 0 is the loopback.
	Interface int
	// Link is the Ethernet header that a received packet came with.
	Link []byte
	// Note is what a packet filter wants to know of it again on the loopback's other
	// side.
	Note any

	room [etherRoom + HeaderRoom]byte
	wide []byte // instead of room, for longer headers
	own  []byte
}

// Make prepares p for a header of n bytes, which costs more above HeaderRoom.
func (p *Packet) Make(n int) []byte {
	if p.wide = nil; n > HeaderRoom {
		p.wide = make([]byte, etherRoom+n)
	}
	p.Header = p.base()[etherRoom : etherRoom+n]
	return p.Header
}

// base is where the header is made.
func (p *Packet) base() []byte {
	if p.wide != nil {
		return p.wide
	}
	return p.room[:]
}

// Own makes a copy of payload p's, so that it outlives whose it was.
func (p *Packet) Own(payload []byte) {
	p.own = append(p.own[:0], payload...)
	p.Payload = p.own
}

// Trim gives back the memory of Own if it is more than n bytes.
func (p *Packet) Trim(n int) {
	if cap(p.own) > n {
		p.own = nil
	}
	p.wide = nil
}

// Prepend makes room for an Ethernet header of n bytes before what Make gave,
// and moves the offload's places along. It is done once.
func (p *Packet) Prepend(n int) []byte {
	p.Header = p.base()[etherRoom-n : etherRoom+len(p.Header)]
	p.Offload.SumStart += uint16(n)
	p.Offload.HeaderSize += uint16(n)
	return p.Header
}

// Size is the length of the packet in bytes.
func (p *Packet) Size() int { return len(p.Header) + len(p.Payload) }

// Offload is what a packet leaves to its device, or what the device has done:
// the fields of a virtio-net header (virtio 1.2, 5.1.6).
type Offload struct {
	// GSO says that the packet stands for several, each with SegmentSize bytes
	// of transport payload but the last. Headers are those of the first one,
	// but that lengths count everything.
	GSO         GSO
	SegmentSize uint16
	// HeaderSize is the length of all headers in bytes, for GSO.
	HeaderSize uint16
	// SumDue, sent: the checksum from SumStart (from the start of Header) to
	// the end is to be written to SumStart+SumOffset, where the pseudo header's
	// sum is already. Received: the sender left it so, on this very machine,
	// and the bytes are good.
	SumDue              bool
	SumStart, SumOffset uint16
	// SumGood, received only: the device has verified the transport checksum.
	SumGood bool
}

// GSO is a kind of segmentation.
type GSO uint8

// The kinds.
const (
	GSONone GSO = iota
	GSOTCP4
	GSOTCP6
	GSOUDP // of IPv4 and IPv6, by UDP_SEGMENT
)

// Features are what a Device does for the stack.
type Features struct {
	SumOffload bool // takes SumDue
	TCPOffload bool // takes GSOTCP4 and GSOTCP6; implies SumOffload
	UDPOffload bool // takes GSOUDP
}

// Device is an interface to the outside. Its methods but Send may be called at
// any time from anywhere.
type Device interface {
	// Send sends packets in order and as many as it can at once; it does not
	// block, and what finds no room is lost, as on a wire. Nothing of batch is
	// used after it returns. The caller serialises the calls.
	Send(batch []*Packet)
	// Start begins to receive: into sink, from one goroutine of the device's.
	Start(sink Sink) error
	// Close ends receiving; sink is not called any more when it returns.
	Close() error

	// MTU is the size of the largest IP packet, in bytes.
	MTU() int
	// MAC is its Ethernet address; ok is false for a device that carries IP
	// packets without an Ethernet header.
	MAC() (mac [6]byte, ok bool)
	// Features are fixed once it is made.
	Features() Features
}

// Sink takes what a device has received. The packets and their bytes are the
// device's again when it returns.
type Sink func(batch []*Packet)

// Loopback is a queue: what is sent comes back. Its owner serialises the calls.
type Loopback struct {
	queue []*Packet
	head  int
}

// loopbackLimit bounds the queue in packets; what is sent beyond it is lost.
const loopbackLimit = 1 << 16

// Send queues p. false says that there is no room: p is still the caller's.
func (l *Loopback) Send(p *Packet) bool {
	if len(l.queue)-l.head >= loopbackLimit {
		return false
	}
	if l.head > len(l.queue)/2 && len(l.queue) == cap(l.queue) { // it may never run empty
		l.queue, l.head = slices.Delete(l.queue, 0, l.head), 0
	}
	l.queue = append(l.queue, p)
	return true
}

// Pop takes the next packet, or nil.
func (l *Loopback) Pop() *Packet {
	if l.head == len(l.queue) {
		l.queue, l.head = l.queue[:0], 0
		return nil
	}
	p := l.queue[l.head]
	l.queue[l.head] = nil
	l.head++
	return p
}

// Empty says whether nothing is queued.
func (l *Loopback) Empty() bool { return l.head == len(l.queue) }
