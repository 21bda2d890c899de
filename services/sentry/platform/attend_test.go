package platform

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNear_rings: a stub whose request nobody takes rings before it sleeps, and not
// while its request is as good as taken.
func TestNear_rings(t *testing.T) {
	th := guest(t, machine(t), busyThenCall())
	rung := make(chan struct{}, 1)
	th.OnRing(func() {
		select {
		case rung <- struct{}{}:
		default:
		}
	})
	th.Near()
	select {
	case <-rung:
	case <-time.After(20 * time.Second):
		t.Fatal("nobody rang")
	}
	if !th.Asks() {
		t.Error("it rang without a request")
	}
	th.Attended()
	if ev := th.Next(); ev.Kind != Syscall || th.Regs.RAX != 39 {
		t.Fatalf("stopped with %+v, call %d", ev, th.Regs.RAX)
	}
	th.Return(1)
	expect(t, th, Syscall)
	th.Exit(true)
}

// TestDrowse_several: any one of them ends it, by its word.
func TestDrowse_several(t *testing.T) {
	if maxProcs < 2 {
		t.Skip("nobody drowses on one processor")
	}
	m := machine(t)
	idle := guest(t, m, []byte{0xeb, 0xfe}) // jmp to itself
	th := guest(t, m, busyThenCall())
	th.OnRing(func() { t.Error("the doorbell rang too") })
	for began := time.Now(); !th.Asks(); {
		if time.Since(began) > 20*time.Second {
			t.Fatal("no request came")
		}
		Drowse([]*Thread{idle, th})
	}
	if idle.Asks() {
		t.Error("who did nothing asks")
	}
	th.OnRing(func() {})
	th.Attended()
	if ev := th.Next(); ev.Kind != Syscall || th.Regs.RAX != 39 {
		t.Fatalf("stopped with %+v, call %d", ev, th.Regs.RAX)
	}
	th.Return(1)
	expect(t, th, Syscall)
	th.Exit(true)
	if drowsing.Load() != 0 {
		t.Fatalf("%d drowse", drowsing.Load())
	}
}

// TestOnLong: whoever waits for host calls in the middle of a request is told when they
// take long, once, with the stub stopped here.
func TestOnLong(t *testing.T) {
	th := guest(t, machine(t), busyThenCall())
	expect(t, th, Syscall)
	pid := th.Process().PID()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(") T ")) {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("not stopped: %s", b)
		}
	}
	told := 0
	th.OnLong(func() {
		told++
		unix.Kill(pid, unix.SIGCONT)
	})
	if done, ok := th.Do(); done != 0 || !ok || told != 1 {
		t.Errorf("%d calls made, %v; told %d times", done, ok, told)
	}
	th.Exit(true)
}
