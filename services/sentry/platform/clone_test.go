package platform

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// births are the ways to make a child that goes straight to the guest.
var births = map[string]struct {
	nr   uint32
	make func(*Thread, Birth) (*Thread, error)
}{
	"process": {unix.SYS_FORK, (*Thread).CloneProcess},
	"shared":  {unix.SYS_VFORK, (*Thread).CloneShared},
	"thread":  {unix.SYS_CLONE, (*Thread).CloneThread},
}

// direct orders a child that must go straight to the guest.
func direct(t *testing.T, th *Thread, clone func(*Thread, Birth) (*Thread, error), b Birth) *Thread {
	t.Helper()
	if th.verifier != nil {
		t.Skip("in strict mode all report")
	}
	child, err := clone(th, b)
	if err != nil {
		t.Fatal(err)
	}
	if child.Reports() {
		t.Fatal("the child reports")
	}
	return child
}

func TestBirth_theFirstEventIsTheGuests(t *testing.T) {
	m := machine(t)
	for name, how := range births {
		t.Run(name, func(t *testing.T) {
			th := guest(t, m, join(call(how.nr), call(39)))
			expect(t, th, Syscall)
			const id = 0x1234
			child := direct(t, th, how.make, Birth{Stack: dataAt + 0x2000, SetTID: dataAt + 8, TID: id})
			th.Return(4711)
			expect(t, child, Syscall)
			if r := &child.Regs; r.RAX != 39 || r.RSP != dataAt+0x2000 || r.RIP != codeAt+14 {
				t.Fatalf("the child stopped with %+v", r)
			}
			var got [4]byte
			if err := child.proc.CopyIn(dataAt+8, got[:]); err != nil || got != [4]byte{0x34, 0x12} {
				t.Fatalf("its id in its memory: %x, %v", got, err)
			}
			if tid := int(child.tid.Load()); unix.Tgkill(child.proc.PID(), tid, 0) != nil {
				t.Fatalf("host thread %d of %d is not there", tid, child.proc.PID())
			}
			expect(t, th, Syscall)
			if how.nr == unix.SYS_FORK {
				if err := th.proc.CopyIn(dataAt+8, got[:]); err != nil || got != [4]byte{} {
					t.Fatalf("the child's id in its parent's memory: %x, %v", got, err)
				}
			}
			child.Exit(child.proc != th.proc)
			th.Exit(true)
			<-th.proc.dead
		})
	}
}

// Each kind of child finds its own slot by GS: its calls take the fast lane, unless the
// GS base that it has from its parent is the guest's own.
func TestBirth_theFastLaneIsTheChilds(t *testing.T) {
	m := fastMachine(t)
	for name, how := range births {
		for _, gs := range []uint64{0, dataAt} {
			t.Run(fmt.Sprintf("%s, GS %#x", name, gs), func(t *testing.T) {
				th := guest(t, m, join(call(how.nr), fastCall(m, unix.SYS_GETPGID)))
				expect(t, th, Syscall)
				th.SetGS(gs)
				child := direct(t, th, how.make, Birth{Stack: dataAt + 0x2000})
				th.Return(4711)
				for _, one := range []*Thread{child, th} {
					expect(t, one, Syscall)
					if one.Fast() != (gs == 0) || one.Regs.RAX != unix.SYS_GETPGID {
						t.Errorf("child %v: call %d, fast %v", one == child, one.Regs.RAX, one.Fast())
					}
				}
				child.Exit(child.proc != th.proc)
				th.Exit(true)
				<-th.proc.dead
			})
		}
	}
}

// A signal that interrupts the call has the parent go on in its handler; the child
// begins behind the call.
func TestBirth_theChildBeginsWhereTheCallWasMade(t *testing.T) {
	m := machine(t)
	for name, how := range births {
		t.Run(name, func(t *testing.T) {
			th := guest(t, m, join(call(how.nr), call(39), call(40)))
			expect(t, th, Syscall)
			child := direct(t, th, how.make, Birth{Stack: dataAt + 0x2000})
			th.Regs.RIP += 7 // to getppid
			th.Resume()
			expect(t, child, Syscall)
			if r := &child.Regs; r.RAX != 39 || r.RIP != codeAt+14 {
				t.Errorf("the child stopped with %+v", r)
			}
			expect(t, th, Syscall)
			if r := &th.Regs; r.RAX != 40 || r.RIP != codeAt+21 {
				t.Errorf("the parent stopped with %+v", r)
			}
			child.Exit(child.proc != th.proc)
			th.Exit(true)
			<-th.proc.dead
		})
	}
}

// A kick that comes before the host has made the thread stops it all the same,
// with the registers that it starts with or some later ones.
func TestBirth_anEarlyKickIsSeen(t *testing.T) {
	m := machine(t)
	for name, how := range births {
		t.Run(name, func(t *testing.T) {
			for i := range 50 {
				// The child computes; the parent goes on to its next call.
				th := guest(t, m, join(call(how.nr), []byte{0x85, 0xc0, 0x74, 0xfe}, call(39)))
				expect(t, th, Syscall)
				child := direct(t, th, how.make, Birth{})
				kicks := func() {
					for range i {
						pauseFor()
					}
					child.Kick()
				}
				if i%2 == 0 {
					child.Kick()
					th.Return(1)
				} else {
					th.Return(1)
					go kicks()
				}
				expect(t, child, Kicked)
				if r := &child.Regs; r.RIP < codeAt+7 || r.RIP > codeAt+9 || r.RAX != 0 {
					t.Fatalf("round %d: kicked at %+v", i, r)
				}
				child.Resume()
				expect(t, th, Syscall)
				child.Kick()
				expect(t, child, Kicked)
				child.Exit(child.proc != th.proc)
				th.Exit(true)
				<-th.proc.dead
			}
		})
	}
}

func pauseFor() { time.Sleep(time.Microsecond) }

func TestBirth_stillbornChildHasDied(t *testing.T) {
	m := machine(t)
	for name, how := range births {
		t.Run(name, func(t *testing.T) {
			th := guest(t, m, join(call(how.nr), call(39)))
			expect(t, th, Syscall)
			// A host call that fails before the clone, which is then not made.
			th.HostCall(unix.SYS_MUNMAP, 1, 1)
			child := direct(t, th, how.make, Birth{})
			heard := make(chan Event)
			go func() { heard <- child.Next() }()
			th.Return(1)
			expect(t, th, CallFailed)
			child.Stillborn()
			if ev := <-heard; ev.Kind != Died || !child.Never() {
				t.Fatalf("%+v", ev)
			}
			th.Return(0)
			expect(t, th, Syscall)
		})
	}
	if m.anyPending() {
		t.Fatal("a token is left")
	}
}

// A child whose parent is killed before the host has made it does not wait.
// Who serves a thread, or looks at it from outside, need not know that it has
// died: its slot stays mapped until Exit, and others' looks after that find none.
func TestDied_theSlotStaysUntilExit(t *testing.T) {
	m := machine(t)
	for range 20 {
		th := guest(t, m, join(call(39), call(39)))
		expect(t, th, Syscall)
		th.proc.Kill()
		<-th.proc.dead
		for released := false; !released; pauseFor() { // so that Exit is what unmaps
			th.space.mu.Lock()
			released = th.space.procs == 0
			th.space.mu.Unlock()
		}
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for n := uint32(0); ; n++ {
				th.SetSelf(SelfPPID, n)
				th.Kick()
				th.Done(th.Ticket())
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
		for range 3 {
			th.Return(0)
			expect(t, th, Died)
			th.Patience()
			th.CopyOut(dataAt, []byte("nobody reads this"))
		}
		th.Exit(true)
		if th.space.slots != nil {
			t.Fatal("the address space's shared memory is still mapped")
		}
		th.Exit(true) // as nothing
		time.Sleep(time.Millisecond)
		close(stop)
		<-stopped
	}
}

func TestBirth_unbornWhenTheParentDies(t *testing.T) {
	m := machine(t)
	th := guest(t, m, join(call(unix.SYS_FORK), call(39)))
	expect(t, th, Syscall)
	child := direct(t, th, (*Thread).CloneProcess, Birth{})
	th.proc.Kill()
	<-th.proc.dead
	if !child.Unborn() {
		t.Fatal("the child was born")
	}
	expect(t, child, Died)
}

func TestBirth_manyInARow(t *testing.T) {
	m := machine(t)
	for name, how := range births {
		t.Run(name, func(t *testing.T) {
			// Parent and child: clone; if 0, getpid for ever; otherwise again.
			th := guest(t, m, join(call(how.nr), []byte{0x85, 0xc0, 0x75, 0xf5}, call(39)))
			for i := range 1000 {
				expect(t, th, Syscall)
				child := direct(t, th, how.make, Birth{})
				th.Return(1)
				expect(t, child, Syscall)
				if child.Regs.RAX != 39 {
					t.Fatalf("round %d: the child makes call %d", i, child.Regs.RAX)
				}
				child.Exit(child.proc != th.proc)
			}
			if n := len(th.space.threads); n > 200 {
				t.Fatalf("%d slots for two threads at a time", n)
			}
			th.space.mu.Lock()
			live := th.space.live
			th.space.mu.Unlock()
			if live != 1 {
				t.Fatalf("%d threads are held", live)
			}
		})
	}
}

// A child that is long in the making is still waited for by who expects it: the donor's
// goroutine is not woken.
func TestCloneProcess_slow(t *testing.T) {
	m := machine(t)
	late := m.donor.late
	m.donor.late = make(chan struct{}, 1)
	defer func() { m.donor.late = late }()
	th := guest(t, m, join(call(unix.SYS_FORK), call(39)))
	expect(t, th, Syscall)
	const at, size = 0x2000_0000, 4 << 20
	th.HostCall(unix.SYS_MMAP, at, size, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED|unix.MAP_POPULATE, ^uint64(0), 0)
	child := direct(t, th, (*Thread).CloneProcess, Birth{})
	th.Return(4711)
	expect(t, child, Syscall)
	expect(t, th, Syscall)
	if len(m.donor.late) > 0 {
		t.Error("the child was left to the donor's goroutine")
	}
	child.Exit(true)
	th.Exit(true)
	<-th.proc.dead
}
