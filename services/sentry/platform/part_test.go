package platform

import (
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func affinity() (m cpuMask) {
	unix.RawSyscall(unix.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(m), uintptr(unsafe.Pointer(&m)))
	return m
}

func coreNumber() uint32 { return core() & 0xfff }

func TestParting_leavesTheCore(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("there is one core")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Held where it is, so that only meet can move it.
	here := core()
	var only cpuMask
	only[coreNumber()/64] = 1 << (coreNumber() % 64)
	setAffinity(&only)
	defer setAffinity(&cores)
	here = core()

	var p parting
	for range partAfter - 1 {
		p.meet(here, here)
	}
	p.meet(here, here+1) // not in a row
	for range partAfter - 1 {
		p.meet(here, here)
	}
	if core() != here || affinity() != only {
		t.Fatal("it left before it had to")
	}
	p.meet(here, here)
	if affinity() != cores {
		t.Fatal("it did not leave, or may not run everywhere afterwards")
	}
	if p.moved.IsZero() || p.pause != partPause {
		t.Fatalf("%+v", p)
	}
}

func TestParting_lessOftenIfItDoesNotLast(t *testing.T) {
	alone := cores
	cores = cpuMask{} // nowhere to go
	defer func() { cores = alone }()
	var p parting
	stay := func(n int) {
		for range n {
			p.meet(0, 0)
		}
	}
	stay(partAfter)
	for _, want := range []time.Duration{2 * partPause, 4 * partPause} {
		soon := time.Now().Add(time.Hour)
		p.moved = soon
		stay(10 * partAfter)
		if p.moved != soon {
			t.Fatal("it moved again within the pause")
		}
		p.moved = time.Now().Add(-2 * partPauseMax)
		stay(partAfter)
		if p.pause != want {
			t.Fatalf("a pause of %v, not %v", p.pause, want)
		}
	}
	for range partWorth {
		p.meet(0, 1)
	}
	p.moved = p.moved.Add(-2 * partPauseMax)
	if stay(partAfter); p.pause != partPause {
		t.Fatalf("a pause of %v after a move that lasted", p.pause)
	}
}
