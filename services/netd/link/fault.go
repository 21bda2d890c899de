package link

import (
	"math/rand/v2"
	"sync"
)

// Faults say what a bad link does to packets: probabilities from 0 to 1 of each.
// It is for tests.
type Faults struct {
	Drop      float64
	Duplicate float64
	Corrupt   float64 // one bit is turned
	Reorder   float64 // the packet goes after the next one
	Seed      uint64
}

// Faulty puts a bad link before d, both ways. It offers no offload: what cannot
// be lost by itself would be lost in pieces of 64 KiB.
func Faulty(d Device, f Faults) Device {
	return &faulty{Device: d, faults: f, out: breaker{random: rand.New(rand.NewPCG(f.Seed, 1))}, in: breaker{random: rand.New(rand.NewPCG(f.Seed, 2))}}
}

type faulty struct {
	Device
	faults  Faults
	mu      sync.Mutex // guards out
	out, in breaker
}

// breaker is one direction.
type breaker struct {
	random *rand.Rand
	held   *Packet // goes after the next one
}

// Features are none.
func (d *faulty) Features() Features { return Features{} }

// Send sends what the link lets through.
func (d *faulty) Send(batch []*Packet) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if batch = d.out.pass(batch, &d.faults); len(batch) > 0 {
		d.Device.Send(batch)
	}
}

// Start receives what the link lets through.
func (d *faulty) Start(sink Sink) error {
	return d.Device.Start(func(batch []*Packet) {
		if batch = d.in.pass(batch, &d.faults); len(batch) > 0 {
			sink(batch)
		}
	})
}

func (b *breaker) pass(batch []*Packet, f *Faults) []*Packet {
	hit := func(p float64) bool { return p > 0 && b.random.Float64() < p }
	var out []*Packet
	for _, p := range batch {
		if hit(f.Drop) {
			continue
		}
		if hit(f.Corrupt) {
			p = clone(p)
			p.Offload.SumGood = false
			if n := len(p.Header); n > 0 {
				p.Header[b.random.IntN(n)] ^= 1 << b.random.IntN(8)
			}
		}
		held := b.held
		b.held = nil
		if held == nil && hit(f.Reorder) {
			b.held = clone(p)
			continue
		}
		out = append(out, p)
		if hit(f.Duplicate) {
			out = append(out, clone(p))
		}
		if held != nil {
			out = append(out, held)
		}
	}
	return out
}

// clone is a copy in one piece, which nobody else holds.
func clone(p *Packet) *Packet {
	c := &Packet{Header: append(append([]byte(nil), p.Header...), p.Payload...), Trusted: p.Trusted, Offload: p.Offload}
	return c
}
