package platform

import (
	"encoding/binary"
	"math"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

// fastArgs is a call by the fast lane with these arguments: mov rdi, rsi, rdx, r10.
func fastArgs(m *Machine, nr uint32, args ...uint64) []byte {
	p := withArgs(nr, args...)
	return join(p[:len(p)-len(call(nr))], fastCall(m, nr))
}

const (
	trialFD    = 7
	trialEpoll = 4
	trialHas   = linux.O_LARGEFILE | linux.O_RDWR
)

// onTrial runs code after a call of 1000, whose answer puts a file on trial, and gives the
// thread as it asks about nr.
func onTrial(t *testing.T, m *Machine, code []byte, set func(*Thread), nr uint64) *Thread {
	t.Helper()
	th := guest(t, m, join(call(1000), code, keepResult, call(1001)))
	expect(t, th, Syscall)
	th.AnswerAlone(true)
	th.Try(trialFD, trialEpoll, trialHas)
	if set != nil {
		set(th)
	}
	asksNext(t, th, nr)
	return th
}

func TestTrial_answers(t *testing.T) {
	m := fastMachine(t)
	eperm := -int64(unix.EPERM)
	for _, c := range []struct {
		name     string
		nr       uint32
		args     []uint64
		want     int64
		nonblock bool
	}{
		{"flags", unix.SYS_FCNTL, []uint64{trialFD, unix.F_GETFL, 9}, int64(trialHas), false},
		{"non-blocking", unix.SYS_FCNTL, []uint64{trialFD, unix.F_SETFL, uint64(trialHas) | unix.O_NONBLOCK}, 0, true},
		{"non-blocking, alone", unix.SYS_FCNTL, []uint64{trialFD, unix.F_SETFL, unix.O_NONBLOCK}, 0, true},
		{"what cannot be set", unix.SYS_FCNTL, []uint64{trialFD, unix.F_SETFL, unix.O_CREAT | unix.O_WRONLY}, 0, false},
		{"the high half", unix.SYS_FCNTL, []uint64{7<<32 | trialFD, unix.F_GETFL, 0}, int64(trialHas), false},
		{"refused", unix.SYS_EPOLL_CTL, []uint64{trialEpoll, unix.EPOLL_CTL_ADD, trialFD, dataAt}, eperm, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			th := onTrial(t, m, fastArgs(m, c.nr, c.args...), nil, 1001)
			if int64(th.Regs.RBX) != c.want {
				t.Errorf("result %d, want %d", int64(th.Regs.RBX), c.want)
			}
			if nonblock, ok := th.EndTrial(); nonblock != c.nonblock || !ok {
				t.Errorf("non-blocking %v, want %v; %v", nonblock, c.nonblock, ok)
			}
			if _, ok := th.EndTrial(); ok {
				t.Error("it ends twice")
			}
			th.Exit(true)
		})
	}
}

func TestTrial_asks(t *testing.T) {
	m := fastMachine(t)
	get := []uint64{trialFD, unix.F_GETFL, 0}
	add := func(poll, op, fd, event uint64) []uint64 { return []uint64{poll, op, fd, event} }
	for _, c := range []struct {
		name string
		nr   uint32
		args []uint64
		set  func(*Thread)
	}{
		{"another file", unix.SYS_FCNTL, []uint64{trialFD + 1, unix.F_GETFL, 0}, nil},
		{"no file", unix.SYS_FCNTL, []uint64{math.MaxUint32, unix.F_GETFL, 0}, func(th *Thread) { th.EndTrial() }},
		{"no file, poll", unix.SYS_EPOLL_CTL, add(trialEpoll, 1, math.MaxUint32, dataAt), func(th *Thread) { th.EndTrial() }},
		{"another command", unix.SYS_FCNTL, []uint64{trialFD, unix.F_GETFD, 0}, nil},
		{"append", unix.SYS_FCNTL, []uint64{trialFD, unix.F_SETFL, unix.O_APPEND}, nil},
		{"over", unix.SYS_FCNTL, get, func(th *Thread) { th.EndTrial() }},
		{"not alone", unix.SYS_FCNTL, get, func(th *Thread) { th.AnswerAlone(false) }},
		{"nothing", unix.SYS_EPOLL_CTL, add(trialEpoll, 1, trialFD, dataAt), func(th *Thread) { th.AnswerNothing() }},
		{"modify", unix.SYS_EPOLL_CTL, add(trialEpoll, unix.EPOLL_CTL_MOD, trialFD, dataAt), nil},
		{"another instance", unix.SYS_EPOLL_CTL, add(trialEpoll+1, 1, trialFD, dataAt), nil},
		{"another's file", unix.SYS_EPOLL_CTL, add(trialEpoll, 1, trialFD+1, dataAt), nil},
		{"no event", unix.SYS_EPOLL_CTL, add(trialEpoll, 1, trialFD, 0), nil},
		{"half an event", unix.SYS_EPOLL_CTL, add(trialEpoll, 1, trialFD, dataAt+0x4000-8), nil},
		{"the stub's event", unix.SYS_EPOLL_CTL, add(trialEpoll, 1, trialFD, slots), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			th := onTrial(t, m, fastArgs(m, c.nr, c.args...), c.set, uint64(c.nr))
			if !th.Fast() {
				t.Error("by a trap")
			}
			asksNext(t, th, 1001)
			th.Exit(true)
		})
	}
}

// TestTrial_forged: what a guest writes to the word is a flag of one of its files, at most.
func TestTrial_forged(t *testing.T) {
	m := fastMachine(t)
	word := slots + slotTrial
	for _, c := range []struct {
		forged       uint64
		nonblock, ok bool
	}{
		{math.MaxUint64, true, false}, {0, false, true}, {1 << 63, false, true}, {uint64(linux.O_NONBLOCK) << 32, true, true},
	} {
		// mov rdx, forged; mov [rdi], rdx
		store := join([]byte{0x48, 0xbf}, binary.LittleEndian.AppendUint64(nil, uint64(word)),
			[]byte{0x48, 0xba}, binary.LittleEndian.AppendUint64(nil, c.forged), []byte{0x48, 0x89, 0x17})
		th := onTrial(t, m, store, nil, 1001)
		if nonblock, ok := th.EndTrial(); nonblock != c.nonblock || ok != c.ok {
			t.Errorf("%#x: non-blocking %v, %v", c.forged, nonblock, ok)
		}
		th.Exit(true)
	}
}
