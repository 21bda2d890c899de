package platform

import (
	"sync/atomic"
	"testing"
	"time"
)

// busyThenCall computes for a few hundred microseconds and then calls getpid.
func busyThenCall() []byte {
	return join(
		[]byte{0xb9, 0x00, 0x00, 0x08, 0x00}, // mov ecx, 0x80000
		[]byte{0xff, 0xc9, 0x75, 0xfc},       // dec ecx; jnz back
		call(39),
		call(231),
	)
}

// TestDrowse_isWokenByTheWord has the stub wake the sentry's thread itself, without
// the doorbell.
func TestDrowse_isWokenByTheWord(t *testing.T) {
	if maxProcs < 2 {
		t.Skip("nobody drowses on one processor")
	}
	woken := 0
	for began := time.Now(); woken == 0 && time.Since(began) < 20*time.Second; { // a busy machine can take longer than a drowse lasts
		th := guest(t, machine(t), busyThenCall())
		th.asleep.Store(true)
		if th.drowse() {
			woken++
			if len(th.wake) != 0 {
				t.Error("the doorbell rang too")
			}
		}
		th.asleep.Store(false)
		atomic.StoreUint32(th.slot.word(slotSentrySleep), sentryAwake)
		if ev := th.Next(); ev.Kind != Syscall || th.Regs.RAX != 39 {
			t.Fatalf("stopped with %+v, call %d", ev, th.Regs.RAX)
		}
		th.Return(1)
		expect(t, th, Syscall)
		th.Exit(true)
	}
	if woken == 0 {
		t.Fatal("no request ended a drowse")
	}
}

// TestDrowse_leavesAProcessor: whoever comes when all but one processor are held by
// sleepers sleeps in another way.
func TestDrowse_leavesAProcessor(t *testing.T) {
	drowsing.Add(maxProcs - 1)
	defer drowsing.Add(-(maxProcs - 1))
	th := guest(t, machine(t), []byte{0xeb, 0xfe}) // jmp to itself
	began := time.Now()
	var word atomic.Uint32
	if th.drowse() || Nap(&word, 0, time.Minute) {
		t.Fatal("one too many drowsed")
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Fatalf("it took %v to refuse", took)
	}
}

// TestDrowse_endsWithTheProcess: nobody is left who would change the word.
func TestDrowse_endsWithTheProcess(t *testing.T) {
	th := guest(t, machine(t), []byte{0xeb, 0xfe})
	time.AfterFunc(time.Millisecond, th.proc.Kill)
	if ev := th.Next(); ev.Kind != Died {
		t.Fatalf("%+v", ev)
	}
}

func TestNap(t *testing.T) {
	if maxProcs < 2 {
		t.Skip("nobody naps on one processor")
	}
	var word atomic.Uint32
	began := time.Now()
	if !Nap(&word, 0, 2*time.Millisecond) {
		t.Fatal("refused")
	}
	if took := time.Since(began); took < 2*time.Millisecond {
		t.Fatalf("a nap of 2 ms took %v", took) // nothing has changed the word
	}
	time.AfterFunc(10*time.Millisecond, func() { word.Store(1); Rouse(&word) })
	began = time.Now()
	if !Nap(&word, 0, time.Minute) {
		t.Fatal("refused")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Fatalf("it was roused after %v", took)
	}
	if drowsing.Load() != 0 {
		t.Fatalf("%d drowse", drowsing.Load())
	}
}
