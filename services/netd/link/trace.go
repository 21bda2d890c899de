package link

import (
	"io"
	"sync"
	"time"

	"bulkhead/services/netd/pcapng"
)

// snap is how much of a packet a trace keeps, in bytes: all of it.
const snap = frameSize

// Tracer writes what passes through devices to a capture.
type Tracer struct {
	mu  sync.Mutex // guards the writer
	out *pcapng.Writer
}

// NewTracer begins a capture on w.
func NewTracer(w io.Writer) (*Tracer, error) {
	out, err := pcapng.NewWriter(w)
	if err != nil {
		return nil, err
	}
	return &Tracer{out: out}, nil
}

// Trace puts the tracer before d. When the capture cannot be written any more,
// packets pass unseen.
func (t *Tracer) Trace(name string, d Device) (Device, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kind := uint16(pcapng.RawIP)
	if _, ok := d.MAC(); ok {
		kind = pcapng.Ethernet
	}
	n, err := t.out.Interface(name, kind, snap)
	if err != nil {
		return nil, err
	}
	return &traced{Device: d, tracer: t, number: n}, nil
}

type traced struct {
	Device
	tracer *Tracer
	number uint32
}

func (d *traced) write(batch []*Packet, direction uint32) {
	now := time.Now()
	d.tracer.mu.Lock()
	defer d.tracer.mu.Unlock()
	for _, p := range batch {
		d.tracer.out.Packet(d.number, now, direction, snap, p.Header, p.Payload)
	}
}

// Send traces and sends batch.
func (d *traced) Send(batch []*Packet) {
	d.write(batch, pcapng.Outbound)
	d.Device.Send(batch)
}

// Start traces what is received.
func (d *traced) Start(sink Sink) error {
	return d.Device.Start(func(batch []*Packet) {
		d.write(batch, pcapng.Inbound)
		sink(batch)
	})
}
