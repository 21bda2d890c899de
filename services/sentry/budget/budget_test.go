package budget

import (
	"runtime"
	"testing"
	"time"

	"bulkhead/proto/linux"
)

// What is alive on the heap counts, whoever made it, and pages of files do not.
func TestCheck_heap(t *testing.T) {
	Start(1) // least
	if err := Check(); err != nil {
		t.Fatal(err)
	}
	held := make([][]byte, 0, 60)
	for range 60 {
		held = append(held, make([]byte, 1<<20))
	}
	runtime.GC()
	becomes(t, linux.ENOMEM)
	Pages(60 << 20)
	becomes(t, nil)
	Pages(-60 << 20)
	runtime.GC()
	becomes(t, linux.ENOMEM)
	runtime.KeepAlive(held)
	held = nil
	becomes(t, nil)
}

// Whoever is refused, or ends, while the heap has just been looked at has it looked at
// again, and soon: no further call is needed.
func TestCheck_renewsSoon(t *testing.T) {
	Start(1) // least
	for _, ask := range []func(){func() { Check() }, Renew} {
		held := make([]byte, 2*least)
		runtime.GC()
		becomes(t, linux.ENOMEM)
		seen := collections()
		for collections() == seen { // so the next is not to be for a while
			Check()
			time.Sleep(time.Millisecond)
		}
		runtime.KeepAlive(held)
		held = nil
		ask()
		for began := time.Now(); full.Load(); time.Sleep(time.Millisecond) {
			if time.Since(began) > 10*time.Second {
				t.Fatal("still no room")
			}
		}
	}
}

func collections() uint32 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NumForcedGC
}

// What calls borrow is bounded before anything is collected, and comes back.
func TestBorrow(t *testing.T) {
	Start(1) // least
	becomes(t, nil)
	for range 3 {
		if err := Borrow(2 * least); err != nil {
			t.Fatal(err)
		}
		if err := Borrow(1); err != linux.ENOMEM {
			t.Errorf("more than there may be: %v", err)
		}
		Return(2 * least)
	}
}

func becomes(t *testing.T, want error) {
	t.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if err = Check(); err == want {
			return
		}
	}
	t.Fatalf("Check is %v, want %v", err, want)
}

func TestCheck_allocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Check() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
