// Package stack joins links, protocols and sockets: it demultiplexes what
// arrives, keeps the timers of the state machines, and gives sockets their
// ports, routes and errors.
//
// One lock guards all of it. Every entry takes the lock, does its thing, lets
// the loopback run dry and rings whoever is to be told, so that a connection
// over the loopback is made, answered and announced within the call that asked
// for it. The machines below never block; neither does anything under the lock.
//
// Lock order: Stack.mu < whatever an Owner takes in its callbacks.
package stack

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"bulkhead/services/netd/icmp"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/netfilter"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/tcp"
)

// LoopbackMTU is the loopback's, in bytes: Linux's.
const LoopbackMTU = 65536

// Stack is one host's network.
type Stack struct {
	// Leave is called after each entry with the lock released: the owner rings
	// its bell there. It is set before the stack is used.
	Leave func()

	start  time.Time
	secret [32]byte

	mu       sync.Mutex
	now      tcp.Time // of the present entry
	heard    tcp.Time // what had arrived by then has come in: what is due later is not yet
	table    route.Table
	ifaces   []*iface // the loopback first
	lastLink int      // the highest index that there was
	loop     link.Loopback
	free     []*link.Packet
	ports    map[uint8]*ip.Ports
	conns    map[tuple]*TCP
	listen   map[uint16][]*TCP
	grams    map[portKey][]*Datagram
	raws     []*Raw
	taps     []*Packet
	timers   timerHeap
	clock    *time.Timer  // unless the owner calls Expire
	driven   bool         // it does
	armed    tcp.Time     // when Expire is to be called
	limiter  icmp.Limiter // of errors
	echoes   icmp.Limiter // of echo replies to the outside
	narrows  map[netip.Addr]narrow
	cookies  map[netip.Addr]fastPeer // of Fast Open, by server
	ports16  uint32                  // counts up with each chosen port: RFC 6056
	flooded  tcp.Time                // when SYN cookies were last sent
	lastID   uint16
	forward4 bool
	forward6 bool

	fragments ip.Reassembler
	counts    mib.Counters

	filter  *netfilter.Filter
	screens bool             // packets can meet rules
	lent    *netfilter.Track // for the next packet that is sent

	watch watch
	tuned tuned

	// While a batch of packets comes in, connections that only have to acknowledge
	// them do so once, at its end.
	gathers  bool
	gathered []*TCP

	later    []func() // once the loopback is empty
	closed   bool
	random   [512]byte
	randomAt int
}

// tuple names a TCP connection; addresses are unmapped.
type tuple struct{ local, remote netip.AddrPort }

// portKey names the sockets of a datagram protocol at a port.
type portKey struct {
	proto uint8
	port  uint16
}

// New makes a stack that has a loopback interface.
func New() *Stack {
	start := time.Now().Add(-time.Second) // 0 is never the present
	return withLoopback(start, &ip.Interface{Index: 1, Name: "lo", MTU: LoopbackMTU, Loopback: true, Addresses: ip.Static(loopbackPrefixes...)})
}

// Beside is another stack, of another namespace, with the same clock. Its loopback is down,
// and gets its addresses when it is up.
func (s *Stack) Beside() *Stack {
	return withLoopback(s.start, &ip.Interface{Index: 1, Name: "lo", MTU: LoopbackMTU, Loopback: true, Down: true})
}

// loopbackPrefixes are the addresses of a loopback.
var loopbackPrefixes = []netip.Prefix{netip.PrefixFrom(ip.LocalhostV4, 8), netip.PrefixFrom(ip.LocalhostV6, 128)}

func withLoopback(start time.Time, loopback *ip.Interface) *Stack {
	s := &Stack{
		start:  start,
		ports:  map[uint8]*ip.Ports{},
		conns:  map[tuple]*TCP{},
		listen: map[uint16][]*TCP{},
		grams:  map[portKey][]*Datagram{},
		armed:  tcp.Never,

		narrows: map[netip.Addr]narrow{},
	}
	s.filter = netfilter.New(host{s})
	s.randomAt = len(s.random)
	rand.Read(s.secret[:])
	s.limiter = icmp.Limiter{PerSecond: 1000, Burst: 50}
	s.echoes = icmp.Limiter{PerSecond: 1000, Burst: 1000}
	s.lastID = uint16(s.rand32())
	lo := &iface{s: s, Interface: loopback}
	s.ifaces = append(s.ifaces, lo)
	s.table.AddInterface(lo.Interface)
	s.clock = time.AfterFunc(time.Hour, s.tick)
	return s
}

// Interfaces are the stack's interfaces.
func (s *Stack) Interfaces() []*ip.Interface {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*ip.Interface(nil), s.table.Interfaces...)
}

// Close ends the stack's timers. Its sockets are dead.
func (s *Stack) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.clock.Stop()
}

// enter takes the lock and looks at the clock.
func (s *Stack) enter() {
	s.mu.Lock()
	s.look()
}

// look looks at the clock.
func (s *Stack) look() {
	s.now = s.Now()
	if !s.driven {
		s.heard = s.now
	}
}

// Now is the present.
func (s *Stack) Now() tcp.Time { return tcp.Time(time.Since(s.start)) }

// drainBatch is how many packets the loopback carries before others get a chance
// at the lock.
const drainBatch = 256

// leave lets the loopback run dry, sets the clock and releases the lock.
func (s *Stack) leave() {
	for {
		s.drain(drainBatch)
		if s.loop.Empty() {
			break
		}
		s.flush()
		s.mu.Unlock()
		s.mu.Lock()
		s.look()
	}
	s.flush()
	s.tellChanges()
	later := s.later
	s.later = nil
	for _, f := range later {
		f()
	}
	s.setClock()
	s.mu.Unlock()
	if s.Leave != nil {
		s.Leave()
	}
}

// Do runs f as one entry, with the lock held: for owners that do several things
// at once by the ...Locked methods.
func (s *Stack) Do(f func()) {
	s.enter()
	defer s.leave()
	f()
}

// Later calls f, with the lock held, once no packet is under way on the
// loopback any more: nothing refers to a queue's memory then.
func (s *Stack) Later(f func()) { s.later = append(s.later, f) }

// drain delivers up to n packets of the loopback.
func (s *Stack) drain(n int) {
	for ; n > 0; n-- {
		p := s.loop.Pop()
		if p == nil {
			return
		}
		lo := s.ifaces[0]
		if p.Interface != 0 {
			if i := s.iface(p.Interface); i != nil {
				s.input(i, p)
			}
			s.recycle(p)
			continue
		}
		lo.stats.ReceivedPackets++
		lo.stats.ReceivedBytes += uint64(p.Size())
		s.tap(lo, p, true)
		s.input(lo, p)
		s.recycle(p)
	}
}

func (s *Stack) packet() *link.Packet {
	if n := len(s.free); n > 0 {
		p := s.free[n-1]
		s.free = s.free[:n-1]
		return p
	}
	return &link.Packet{}
}

// maxOwned is how large a packet's own payload may be to be kept for the next.
const maxOwned = 2048

func (s *Stack) recycle(p *link.Packet) {
	p.Header, p.Payload, p.Trusted, p.Offload, p.Interface, p.Note = nil, nil, false, link.Offload{}, 0, nil
	if len(s.free) < 256 {
		p.Trim(maxOwned)
		s.free = append(s.free, p)
	}
}

func (s *Stack) portsOf(proto uint8) *ip.Ports {
	p := s.ports[proto]
	if p == nil {
		p = s.newPorts()
		s.ports[proto] = p
	}
	return p
}

// rand32 is unpredictable.
func (s *Stack) rand32() uint32 {
	if s.randomAt+4 > len(s.random) {
		rand.Read(s.random[:])
		s.randomAt = 0
	}
	v := binary.LittleEndian.Uint32(s.random[s.randomAt:])
	s.randomAt += 4
	return v
}

// InterfacesLocked is Interfaces within Do.
func (s *Stack) InterfacesLocked() []*ip.Interface { return s.table.Interfaces }
