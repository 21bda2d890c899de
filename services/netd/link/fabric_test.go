package link

import (
	"bytes"
	"testing"
)

// What one end sends the other gets, as a copy, when the fabric is asked to carry.
func TestPair(t *testing.T) {
	f := &Fabric{}
	a, b := f.Pair(Wiring{Ether: true}, Wiring{Ether: true})
	var got []string
	take := func(name string) Sink {
		return func(batch []*Packet) {
			for _, p := range batch {
				got = append(got, name+string(p.Header)+string(p.Payload))
			}
		}
	}
	a.Start(take("a:"))
	b.Start(take("b:"))
	payload := []byte("payload")
	a.Send([]*Packet{{Header: []byte("head "), Payload: payload, Offload: Offload{GSO: GSOTCP4}}})
	copy(payload, "changed")
	b.Send([]*Packet{{Header: []byte("back")}})
	if len(got) > 0 {
		t.Fatal("it came too early:", got)
	}
	if f.Carry(1) != true || len(got) != 1 || got[0] != "b:head payload" {
		t.Fatal(got)
	}
	b.Start(take("moved:"))
	a.Send([]*Packet{{Header: []byte("x")}})
	if f.Carry(10) || len(got) != 3 || got[1] != "a:back" || got[2] != "moved:x" {
		t.Fatal(got)
	}
	b.Close()
	a.Send([]*Packet{{Header: []byte("x")}})
	if f.Carry(10) || len(got) != 3 {
		t.Fatal("a closed end got something:", got)
	}
}

// A program's device gives it what is sent, and gets what it says has arrived; a dummy
// loses everything.
func TestProgram(t *testing.T) {
	f := &Fabric{}
	var out, in []byte
	c := f.Program(Wiring{}, nil)
	c.Send([]*Packet{{Header: []byte("lost")}})
	c.Attach(func(batch []*Packet) { out = append(out, batch[0].Header...) })
	c.Start(func(batch []*Packet) { in = append(in, batch[0].Header...) })
	c.Send([]*Packet{{Header: []byte("sent")}})
	c.Arrive(&Packet{Header: []byte("arrived")})
	f.Dummy(Wiring{}).Send([]*Packet{{Header: []byte("lost")}})
	if f.Carry(10) || string(out) != "sent" || string(in) != "arrived" {
		t.Errorf("%q went out, %q came in", out, in)
	}
	if x := c.Features(); x != (Features{}) {
		t.Errorf("a program is to finish packets: %+v", x)
	}
}

// What nobody carries is bounded in number and in bytes.
func TestFabricIsBounded(t *testing.T) {
	for _, size := range []int{0, 60000} {
		f := &Fabric{}
		a, b := f.Pair(Wiring{}, Wiring{})
		n, sum := 0, 0
		b.Start(func(batch []*Packet) {
			for _, p := range batch {
				n, sum = n+1, sum+p.Size()
			}
		})
		p := &Packet{Header: make([]byte, 14), Payload: bytes.Repeat([]byte("x"), size)}
		for range maxTransit + 100 {
			a.Send([]*Packet{p})
		}
		for f.Carry(1000) {
		}
		if n > maxTransit || sum > maxTransitBytes || n < 200 {
			t.Errorf("%d frames of %d bytes got through", n, size+14)
		}
		a.Send([]*Packet{p})
		if n = 0; f.Carry(10) || n != 1 {
			t.Error("it has no room after it was carried")
		}
	}
}

func FuzzProgramVirtio(f *testing.F) {
	f.Add([]byte{1, 1, 54, 0, 180, 5, 34, 0, 16, 0}, 14, 1000)
	f.Add([]byte{1, 5, 28, 0, 100, 0, 20, 0, 6, 0}, 0, 1000)
	f.Fuzz(func(t *testing.T, b []byte, head, size int) {
		if len(b) < VirtioSize || size < 0 || size > frameSize || head != 0 && head != 14 {
			t.Skip()
		}
		o, ok := ParseVirtio([VirtioSize]byte(b[:VirtioSize]), head, size)
		if !ok {
			return
		}
		end := int(o.SumStart) + int(o.SumOffset) + 2
		if o.SumDue && end > size || o.GSO != GSONone && (!o.SumDue || end > int(o.HeaderSize) || int(o.HeaderSize) > size || o.SegmentSize < minSegment) {
			t.Errorf("%+v of %d bytes", o, size)
		}
	})
}

// What goes round for good takes no more memory with time.
func TestFabric_loop(t *testing.T) {
	f := &Fabric{}
	a, b := f.Pair(Wiring{Ether: true}, Wiring{Ether: true})
	for c, back := range map[*Cable]*Cable{a: a, b: b} {
		c.Start(func(batch []*Packet) { back.Send(batch) })
	}
	for range 100 {
		a.Arrive(&Packet{Header: make([]byte, 60)})
	}
	f.Carry(300_000)
	if n := len(f.queue) - f.head; n != 100 {
		t.Errorf("%d frames go round", n)
	}
	if cap(f.queue) > 4096 {
		t.Errorf("room for %d frames", cap(f.queue))
	}
}
