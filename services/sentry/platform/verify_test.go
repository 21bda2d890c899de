package platform

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const verifiedEnv = "BULKHEAD_TEST_VERIFIED"

// verifiedRun says whether this test process tests strict mode.
func verifiedRun() bool { return os.Getenv(verifiedEnv) != "" }

// TestVerified_suite runs all tests of this package in strict mode. A process has
// one Machine, so that is another process, whose end this one's Machine may see
// first: its last words count.
func TestVerified_suite(t *testing.T) {
	if verifiedRun() || os.Getuid() != 0 {
		t.Skip("needs root, and once is enough")
	}
	cmd := exec.Command(os.Args[0], "-test.timeout=4m")
	cmd.Env = append(os.Environ(), verifiedEnv+"=1")
	out, _ := cmd.CombinedOutput()
	if !bytes.HasSuffix(bytes.TrimSpace(out), []byte("PASS")) {
		t.Errorf("%s", out)
	}
}

// A thread that ends makes the calls of its last answer first, though the sentry has let
// go of it by then.
func TestVerified_lastAnswer(t *testing.T) {
	if !verifiedRun() {
		t.Skip("strict mode is tested by TestVerified_suite")
	}
	m := machine(t)
	for range 20 {
		th := guest(t, m, call(unix.SYS_GETPPID))
		expect(t, th, Syscall)
		th.Patience()
		time.Sleep(5 * time.Millisecond) // it sleeps, and so is not quick to make them
		for i := range uint64(8) {
			th.HostCall(unix.SYS_MMAP, 0x70_0000+i<<12, 0x1000, 3, unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_ANONYMOUS, ^uint64(0), 0)
		}
		dead := th.proc.Dead()
		th.Exit(true)
		<-dead
		if ws := th.proc.Status(); !ws.Exited() || ws.ExitStatus() != 0 {
			t.Fatalf("ended with %v (signal %v), want 0", ws, ws.Signal())
		}
	}
	m.verifier.mu.Lock()
	defer m.verifier.mu.Unlock()
	for tid, th := range m.verifier.threads {
		if th.dropped.Load() && th.proc.gone.Load() {
			t.Errorf("host thread %d is not forgotten", tid)
		}
	}
}

func TestVerified_onlyWhatWasOrdered(t *testing.T) {
	if !verifiedRun() {
		t.Skip("strict mode is tested by TestVerified_suite")
	}
	const none = ^uint64(0)
	for _, c := range []struct {
		name string
		regs Regs
	}{
		{"munmap", Regs{RAX: unix.SYS_MUNMAP, RDI: dataAt, RSI: 0x1000}},
		{"mmap", Regs{RAX: unix.SYS_MMAP, RDI: 0x70_0000, RSI: 0x1000, RDX: 3, R10: 0x32, R8: none}},
		{"fork", Regs{RAX: unix.SYS_CLONE, RDI: forkFlags}},
		{"thread", Regs{RAX: unix.SYS_CLONE, RDI: 0x50f00, RSI: dataAt + 0x2000}},
		{"arch_prctl", Regs{RAX: unix.SYS_ARCH_PRCTL, RDI: 0x1002, RSI: 1}},
		{"slots again", Regs{RAX: unix.SYS_MMAP, RDI: slots, RSI: MaxThreads * slotSize, RDX: 3, R10: 0x11, R8: fdSlots}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := machine(t)
			text, err := stubText()
			if err != nil {
				t.Fatal(err)
			}
			// A jump to any system call of the stub's text.
			syscallAt := textAt + uint64(bytes.Index(text, []byte{0x0f, 0x05}))
			th := guest(t, m, call(unix.SYS_GETPPID))
			expect(t, th, Syscall)
			regs := c.regs
			regs.RIP, regs.RSP, regs.Segments, regs.EFlags = syscallAt, dataAt+0x3000, UserSegments, 0x202
			th.Regs = regs
			th.Resume()
			expect(t, th, Died)
			if ws := th.proc.Status(); !ws.Signaled() || ws.Signal() != unix.SIGKILL {
				t.Errorf("ended with %v, want SIGKILL", ws)
			}
			// Others go on.
			other := guest(t, m, call(unix.SYS_GETPPID))
			expect(t, other, Syscall)
		})
	}
}

func TestVerifier_ordersAreUsedUpInOrder(t *testing.T) {
	v := newVerifier(nil)
	th := &Thread{proc: &Process{}}
	v.threads[7] = th
	unmap := func(addr uint64) hostCall { return hostCall{unix.SYS_MUNMAP, [6]uint64{addr, 0x1000}} }
	for _, addr := range []uint64{1, 2, 3} {
		v.order(th, opSyscall, unix.SYS_MUNMAP, []uint64{addr, 0x1000})
	}
	v.order(th, opSyscall, unix.SYS_CLOSE, []uint64{8})
	v.order(th, opCopyOut, 0, []uint64{1, 2, 3})
	take := func(tid uint32, c hostCall, want bool) func() {
		t.Helper()
		undo, ok := v.take(tid, c)
		if ok != want {
			t.Errorf("thread %d, %v: %v, want %v", tid, c, ok, want)
		}
		return undo
	}
	take(7, unmap(1), false) // not published yet
	if n := v.release(th); n != 3 {
		t.Errorf("%d notifications are due, want 3", n)
	}
	take(8, unmap(1), false)
	take(7, unmap(2), false)
	undo := take(7, unmap(1), true)
	take(7, unmap(1), false)
	undo()
	take(7, unmap(1), true)
	take(7, unmap(2), true)
	v.begin(th) // another request: the rest of the answer is void
	take(7, unmap(3), false)
}

func TestVerifier_newbornMapsItsSlotsOnce(t *testing.T) {
	v := newVerifier(nil)
	v.born(9)
	c := v.newborn[9]
	if _, ok := v.take(9, hostCall{unix.SYS_MMAP, [6]uint64{0x1000, 0x1000, 3, 0x32, 0, 0}}); ok {
		t.Error("another mapping was let through")
	}
	if _, ok := v.take(10, c); ok {
		t.Error("another process may map slots")
	}
	if _, ok := v.take(9, c); !ok {
		t.Error("it may not map its slots")
	}
	if _, ok := v.take(9, c); ok {
		t.Error("it may map them twice")
	}
}

func TestHostCall_cloneStackLiesInTheNewArea(t *testing.T) {
	v := newVerifier(nil)
	th := &Thread{proc: &Process{}, index: 2}
	const flags = unix.CLONE_VM | unix.CLONE_THREAD
	v.order(th, opClone, 0, []uint64{flags, 5, 0, 0x100, 0x200})
	want := th.orders.draft[0]
	got := hostCall{unix.SYS_CLONE, [6]uint64{flags, areaOf(5) + 0x8000, 0, 0x100, 0x200, areaOf(5) - areaOf(2)}}
	if !want.matches(got) {
		t.Errorf("%v does not match %v", got, want)
	}
	for _, stack := range []uint64{0, dataAt, areaOf(4) + 0x8000, areaOf(6)} {
		got.args[1] = stack
		if want.matches(got) {
			t.Errorf("a stack at %#x was let through", stack)
		}
	}
}

// Each call of the stub's is either verified or touches nothing that matters.
func TestFilter_everyCallIsVerifiedOrHarmless(t *testing.T) {
	harmless := map[string]bool{
		"rt_sigreturn": true, "write": true, "membarrier": true, "gettid": true, "close": true, "dup": true,
		"set_tid_address": true, "exit": true, "exit_group": true,
		// They write where the thread could write itself.
		"clock_gettime": true, "getrusage": true, "rseq": true,
	}
	for _, r := range stubCalls {
		if isVerified(r.nr) == harmless[r.name] {
			t.Errorf("%s: verified %v, harmless %v", r.name, isVerified(r.nr), harmless[r.name])
		}
	}
}
