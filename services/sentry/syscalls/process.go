package syscalls

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/cgroupfs"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

func getpid(t *task.Task) (uint64, error)  { return uint64(t.ShowPID(t.TGID())), nil }
func gettid(t *task.Task) (uint64, error)  { return uint64(t.Number()), nil }
func getppid(t *task.Task) (uint64, error) { return uint64(t.ShowPID(t.Group().PPID())), nil }

// fork, vfork and clone make a process or a thread: clone(2).
func fork(t *task.Task) (uint64, error) {
	return t.Clone(&task.CloneArgs{ExitSignal: linux.SIGCHLD})
}

func vfork(t *task.Task) (uint64, error) {
	return t.Clone(&task.CloneArgs{Flags: unix.CLONE_VM | unix.CLONE_VFORK, ExitSignal: linux.SIGCHLD})
}

const cloneSignalMask = 0xff

func clone(t *task.Task, flags uint64, stack, parentTID, childTID mm.Addr, tls uint64) (uint64, error) {
	sig := linux.Signal(flags & cloneSignalMask)
	if !sig.Valid() {
		sig = 0 // no signal, and only __WCLONE or __WALL waits for it
	}
	return t.Clone(&task.CloneArgs{
		Flags: uint64(uint32(flags)) &^ cloneSignalMask, ExitSignal: sig, Stack: stack, TLS: tls,
		ParentTID: parentTID, ChildTID: childTID, PIDFD: parentTID, InstallPIDFD: installPIDFD(t),
	})
}

// clone3 takes its arguments as a struct clone_args: clone3(2).
func clone3(t *task.Task, addr mm.Addr, size uint64) (uint64, error) {
	const first, known = 64, 88
	if size > mm.PageSize {
		return 0, linux.E2BIG
	}
	if size < first {
		return 0, linux.EINVAL
	}
	buf := make([]byte, max(size, known))
	if err := t.CopyIn(addr, buf[:size]); err != nil {
		return 0, err
	}
	for _, b := range buf[known:] {
		if b != 0 {
			return 0, linux.E2BIG
		}
	}
	field := func(i int) uint64 { return binary.LittleEndian.Uint64(buf[8*i:]) }
	flags, sig := field(0), linux.Signal(field(4))
	stack, stackSize := field(5), field(6)
	if field(4) > linux.NSIG || flags&(cloneSignalMask&^unix.CLONE_NEWTIME|unix.CLONE_DETACHED) != 0 ||
		(stack == 0) != (stackSize == 0) || flags&(unix.CLONE_THREAD|unix.CLONE_PARENT) != 0 && sig != 0 {
		return 0, linux.EINVAL
	}
	if stack != 0 {
		stack += stackSize
	}
	wanted, err := copyInWanted(t, mm.Addr(field(8)), field(9))
	if err != nil {
		return 0, err
	}
	args := &task.CloneArgs{
		Flags: flags, ExitSignal: sig, Stack: stack, TLS: field(7), PIDFD: field(1), ChildTID: field(2),
		ParentTID: field(3), InstallPIDFD: installPIDFD(t), Wanted: wanted,
	}
	if flags&unix.CLONE_INTO_CGROUP != 0 {
		if size < known || field(10) > math.MaxInt32 {
			return 0, linux.EINVAL
		}
		if args.Cgroup, err = cgroupOf(t, linux.FD(field(10))); err != nil {
			return 0, err
		}
	}
	return t.Clone(args)
}

// cgroupOf is the control group whose directory fd is: EBADF, ENOENT if it was removed.
func cgroupOf(t *task.Task, fd linux.FD) (*cgroupfs.Cgroup, error) {
	f, err := t.AnyFile(fd)
	if err != nil {
		return nil, err
	}
	defer f.DecRef(t)
	c := cgroupfs.Of(f.Path().Node())
	switch {
	case c == nil:
		return nil, linux.EBADF
	case c.Dead():
		return nil, linux.ENOENT
	}
	return c, nil
}

// copyInWanted reads the numbers that clone3's child is to have: EINVAL.
func copyInWanted(t *task.Task, addr mm.Addr, n uint64) ([]int32, error) {
	const most = 32 // MAX_PID_NS_LEVEL
	if n > most || (n == 0) != (addr == 0) {
		return nil, linux.EINVAL
	}
	b := make([]byte, 4*n)
	if n == 0 {
		return nil, nil
	}
	if err := t.CopyIn(addr, b); err != nil {
		return nil, err
	}
	wanted := make([]int32, n)
	for i := range wanted {
		wanted[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return wanted, nil
}

// execve replaces the program: execve(2).
func execve(t *task.Task, path, argv, envp mm.Addr) (uint64, error) {
	return execveat(t, linux.AtFDCWD, path, argv, envp, 0)
}

func execveat(t *task.Task, dirfd linux.FD, path, argv, envp mm.Addr, flags atFlags) (uint64, error) {
	if flags&^(linux.AT_EMPTY_PATH|linux.AT_SYMLINK_NOFOLLOW) != 0 {
		return 0, linux.EINVAL
	}
	name, err := copyInPath(t, path)
	if err != nil {
		return 0, err
	}
	p, err := walk(t, dirfd, name, flags.walkFlags())
	if err != nil {
		return 0, err
	}
	if a, err := vfs.Stat(t, p); err == nil && a.Mode&linux.S_IFMT == linux.S_IFLNK {
		return 0, linux.ELOOP
	}
	f, err := t.OpenExecutablePath(p)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	args := task.ExecArgs{File: f, Path: name}
	if dirfd != linux.AtFDCWD && (name == "" || name[0] != '/') {
		args.Path = "/dev/fd/" + itoa(uint64(dirfd))
		args.OutOfReach, _ = t.FDs().CloseOnExec(dirfd)
		if name != "" {
			args.Path += "/" + name
		}
	}
	budget, texts := maxStrings, &task.StringReader{T: t}
	if args.Argv, err = copyInStrings(texts, argv, &budget); err != nil {
		return 0, err
	}
	if args.Envv, err = copyInStrings(texts, envp, &budget); err != nil {
		return 0, err
	}
	if len(args.Argv) == 0 {
		args.Argv = []string{""}
	}
	return 0, t.Exec(args)
}

const (
	maxStrings   = 6 << 20
	maxArgLength = 128 << 10
)

// copyInStrings reads a NULL-terminated list of strings; budget is what they may
// take, in bytes: E2BIG.
func copyInStrings(texts *task.StringReader, list mm.Addr, budget *int) ([]string, error) {
	if list == 0 {
		return nil, nil
	}
	var out []string
	var chunk [64 * 8]byte
	for at := list; ; {
		// Up to the page's end at a time: the list may end at the last word of a
		// mapping.
		n := min(len(chunk), int(mm.PageSize-at%mm.PageSize)&^7)
		if n == 0 {
			n = 8
		}
		if err := texts.T.CopyIn(at, chunk[:n]); err != nil {
			return nil, err
		}
		for w := chunk[:n]; len(w) > 0; w = w[8:] {
			p := binary.LittleEndian.Uint64(w)
			if p == 0 {
				return out, nil
			}
			s, err := texts.CopyIn(p, maxArgLength)
			if err == linux.ENAMETOOLONG {
				err = linux.E2BIG
			}
			if err != nil {
				return nil, err
			}
			if *budget -= len(s) + 9; *budget < 0 {
				return nil, linux.E2BIG
			}
			out = append(out, s)
		}
		at += uint64(n)
	}
}

func itoa(n uint64) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}

func exit(t *task.Task, code int32) (uint64, error)       { return 0, t.ExitThread(code) }
func exit_group(t *task.Task, code int32) (uint64, error) { return 0, t.ExitGroup(code) }

// wait4 waits for a child: wait4(2).
func wait4(t *task.Task, pid int32, status mm.Addr, options int32, usage mm.Addr) (uint64, error) {
	if uint32(options)&^(unix.WNOHANG|unix.WUNTRACED|unix.WCONTINUED|unix.WALL|unix.WCLONE|unix.WNOTHREAD) != 0 {
		return 0, linux.EINVAL
	}
	o := task.WaitOptions{Options: int(uint32(options)) | unix.WEXITED}
	switch {
	case pid == -1<<31:
		return 0, linux.ESRCH
	case pid < -1:
		o.PGID = t.PIDOf(-pid)
	case pid == 0:
		o.PGID = t.Group().PGID()
	case pid > 0:
		o.PID = t.PIDOf(pid)
	}
	w, err := t.Wait(o)
	if err != nil || w.PID == 0 {
		return 0, err
	}
	if status != 0 {
		if err := t.CopyOutLater(status, le32(w.Status)); err != nil {
			return 0, err
		}
	}
	if usage != 0 {
		if err := t.CopyOutLater(usage, rusageOf(w)); err != nil {
			return 0, err
		}
	}
	return uint64(w.PID), nil
}

func le32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

// waitid is wait4 with a siginfo: waitid(2).
func waitid(t *task.Task, which, id int32, info mm.Addr, options int32, usage mm.Addr) (uint64, error) {
	const known = unix.WNOHANG | unix.WEXITED | unix.WSTOPPED | unix.WCONTINUED | unix.WNOWAIT | unix.WALL | unix.WCLONE | unix.WNOTHREAD
	if uint32(options)&^known != 0 || options&(unix.WEXITED|unix.WSTOPPED|unix.WCONTINUED) == 0 {
		return 0, linux.EINVAL
	}
	o := task.WaitOptions{Options: int(uint32(options))}
	impatient := false // a pidfd with O_NONBLOCK: WNOHANG, but EAGAIN
	switch which {
	case unix.P_ALL:
	case unix.P_PID:
		if id <= 0 {
			return 0, linux.EINVAL
		}
		o.PID = t.PIDOf(id)
	case unix.P_PGID:
		if id < 0 {
			return 0, linux.EINVAL
		}
		if o.PGID = t.PIDOf(id); id == 0 {
			o.PGID = t.Group().PGID()
		}
	case unix.P_PIDFD:
		if id < 0 {
			return 0, linux.EINVAL
		}
		g, nonblock, err := pidfdOf(t, linux.FD(id))
		if err != nil {
			return 0, err
		}
		o.PID, impatient = g.PID(), nonblock && options&unix.WNOHANG == 0
	default:
		return 0, linux.EINVAL
	}
	if impatient {
		o.Options |= unix.WNOHANG
	}
	w, err := t.Wait(o)
	if err == nil && impatient && w.PID == 0 {
		err = linux.EAGAIN
	}
	if err != nil {
		return 0, err
	}
	if info != 0 {
		var si linux.SigInfo
		if w.PID != 0 {
			si = linux.SigInfo{Signo: int32(linux.SIGCHLD), Code: w.Code}
			si.SetPID(w.PID)
			si.SetUID(w.UID)
			si.SetStatus(childStatus(w))
		}
		buf := make([]byte, linux.SizeOfSigInfo)
		si.Put(buf)
		if err := t.CopyOutLater(info, buf); err != nil {
			return 0, err
		}
	}
	if usage != 0 && w.PID != 0 {
		if err := t.CopyOutLater(usage, rusageOf(w)); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// childStatus is si_status: the exit code or the signal.
func childStatus(w task.Waited) int32 {
	switch {
	case w.Code == linux.CLD_EXITED, w.Code == linux.CLD_STOPPED:
		return int32(w.Status>>8) & 0xff
	case w.Code == linux.CLD_CONTINUED:
		return int32(linux.SIGCONT)
	}
	return int32(w.Status & 0x7f)
}

func set_tid_address(t *task.Task, addr mm.Addr) (uint64, error) {
	if addr < mm.GuestTop {
		t.Thread().TryHostCall(unix.SYS_SET_TID_ADDRESS, addr)
	}
	return uint64(t.Number()), nil
}

func set_robust_list(t *task.Task, head mm.Addr, size uint64) (uint64, error) {
	if size != 24 {
		return 0, linux.EINVAL
	}
	t.SetRobustList(head)
	return 0, nil
}

func get_robust_list(t *task.Task, tid int32, head, size mm.Addr) (uint64, error) {
	other := t
	if tid != 0 {
		if other = t.Named(tid); other == nil {
			return 0, linux.ESRCH
		}
		if err := t.MayInspect(other); err != nil {
			return 0, err
		}
	}
	if err := t.CopyOut(size, binary.LittleEndian.AppendUint64(nil, 24)); err != nil {
		return 0, err
	}
	return 0, t.CopyOut(head, binary.LittleEndian.AppendUint64(nil, other.RobustList()))
}

// arch_prctl sets the base of FS or GS, which is the host thread's:
// arch_prctl(2). A thread that has set no base of GS has the stub's there, which
// reads as 0, and to set 0 gives it that again.
func arch_prctl(t *task.Task, code uint64, addr mm.Addr) (uint64, error) {
	const setGS, setFS, getFS, getGS = 0x1001, 0x1002, 0x1003, 0x1004
	switch code {
	case setGS, setFS:
		if addr >= mm.GuestTop {
			return 0, linux.EPERM
		}
	case getFS, getGS:
		if addr >= mm.GuestTop {
			return 0, linux.EFAULT
		}
	default:
		return 0, linux.EINVAL
	}
	switch {
	case code == setGS:
		t.Thread().SetGS(uint64(addr))
		return 0, nil
	case code == getGS:
		base, err := t.GSBase()
		if err != nil {
			return 0, err
		}
		return 0, t.CopyOut(addr, binary.LittleEndian.AppendUint64(nil, base))
	}
	t.Thread().HostCall(unix.SYS_ARCH_PRCTL, code, addr)
	return 0, nil
}

func setpgid(t *task.Task, pid, pgid int32) (uint64, error) {
	return 0, t.SetPGID(t.PIDOf(pid), t.PIDOf(pgid))
}

func setsid(t *task.Task) (uint64, error) {
	id, err := t.SetSID()
	return uint64(t.ShowPID(id)), err
}

func getpgrp(t *task.Task) (uint64, error) { return uint64(t.ShowPID(t.Group().PGID())), nil }

func getpgid(t *task.Task, pid int32) (uint64, error) {
	g, err := groupOf(t, pid)
	if err != nil {
		return 0, err
	}
	return uint64(t.ShowPID(g.PGID())), nil
}

func getsid(t *task.Task, pid int32) (uint64, error) {
	g, err := groupOf(t, pid)
	if err != nil {
		return 0, err
	}
	return uint64(t.ShowPID(g.SID())), nil
}

// groupOf gives the process of a thread id, 0 being the caller's; ESRCH.
func groupOf(t *task.Task, pid int32) (*task.Group, error) {
	if pid == 0 {
		return t.Group(), nil
	}
	if o := t.Named(pid); o != nil {
		return o.Group(), nil
	}
	return nil, linux.ESRCH
}

// personality says how the programs to come are to run, and gives what was set before:
// personality(2).
func personality(t *task.Task, persona uint32) (uint64, error) {
	was := t.Personality()
	if persona != 0xffffffff { // which only asks
		t.SetPersonality(persona)
	}
	return uint64(was), nil
}

// unshare separates what threads share, and gives the caller namespaces of its own:
// unshare(2).
func unshare(t *task.Task, flags uint64) (uint64, error) { return 0, t.Unshare(flags) }
