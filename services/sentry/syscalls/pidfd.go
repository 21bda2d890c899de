package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/procfs"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// pidfd is a process as a file: pidfd_open(2). It is readable once the process
// has ended.
type pidfd struct{ group *task.Group }

func (p *pidfd) Release() {}

// Process implements procfs.ProcessFile.
func (p *pidfd) Process() *task.Group { return p.group }

// Node implements vfs.Noder: two descriptors are of the same process if their files are.
func (p *pidfd) Node() vfs.Node { return pidNode{p} }

func (p *pidfd) Poll() wait.Events {
	if p.group.Zombie() {
		return wait.In
	}
	return 0
}

func (p *pidfd) Queue() *wait.Queue { return p.group.DeadQueue() }

func newPIDFD(t *task.Task, g *task.Group, nonblock bool) (linux.FD, error) {
	flags := linux.O_RDWR
	if nonblock {
		flags |= linux.O_NONBLOCK
	}
	return t.Install(vfs.NewAnonFile(&pidfd{g}, "anon_inode:[pidfd]", flags), 0, true)
}

// pidfdOfProcess makes a descriptor of the process with a number: ESRCH.
func pidfdOfProcess(t *task.Task, pid int32) (linux.FD, error) {
	g := t.Kernel().Group(pid)
	if g == nil {
		return -1, linux.ESRCH
	}
	return newPIDFD(t, g, false)
}

// peerPIDFD is SO_PEERPIDFD of unix(7): ENODATA for who has no peer.
func peerPIDFD(t *task.Task, s socket.Socket) ([]byte, error) {
	b, err := s.SockOpt(t, linux.SOL_SOCKET, linux.SO_PEERCRED, linux.SizeofUcred)
	if err != nil || len(b) != linux.SizeofUcred || linux.ReadUcred(b).PID == 0 {
		return nil, linux.ENODATA
	}
	fd, err := pidfdOfProcess(t, linux.ReadUcred(b).PID)
	return binary.LittleEndian.AppendUint32(nil, uint32(fd)), err
}

func installPIDFD(t *task.Task) func(*task.Group) (linux.FD, error) {
	return func(g *task.Group) (linux.FD, error) { return newPIDFD(t, g, false) }
}

// Numbers that stand for a descriptor of the caller, where a pidfd is taken: pidfd_open(2).
const (
	pidfdSelfThread = -10000
	pidfdSelf       = -10001
)

// orSelf has the caller's numbers stand for its process, for the calls that take them.
func orSelf(t *task.Task, fd linux.FD, find func(*task.Task, linux.FD) (*task.Group, error)) (*task.Group, error) {
	if fd == pidfdSelf || fd == pidfdSelfThread {
		return t.Group(), nil
	}
	return find(t, fd)
}

// pidfdGroup gives the process that fd stands for; EBADF.
func pidfdGroup(t *task.Task, fd linux.FD) (*task.Group, error) {
	g, _, err := pidfdOf(t, fd)
	return g, err
}

// pidfdOf also says whether fd is PIDFD_NONBLOCK.
func pidfdOf(t *task.Task, fd linux.FD) (g *task.Group, nonblock bool, err error) {
	f, err := t.File(fd)
	if err != nil {
		return nil, false, err
	}
	defer f.DecRef(t)
	p, ok := f.Impl().(*pidfd)
	if !ok {
		return nil, false, linux.EBADF
	}
	return p.group, f.Flags()&linux.O_NONBLOCK != 0, nil
}

func pidfd_open(t *task.Task, pid int32, flags linux.OpenFlags) (uint64, error) {
	if flags&^linux.O_NONBLOCK != 0 || pid <= 0 {
		return 0, linux.EINVAL
	}
	g := t.NamedGroup(pid)
	if g == nil {
		if t.Named(pid) != nil {
			return 0, linux.EINVAL
		}
		return 0, linux.ESRCH
	}
	fd, err := newPIDFD(t, g, flags&linux.O_NONBLOCK != 0)
	return uint64(fd), err
}

// signalledGroup is pidfdGroup, for the one call that takes a descriptor of a
// directory /proc/PID too: pidfd_send_signal(2).
func signalledGroup(t *task.Task, fd linux.FD) (*task.Group, error) {
	g, err := pidfdGroup(t, fd)
	if err == nil {
		return g, nil
	}
	f, ferr := t.File(fd)
	if ferr != nil {
		return nil, err
	}
	defer f.DecRef(t)
	if g = procfs.GroupOf(f.Path().Node()); g == nil {
		return nil, err
	}
	return g, nil
}

// Whom pidfd_send_signal signals: the one thread, the process, or the process group
// that the process leads.
const (
	pidfdSignalThread = 1 << iota
	pidfdSignalGroup
	pidfdSignalProcessGroup
)

// pidfd_send_signal is kill(2) of the process that fd stands for:
// pidfd_send_signal(2).
func pidfd_send_signal(t *task.Task, fd linux.FD, sig linux.Signal, info mm.Addr, flags uint32) (uint64, error) {
	if flags&^(pidfdSignalThread|pidfdSignalGroup|pidfdSignalProcessGroup) != 0 || flags&(flags-1) != 0 {
		return 0, linux.EINVAL
	}
	g, err := orSelf(t, fd, signalledGroup)
	if err != nil {
		return 0, err
	}
	thread := g.PID()
	if fd == pidfdSelfThread {
		if thread = t.TID(); flags == 0 {
			flags = pidfdSignalThread
		}
	}
	if !t.Sees(g) {
		return 0, linux.EINVAL
	}
	si := t.UserSignal(sig, linux.SI_USER)
	if info != 0 {
		if si, err = copyInSigInfo(t, info, sig); err != nil {
			return 0, err
		}
		if !mayPose(t, t.ShowPID(g.PID()), si) {
			return 0, linux.EPERM
		}
	}
	if t.Kernel().Group(g.PID()) != g {
		return 0, linux.ESRCH // waited for already
	}
	switch flags {
	case pidfdSignalThread:
		return tgkill(t, t.ShowPID(g.PID()), t.ShowPID(thread), sig)
	case pidfdSignalProcessGroup:
		return kill(t, -t.ShowPID(g.PID()), sig)
	}
	return 0, sendTo(t, g, si)
}

// pidfd_getfd gives a descriptor of what another process has open: pidfd_getfd(2).
func pidfd_getfd(t *task.Task, fd, target linux.FD, flags uint32) (uint64, error) {
	if flags != 0 {
		return 0, linux.EINVAL
	}
	o, err := pidfdTask(t, fd)
	if err != nil {
		return 0, err
	}
	if err := t.MayInspect(o); err != nil {
		return 0, err
	}
	table := o.FDs()
	if table == nil {
		return 0, linux.ESRCH
	}
	f, err := table.Get(target)
	if err != nil {
		return 0, err
	}
	o.FDs() // once more: it may be answered ahead of a file that it has opened since
	// Once more: a program with more power, which has that before it opens anything, may
	// have opened this since.
	if err := t.MayInspect(o); err != nil {
		f.DecRef(t)
		return 0, err
	}
	got, err := t.Install(f, 0, true)
	return uint64(got), err
}

// pidfdTask gives a thread of the process that fd stands for: EBADF, ESRCH.
func pidfdTask(t *task.Task, fd linux.FD) (*task.Task, error) {
	g, err := pidfdGroup(t, fd)
	if err != nil {
		return nil, err
	}
	return runningTask(g)
}

func runningTask(g *task.Group) (*task.Task, error) {
	for _, o := range g.Tasks() {
		if o.MM() != nil {
			return o, nil
		}
	}
	return nil, linux.ESRCH
}

// process_madvise is madvise for several ranges, perhaps of another process, whose
// pages the host looks after without advice: process_madvise(2).
func process_madvise(t *task.Task, fd linux.FD, iov mm.Addr, count uint64, advice uint32, flags uint32) (uint64, error) {
	if flags != 0 {
		return 0, linux.EINVAL
	}
	v, err := copyInVector(t, iov, count)
	if err != nil {
		return 0, err
	}
	g, err := orSelf(t, fd, pidfdGroup)
	if err != nil {
		return 0, err
	}
	o, err := runningTask(g)
	if err != nil {
		return 0, err
	}
	if o.MM() == t.MM() {
		return madviseEach(t, &v, advice)
	}
	switch advice {
	case unix.MADV_COLD, unix.MADV_PAGEOUT, unix.MADV_WILLNEED, unix.MADV_COLLAPSE:
	default:
		return 0, linux.EINVAL
	}
	if err := t.MayInspect(o); err != nil {
		return 0, err
	}
	done := uint64(0)
	for v.piece() > 0 {
		addr, n := v.next(int(v.piece()))
		if addr%mm.PageSize != 0 {
			return partial(done, linux.EINVAL)
		}
		if !o.MM().Covered(addr, uint64(n)) {
			return partial(done, linux.ENOMEM)
		}
		done += uint64(n)
	}
	return done, nil
}

// madviseEach is madvise of each of v's ranges of the caller's own, as many as one answer
// has room for; it gives how many bytes that was.
func madviseEach(t *task.Task, v *vector, advice uint32) (uint64, error) {
	done := uint64(0)
	for v.piece() > 0 && t.Thread().OrdersLeft() > madviseOrders {
		addr, n := v.next(int(v.piece()))
		if _, err := madvise(t, addr, uint64(n), advice); err != nil {
			return partial(done, err)
		}
		done += uint64(n)
	}
	return done, nil
}

// madviseOrders is how many host calls are left for what else an answer may hold.
const madviseOrders = 4

// process_mrelease gives back the memory of a process that is being killed, which
// the host does: process_mrelease(2). EINVAL if it is not.
func process_mrelease(t *task.Task, fd linux.FD, flags uint32) (uint64, error) {
	if flags != 0 {
		return 0, linux.EINVAL
	}
	o, err := pidfdTask(t, fd)
	if err != nil {
		return 0, err
	}
	if !o.Group().Exiting() {
		return 0, linux.EINVAL
	}
	return 0, nil
}
