// Package signalfd provides pending signals that are read as files: signalfd(2).
//
// A read takes the signals of whoever reads. Readiness is that of the process
// that made the file: a child that inherits it, and polls it, sees its parent's.
package signalfd

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Source is where signals are pending: a thread with its process. A mask has
// bit n-1 for signal n.
type Source = interface {
	// Dequeue takes the first pending signal of mask.
	Dequeue(mask uint64) (info linux.SigInfo, ok bool)
	// Pending says whether there is one.
	Pending(mask uint64) bool
	// Queue is notified with wait.In when a signal becomes pending.
	Queue() *wait.Queue
}

// Reader is a vfs.Context that has signals of its own.
type Reader interface{ SignalSource() Source }

// unblockable are SIGKILL and SIGSTOP, which no mask may hold.
var unblockable = uint64(linux.SigSetOf(linux.SIGKILL, linux.SIGSTOP))

// sizeOfInfo is struct signalfd_siginfo, in bytes.
const sizeOfInfo = 128

// Signalfd is a file of signals. It implements vfs.Impl.
type Signalfd struct {
	source Source
	mask   atomic.Uint64
}

// New makes a file of the signals in mask: signalfd4(2). flags may hold O_NONBLOCK.
func New(source Source, mask uint64, flags linux.OpenFlags) *vfs.File {
	return vfs.NewAnonFile(NewImpl(source, mask), "anon_inode:[signalfd]", linux.O_RDWR|flags&linux.O_NONBLOCK)
}

// NewImpl makes one without the open file description around it.
func NewImpl(source Source, mask uint64) *Signalfd {
	s := &Signalfd{source: source}
	s.mask.Store(mask &^ unblockable)
	return s
}

// SetMask changes which signals are meant: signalfd4(2) of an old descriptor.
func (s *Signalfd) SetMask(mask uint64) {
	s.mask.Store(mask &^ unblockable)
	s.source.Queue().Notify(wait.In)
}

// Mask is which signals are meant, for /proc/PID/fdinfo.
func (s *Signalfd) Mask() uint64 { return s.mask.Load() }

// ReadStream takes as many signals as p has room for, 128 bytes each. EINVAL if
// it has room for none, EAGAIN if none is pending.
func (s *Signalfd) ReadStream(ctx vfs.Context, p []byte) (int, error) {
	if len(p) < sizeOfInfo {
		return 0, linux.EINVAL
	}
	source := s.source
	if r, ok := ctx.(Reader); ok {
		source = r.SignalSource()
	}
	n := 0
	for len(p)-n >= sizeOfInfo {
		info, ok := source.Dequeue(s.mask.Load())
		if !ok {
			break
		}
		encode(p[n:n+sizeOfInfo], &info)
		n += sizeOfInfo
	}
	if n == 0 {
		return 0, linux.EAGAIN
	}
	return n, nil
}

// Poll says In while a signal of the mask is pending.
func (s *Signalfd) Poll() wait.Events {
	if s.source.Pending(s.mask.Load()) {
		return wait.In
	}
	return 0
}

// Queue is the source's.
func (s *Signalfd) Queue() *wait.Queue { return s.source.Queue() }

// FDInfo is what /proc/PID/fdinfo says besides.
func (s *Signalfd) FDInfo() []byte { return fmt.Appendf(nil, "sigmask:\t%016x\n", s.Mask()) }

// Seek does nothing, and succeeds: there is no position, and Linux's noop_llseek
// says no more of it.
func (s *Signalfd) Seek(_ vfs.Context, at, _ int64, _ int) (int64, error) { return at, nil }

// Release does nothing: the signals are the source's.
func (s *Signalfd) Release() {}

// layout says which member of siginfo_t's union a signal uses, as the kernel's
// siginfo_layout has it.
type layout int

const (
	byKill layout = iota
	byTimer
	byQueue
	byChild
	byFault
	byPoll
	bySys
)

func layoutOf(info *linux.SigInfo) layout {
	switch {
	case info.Code == linux.SI_TIMER:
		return byTimer
	case info.Code == linux.SI_SIGIO:
		return byPoll
	case info.Code == linux.SI_USER || info.Code == linux.SI_TKILL || info.Code == linux.SI_KERNEL:
		return byKill
	case info.Code < 0:
		return byQueue
	}
	switch linux.Signal(info.Signo) {
	case linux.SIGILL, linux.SIGTRAP, linux.SIGBUS, linux.SIGFPE, linux.SIGSEGV:
		return byFault
	case linux.SIGCHLD:
		return byChild
	case linux.SIGIO:
		return byPoll
	case linux.SIGSYS:
		return bySys
	}
	return byKill
}

// Offsets in struct signalfd_siginfo.
const (
	atSigno    = 0
	atErrno    = 4
	atCode     = 8
	atPID      = 12
	atUID      = 16
	atFD       = 20
	atTimerID  = 24
	atBand     = 28
	atOverrun  = 32
	atStatus   = 40
	atInt      = 44
	atPtr      = 48
	atUtime    = 56
	atStime    = 64
	atAddr     = 72
	atAddrLSB  = 80
	atSyscall  = 84
	atCallAddr = 88
	atArch     = 96
)

// encode writes info as struct signalfd_siginfo.
func encode(b []byte, info *linux.SigInfo) {
	le := binary.LittleEndian
	put := func(at int, v uint32) { le.PutUint32(b[at:], v) }
	clear(b)
	put(atSigno, uint32(info.Signo))
	put(atErrno, uint32(info.Errno))
	put(atCode, uint32(info.Code))
	switch layoutOf(info) {
	case byKill:
		put(atPID, uint32(info.PID()))
		put(atUID, info.UID())
	case byTimer:
		put(atTimerID, uint32(info.TimerID()))
		put(atOverrun, uint32(info.Overrun()))
		putValue(b, info)
	case byQueue:
		put(atPID, uint32(info.PID()))
		put(atUID, info.UID())
		putValue(b, info)
	case byChild:
		put(atPID, uint32(info.PID()))
		put(atUID, info.UID())
		put(atStatus, uint32(info.Status()))
		user, system := info.ChildTimes()
		le.PutUint64(b[atUtime:], uint64(user))
		le.PutUint64(b[atStime:], uint64(system))
	case byFault:
		le.PutUint64(b[atAddr:], info.Addr())
		le.PutUint16(b[atAddrLSB:], uint16(info.AddrLSB()))
	case byPoll:
		put(atBand, uint32(info.Band()))
		put(atFD, uint32(info.PollFD()))
	case bySys:
		le.PutUint64(b[atCallAddr:], info.Addr())
		put(atSyscall, uint32(info.Syscall()))
		put(atArch, info.Arch())
	}
}

func putValue(b []byte, info *linux.SigInfo) {
	binary.LittleEndian.PutUint64(b[atPtr:], info.Value())
	binary.LittleEndian.PutUint32(b[atInt:], uint32(info.Value()))
}
