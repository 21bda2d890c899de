package channel

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestHeads has rings carry bytes whose heads lie beside each other, and refuses the
// memory of a hostile peer.
func TestHeads(t *testing.T) {
	own, f, err := CreateHeads("test")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	peers, err := MapHeads(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 1, HeadsOf - 1} {
		r, file, err := own.CreateRings("test", i, MinRing)
		if err != nil {
			t.Fatal(err)
		}
		p, err := peers.MapRings(int(file.Fd()), i, MinRing)
		if err != nil {
			t.Fatal(err)
		}
		down, _ := r.Service()
		_, in := p.Client()
		b := byte(1 + i)
		for _, at := range []int{0, MinRing - 1} { // the last one lies at both ends
			down.Slice(at, 1)[0] = b
		}
		down.Publish(MinRing)
		if n, err := in.Len(); n != MinRing || err != nil || in.Slice(0, 1)[0] != b || in.Slice(MinRing-1, 1)[0] != b {
			t.Errorf("head %d: %d bytes, %v", i, n, err)
		}
		r.Head.Told.Store(uint32(b))
		if p.Head.Told.Load() != uint32(b) {
			t.Errorf("head %d is another for the peer", i)
		}
		if _, err := MapRings(int(file.Fd()), MinRing); err == nil {
			t.Error("rings without a head are taken for some with")
		}
		p.Unmap()
		file.Close()
	}
	for _, i := range []int{-1, HeadsOf} {
		if _, _, err := own.CreateRings("test", i, MinRing); err == nil {
			t.Errorf("there is a head %d", i)
		}
	}
	for i, want := range map[int]int{0: 1, 1: 2, HeadsOf - 1: HeadsOf} {
		if got := int(own.at(i).Told.Load()); got != want {
			t.Errorf("head %d was written to by another: %d, want %d", i, got, want)
		}
	}
	loose, err := unix.MemfdCreate("loose", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(loose)
	unix.Ftruncate(loose, headsSize)
	if _, err := MapHeads(loose); err == nil {
		t.Error("memory that can shrink was mapped")
	}
}
