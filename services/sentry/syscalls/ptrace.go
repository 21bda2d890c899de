package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/task"
)

// Requests that package unix does not name.
const (
	ptracePeekSigInfo        = 0x4209
	ptraceGetSigMask         = 0x420a
	ptraceSetSigMask         = 0x420b
	ptraceSeccompGetFilter   = 0x420c
	ptraceSeccompGetMetadata = 0x420d
	ptraceGetSyscallInfo     = 0x420e
	ptraceGetRseqConfig      = 0x420f
	ptraceSetDispatchConfig  = 0x4210
	ptraceGetDispatchConfig  = 0x4211
	ptraceSetSyscallInfo     = 0x4212
)

// Kinds of register set: elf(5).
const (
	ntPrStatus  = 1
	ntFPRegSet  = 2
	ntX86XState = 0x202
)

// ptrace traces another thread: ptrace(2).
func ptrace(t *task.Task, request int64, tid int32, addr mm.Addr, data uint64) (uint64, error) {
	switch request {
	case unix.PTRACE_TRACEME:
		return 0, t.TraceMe()
	case unix.PTRACE_ATTACH:
		return 0, t.Attach(tid, false, 0)
	case unix.PTRACE_SEIZE:
		if addr != 0 {
			return 0, linux.EIO
		}
		return 0, t.Attach(tid, true, uint32(min(data, 1<<31)))
	case unix.PTRACE_INTERRUPT:
		return 0, t.Interrupt(tid)
	case unix.PTRACE_KILL:
		return 0, t.KillTracee(tid)
	case unix.PTRACE_LISTEN:
		return 0, t.Listen(tid)
	case unix.PTRACE_DETACH:
		return 0, t.Detach(tid, data)
	case unix.PTRACE_CONT:
		return 0, t.ResumeTracee(tid, task.Continue, data)
	case unix.PTRACE_SYSCALL:
		return 0, t.ResumeTracee(tid, task.StepSyscall, data)
	case unix.PTRACE_SINGLESTEP, unix.PTRACE_SINGLEBLOCK: // a block ends where the processor cannot tell its end
		return 0, t.ResumeTracee(tid, task.Step, data)
	case unix.PTRACE_SYSEMU:
		return 0, t.ResumeTracee(tid, task.Emulate, data)
	case unix.PTRACE_SYSEMU_SINGLESTEP:
		return 0, t.ResumeTracee(tid, task.EmulateStep, data)
	case unix.PTRACE_SETOPTIONS:
		return 0, t.SetTraceOptions(tid, data)
	case unix.PTRACE_PEEKTEXT, unix.PTRACE_PEEKDATA:
		var word [8]byte
		if err := t.PeekTracee(tid, addr, word[:]); err != nil {
			return 0, err
		}
		return 0, t.CopyOutLater(data, word[:])
	case unix.PTRACE_POKETEXT, unix.PTRACE_POKEDATA:
		return 0, t.PokeTracee(tid, addr, binary.LittleEndian.AppendUint64(nil, data))
	}
	return ptraceRegisters(t, request, tid, addr, data)
}

// ptraceRegisters are the requests about a stopped thread's registers and
// signals.
func ptraceRegisters(t *task.Task, request int64, tid int32, addr mm.Addr, data uint64) (uint64, error) {
	switch request {
	case unix.PTRACE_PEEKUSR:
		return 0, peekUser(t, tid, addr, data)
	case unix.PTRACE_POKEUSR:
		return 0, pokeUser(t, tid, addr, data)
	case unix.PTRACE_GETREGS:
		return getRegisters(t, tid, data, task.UserRegsSize, (*task.Task).UserRegs)
	case unix.PTRACE_SETREGS:
		return setRegisters(t, tid, data, task.UserRegsSize, (*task.Task).SetUserRegs)
	case unix.PTRACE_GETFPREGS:
		return getRegisters(t, tid, data, platform.FPLegacySize, legacyState)
	case unix.PTRACE_SETFPREGS:
		return setRegisters(t, tid, data, platform.FPLegacySize, (*task.Task).SetFPRegs)
	case unix.PTRACE_GETREGSET, unix.PTRACE_SETREGSET:
		return registerSet(t, request == unix.PTRACE_SETREGSET, tid, addr, data)
	case unix.PTRACE_GETEVENTMSG:
		m, err := t.EventMessage(tid)
		if err != nil {
			return 0, err
		}
		return 0, t.CopyOutLater(data, binary.LittleEndian.AppendUint64(nil, m))
	case unix.PTRACE_GETSIGINFO:
		info, err := t.StopInfo(tid)
		if err != nil {
			return 0, err
		}
		var buf [linux.SizeOfSigInfo]byte
		info.Put(buf[:])
		return 0, t.CopyOutLater(data, buf[:])
	case unix.PTRACE_SETSIGINFO:
		var buf [linux.SizeOfSigInfo]byte
		if err := t.CopyIn(data, buf[:]); err != nil {
			return 0, err
		}
		return 0, t.SetStopInfo(tid, linux.ReadSigInfo(buf[:]))
	case ptracePeekSigInfo:
		return peekSigInfo(t, tid, addr, data)
	case ptraceGetSigMask, ptraceSetSigMask:
		return 0, signalMask(t, request == ptraceSetSigMask, tid, addr, data)
	case ptraceGetSyscallInfo:
		p, err := t.SyscallInfo(tid)
		if err != nil {
			return 0, err
		}
		return uint64(len(p)), t.CopyOutLater(data, p[:min(uint64(len(p)), addr)])
	}
	return ptraceConfiguration(t, request, tid, addr, data)
}

// ptraceConfiguration are the requests about how a stopped thread's calls are looked at.
func ptraceConfiguration(t *task.Task, request int64, tid int32, size, data uint64) (uint64, error) {
	switch request {
	case ptraceSetSyscallInfo:
		var p [task.SyscallInfoSize]byte
		if err := t.Ask(tid, func(*task.Task) error { return nil }); err != nil {
			return 0, err
		}
		if size < uint64(len(p)) {
			return 0, linux.EINVAL
		}
		if err := t.CopyIn(data, p[:]); err != nil {
			return 0, err
		}
		return 0, t.SetSyscallInfo(tid, p[:])
	case ptraceGetRseqConfig:
		const whole = 24
		_, err := getRegisters(t, tid, data, int(min(size, whole)), (*task.Task).RseqConfiguration)
		if err != nil {
			return 0, err
		}
		return whole, nil
	case ptraceGetDispatchConfig, ptraceSetDispatchConfig:
		return 0, dispatchConfiguration(t, request == ptraceSetDispatchConfig, tid, size, data)
	case ptraceSeccompGetFilter:
		return tracedFilter(t, tid, size, data)
	case ptraceSeccompGetMetadata:
		return tracedMetadata(t, tid, size, data)
	}
	// An unknown request of a thread that is not traced is ESRCH.
	if err := t.Ask(tid, func(*task.Task) error { return nil }); err != nil {
		return 0, err
	}
	return 0, linux.EIO
}

func legacyState(o *task.Task) ([]byte, error) { return o.FPRegs(false) }

func fullState(o *task.Task) ([]byte, error) { return o.FPRegs(true) }

// getRegisters copies what get gives of a tracee to addr, at most n bytes.
func getRegisters(t *task.Task, tid int32, addr mm.Addr, n int, get func(*task.Task) ([]byte, error)) (uint64, error) {
	var p []byte
	err := t.Ask(tid, func(o *task.Task) (err error) {
		p, err = get(o)
		return err
	})
	if err != nil {
		return 0, err
	}
	return 0, t.CopyOutLater(addr, p[:min(n, len(p))])
}

func setRegisters(t *task.Task, tid int32, addr mm.Addr, n int, set func(*task.Task, []byte) error) (uint64, error) {
	p := make([]byte, n)
	if err := t.CopyIn(addr, p); err != nil {
		return 0, err
	}
	return 0, t.Ask(tid, func(o *task.Task) error { return set(o, p) })
}

// registerSet is PTRACE_GETREGSET and PTRACE_SETREGSET: iov's length becomes that
// of what was copied.
func registerSet(t *task.Task, set bool, tid int32, kind, iov uint64) (uint64, error) {
	var v [16]byte
	if err := t.CopyIn(iov, v[:]); err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	addr, n := le.Uint64(v[:]), le.Uint64(v[8:])
	get, put := (*task.Task).UserRegs, (*task.Task).SetUserRegs
	switch kind {
	case ntPrStatus:
	case ntFPRegSet:
		get, put = legacyState, (*task.Task).SetFPRegs
	case ntX86XState:
		get, put = fullState, (*task.Task).SetFPRegs
	default:
		return 0, linux.EINVAL
	}
	var p []byte
	err := t.Ask(tid, func(o *task.Task) (err error) {
		p, err = get(o)
		return err
	})
	if err != nil {
		return 0, err
	}
	if n%8 != 0 {
		return 0, linux.EINVAL
	}
	n = min(n, uint64(len(p)))
	if set {
		// What is not given stays.
		if err := t.CopyIn(addr, p[:n]); err != nil {
			return 0, err
		}
		err = t.Ask(tid, func(o *task.Task) error { return put(o, p) })
	} else {
		err = t.CopyOutLater(addr, p[:n])
	}
	if err != nil {
		return 0, err
	}
	return 0, t.CopyOutLater(iov+8, le.AppendUint64(nil, n))
}

// Where struct user holds what is not a general register.
const (
	userDebug    = 848 // u_debugreg, 8 words
	userDebugEnd = userDebug + 64
	userSize     = userDebugEnd + 16
)

// peekUser reads a word of struct user.
func peekUser(t *task.Task, tid int32, at, to uint64) error {
	if at%8 != 0 || at >= userSize {
		return linux.EIO
	}
	word := make([]byte, 8)
	err := t.Ask(tid, func(o *task.Task) error {
		switch {
		case at >= userDebug && at < userDebugEnd:
			binary.LittleEndian.PutUint64(word, o.DebugRegister(int(at-userDebug)/8))
			return nil
		case at >= task.UserRegsSize:
			return nil
		}
		p, err := o.UserRegs()
		if err == nil {
			copy(word, p[at:])
		}
		return err
	})
	if err != nil {
		return err
	}
	return t.CopyOutLater(to, word)
}

// pokeUser writes a word of struct user: EIO, EINVAL.
func pokeUser(t *task.Task, tid int32, at, value uint64) error {
	if at%8 != 0 || at >= userSize {
		return linux.EIO
	}
	return t.Ask(tid, func(o *task.Task) error {
		switch {
		case at < task.UserRegsSize:
			p, err := o.UserRegs()
			if err != nil {
				return err
			}
			binary.LittleEndian.PutUint64(p[at:], value)
			return o.SetUserRegs(p)
		case at >= userDebug && at < userDebugEnd:
			return o.SetDebugRegister(int(at-userDebug)/8, value)
		}
		return linux.EIO
	})
}

// peekSigInfo is PTRACE_PEEKSIGINFO: pending signals of a stopped thread, or with
// PTRACE_PEEKSIGINFO_SHARED of its process, from the one that struct
// ptrace_peeksiginfo_args at args names on; it gives how many. They come in the
// order of their numbers, and those of one number as they were sent.
func peekSigInfo(t *task.Task, tid int32, args, addr uint64) (uint64, error) {
	var p [16]byte
	if err := t.CopyIn(args, p[:]); err != nil {
		return 0, err
	}
	off, flags, n := binary.LittleEndian.Uint64(p[:]), binary.LittleEndian.Uint32(p[8:]), int32(binary.LittleEndian.Uint32(p[12:]))
	if flags&^1 != 0 || n < 0 {
		return 0, linux.EINVAL
	}
	var infos []linux.SigInfo
	err := t.Ask(tid, func(o *task.Task) error {
		infos = o.PeekPending(flags != 0, off, int(n))
		return nil
	})
	if err != nil {
		return 0, err
	}
	for i := range infos {
		var buf [linux.SizeOfSigInfo]byte
		infos[i].Put(buf[:])
		if err := t.CopyOut(addr+uint64(i*len(buf)), buf[:]); err != nil {
			if i > 0 {
				return uint64(i), nil
			}
			return 0, err
		}
	}
	return uint64(len(infos)), nil
}

// signalMask is PTRACE_GETSIGMASK and PTRACE_SETSIGMASK.
func signalMask(t *task.Task, set bool, tid int32, size, addr uint64) error {
	if size != linux.SizeofSigSet {
		return linux.EINVAL
	}
	var mask linux.SigSet
	if set {
		var err error
		if mask, err = copyInSigSet(t, addr); err != nil {
			return err
		}
	}
	err := t.Ask(tid, func(o *task.Task) error {
		if set {
			o.SetMask(mask)
		}
		mask = o.Mask()
		return nil
	})
	if err != nil || set {
		return err
	}
	return copyOutSigSet(t, addr, mask)
}
