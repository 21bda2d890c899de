package platform

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

// Machine is the host as the sentry uses it to run guest code: the zygote, the
// ancestor of all stubs, and what the sentry knows of their processes.
type Machine struct {
	// VDSO is where the host's vDSO lies in every stub, and VDSOSize how long it
	// and its data are.
	VDSO, VDSOStart, VDSOEnd uint64
	// HWCap, HWCap2 and MinSigStack are AT_HWCAP, AT_HWCAP2, AT_MINSIGSTKSZ.
	HWCap, HWCap2, MinSigStack uint64
	// FPSize is the size in bytes of a thread's saved extended state.
	FPSize uint32
	// fpReserved is the kernel's description of it, as every frame has it.
	fpReserved [fpReservedSize]byte

	fastEntry uint64 // see FastEntry
	gsBase    bool   // user code may write the GS base

	donor    donor
	verifier *verifier // nil: memory calls are the host's own

	zygoteMu sync.Mutex // one order to the zygote at a time
	zygote   *Thread
	spare    chan *Thread

	spaces  chan *Space // made ahead
	bells   chan *bell  // nobody's now
	windows windows

	mu    sync.Mutex
	procs map[int]*Process // by host pid
}

// Credential is who the stubs are on the host.
type Credential struct{ UID, GID uint32 }

// Options change how a Machine runs its guests.
type Options struct {
	// Verified: see verify.go.
	Verified bool
	// Log, if set, takes one line on what a user may want to know.
	Log func(format string, args ...any)
}

// Start makes the zygote. It needs /proc, execve and the right to trace its own
// child, and so comes before the sentry gives those up. The sentry must be the
// init of its PID namespace, or at least a subreaper, for its death to end the
// stubs.
func Start(cred *Credential, o Options) (*Machine, error) {
	m := &Machine{procs: map[int]*Process{}, spare: make(chan *Thread, 1), spaces: make(chan *Space, sparesOfSpace), bells: make(chan *bell, sparesOfBell)}
	m.donor.pending, m.donor.late = map[token]*donation{}, make(chan struct{}, 1)
	if o.Verified {
		m.verifier = newVerifier(o.Log)
	}
	m.readAuxv()
	space, err := m.newSpace()
	if err != nil {
		return nil, fmt.Errorf("start zygote: %w", err)
	}
	b, err := newBell()
	if err != nil {
		return nil, fmt.Errorf("start zygote: %w", err)
	}
	space.ring(b)
	proc := space.newProcess()
	th, err := space.thread(proc, 0)
	if err != nil {
		return nil, fmt.Errorf("start zygote: map slot: %w", err)
	}
	pid, err := m.execZygote(space, cred)
	if err != nil {
		return nil, fmt.Errorf("start zygote: %w", err)
	}
	m.register(proc, pid)
	ignoreChildSignals()
	if m.verifier != nil {
		m.verifier.meet(th, int32(pid))
	}
	th.tid.Store(int32(pid))
	go m.reap()
	if ev := th.Next(); ev.Kind != Fault || ev.Fault.Signal != linux.SIGILL {
		return nil, fmt.Errorf("start zygote: it stopped with event %d %+v, status %v; does this kernel have seccomp user notification?", ev.Kind, ev.Fault, proc.status)
	}
	if err := m.takeListener(pid, int(th.Regs.RAX)); err != nil {
		proc.Kill()
		return nil, fmt.Errorf("start zygote: %w", err)
	}
	if err := m.learnFPSize(th); err != nil {
		proc.Kill()
		return nil, fmt.Errorf("start zygote: %w", err)
	}
	if err := m.findVDSO(pid); err != nil {
		proc.Kill()
		return nil, fmt.Errorf("start zygote: %w", err)
	}
	th.HostCall(unix.SYS_CLOSE, th.Regs.RAX)
	m.zygote = th
	go m.serveNotifications(m.donor.late)
	if m.verifier != nil {
		m.donor.late <- struct{}{}
	}
	th.Resume() // back to UD2, which it stops at again
	th.Next()
	return m, nil
}

// execZygote starts the zygote's program from a memfd.
func (m *Machine) execZygote(space *Space, cred *Credential) (int, error) {
	m.gsBase = m.HWCap2&hwcapFSGSBase != 0
	img, err := zygoteImage(m.gsBase, m.verifier != nil)
	if err != nil {
		return 0, err
	}
	m.fastEntry = fastEntry(img)
	fd, err := unix.MemfdCreate("stub", unix.MFD_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("make its image: %w", err)
	}
	image := os.NewFile(uintptr(fd), "stub")
	defer image.Close()
	if _, err := image.Write(img); err != nil {
		return 0, fmt.Errorf("write its image: %w", err)
	}
	null, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return 0, err
	}
	nullFile := os.NewFile(uintptr(null), "null")
	defer nullFile.Close()
	// os.File.Fd makes a descriptor blocking, which a duplicate is spared.
	bell, err := duplicate(space.bell.fd, "doorbell")
	if err != nil {
		return 0, err
	}
	defer bell.Close()
	slotsFile, err := duplicate(space.memfd, "slots")
	if err != nil {
		return 0, err
	}
	defer slotsFile.Close()

	// A fixed layout and a bounded stack keep the vDSO and the first stack above
	// the stub. Both are taken over by the child from this thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const addrNoRandomize = 0x0040000
	old, _, _ := unix.RawSyscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0)
	unix.RawSyscall(unix.SYS_PERSONALITY, old|addrNoRandomize, 0, 0)
	defer unix.RawSyscall(unix.SYS_PERSONALITY, old, 0, 0)
	var stack unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_STACK, &stack)
	unix.Setrlimit(unix.RLIMIT_STACK, &unix.Rlimit{Cur: 8 << 20, Max: stack.Max})
	defer unix.Setrlimit(unix.RLIMIT_STACK, &stack)

	attr := &syscall.SysProcAttr{}
	if cred != nil {
		attr.Credential = &syscall.Credential{Uid: cred.UID, Gid: cred.GID}
		// A new identity clears the permitted set, not the inheritable one.
		if err := inheritNothing(); err != nil {
			return 0, err
		}
	}
	cmd := &exec.Cmd{
		Path: fmt.Sprintf("/proc/self/fd/%d", image.Fd()), Args: []string{"stub"}, Env: []string{},
		Stdin: nullFile, Stdout: bell, Stderr: slotsFile, SysProcAttr: attr, Dir: "/",
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("execute it: %w", err)
	}
	pid := cmd.Process.Pid
	cmd.Process.Release()
	return pid, nil
}

// inheritNothing empties this thread's inheritable capabilities, which a child
// would keep: capabilities(7).
func inheritNothing() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return fmt.Errorf("read its capabilities: %w", err)
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	if err := unix.Capset(&head, &data[0]); err != nil {
		return fmt.Errorf("empty its inheritable capabilities: %w", err)
	}
	return nil
}

func duplicate(fd int, name string) (*os.File, error) {
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate %s: %w", name, err)
	}
	return os.NewFile(uintptr(d), name), nil
}

// takeListener fetches the notification descriptor out of the zygote.
func (m *Machine) takeListener(pid, fd int) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open its pidfd: %w", err)
	}
	defer unix.Close(pidfd)
	listener, err := unix.PidfdGetfd(pidfd, fd, 0)
	if err != nil {
		return fmt.Errorf("take its seccomp listener: %w", err)
	}
	m.donor.raw = uintptr(listener)
	return nil
}

// ignoreChildSignals sets SIGCHLD to its default, which is that the host sends
// none: reap waits for the children, and a signal for each of them would only
// interrupt whatever thread gets it.
func ignoreChildSignals() {
	var action [4]uint64 // SIG_DFL
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
}

// register notes the host pid of a process.
func (m *Machine) register(p *Process, pid int) {
	p.pid.Store(int32(pid))
	m.mu.Lock()
	m.procs[pid] = p
	m.mu.Unlock()
}

// reap collects dead stubs, and whatever else is left to the init of a PID
// namespace. The zygote is always a child, so that the call never spins.
func (m *Machine) reap() {
	for {
		var ws unix.WaitStatus
		var usage unix.Rusage
		pid, err := unix.Wait4(-1, &ws, unix.WALL, &usage)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		m.mu.Lock()
		p := m.procs[pid]
		delete(m.procs, pid)
		m.mu.Unlock()
		if m.verifier != nil {
			m.verifier.buried(uint32(pid))
		}
		if p != nil {
			p.died(ws, usage)
		}
	}
}

// NewSpace gives a process of its own with one thread, which is Ready and has
// nothing mapped but the stub: one forked ahead, if there is one.
func (m *Machine) NewSpace() (*Thread, error) {
	select {
	case th := <-m.spare:
		go m.restock()
		if !th.proc.gone.Load() {
			return th, nil
		}
		th.drop()
	default:
	}
	return m.forkZygote()
}

// Restock forks a process ahead of need, in the background.
func (m *Machine) Restock() { go m.restock() }

func (m *Machine) restock() {
	th, err := m.forkZygote()
	if err != nil {
		return
	}
	select {
	case m.spare <- th:
	default:
		th.proc.Kill()
		th.drop()
	}
}

// forkZygote makes a clean process now.
func (m *Machine) forkZygote() (*Thread, error) {
	m.zygoteMu.Lock()
	defer m.zygoteMu.Unlock()
	z := m.zygote
	child, err := z.CloneProcess(Birth{Report: true})
	if err != nil {
		return nil, err
	}
	z.Resume()
	switch ev := z.Next(); {
	case ev.Kind == CallFailed:
		child.Abandon()
		z.Resume()
		z.Next()
		return nil, ev.Err
	case ev.Kind != Fault:
		child.Abandon()
		return nil, errDead
	}
	if err := child.WaitReady(); err != nil {
		child.Abandon()
		return nil, err
	}
	return child, nil
}
