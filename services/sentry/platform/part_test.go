package platform

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead/proto/cores"
)

// affinity is the calling thread's mask.
func affinity(t *testing.T) (m unix.CPUSet) {
	t.Helper()
	if err := unix.SchedGetaffinity(0, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMeet_leavesTheCore(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	all := affinity(t)
	if all.Count() < 2 {
		t.Skip("there is one core")
	}
	// Held where it is, so that only meet can move it.
	var only unix.CPUSet
	only.Set(int(core() & 0xfff))
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &all)
	here := core()

	th := &Thread{parting: cores.Parting{After: partAfter, Worth: partWorth}}
	for range partAfter - 1 {
		th.meet(here, here)
	}
	th.meet(here, here+1) // not in a row
	for range partAfter - 1 {
		th.meet(here, here)
	}
	if core() != here || affinity(t) != only {
		t.Fatal("it left before it had to")
	}
	th.meet(here, here)
	if affinity(t) != all {
		t.Fatal("it did not leave, or may not run everywhere afterwards")
	}
}
