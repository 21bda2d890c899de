// Package link carries packets between a stack and what is outside it.
//
// There is the loopback so far; AF_PACKET and TAP links, a tracer and a fault
// injector are to implement the same interface.
package link

// HeaderRoom is the room for the headers of a packet that we make, in bytes: an
// Ethernet header, an IPv6 header and the longest TCP header.
const HeaderRoom = 128

// Packet is an IP packet in two pieces. Header begins with the IP header; what
// it has beyond the headers comes before Payload.
type Packet struct {
	Header  []byte
	Payload []byte
	// Trusted packets have never left the stack: their transport checksums are
	// not filled in and not to be checked.
	Trusted bool

	room [HeaderRoom]byte
}

// Make prepares p for a header of n bytes, at most HeaderRoom.
func (p *Packet) Make(n int) []byte {
	p.Header = p.room[:n]
	return p.Header
}

// Size is the length of the packet in bytes.
func (p *Packet) Size() int { return len(p.Header) + len(p.Payload) }

// Link sends packets out. What comes in, its reader gives to the stack.
type Link interface {
	// Send sends p. It may keep p until Done is called for it; Payload stays
	// as it is until then.
	Send(p *Packet) error
	// Trusted says that checksums need not be filled in.
	Trusted() bool
}

// Loopback is a queue: what is sent comes back. Its owner serialises the calls.
type Loopback struct {
	queue []*Packet
	head  int
}

// loopbackLimit bounds the queue in packets; what is sent beyond it is lost.
const loopbackLimit = 1 << 16

// Send queues p.
func (l *Loopback) Send(p *Packet) error {
	if len(l.queue)-l.head < loopbackLimit {
		l.queue = append(l.queue, p)
	}
	return nil
}

// Trusted is true: nothing can go wrong on the way.
func (l *Loopback) Trusted() bool { return true }

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
