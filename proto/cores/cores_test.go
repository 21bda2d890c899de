package cores

import (
	"runtime"
	"testing"
)

func TestMaskWithout(t *testing.T) {
	m := mask{0b101}
	if others, ok := m.without(2); !ok || others != (mask{0b001}) {
		t.Errorf("without core 2: %b, %v", others[0], ok)
	}
	if _, ok := (mask{0b100}).without(2); ok {
		t.Error("something is left of one core")
	}
	if _, ok := m.without(1024); ok {
		t.Error("there is no such core")
	}
}

// Who has left may come back, and who has nowhere to go stays.
func TestLeave(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := affinity()
	for core := range uint32(1025) { // one more than a mask has
		Leave(core)
		if now := affinity(); now != before || now == (mask{}) {
			t.Fatalf("after core %d the mask is %x, and was %x", core, now, before)
		}
	}
}
