package linux

import "encoding/binary"

// SigInfo is siginfo_t of sigaction(2): what a signal tells. What Fields holds
// depends on Signo and Code; the accessors name it.
type SigInfo struct {
	Signo, Errno, Code int32
	_                  int32
	Fields             [112]byte
}

// SizeOfSigInfo is its size in bytes.
const SizeOfSigInfo = 128

// Values of SigInfo.Code that do not depend on the signal.
const (
	SI_USER    = 0
	SI_KERNEL  = 0x80
	SI_QUEUE   = -1
	SI_TIMER   = -2
	SI_MESGQ   = -3
	SI_ASYNCIO = -4
	SI_SIGIO   = -5
	SI_TKILL   = -6
)

// Put writes s as the kernel does to b, of SizeOfSigInfo bytes at least.
func (s *SigInfo) Put(b []byte) {
	le := binary.LittleEndian
	_ = b[SizeOfSigInfo-1]
	le.PutUint32(b, uint32(s.Signo))
	le.PutUint32(b[4:], uint32(s.Errno))
	le.PutUint32(b[8:], uint32(s.Code))
	le.PutUint32(b[12:], 0)
	copy(b[16:SizeOfSigInfo], s.Fields[:])
}

// ReadSigInfo reads what Put writes.
func ReadSigInfo(b []byte) (s SigInfo) {
	le := binary.LittleEndian
	_ = b[SizeOfSigInfo-1]
	s.Signo, s.Errno, s.Code = int32(le.Uint32(b)), int32(le.Uint32(b[4:])), int32(le.Uint32(b[8:]))
	copy(s.Fields[:], b[16:SizeOfSigInfo])
	return s
}

func (s *SigInfo) u32(off int) uint32      { return binary.LittleEndian.Uint32(s.Fields[off:]) }
func (s *SigInfo) u64(off int) uint64      { return binary.LittleEndian.Uint64(s.Fields[off:]) }
func (s *SigInfo) put32(off int, v uint32) { binary.LittleEndian.PutUint32(s.Fields[off:], v) }
func (s *SigInfo) put64(off int, v uint64) { binary.LittleEndian.PutUint64(s.Fields[off:], v) }

// PID is the sender's or the child's process id.
func (s *SigInfo) PID() int32 { return int32(s.u32(0)) }

// SetPID sets it.
func (s *SigInfo) SetPID(pid int32) { s.put32(0, uint32(pid)) }

// UID is the sender's or the child's real user id.
func (s *SigInfo) UID() uint32 { return s.u32(4) }

// SetUID sets it.
func (s *SigInfo) SetUID(uid uint32) { s.put32(4, uid) }

// Value is the sigval of sigqueue(3) and of timers.
func (s *SigInfo) Value() uint64 { return s.u64(8) }

// SetValue sets it.
func (s *SigInfo) SetValue(v uint64) { s.put64(8, v) }

// TimerID is the timer of SI_TIMER.
func (s *SigInfo) TimerID() int32 { return int32(s.u32(0)) }

// SetTimerID sets it.
func (s *SigInfo) SetTimerID(id int32) { s.put32(0, uint32(id)) }

// Overrun is the overrun count of SI_TIMER.
func (s *SigInfo) Overrun() int32 { return int32(s.u32(4)) }

// SetOverrun sets it.
func (s *SigInfo) SetOverrun(n int32) { s.put32(4, uint32(n)) }

// Status is SIGCHLD's exit status or signal.
func (s *SigInfo) Status() int32 { return int32(s.u32(8)) }

// SetStatus sets it.
func (s *SigInfo) SetStatus(v int32) { s.put32(8, uint32(v)) }

// ChildTimes are SIGCHLD's user and system times, in ticks of 10 ms.
func (s *SigInfo) ChildTimes() (user, system int64) { return int64(s.u64(16)), int64(s.u64(24)) }

// SetChildTimes sets them.
func (s *SigInfo) SetChildTimes(user, system int64) {
	s.put64(16, uint64(user))
	s.put64(24, uint64(system))
}

// Addr is the address of a fault, or of the instruction for SIGSYS.
func (s *SigInfo) Addr() uint64 { return s.u64(0) }

// SetAddr sets it.
func (s *SigInfo) SetAddr(a uint64) { s.put64(0, a) }

// AddrLSB is the granularity of Addr for SIGBUS of BUS_MCEERR.
func (s *SigInfo) AddrLSB() int16 { return int16(s.u32(8)) }

// Band and PollFD are SIGIO's events and descriptor.
func (s *SigInfo) Band() int64   { return int64(s.u64(0)) }
func (s *SigInfo) PollFD() int32 { return int32(s.u32(8)) }

// Syscall and Arch are SIGSYS's call number and AUDIT_ARCH.
func (s *SigInfo) Syscall() int32 { return int32(s.u32(8)) }
func (s *SigInfo) Arch() uint32   { return s.u32(12) }

// SetSyscall sets both.
func (s *SigInfo) SetSyscall(nr int32, arch uint32) {
	s.put32(8, uint32(nr))
	s.put32(12, arch)
}
