package link

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead/services/netd/pcapng"
)

// ends gives a device and the descriptor at its other end.
func ends(t *testing.T, kind int, virtio bool, open func(Config) (Device, error)) (Device, int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	d, err := open(Config{File: os.NewFile(uintptr(fds[0]), "link"), MTU: 1500, MAC: [6]byte{2, 0, 0, 0, 0, 1}, Virtio: virtio, UDPOffload: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close(); unix.Close(fds[1]) })
	return d, fds[1]
}

// collect starts d; what it receives comes out of the channel, copied.
func collect(t *testing.T, d Device) <-chan Packet {
	t.Helper()
	got := make(chan Packet, 1000)
	err := d.Start(func(batch []*Packet) {
		for _, p := range batch {
			c := Packet{Header: append(append([]byte(nil), p.Header...), p.Payload...), Offload: p.Offload}
			got <- c
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func frame(fill byte, n int) []byte { return bytes.Repeat([]byte{fill}, n) }

func readAll(t *testing.T, fd int) []byte {
	t.Helper()
	b := make([]byte, 1<<17)
	n, err := unix.Read(fd, b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func TestPacketOffload(t *testing.T) {
	for name, open := range map[string]func(Config) (Device, error){"packet": NewPacket, "tap": NewTAP} {
		t.Run(name, func(t *testing.T) {
			d, peer := ends(t, unix.SOCK_DGRAM, true, open)
			if f := d.Features(); !f.TCPOffload || !f.SumOffload || !f.UDPOffload {
				t.Errorf("features: %+v", f)
			}
			sent := Offload{GSO: GSOTCP6, SegmentSize: 1440, HeaderSize: 74, SumDue: true, SumStart: 54, SumOffset: 16}
			d.Send([]*Packet{
				{Header: frame(1, 74), Payload: frame(2, 5000), Offload: sent},
				{Header: frame(3, 60)},
			})
			first, second := readAll(t, peer), readAll(t, peer)
			if len(first) != VirtioSize+5074 || parseVirtio(first, 5074) != sent {
				t.Errorf("%d bytes with %+v", len(first), parseVirtio(first, 5074))
			}
			if len(second) != VirtioSize+60 || parseVirtio(second, 60) != (Offload{}) {
				t.Errorf("plain frame: %d bytes with %+v", len(second), parseVirtio(second, 60))
			}
			got := collect(t, d)
			unix.Write(peer, first)
			if p := <-got; p.Offload != sent || !bytes.Equal(p.Header, first[VirtioSize:]) {
				t.Errorf("received %d bytes with %+v", len(p.Header), p.Offload)
			}
			unix.Write(peer, []byte{1, 2, 3}) // no frame
			unix.Write(peer, second)
			if p := <-got; !bytes.Equal(p.Header, second[VirtioSize:]) {
				t.Error("the frame after a broken one is wrong")
			}
		})
	}
}

// A device's batch is in order and whole, however many frames there are.
func TestPacketMany(t *testing.T) {
	d, peer := ends(t, unix.SOCK_DGRAM, false, NewPacket)
	got := collect(t, d)
	for i := range 500 {
		if _, err := unix.Write(peer, frame(byte(i), 60+i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 500 {
		if p := <-got; !bytes.Equal(p.Header, frame(byte(i), 60+i)) {
			t.Fatalf("frame %d is wrong", i)
		}
	}
}

func TestStreamCutsAnywhere(t *testing.T) {
	d, peer := ends(t, unix.SOCK_STREAM, false, NewStream)
	got := collect(t, d)
	var all []byte
	for i := range 40 {
		all = binary.BigEndian.AppendUint32(all, uint32(60+i))
		all = append(all, frame(byte(i), 60+i)...)
	}
	for len(all) > 0 {
		n := min(len(all), 1+len(all)%97)
		if _, err := unix.Write(peer, all[:n]); err != nil {
			t.Fatal(err)
		}
		all = all[n:]
	}
	for i := range 40 {
		if p := <-got; !bytes.Equal(p.Header, frame(byte(i), 60+i)) {
			t.Fatalf("frame %d is wrong", i)
		}
	}
}

// What a full stream does not take is lost frame by frame, never in parts.
func TestStreamFull(t *testing.T) {
	d, peer := ends(t, unix.SOCK_STREAM, false, NewStream)
	for i := range 2000 {
		d.Send([]*Packet{{Header: frame(byte(i), 54), Payload: frame(byte(i), 9001)}})
	}
	unix.SetNonblock(peer, true)
	var all []byte
	for {
		b := make([]byte, 1<<16)
		n, err := unix.Read(peer, b)
		if err != nil {
			break
		}
		all = append(all, b[:n]...)
		d.Send(nil)
	}
	frames := 0
	for ; len(all) >= lengthSize; frames++ {
		n := int(binary.BigEndian.Uint32(all))
		if n != 9055 {
			t.Fatalf("frame %d: length %d", frames, n)
		}
		all = all[min(len(all), lengthSize+n):]
	}
	if frames < 10 || frames == 2000 {
		t.Errorf("%d frames passed", frames)
	}
}

// The other end's death, or a nonsense of its, ends receiving; Close returns.
func TestStreamBroken(t *testing.T) {
	d, peer := ends(t, unix.SOCK_STREAM, false, NewStream)
	collect(t, d)
	unix.Write(peer, []byte{0xff, 0xff, 0xff, 0xff})
	<-d.(*port).ended
}

func TestCloseEndsReceiving(t *testing.T) {
	d, _ := ends(t, unix.SOCK_DGRAM, false, NewPacket)
	collect(t, d)
	d.Close()
	if err := d.Start(nil); err == nil {
		t.Error("a closed device was started")
	}
}

func TestTracer(t *testing.T) {
	var b bytes.Buffer
	tracer, err := NewTracer(&b)
	if err != nil {
		t.Fatal(err)
	}
	inner, peer := ends(t, unix.SOCK_DGRAM, false, NewPacket)
	d, err := tracer.Trace("eth0", inner)
	if err != nil {
		t.Fatal(err)
	}
	got := collect(t, d)
	d.Send([]*Packet{{Header: frame(1, 54), Payload: frame(2, 100)}})
	unix.Write(peer, frame(3, 60))
	<-got
	packets, names, err := pcapng.Read(b.Bytes())
	if err != nil || len(names) != 1 || len(packets) != 2 {
		t.Fatalf("%d packets, %q, %v", len(packets), names, err)
	}
	if packets[0].Direction != pcapng.Outbound || len(packets[0].Data) != 154 || packets[1].Direction != pcapng.Inbound || len(packets[1].Data) != 60 {
		t.Errorf("%+v", packets)
	}
}

// Faults happen as often as they should, roughly.
func TestFaulty(t *testing.T) {
	inner, peer := ends(t, unix.SOCK_DGRAM, false, NewPacket)
	d := Faulty(inner, Faults{Drop: 0.1, Duplicate: 0.1, Corrupt: 0.1, Reorder: 0.1, Seed: 7})
	unix.SetNonblock(peer, true)
	seen := map[uint32]int{}
	damaged, late, last := 0, 0, uint32(0)
	for i := range uint32(2000) {
		f := binary.BigEndian.AppendUint32(bytes.Repeat([]byte{0xaa}, 60), i)
		d.Send([]*Packet{{Header: f}})
		b := make([]byte, 100)
		for {
			n, err := unix.Read(peer, b)
			if err != nil {
				break
			}
			k := binary.BigEndian.Uint32(b[60:])
			if !bytes.Equal(b[:60], f[:60]) || n != 64 || k > i {
				damaged++
				continue
			}
			if seen[k]++; k < last {
				late++
			}
			last = max(last, k)
		}
	}
	twice := 0
	for _, n := range seen {
		if n > 1 {
			twice++
		}
	}
	for what, n := range map[string]int{"dropped": 2000 - len(seen) - damaged, "twice": twice, "damaged": damaged, "late": late} {
		if n < 100 || n > 350 {
			t.Errorf("%s: %d of 2000", what, n)
		}
	}
}

func FuzzVirtio(f *testing.F) {
	f.Add([]byte{1, 1, 54, 0, 180, 5, 34, 0, 16, 0}, 1000)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		if len(b) < VirtioSize || size < 0 || size > frameSize {
			t.Skip()
		}
		o := parseVirtio(b, size)
		if o.SumDue && int(o.SumStart)+int(o.SumOffset)+2 > size {
			t.Error("the checksum lies outside the frame")
		}
		if o.GSO != GSONone && (o.SegmentSize == 0 || int(o.HeaderSize) > size) {
			t.Error("segments of nothing")
		}
		again := make([]byte, VirtioSize)
		putVirtio(again, &o)
		o.SumGood = false
		if parseVirtio(again, size) != o {
			t.Errorf("%+v changes on the way", o)
		}
	})
}

func FuzzStream(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 9, 0, 0, 0, 2, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4*frameSize {
			t.Skip()
		}
		w := &streamWire{buffer: b, to: len(b)}
		for {
			in, err := w.cut(nil)
			if err != nil || len(in) == 0 {
				return
			}
			if w.from > w.to {
				t.Fatal("more was taken than there is")
			}
		}
	})
}
