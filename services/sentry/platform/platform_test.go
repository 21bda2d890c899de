package platform

import (
	"bytes"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

// shared is the one Machine of the test process: its reaper collects every
// child that there is.
var shared = sync.OnceValues(func() (*Machine, error) {
	return Start(&Credential{UID: 65534, GID: 65534}, Options{Verified: verifiedRun()})
})

func TestMain(m *testing.M) {
	code := m.Run()
	if os.Getuid() == 0 {
		if machine, err := shared(); err == nil {
			machine.zygote.proc.Kill()
			<-machine.zygote.proc.dead
		}
	}
	os.Exit(code)
}

// machine gives the zygote; it needs the right to trace a child.
func machine(t testing.TB) *Machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: the zygote gets another uid")
	}
	m, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const (
	codeAt = 0x40_0000
	dataAt = 0x50_0000
)

// guest makes a process with code at codeAt and a page of data, ready to run.
func guest(t testing.TB, m *Machine, code []byte) *Thread {
	t.Helper()
	th, err := m.NewSpace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { th.proc.Kill(); <-th.proc.dead })
	const flags = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED
	none := ^uint64(0)
	th.HostCall(unix.SYS_MMAP, codeAt, 0x1000, 3, flags, none, 0)
	th.HostCall(unix.SYS_MMAP, dataAt, 0x4000, 3, flags, none, 0)
	if !th.CopyOut(codeAt, code) {
		t.Fatal("no room for the code")
	}
	th.HostCall(unix.SYS_MPROTECT, codeAt, 0x1000, 5)
	th.Regs = Regs{RIP: codeAt, RSP: dataAt + 0x4000, Segments: th.Regs.Segments, EFlags: 0x202}
	th.Resume()
	return th
}

// mov eax, imm32; syscall
func call(nr uint32) []byte {
	return []byte{0xb8, byte(nr), byte(nr >> 8), byte(nr >> 16), byte(nr >> 24), 0x0f, 0x05}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func expect(t testing.TB, th *Thread, kind EventKind) Event {
	t.Helper()
	ev := th.Next()
	if ev.Kind != kind {
		t.Fatalf("stopped with %+v, regs %+v, want kind %d", ev, th.Regs, kind)
	}
	return ev
}

func TestSyscall_isAnswered(t *testing.T) {
	m := machine(t)
	// getpid, then exit_group with its result.
	th := guest(t, m, join(call(39), []byte{0x89, 0xc7}, call(231)))
	expect(t, th, Syscall)
	if th.Regs.RAX != 39 {
		t.Fatalf("call %d", th.Regs.RAX)
	}
	th.Return(77)
	expect(t, th, Syscall)
	if th.Regs.RAX != 231 || th.Regs.RDI != 77 {
		t.Fatalf("call %d(%d), want exit_group(77)", th.Regs.RAX, th.Regs.RDI)
	}
	th.Exit(true)
	<-th.proc.dead
}

// TestExit_withoutTheGuest ends a process that does not look for its answer, as one
// does that has written over its slot.
func TestExit_withoutTheGuest(t *testing.T) {
	th := guest(t, machine(t), []byte{0xeb, 0xfe}) // jmp to itself
	time.Sleep(100 * time.Millisecond)             // so that it is there
	th.Exit(true)
	select {
	case <-th.proc.dead:
	case <-time.After(20 * time.Second):
		t.Fatal("it lives on")
	}
}

// A thread that ends does so whatever becomes of the rest of its last answer.
func TestExit_afterACallThatFails(t *testing.T) {
	m := machine(t)
	th := guest(t, m, join(call(56), call(39)))
	expect(t, th, Syscall)
	child, err := th.CloneThread(Birth{Report: true})
	if err != nil {
		t.Fatal(err)
	}
	th.Return(5)
	if err := child.WaitReady(); err != nil {
		t.Fatal(err)
	}
	child.Regs = th.Regs
	child.Regs.RAX, child.Regs.RIP, child.Regs.RSP = 0, codeAt+7, dataAt+0x2000
	child.Resume()
	expect(t, child, Syscall)
	expect(t, th, Syscall)
	pid, tid := child.proc.PID(), int(child.tid.Load())
	child.HostCall(unix.SYS_MADVISE, dataAt, 0x1000, 0xbad)
	child.CopyOut(0x1000, []byte("nothing is there"))
	child.Exit(false)
	deadline := time.Now().Add(20 * time.Second)
	for unix.Tgkill(pid, tid, 0) == nil {
		if time.Now().After(deadline) {
			t.Fatal("the host's thread lives on")
		}
		time.Sleep(time.Millisecond)
	}
	th.Exit(true)
	<-th.proc.dead
}

func TestCopyIn_pathComesWithTheRequest(t *testing.T) {
	m := machine(t)
	// lea rdi, [rip+path]; open; path: "/etc/passwd"
	path := []byte("/etc/passwd\x00")
	th := guest(t, m, join([]byte{0x48, 0x8d, 0x3d, 7, 0, 0, 0}, call(2), path))
	expect(t, th, Syscall)
	if got := th.CopiedPrefix(th.Regs.RDI); !bytes.HasPrefix(got, path) {
		t.Fatalf("copied %q", got)
	}
	buf := make([]byte, len(path))
	if err := th.proc.CopyIn(th.Regs.RDI, buf); err != nil || !bytes.Equal(buf, path) {
		t.Fatalf("process_vm_readv: %q, %v", buf, err)
	}
}

func TestCopyIn_badPointerIsNotCopied(t *testing.T) {
	m := machine(t)
	th := guest(t, m, join([]byte{0xbf, 0, 0, 0, 0x10}, call(2)))
	expect(t, th, Syscall)
	if th.nrange != 0 {
		t.Fatalf("%d ranges from an unmapped address", th.nrange)
	}
	if err := th.CopyIn(th.Regs.RDI, make([]byte, 8)); err != linux.EFAULT {
		t.Fatalf("CopyIn: %v", err)
	}
}

func TestCopyOut_faultIsReported(t *testing.T) {
	m := machine(t)
	th := guest(t, m, join(call(39), call(39)))
	expect(t, th, Syscall)
	th.CopyOut(0x1000_0000, []byte("x"))
	th.Return(0)
	ev := expect(t, th, CallFailed)
	if ev.Err != linux.EFAULT || ev.Op != 0 {
		t.Fatalf("%+v", ev)
	}
	th.Return(5)
	expect(t, th, Syscall)
}

func TestFault_isAnEvent(t *testing.T) {
	m := machine(t)
	th := guest(t, m, []byte{0x8a, 0x04, 0x25, 0, 0, 0, 0x10}) // mov al, [0x10000000]
	ev := expect(t, th, Fault)
	if ev.Fault.Signal != linux.SIGSEGV || ev.Fault.Addr != 0x1000_0000 || th.Regs.RIP != codeAt {
		t.Fatalf("%+v rip %#x", ev, th.Regs.RIP)
	}
}

func TestKick_stopsAComputingGuest(t *testing.T) {
	m := machine(t)
	th := guest(t, m, join(call(39), []byte{0xeb, 0xfe}))
	expect(t, th, Syscall)
	th.tid.Store(int32(th.proc.PID()))
	th.Return(0)
	time.Sleep(10 * time.Millisecond)
	th.Kick()
	expect(t, th, Kicked)
}

// forked answers th's call with a new process, which waits to be told how it begins.
func forked(t testing.TB, th *Thread) *Thread {
	t.Helper()
	child, err := th.CloneProcess(Birth{Report: true})
	if err != nil {
		t.Fatal(err)
	}
	th.Return(4711)
	if err := child.WaitReady(); err != nil {
		t.Fatal(err)
	}
	return child
}

func TestClone_processHasItsOwnMemory(t *testing.T) {
	m := machine(t)
	th := guest(t, m, join(call(57), call(39)))
	expect(t, th, Syscall)
	child := forked(t, th)
	child.Regs = th.Regs
	child.CopyOut(dataAt, []byte("child"))
	child.Resume()
	expect(t, child, Syscall)
	expect(t, th, Syscall)
	buf := make([]byte, 5)
	if err := th.proc.CopyIn(dataAt, buf); err != nil || string(buf) == "child" {
		t.Fatalf("parent sees %q, %v", buf, err)
	}
	if err := child.proc.CopyIn(dataAt, buf); err != nil || string(buf) != "child" {
		t.Fatalf("child has %q, %v", buf, err)
	}
	child.Exit(true)
	<-child.proc.dead
}

func TestClone_threadSharesMemory(t *testing.T) {
	m := machine(t)
	th := guest(t, m, join(call(56), call(39)))
	expect(t, th, Syscall)
	child, err := th.CloneThread(Birth{Report: true})
	if err != nil {
		t.Fatal(err)
	}
	th.Return(5)
	if err := child.WaitReady(); err != nil {
		t.Fatal(err)
	}
	child.Regs = th.Regs
	child.Regs.RAX, child.Regs.RIP, child.Regs.RSP = 0, codeAt+7, dataAt+0x2000
	child.Resume()
	expect(t, child, Syscall)
	expect(t, th, Syscall)
	if child.index == th.index || child.Regs.RSP != dataAt+0x2000 {
		t.Fatalf("child runs in slot %d, sp %#x", child.index, child.Regs.RSP)
	}
	child.Exit(false)
	th.Exit(true)
	<-th.proc.dead
}

func TestClone_vforkSharesMemoryInAnotherProcess(t *testing.T) {
	m := machine(t)
	th := guest(t, m, join(call(58), call(39)))
	expect(t, th, Syscall)
	child, err := th.CloneShared(Birth{Report: true})
	if err != nil {
		t.Fatal(err)
	}
	th.Return(5)
	if err := child.WaitReady(); err != nil {
		t.Fatal(err)
	}
	if child.proc == th.proc || child.proc.PID() == th.proc.PID() {
		t.Fatal("the child is no process of its own")
	}
	child.Regs = th.Regs
	child.CopyOut(dataAt, []byte("x"))
	child.Resume()
	expect(t, child, Syscall)
	child.Exit(true)
	<-child.proc.dead
	expect(t, th, Syscall)
	buf := make([]byte, 1)
	if err := th.proc.CopyIn(dataAt, buf); err != nil || buf[0] != 'x' {
		t.Fatalf("parent sees %q, %v", buf, err)
	}
}

func TestDonate_fileIsMapped(t *testing.T) {
	m := machine(t)
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("from a file")
	th := guest(t, m, join(call(9), call(39)))
	expect(t, th, Syscall)
	if !th.Donate(FirstPrivateFD, []int{int(f.Fd())}, false) {
		t.Fatal("donate")
	}
	const at = 0x60_0000
	th.HostCall(unix.SYS_MMAP, at, 0x1000, 1, unix.MAP_PRIVATE|unix.MAP_FIXED, FirstPrivateFD, 0)
	th.HostCall(unix.SYS_CLOSE, FirstPrivateFD)
	th.Return(at)
	expect(t, th, Syscall)
	buf := make([]byte, 11)
	if err := th.proc.CopyIn(at, buf); err != nil || string(buf) != "from a file" {
		t.Fatalf("%q, %v", buf, err)
	}
}

// A kick that comes while the stub waits for descriptors, or in strict mode for leave
// to make a memory call, takes it out of that call: it makes it again, and nothing is lost.
func TestDonate_kicked(t *testing.T) {
	m := fastMachine(t)
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("from a file")
	body := fastCall(m, unix.SYS_GETPGID)
	th := guest(t, m, join(call(39), body, back(body)))
	expect(t, th, Syscall)
	th.tid.Store(int32(th.proc.PID()))
	stuck := time.AfterFunc(60*time.Second, func() { th.proc.Kill() })
	defer stuck.Stop()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			th.Kick()
			for range n * 7 % 500 {
				core()
			}
		}
	}()
	const at = 0x60_0000
	th.Return(0)
	for calls := 0; calls < 3000; {
		switch ev := th.Next(); ev.Kind {
		case Kicked:
			th.Resume()
		case Syscall:
			calls++
			if !th.Donate(FirstPrivateFD, []int{int(f.Fd())}, false) {
				t.Fatal("donate")
			}
			th.HostCall(unix.SYS_MMAP, at, 0x1000, 1, unix.MAP_PRIVATE|unix.MAP_FIXED, FirstPrivateFD, 0)
			th.HostCall(unix.SYS_CLOSE, FirstPrivateFD)
			th.Return(0)
		default:
			t.Fatalf("after %d calls: %+v, status %v", calls, ev, th.proc.Status())
		}
	}
	close(stop)
	<-stopped
}

// A guest that makes the stub's calls itself is stopped by the filter or harms
// only itself; the sentry sees its process die.
func TestFilter_killsWhatNoAnswerOrders(t *testing.T) {
	m := machine(t)
	text, _ := stubText()
	at := bytes.Index(text, []byte{0x0f, 0x05})
	if at < 0 {
		t.Fatal("no syscall instruction in the stub")
	}
	// mov eax, SYS_socket; mov rcx, stub's syscall; jmp rcx
	target := uint64(textAt + at)
	code := join([]byte{0xb8, 41, 0, 0, 0, 0x48, 0xb9}, []byte{
		byte(target), byte(target >> 8), byte(target >> 16), byte(target >> 24),
		byte(target >> 32), byte(target >> 40), 0, 0}, []byte{0xff, 0xe1})
	th := guest(t, m, code)
	expect(t, th, Died)
	if ws := th.proc.Status(); !ws.Signaled() || ws.Signal() != unix.SIGSYS {
		t.Fatalf("status %v, want death by SIGSYS", ws)
	}
}

func BenchmarkTrap(b *testing.B) {
	m := machine(b)
	th := guest(b, m, join(call(39), []byte{0xeb, 0xf7}))
	for b.Loop() {
		if ev := th.Next(); ev.Kind != Syscall {
			b.Fatalf("%+v", ev)
		}
		th.Return(1)
	}
}

func BenchmarkForkExit(b *testing.B) {
	m := machine(b)
	th := guest(b, m, join(call(57), []byte{0xeb, 0xf7}))
	for b.Loop() {
		th.Next()
		child := forked(b, th)
		child.Exit(true)
	}
}

func BenchmarkNewSpace(b *testing.B) {
	m := machine(b)
	for b.Loop() {
		th, err := m.forkZygote()
		if err != nil {
			b.Fatal(err)
		}
		th.Exit(true)
	}
}
