package platform

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

const (
	leaseTestTop = 0x7000_0000_0000
	leaseTestLow = leaseTestTop - 64*pageSize
	elsewhere    = 0x2000_0000_0000 // outside of it
)

// arguments sets the registers of a call's first arguments.
func arguments(args ...uint64) (p []byte) {
	for i, v := range args {
		p = append(p, [][]byte{{0x48, 0xbf}, {0x48, 0xbe}, {0x48, 0xba}, {0x49, 0xba}, {0x49, 0xb8}, {0x49, 0xb9}}[i]...)
		p = binary.LittleEndian.AppendUint64(p, v)
	}
	return p
}

// moveRAX copies the last result to rbx, and raxToRDI to the first argument.
var (
	moveRAX  = []byte{0x48, 0x89, 0xc3}
	raxToRDI = []byte{0x48, 0x89, 0xc7}
)

func mmapArgs(n uint64) []byte {
	return arguments(0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uint64(0), 0)
}

// back jumps to the begin of code.
func back(code []byte) []byte {
	return binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(-len(code)-5))
}

// leased makes a guest of the code, which begins with a call, and gives it a lease
// when it makes that. The call is not answered yet.
func leased(t *testing.T, m *Machine, code []byte) (*Thread, *Lease) {
	if m.verifier != nil {
		t.Skip("there are no leases in a verified machine")
	}
	th := guest(t, m, code)
	expect(t, th, Syscall)
	l, ok := th.NewLease()
	if !ok {
		t.Fatal("no lease")
	}
	l.Set(leaseTestLow, leaseTestTop, leaseTestTop)
	th.UseLease(true)
	return th, l
}

// lanes are the two ways in which a call comes to the stub.
var lanes = []struct {
	name string
	call func(m *Machine, nr uint32) []byte
}{{"fast", fastCall}, {"trap", func(_ *Machine, nr uint32) []byte { return call(nr) }}}

// TestLease_stubMaps: the stub maps, protects and unmaps by itself, and notes it.
func TestLease_stubMaps(t *testing.T) {
	m := fastMachine(t)
	for _, lane := range lanes {
		t.Run(lane.name, func(t *testing.T) {
			th, l := leased(t, m, join(call(1000),
				mmapArgs(3*pageSize-1), lane.call(m, unix.SYS_MMAP), moveRAX, call(1001),
				arguments(leaseTestTop-2*pageSize, pageSize, unix.PROT_READ), lane.call(m, unix.SYS_MPROTECT), moveRAX, call(1002),
				arguments(leaseTestTop-pageSize, 1), lane.call(m, unix.SYS_MUNMAP), moveRAX, call(1003),
				arguments(leaseTestTop-3*pageSize, pageSize), lane.call(m, unix.SYS_MUNMAP), moveRAX, call(1004),
				arguments(leaseTestTop-2*pageSize, pageSize), lane.call(m, unix.SYS_MUNMAP), moveRAX, call(1005)))
			const rw, r = LeaseMapped | 3, LeaseMapped | 1
			for _, step := range []struct {
				nr     uint64
				cursor int // pages below the top
				pages  []byte
				result uint64
			}{
				{1001, 3, []byte{rw, rw, rw}, leaseTestTop - 3*pageSize},
				{1002, 3, []byte{rw, r, rw}, 0},
				{1003, 3, []byte{0, r, rw}, 0},
				{1004, 2, []byte{0, r}, 0},
				{1005, 0, nil, 0},
			} {
				th.Return(0)
				expect(t, th, Syscall)
				if th.Regs.RAX != step.nr || th.Regs.RBX != step.result {
					t.Fatalf("call %d, and the last was answered with %#x; want %d, %#x", th.Regs.RAX, th.Regs.RBX, step.nr, step.result)
				}
				if got := l.Claims(); got != leaseTestTop-uint64(step.cursor)*pageSize {
					t.Fatalf("%d: the cursor is at %#x", step.nr, got)
				}
				if got := l.Bytes(uint64(len(step.pages))); !bytes.Equal(got, step.pages) {
					t.Fatalf("%d: the pages are %v, want %v", step.nr, got, step.pages)
				}
				for i, b := range step.pages {
					page := leaseTestTop - uint64(i+1)*pageSize
					there := th.proc.CopyIn(page, make([]byte, 1)) == nil
					writes := th.proc.CopyOut(page, []byte{1}) == nil
					if there != (b != 0) || writes != (b == rw) {
						t.Fatalf("%d: page %d can be read %v, written %v", step.nr, i, there, writes)
					}
				}
			}
			th.Exit(true)
		})
	}
}

// TestLease_elsewhere: the stub maps, protects and unmaps at addresses that are given,
// and logs it.
func TestLease_elsewhere(t *testing.T) {
	m := fastMachine(t)
	const private, none = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS, ^uint64(0)
	for _, lane := range lanes {
		t.Run(lane.name, func(t *testing.T) {
			th, l := leased(t, m, join(call(1000),
				arguments(elsewhere, 3*pageSize-1, 3, private|unix.MAP_NORESERVE, none, 0), lane.call(m, unix.SYS_MMAP), moveRAX, call(1001),
				arguments(elsewhere, pageSize, unix.PROT_READ), lane.call(m, unix.SYS_MPROTECT), moveRAX, call(1002),
				arguments(elsewhere+pageSize, pageSize, unix.MADV_DONTNEED), lane.call(m, unix.SYS_MADVISE), moveRAX, call(1003),
				arguments(elsewhere+2*pageSize, pageSize, 99), lane.call(m, unix.SYS_MUNMAP), moveRAX, call(1004),
				arguments(elsewhere, pageSize, 3, private|unix.MAP_FIXED, none, 0), lane.call(m, unix.SYS_MMAP), moveRAX, call(1005),
				// Over what is leased and mapped.
				mmapArgs(2*pageSize), lane.call(m, unix.SYS_MMAP), moveRAX, call(1006),
				arguments(leaseTestTop-pageSize, pageSize, 1, private|unix.MAP_FIXED, none, 0), lane.call(m, unix.SYS_MMAP), moveRAX, call(1007)))
			l.Foreign([][2]uint64{{codeAt, elsewhere}, {elsewhere + 3*pageSize, leaseTestLow}})
			for _, step := range []struct {
				nr, result uint64
				change     LeaseChange
				writes     []bool // of the pages elsewhere
			}{
				{1001, elsewhere, LeaseChange{unix.SYS_MMAP, 3, elsewhere, elsewhere + 3*pageSize}, []bool{true, true, true}},
				{1002, 0, LeaseChange{unix.SYS_MPROTECT, 1, elsewhere, elsewhere + pageSize}, []bool{false, true, true}},
				{1003, 0, LeaseChange{}, []bool{false, true, true}},
				{1004, 0, LeaseChange{unix.SYS_MUNMAP, 0, elsewhere + 2*pageSize, elsewhere + 3*pageSize}, []bool{false, true, false}},
				{1005, elsewhere, LeaseChange{unix.SYS_MMAP, 3, elsewhere, elsewhere + pageSize}, []bool{true, true, false}},
				{1006, leaseTestTop - 2*pageSize, LeaseChange{}, nil},
				{1007, leaseTestTop - pageSize, LeaseChange{}, nil},
			} {
				th.Return(0)
				expect(t, th, Syscall)
				if th.Regs.RAX != step.nr || th.Regs.RBX != step.result || l.Holder() != LeaseNobody {
					t.Fatalf("call %d, and the last was answered with %#x, want %d, %#x; the lock is held by %#x", th.Regs.RAX, th.Regs.RBX, step.nr, step.result, l.Holder())
				}
				var got LeaseChange
				l.Log(func(c LeaseChange) { got = c })
				if got != step.change {
					t.Fatalf("%d: logged %+v, want %+v", step.nr, got, step.change)
				}
				for i, w := range step.writes {
					if writes := th.proc.CopyOut(elsewhere+uint64(i)*pageSize, []byte{1}) == nil; writes != w {
						t.Fatalf("%d: page %d can be written %v", step.nr, i, writes)
					}
				}
			}
			if got := l.Bytes(2); !bytes.Equal(got, []byte{LeaseMapped | 1, LeaseMapped | 3}) || th.proc.CopyOut(leaseTestTop-pageSize, []byte{1}) == nil {
				t.Errorf("over what is leased: %v", got)
			}
			th.Exit(true)
		})
	}
}

// TestLease_asks: what is not the stub's comes to the sentry, with the lock free.
func TestLease_asks(t *testing.T) {
	m := fastMachine(t)
	const private = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	for _, c := range []struct {
		name string
		nr   uint32
		args []byte
		set  func(th *Thread, l *Lease)
	}{
		{"a hint where something is", unix.SYS_MMAP, arguments(codeAt, pageSize, 3, private, ^uint64(0), 0), nil},
		{"a hint into what is free", unix.SYS_MMAP, arguments(leaseTestTop-2*pageSize, pageSize, 3, private, ^uint64(0), 0), nil},
		{"an odd hint", unix.SYS_MMAP, arguments(elsewhere+1, pageSize, 3, private, ^uint64(0), 0), nil},
		{"a low hint", unix.SYS_MMAP, arguments(pageSize, pageSize, 3, private, ^uint64(0), 0), nil},
		{"into the stub", unix.SYS_MMAP, arguments(GuestTop-pageSize, 2*pageSize, 3, private|unix.MAP_FIXED, ^uint64(0), 0), nil},
		{"without end", unix.SYS_MUNMAP, arguments(^uint64(0xfff), pageSize), nil},
		{"in a foreign span", unix.SYS_MMAP, arguments(elsewhere, 2*pageSize, 3, private|unix.MAP_FIXED, ^uint64(0), 0), func(_ *Thread, l *Lease) {
			l.Foreign([][2]uint64{{0, pageSize}, {elsewhere + pageSize, elsewhere + 2*pageSize}})
		}},
		{"advice there", unix.SYS_MADVISE, arguments(elsewhere+pageSize, pageSize, unix.MADV_DONTNEED), func(_ *Thread, l *Lease) {
			l.Foreign([][2]uint64{{elsewhere, elsewhere + 2*pageSize}})
		}},
		{"the host refuses", unix.SYS_MPROTECT, arguments(elsewhere, pageSize, 3), nil},
		{"the host refuses advice", unix.SYS_MADVISE, arguments(elsewhere, pageSize, unix.MADV_DONTNEED), nil},
		{"the log is full", unix.SYS_MUNMAP, arguments(elsewhere, pageSize), func(_ *Thread, l *Lease) {
			*l.mem.word(leaseLogged) = LeaseLogSize
		}},
		{"shared", unix.SYS_MMAP, arguments(0, pageSize, 3, unix.MAP_SHARED|unix.MAP_ANONYMOUS, ^uint64(0), 0), nil},
		{"no length", unix.SYS_MMAP, mmapArgs(0), nil},
		{"too long", unix.SYS_MMAP, mmapArgs(LeaseLongest + 1), nil},
		{"all", unix.SYS_MMAP, mmapArgs(^uint64(0)), nil},
		{"odd protection", unix.SYS_MMAP, arguments(0, pageSize, 8, private, ^uint64(0), 0), nil},
		{"full", unix.SYS_MMAP, mmapArgs(65 * pageSize), nil},
		{"unmap below", unix.SYS_MUNMAP, arguments(leaseTestTop-2*pageSize, pageSize), nil},
		{"unmap above", unix.SYS_MUNMAP, arguments(leaseTestTop-pageSize, 2*pageSize), nil},
		{"unmap unaligned", unix.SYS_MUNMAP, arguments(leaseTestTop-pageSize+1, 1), nil},
		{"protect what is not mapped", unix.SYS_MPROTECT, arguments(leaseTestTop-pageSize, pageSize, 3), func(_ *Thread, l *Lease) { l.Bytes(1)[0] = 0 }},
		{"unmap a file's", unix.SYS_MUNMAP, arguments(leaseTestTop-pageSize, pageSize), func(_ *Thread, l *Lease) { l.Bytes(1)[0] = LeaseForeign }},
		{"other advice", unix.SYS_MADVISE, arguments(leaseTestTop-pageSize, pageSize, unix.MADV_POPULATE_READ), nil},
		{"the lock is held", unix.SYS_MMAP, mmapArgs(pageSize), func(_ *Thread, l *Lease) { l.Take(LeaseNobody, LeaseReader) }},
		{"no lease for this thread", unix.SYS_MMAP, mmapArgs(pageSize), func(th *Thread, _ *Lease) { th.UseLease(false) }},
		{"no lease", unix.SYS_MMAP, mmapArgs(pageSize), func(_ *Thread, l *Lease) { l.Set(0, 0, 0) }},
		{"a forged cursor", unix.SYS_MUNMAP, arguments(leaseTestTop-LeaseSpan-pageSize, pageSize), func(_ *Thread, l *Lease) { l.Set(0, 0, leaseTestTop) }},
		{"a forged top", unix.SYS_MMAP, mmapArgs(pageSize), func(_ *Thread, l *Lease) { l.Set(0, leaseTestTop, base-pageSize) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			th, l := leased(t, m, join(call(1000), c.args, fastCall(m, c.nr)))
			l.Set(leaseTestLow, leaseTestTop-pageSize, leaseTestTop)
			l.Bytes(1)[0] = LeaseMapped | 3
			if c.set != nil {
				c.set(th, l)
			}
			held := l.Holder()
			th.Return(0)
			expect(t, th, Syscall)
			if !th.Fast() || th.Regs.RAX != uint64(c.nr) || l.Holder() != held {
				t.Fatalf("fast %v, call %d, the lock is held by %#x", th.Fast(), th.Regs.RAX, l.Holder())
			}
			th.Exit(true)
		})
	}
}

// TestLease_release: a lock that is held for an answer is released when that is
// carried out, and one of another's is not.
func TestLease_release(t *testing.T) {
	m := fastMachine(t)
	th, l := leased(t, m, join(call(1000), mmapArgs(pageSize), fastCall(m, unix.SYS_MMAP), call(1001),
		mmapArgs(pageSize), fastCall(m, unix.SYS_MMAP)))
	l.Take(LeaseNobody, th.Holds())
	th.Releases()
	th.HostCall(unix.SYS_MUNMAP, dataAt+0x3000, pageSize)
	th.Return(0)
	expect(t, th, Syscall)
	if th.Regs.RAX != 1001 || l.Holder() != LeaseNobody {
		t.Fatalf("call %d, the lock is held by %#x", th.Regs.RAX, l.Holder())
	}
	other := th.Holds() + 1
	l.Take(LeaseNobody, other)
	th.Releases()
	th.Return(0)
	expect(t, th, Syscall)
	if th.Regs.RAX != unix.SYS_MMAP || l.Holder() != other {
		t.Fatalf("call %d, the lock is held by %#x", th.Regs.RAX, l.Holder())
	}
	if l.Lost(LeaseHolder(uint32(th.Holds())&^leaseSentry)) || !l.Lost(LeaseHolder(uint32(th.Holds()+7)&^leaseSentry)) || l.Lost(12) {
		t.Error("it is not said rightly who is lost")
	}
	th.Exit(true)
}

// TestLease_kicks kicks a thread that maps and unmaps by itself: wherever that lands,
// the call is made once and whole, and the lock is free when the thread stops.
func TestLease_kicks(t *testing.T) {
	m := fastMachine(t)
	for _, lane := range lanes {
		t.Run(lane.name, func(t *testing.T) {
			body := join(mmapArgs(2*pageSize), lane.call(m, unix.SYS_MMAP), raxToRDI, []byte{0xc6, 0x07, 0x01}, // mov byte [rdi], 1
				arguments(0, 2*pageSize, 1)[10:], lane.call(m, unix.SYS_MPROTECT), lane.call(m, unix.SYS_MUNMAP))
			th, l := leased(t, m, join(call(1000), body, back(body)))
			th.tid.Store(int32(th.proc.PID()))
			stuck := time.AfterFunc(60*time.Second, func() { th.proc.Kill() })
			defer stuck.Stop()
			th.Return(0)
			seen := map[uint64]int{}
			for n := range 600 {
				for range n * 7 % 3000 {
					core()
				}
				th.Kick()
				ev := th.Next()
				if ev.Kind == Syscall { // it came between the lane's entry and the lease, and the sentry is asked
					th.Regs.RIP -= 2 // the call is made again
				} else if ev.Kind != Kicked {
					t.Fatalf("stopped with %+v, regs %+v, want a kick", ev, th.Regs)
				}
				claims := l.Claims()
				seen[claims]++
				if l.Holder() != LeaseNobody || claims != leaseTestTop && claims != leaseTestTop-2*pageSize {
					t.Fatalf("%+v: the lock is held by %#x, the cursor at %#x, rip %#x", ev, l.Holder(), claims, th.Regs.RIP)
				}
				there := th.proc.CopyIn(claims, make([]byte, 1)) == nil
				if mapped := claims != leaseTestTop; mapped != there && claims != leaseTestTop {
					t.Fatalf("mapped, as is said: %v; as it is: %v", mapped, there)
				}
				th.Resume()
			}
			if len(seen) != 2 {
				t.Errorf("all kicks came at the same place: %v", seen)
			}
			th.Kick()
			expect(t, th, Kicked)
			th.Exit(true)
		})
	}
}

// TestLease_hostRefuses: the host's error is the call's, and nothing is noted.
func TestLease_hostRefuses(t *testing.T) {
	m := fastMachine(t)
	th, l := leased(t, m, join(call(1000), mmapArgs(pageSize), fastCall(m, unix.SYS_MMAP), moveRAX, call(1001)))
	l.Set(0, leaseTestTop-8, leaseTestTop-8) // no place for a page
	th.Return(0)
	expect(t, th, Syscall)
	if th.Regs.RAX != 1001 || int64(th.Regs.RBX) != -int64(linux.EINVAL) || l.Holder() != LeaseNobody || l.Claims() != leaseTestTop-8 {
		t.Fatalf("call %d after %#x, the lock is held by %#x", th.Regs.RAX, th.Regs.RBX, l.Holder())
	}
	th.Exit(true)
}
