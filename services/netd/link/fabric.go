package link

import (
	"slices"
	"sync"
)

// Fabric carries frames between devices of one process, whose stacks each have a lock of
// their own: what one sends waits here until whoever drives the stacks has it delivered,
// with no lock held.
type Fabric struct {
	mu    sync.Mutex
	queue []transit
	head  int
	bytes int
}

// transit is a frame on its way.
type transit struct {
	to *Cable
	p  *Packet
}

// Bounds of what waits in a Fabric, in frames and in bytes; what is sent beyond them is
// lost, as on a wire.
const (
	maxTransit      = 1 << 14
	maxTransitBytes = 16 << 20
)

// send queues copies of a batch for a device.
func (f *Fabric) send(to *Cable, batch []*Packet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range batch {
		n := p.Size()
		if len(f.queue)-f.head >= maxTransit || f.bytes+n > maxTransitBytes {
			return
		}
		b := append(append(make([]byte, 0, n), p.Header...), p.Payload...)
		if f.head > len(f.queue)/2 && len(f.queue) == cap(f.queue) { // frames that go round never let it run empty
			f.queue, f.head = slices.Delete(f.queue, 0, f.head), 0
		}
		f.queue = append(f.queue, transit{to, &Packet{Header: b, Offload: p.Offload}})
		f.bytes += n
	}
}

// carryBatch is how many frames a device gets at once.
const carryBatch = 64

// Carry delivers n frames at most, and says whether there are more.
func (f *Fabric) Carry(n int) bool {
	for n > 0 {
		to, batch := f.next(min(n, carryBatch))
		if to == nil {
			return false
		}
		n -= len(batch)
		if to.sink != nil {
			to.sink(batch)
		}
	}
	return !f.empty()
}

func (f *Fabric) empty() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head == len(f.queue)
}

// next takes the first frames that are for one device.
func (f *Fabric) next(n int) (to *Cable, batch []*Packet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.head < len(f.queue) && len(batch) < n && (to == nil || f.queue[f.head].to == to) {
		t := f.queue[f.head]
		f.queue[f.head] = transit{}
		f.head++
		f.bytes -= t.p.Size()
		to, batch = t.to, append(batch, t.p)
	}
	if f.head == len(f.queue) {
		f.queue, f.head = f.queue[:0], 0
	}
	return to, batch
}

// Cable is an interface that leads to no outside: one end of a pair, what a program feeds,
// or with neither an interface that loses all that is sent.
type Cable struct {
	fabric *Fabric
	kind   Wiring
	sink   Sink // Fabric.Carry's caller's
	peer   *Cable
	out    func(batch []*Packet) // of a program's
	closed bool
}

// Wiring is what a Cable is like.
type Wiring struct {
	MAC   [6]byte
	Ether bool // frames have an Ethernet header
	// Plain: nothing is left to it.
	Plain bool
	// Inside: what is sent stays in the stack, which sums up and cuts it where it leaves.
	Inside bool
}

// Dummy makes a device that loses what it is given.
func (f *Fabric) Dummy(w Wiring) *Cable { return &Cable{fabric: f, kind: w} }

// Pair makes two that lead to each other.
func (f *Fabric) Pair(a, b Wiring) (*Cable, *Cable) {
	one, other := f.Dummy(a), f.Dummy(b)
	one.peer, other.peer = other, one
	return one, other
}

// Program makes one whose frames out takes, and that gets those of Arrive.
func (f *Fabric) Program(w Wiring, out func(batch []*Packet)) *Cable {
	return &Cable{fabric: f, kind: w, out: out}
}

// Attach changes who takes its frames; nil: nobody.
func (c *Cable) Attach(out func(batch []*Packet)) { c.out = out }

// SetMAC changes its Ethernet address.
func (c *Cable) SetMAC(mac [6]byte) { c.kind.MAC = mac }

// Arrive has a frame arrive at a program's device, once the Fabric is asked to carry.
func (c *Cable) Arrive(p *Packet) { c.fabric.send(c, []*Packet{p}) }

// Send implements Device.
func (c *Cable) Send(batch []*Packet) {
	switch {
	case c.closed:
	case c.peer != nil:
		c.fabric.send(c.peer, batch)
	case c.out != nil:
		c.out(batch)
	}
}

// Start implements Device. It may be started again, for another stack.
func (c *Cable) Start(sink Sink) error {
	c.sink = sink
	return nil
}

// Close implements Device.
func (c *Cable) Close() error {
	c.sink, c.out, c.closed = nil, nil, true
	return nil
}

// MTU implements Device: the largest that an interface may be given.
func (c *Cable) MTU() int { return 65535 }

// MAC implements Device.
func (c *Cable) MAC() ([6]byte, bool) { return c.kind.MAC, c.kind.Ether }

// Features implements Device: what stays in memory needs no checksum and no cutting, but
// for a program.
func (c *Cable) Features() Features {
	inside := (c.peer != nil || c.kind.Inside) && !c.kind.Plain
	return Features{SumOffload: inside, TCPOffload: inside, UDPOffload: inside}
}
