package platform

import (
	"bytes"
	"encoding/binary"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pocketFD is in a pocket of its own, and so is none of its neighbours.
const (
	pocketFD    = 7
	pocketTick  = 0x1234
	pocketBytes = "hello, world"
)

// pocketed runs code after a call of 1000, whose answer puts a socket into a pocket with
// pocketBytes to be read and room for 100, and gives the thread as it asks about nr.
func pocketed(t *testing.T, m *Machine, code []byte, set func(*Thread), nr uint64) *Thread {
	t.Helper()
	th := guest(t, m, join(call(1000), code, keepResult, call(1001)))
	expect(t, th, Syscall)
	th.AnswerAlone(true)
	copy(th.Pocketed(16), pocketBytes)
	th.Pocket(PocketFor(pocketFD), pocketFD, 16, len(pocketBytes), 100, pocketTick)
	if set != nil {
		set(th)
	}
	if nr != 1001 {
		asksNext(t, th, nr)
		return th
	}
	th.Return(0)
	expect(t, th, Syscall)
	if th.Regs.RAX == unix.SYS_RECVFROM || th.Regs.RAX == unix.SYS_READ {
		t.Fatalf("asked about call %d", th.Regs.RAX)
	}
	if th.Regs.RAX != nr { // the sentry had fallen asleep on a busy host
		th.Exit(true)
		return pocketed(t, m, code, set, nr)
	}
	return th
}

// zeroR8 is xor r8d, r8d: no address.
var zeroR8 = []byte{0x45, 0x31, 0xc0}

func letters(th *Thread) (all []string) {
	th.Letters(func(ticket uint32, p []byte) {
		if ticket == pocketTick {
			all = append(all, string(p))
		}
	})
	return all
}

func TestPocket_reads(t *testing.T) {
	m := fastMachine(t)
	for _, c := range []struct {
		name string
		code []byte
		want string // at dataAt
		last int    // what the last call gives
	}{
		{"all", fastArgs(m, unix.SYS_READ, pocketFD, dataAt, 100), pocketBytes, 12},
		{"as much as is asked for", fastArgs(m, unix.SYS_READ, pocketFD, dataAt, 5), "hello", 5},
		{"on", join(fastArgs(m, unix.SYS_READ, pocketFD, dataAt, 7), fastArgs(m, unix.SYS_READ, pocketFD, dataAt+7, 3)), "hello, wor", 3},
		{"receive", join(zeroR8, fastArgs(m, unix.SYS_RECVFROM, pocketFD, dataAt, 4, unix.MSG_DONTWAIT)), "hell", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			th := pocketed(t, m, c.code, nil, 1001)
			got := make([]byte, len(c.want)+1)
			if err := th.proc.CopyIn(dataAt, got); err != nil || string(got) != c.want+"\x00" || int(th.Regs.RBX) != c.last {
				t.Errorf("%q, %v; result %d", got, err, int64(th.Regs.RBX))
			}
			if left := th.Left(PocketFor(pocketFD)); left != len(pocketBytes)-len(c.want) || !th.Touched() || th.Touched() {
				t.Errorf("%d left", left)
			}
			if left := th.TakeOut(PocketFor(pocketFD)); left != len(pocketBytes)-len(c.want) {
				t.Errorf("%d taken out", left)
			}
			th.Exit(true)
		})
	}
}

func TestPocket_writes(t *testing.T) {
	m := fastMachine(t)
	write := func(at, n uint64) []byte { return fastArgs(m, unix.SYS_WRITE, pocketFD, at, n) }
	for _, c := range []struct {
		name string
		code []byte
		want []string
		last int
	}{
		{"one", write(dataAt, 3), []string{"abc"}, 3},
		{"two", join(write(dataAt, 9), write(dataAt+1, 1)), []string{"abcdefghi", "b"}, 1},
		{"send", join(zeroR8, fastArgs(m, unix.SYS_SENDTO, pocketFD, dataAt, 8, unix.MSG_NOSIGNAL)), []string{"abcdefgh"}, 8},
		{"gather", fastArgs(m, unix.SYS_WRITEV, pocketFD, dataAt+0x100, 3), []string{"bcabc"}, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			th := pocketed(t, m, c.code, func(th *Thread) { fillLetters(t, th) }, 1001)
			if int(th.Regs.RBX) != c.last {
				t.Errorf("result %d", int64(th.Regs.RBX))
			}
			th.TakeOut(PocketFor(pocketFD))
			if got := letters(th); !equalStrings(got, c.want) {
				t.Errorf("letters %q", got)
			}
			if got := letters(th); got != nil {
				t.Errorf("letters again: %q", got)
			}
			th.EmptyBox()
			if used := uint32(th.slot.load(slotMail)); used != 0 {
				t.Errorf("%d bytes of the box are used", used)
			}
			th.Exit(true)
		})
	}
}

// fillLetters has the alphabet at dataAt, and a list of three pieces of it at dataAt+0x100.
func fillLetters(t *testing.T, th *Thread) {
	t.Helper()
	p := make([]byte, 0x180)
	copy(p, "abcdefghijklmnopqrstuvwxyz")
	for i, piece := range []struct{ at, n uint64 }{{dataAt + 1, 2}, {0, 0}, {dataAt, 3}} {
		binary.LittleEndian.PutUint64(p[0x100+16*i:], piece.at)
		binary.LittleEndian.PutUint64(p[0x108+16*i:], piece.n)
	}
	if err := th.proc.CopyOut(dataAt, p); err != nil {
		t.Fatal(err)
	}
}

func equalStrings(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestPocket_asks(t *testing.T) {
	m := fastMachine(t)
	i := PocketFor(pocketFD)
	empty := func(th *Thread) { th.TakeOut(i) }
	one := []uint64{pocketFD, dataAt, 1}
	for _, c := range []struct {
		name string
		nr   uint32
		args []uint64
		set  func(*Thread)
	}{
		{"another's read", unix.SYS_READ, []uint64{pocketFD + pocketCount, dataAt, 1}, nil},
		{"another's write", unix.SYS_WRITE, []uint64{pocketFD + pocketCount, dataAt, 1}, nil},
		{"read of none", unix.SYS_READ, []uint64{math.MaxUint32, dataAt, 1}, empty},
		{"write to none", unix.SYS_WRITE, []uint64{math.MaxUint32, dataAt, 1}, empty},
		{"read when taken out", unix.SYS_READ, one, empty},
		{"write when taken out", unix.SYS_WRITE, one, empty},
		{"gather when taken out", unix.SYS_WRITEV, []uint64{pocketFD, dataAt + 0x100, 3}, empty},
		{"read by a thread that asks", unix.SYS_READ, one, func(th *Thread) { th.AnswerAlone(false) }},
		{"write by a thread that asks", unix.SYS_WRITE, one, func(th *Thread) { th.AnswerNothing() }},
		{"read nothing", unix.SYS_READ, []uint64{pocketFD, dataAt, 0}, nil},
		{"write nothing", unix.SYS_WRITE, []uint64{pocketFD, dataAt, 0}, nil},
		{"read to nowhere", unix.SYS_READ, []uint64{pocketFD, 0x1000, 1}, nil},
		{"write from nowhere", unix.SYS_WRITE, []uint64{pocketFD, 0x1000, 1}, nil},
		{"read to the stub", unix.SYS_READ, []uint64{pocketFD, slots, 1}, nil},
		{"write from the stub", unix.SYS_WRITE, []uint64{pocketFD, slots, 1}, nil},
		{"read across the end", unix.SYS_READ, []uint64{pocketFD, dataAt, GuestTop}, nil},
		{"read of a negative size", unix.SYS_READ, []uint64{pocketFD, dataAt, math.MaxUint64}, nil},
		{"write of more than there is room for", unix.SYS_WRITE, []uint64{pocketFD, dataAt, 101}, nil},
		{"write of a negative size", unix.SYS_WRITE, []uint64{pocketFD, dataAt, math.MaxUint64}, nil},
		{"write of an odd negative size", unix.SYS_WRITE, []uint64{pocketFD, dataAt, 1 << 63}, nil},
		{"peek", unix.SYS_RECVFROM, []uint64{pocketFD, dataAt, 1, unix.MSG_PEEK}, nil},
		{"more to come", unix.SYS_SENDTO, []uint64{pocketFD, dataAt, 1, unix.MSG_MORE}, nil},
		{"gather too many", unix.SYS_WRITEV, []uint64{pocketFD, dataAt + 0x100, mostPieces + 1}, nil},
		{"gather none", unix.SYS_WRITEV, []uint64{pocketFD, dataAt + 0x100, 0}, nil},
		{"gather from nowhere", unix.SYS_WRITEV, []uint64{pocketFD, 0x1000, 1}, nil},
		{"gather a piece of nowhere", unix.SYS_WRITEV, []uint64{pocketFD, dataAt + 0x200, 1}, func(th *Thread) {
			th.proc.CopyOut(dataAt+0x200, binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 0x1000), 1))
		}},
		{"gather a piece of a negative size", unix.SYS_WRITEV, []uint64{pocketFD, dataAt + 0x200, 1}, func(th *Thread) {
			th.proc.CopyOut(dataAt+0x200, binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, dataAt), math.MaxUint64))
		}},
		{"gather nothing", unix.SYS_WRITEV, []uint64{pocketFD, dataAt + 0x110, 1}, nil},
		{"write with nobody looking", unix.SYS_WRITE, one, func(th *Thread) { th.Unattended() }},
		{"gather with nobody looking", unix.SYS_WRITEV, []uint64{pocketFD, dataAt + 0x100, 3}, func(th *Thread) { th.Near() }},
		{"write into a full box", unix.SYS_WRITE, one, func(th *Thread) { th.slot.store(slotMail, boxSize-8) }},
		{"gather into a full box", unix.SYS_WRITEV, []uint64{pocketFD, dataAt + 0x100, 3}, func(th *Thread) { th.slot.store(slotMail, boxSize-8) }},
		{"write into a forged box", unix.SYS_WRITE, one, func(th *Thread) { th.slot.store(slotMail, math.MaxUint32) }},
		{"gather into a forged box", unix.SYS_WRITEV, []uint64{pocketFD, dataAt + 0x100, 3}, func(th *Thread) { th.slot.store(slotMail, math.MaxUint32-4) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			th := pocketed(t, m, join(zeroR8, fastArgs(m, c.nr, c.args...)), func(th *Thread) {
				fillLetters(t, th)
				if c.set != nil {
					c.set(th)
				}
			}, uint64(c.nr))
			if !th.Fast() {
				t.Error("by a trap")
			}
			if mail := th.slot.load(slotMail); th.delivered == 0 && uint32(mail) < boxSize-8 && letters(th) != nil {
				t.Error("a letter was written")
			}
			asksNext(t, th, 1001)
			th.Exit(true)
		})
	}
}

// TestPocket_forgedLetters: whatever the box says, letters lie in it.
func TestPocket_forgedLetters(t *testing.T) {
	for _, mail := range []uint64{0, 1, 7, 8, 9, boxSize, boxSize + 1, math.MaxUint32, math.MaxUint64} {
		for _, size := range []uint32{0, 1, 8, boxSize - 8, boxSize, math.MaxUint32, math.MaxUint32 - 7} {
			th := &Thread{slot: slot{mem: make([]byte, slotSize)}}
			for at := slotBox; at < slotInEnd; at += 8 {
				binary.LittleEndian.PutUint32(th.slot.mem[at+4:], size)
			}
			th.slot.store(slotMail, mail)
			bytesOf, n := 0, 0
			th.Letters(func(_ uint32, p []byte) { bytesOf += len(p); n++ })
			if bytesOf > boxSize-8*n {
				t.Errorf("mail %#x, sizes %#x: %d bytes in %d letters", mail, size, bytesOf, n)
			}
			th.EmptyBox()
			th.Letters(func(uint32, []byte) { t.Errorf("mail %#x, sizes %#x: letters in an empty box", mail, size) })
		}
	}
}

// TestPocket_losesNothing takes a socket out again and again, while the guest writes to it and reads
// from it: what the guest was told it did, and nothing else, has come through.
func TestPocket_losesNothing(t *testing.T) {
	m := fastMachine(t)
	// again: write(pocketFD, dataAt, 8); if it gave 8, inc [dataAt+0x40]; read(pocketFD, dataAt+0x80, 1);
	// if it gave 1, inc [dataAt+0x48]; jmp again. A call that the sentry answers gives 0.
	count := func(want, at byte) []byte { // cmp rax, want; jne over; inc qword [rsi+at]
		return []byte{0x48, 0x83, 0xf8, want, 0x75, 4, 0x48, 0xff, 0x46, at}
	}
	loop := join(fastArgs(m, unix.SYS_WRITE, pocketFD, dataAt, 8), count(8, 0x40),
		fastArgs(m, unix.SYS_READ, pocketFD, dataAt+0x48-0x10, 1), count(1, 0x10))
	loop = join(loop, []byte{0xe9}, binary.LittleEndian.AppendUint32(nil, uint32(-(len(loop)+5))))
	th := guest(t, m, join(call(1000), loop))
	expect(t, th, Syscall)
	th.AnswerAlone(true)
	i := PocketFor(pocketFD)
	written, read, given, ticket := 0, 0, 0, uint32(0)
	deliver := func() {
		th.Letters(func(got uint32, p []byte) {
			if got != ticket || len(p) != 8 {
				t.Errorf("a letter of %d bytes for %d, not %d", len(p), got, ticket)
			}
			written += len(p)
		})
	}
	for round := range 3000 {
		deliver()
		th.EmptyBox()
		if given > 0 {
			read += given - th.TakeOut(i)
		}
		ticket++
		given = 1 + round%200
		th.Pocket(i, pocketFD, 0, given, 8*(1+round%50), ticket)
		th.Return(0)
		for range round % 300 { // let it go on for a while
			th.Asks()
		}
		if round%2 == 0 {
			read += given - th.TakeOut(i)
			given = 0
			deliver()
		}
		for {
			expect(t, th, Syscall)
			if th.Regs.RAX == unix.SYS_WRITE || th.Regs.RAX == unix.SYS_READ {
				break
			}
		}
	}
	deliver()
	if given > 0 {
		read += given - th.TakeOut(i)
	}
	var told [16]byte
	if err := th.proc.CopyIn(dataAt+0x40, told[:]); err != nil {
		t.Fatal(err)
	}
	w, r := binary.LittleEndian.Uint64(told[:]), binary.LittleEndian.Uint64(told[8:])
	if uint64(written) != 8*w || uint64(read) != r {
		t.Errorf("%d bytes came of %d, %d were read, not %d", written, 8*w, read, r)
	}
	if w == 0 || r == 0 {
		t.Error("nothing was done in the stub")
	}
	th.Exit(true)
}

// TestPocket_callsHome: letters alone have Next call for them, and go on waiting.
func TestPocket_callsHome(t *testing.T) {
	m := fastMachine(t)
	var got [][]byte
	th := pocketed(t, m, fastArgs(m, unix.SYS_WRITE, pocketFD, dataAt, 4), func(th *Thread) {
		got = nil
		th.OnMail(func() {
			th.Letters(func(_ uint32, p []byte) { got = append(got, bytes.Clone(p)) })
		})
	}, 1001)
	if th.Letters(func(_ uint32, p []byte) { got = append(got, bytes.Clone(p)) }); len(got) != 1 || len(got[0]) != 4 {
		t.Errorf("%q", got)
	}
	th.Exit(true)
}

// TestPocket_noLettersAmidACall has a guest lose the order of a call that is being served, and
// make up a letter: whoever waits for the order, perhaps with locks held, does not go on to wait
// without an end.
func TestPocket_noLettersAmidACall(t *testing.T) {
	th := guest(t, fastMachine(t), join(call(1000), call(1001)))
	expect(t, th, Syscall)
	req := th.slot.word(slotReq)
	atomic.StoreUint32(&th.last, atomic.AddUint32(req, 1)) // the stub waits for the answer before
	time.AfterFunc(20*time.Millisecond, func() { atomic.AddUint32(req, 1) })
	done := make(chan bool)
	go func() {
		_, ok := th.Do()
		done <- ok
	}()
	select {
	case ok := <-done:
		if ok {
			t.Error("the order was carried out")
		}
	case <-time.After(5 * time.Second):
		t.Error("it waits still")
		th.proc.Kill()
		<-done
	}
	th.proc.Kill()
	th.Exit(true)
}
