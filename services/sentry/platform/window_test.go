package platform

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"
	"unsafe"
)

// mapped says whether the sentry has something at an address.
func mapped(t *testing.T, at unsafe.Pointer) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var start, end uint64
		fmt.Sscanf(string(line), "%x-%x", &start, &end)
		if a := uint64(uintptr(at)); a >= start && a < end {
			return true
		}
	}
	return false
}

// A window goes when all of its slots have been handed out and let go of, and not before;
// what is mapped there is each space's own.
func TestWindow(t *testing.T) {
	m := &Machine{}
	var spaces []*Space
	for i := range 2*windowSlots + 1 {
		s, err := m.newSpace()
		if err != nil {
			t.Fatal(err)
		}
		s.slots[0].store(slotResult, uint64(i))
		spaces = append(spaces, s)
	}
	for i, s := range spaces {
		other, err := mapSlot(s.memfd, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := other.load(slotResult); got != uint64(i) {
			t.Errorf("space %d has the slot of %d", i, got)
		}
		other.unmap()
	}
	first, last := spaces[0].slots[0].in, spaces[2*windowSlots].slots[0].in
	if first == last || first != spaces[windowSlots-1].slots[0].in {
		t.Fatal("a window has not as many slots as it says")
	}
	for _, s := range spaces[1:] {
		s.free()
	}
	if !mapped(t, first.base) {
		t.Error("a window is gone, with a slot of it in use")
	}
	if got := spaces[0].slots[0].load(slotResult); got != 0 {
		t.Errorf("the slot in use holds %d", got)
	}
	spaces[0].free()
	if first.live.Load() != 0 {
		t.Error("the window is kept, and nobody uses it")
	}
	if last.live.Load() != windowSlots-1 || !mapped(t, last.base) {
		t.Error("a window is gone that has places left")
	}
}

// A doorbell that nobody has any more is the next process's, and rings for that one.
func TestBell_again(t *testing.T) {
	m := machine(t)
	th := guest(t, m, call(39))
	expect(t, th, Syscall)
	th.Exit(true)
	var b *bell
	select {
	case b = <-m.bells:
	case <-time.After(30 * time.Second):
		t.Fatal("no doorbell is kept of a process that is gone")
	}
	b.mu.Lock()
	if n := len(b.spaces); n != 0 {
		t.Errorf("%d spaces have the spare bell", n)
	}
	b.mu.Unlock()
	s, err := m.newSpace()
	if err != nil {
		t.Fatal(err)
	}
	s.ring(b)
	p := s.newProcess()
	if th, err = s.thread(p, 0); err != nil {
		t.Fatal(err)
	}
	rung := make(chan struct{}, 1)
	th.OnRing(func() {
		select {
		case rung <- struct{}{}:
		default:
		}
	})
	th.slot.store(slotReq, 1)
	if _, err := b.file.Write([]byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	<-rung
	th.drop()
	s.release()
}
