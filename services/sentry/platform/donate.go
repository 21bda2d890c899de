package platform

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Descriptors reach a stub by seccomp user notification: an answer orders
// dup(token), the filter holds the stub there, and the sentry adds the files to
// its table before it lets it go on. Nothing else can take them, and the sentry
// needs no socket to each stub.
//
// A signal can take the stub out of its call before the sentry's answer is there: a
// kick, if the call was made on the fast lane, or the host's freezer. Then the answer
// is refused, the stub makes the call again, and shows the same token. Since Linux 5.19
// the host lets none do that once the sentry has read of the call (the zygote asks for
// it, init_amd64.h), but for a moment before 6.17. So a token is used up when
// its answer has been taken, and not before.

const (
	ioctlRecv  = 0xc0502100
	ioctlSend  = 0xc0182101
	ioctlAddFD = 0x40182103
	addFDSetFD = 1
	addFDSend  = 2
	// spinForToken is how long the orderer of a notification looks for it, and
	// sleepForToken how long it then sleeps for it.
	spinForToken  = 300 * time.Microsecond
	sleepForToken = 100 * time.Millisecond
)

// notification is struct seccomp_notif.
type notification struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	val   int64
	error int32
	flags uint32
}

// addFD is struct seccomp_notif_addfd.
type addFD struct {
	id         uint64
	flags      uint32
	srcFD      uint32
	newFD      uint32
	newFDFlags uint32
}

// donation is what a token is good for.
type donation struct {
	fds   []int // the sentry's descriptors
	at    []int // the numbers they get in the stub
	owned bool  // close fds afterwards

	// process is what the shower of the token becomes; nil for a process that
	// is known already, which must then be from.
	process *Process
	thread  *Thread // of process, its first
	from    *Process

	served atomic.Bool
}

// donor answers the notifications of all stubs.
type donor struct {
	raw uintptr // the listener

	recv    sync.Mutex   // one receiver at a time
	serving atomic.Int32 // how many answer one now

	mu      sync.Mutex
	pending map[token]*donation

	late chan struct{} // a donation was not served by who ordered it
}

// poll says whether there is a notification, and waits for one that long; a negative
// time is for ever.
func (d *donor) poll(patience time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(d.raw), Events: unix.POLLIN}}
	n, _ := unix.Poll(fds, int(patience/time.Millisecond))
	return n > 0 && fds[0].Revents&unix.POLLIN != 0
}

// offer makes a token for d.
func (m *Machine) offer(d *donation) token {
	t := m.newToken()
	m.donor.mu.Lock()
	m.donor.pending[t] = d
	m.donor.mu.Unlock()
	return t
}

// withdraw takes back an offer; false: somebody took it.
func (m *Machine) withdraw(t token) bool {
	m.donor.mu.Lock()
	d, untaken := m.donor.pending[t]
	delete(m.donor.pending, t)
	m.donor.mu.Unlock()
	d.close()
	return untaken
}

// withdrawFrom takes back what p was offered and will never take.
func (m *Machine) withdrawFrom(p *Process) {
	m.donor.mu.Lock()
	var left []*donation
	for t, d := range m.donor.pending {
		if d.from == p {
			delete(m.donor.pending, t)
			left = append(left, d)
		}
	}
	m.donor.mu.Unlock()
	for _, d := range left {
		d.close()
	}
}

func (m *Machine) anyPending() bool {
	m.donor.mu.Lock()
	defer m.donor.mu.Unlock()
	return len(m.donor.pending) > 0
}

// void says whether nobody is left to show the token.
func (d *donation) void() bool { return d.taker().gone.Load() }

// taker is the process that shows the token.
func (d *donation) taker() *Process {
	if d.process != nil {
		return d.process
	}
	return d.from
}

func (d *donation) close() {
	if d != nil && d.owned {
		for _, fd := range d.fds {
			unix.Close(fd)
		}
		d.owned = false
	}
}

// Donate orders that duplicates of fds appear in the stub as first, FirstDonatedFD
// or FirstPrivateFD, and the numbers after it, before the host calls that follow in
// the answer. With owned, the sentry's are closed afterwards. At most 8.
func (th *Thread) Donate(first int, fds []int, owned bool) bool {
	if len(fds) > maxDonated || th.nops >= maxOps {
		return false
	}
	d := &donation{fds: fds, owned: owned, from: th.proc}
	for i := range fds {
		d.at = append(d.at, first+i)
	}
	if first == FirstPrivateFD {
		th.proc.lent.Store(nil) // it takes that place
	}
	th.gift = d
	return th.HostCall(unix.SYS_DUP, uint64(th.space.m.offer(d)))
}

// expect serves notifications until d's has come. One that an awake stub shows takes
// a moment, for which a thread looks; a child is first to be made, and the host does
// that the faster the less its other cores do: for it the thread sleeps on the
// listener. One that takes long is left to the donor's goroutine: false.
func (m *Machine) expect(d *donation) bool {
	var y Yielder
	patience := time.Duration(0)
	if d.process == nil {
		patience = spinForToken
	}
	for began := time.Now(); ; {
		switch waited := time.Since(began); {
		case d.served.Load() || d.void():
			return true
		case m.serveOne(), m.donor.serving.Load() > 0:
			y.Yield()
		case waited < patience:
			y.Yield()
		case waited < sleepForToken:
			m.donor.poll(time.Millisecond)
		default:
			select {
			case m.donor.late <- struct{}{}:
			default:
			}
			return d.served.Load()
		}
	}
}

// expectNotification serves notifications for a moment: strict mode, where the
// donor's goroutine is woken by each of them as well.
func (m *Machine) expectNotification() {
	for range 40 {
		if m.serveOne() {
			return
		}
		runtime.Gosched()
	}
}

// serveNotifications is the donor's goroutine. It sleeps while those who order
// donations serve them, so that no notification wakes it for nothing. In strict
// mode it serves all that comes.
func (m *Machine) serveNotifications(late <-chan struct{}) {
	patience := time.Second
	if m.verifier != nil {
		patience = -time.Millisecond // for ever
	}
	for range late {
		for m.anyPending() || m.verifier != nil {
			m.donor.poll(patience)
			for m.serveOne() {
			}
		}
	}
}

// serveOne answers one notification, if there is one.
func (m *Machine) serveOne() bool {
	d := &m.donor
	d.recv.Lock()
	if !d.poll(0) {
		d.recv.Unlock()
		return false
	}
	d.serving.Add(1)
	defer d.serving.Add(-1)
	var n notification
	err := ioctl(d.raw, ioctlRecv, unsafe.Pointer(&n))
	d.recv.Unlock()
	if err == 0 {
		if n.nr == unix.SYS_DUP {
			m.answer(&n)
		} else {
			m.verify(&n)
		}
	}
	return true
}

// answer gives the shower of a token what it is good for.
func (m *Machine) answer(n *notification) {
	t := token(n.args[0])
	d := m.take(t, n.pid)
	if d == nil {
		m.respond(n, unix.EPERM)
		return
	}
	switch err := m.give(n, d); {
	case err == 0:
	case isGone(err):
		m.giveBack(t, d)
		return
	default:
		m.respond(n, err)
	}
	d.close()
	d.served.Store(true)
}

// give lets the call of n go on with d's descriptors in the stub. Each wakes the stub,
// which takes it; with the last one it goes on.
//
// No signal may interrupt that one: the host would then count the notification
// as answered without the descriptor having been taken.
func (m *Machine) give(n *notification, d *donation) unix.Errno {
	if len(d.fds) == 0 {
		return m.respond(n, 0)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, all := uint64(0), ^uint64(0)
	maskSignals(&all, &old)
	defer maskSignals(&old, nil)
	for i, fd := range d.fds {
		add := addFD{id: n.id, flags: addFDSetFD, srcFD: uint32(fd), newFD: uint32(d.at[i])}
		if i == len(d.fds)-1 {
			add.flags |= addFDSend
		}
		if err := ioctl(m.donor.raw, ioctlAddFD, unsafe.Pointer(&add)); err != 0 {
			return err
		}
	}
	return 0
}

// isGone says whether an answer was refused since the stub has left the call, before the
// answer came or while it did.
func isGone(err unix.Errno) bool { return err == unix.ENOENT || err == unix.ESRCH }

// giveBack makes the token good again: its shower left the call, and makes it again
// unless it has died.
func (m *Machine) giveBack(t token, d *donation) {
	m.donor.mu.Lock()
	defer m.donor.mu.Unlock()
	if d.void() { // withdrawFrom may have been here
		d.close()
		return
	}
	m.donor.pending[t] = d
}

// maskSignals sets this thread's signal mask and gives the old one.
func maskSignals(mask, old *uint64) {
	const setMask = 2
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(mask)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
}

// respond lets the call of a notification go on with 0 or an error.
func (m *Machine) respond(n *notification, err unix.Errno) unix.Errno {
	return m.send(&response{id: n.id, error: -int32(err)})
}

// send gives an answer to the host. A signal of the sentry's own can come before it.
func (m *Machine) send(r *response) unix.Errno {
	for {
		if err := ioctl(m.donor.raw, ioctlSend, unsafe.Pointer(r)); err != unix.EINTR {
			return err
		}
	}
}

// take gives what host thread tid may have for its token, which is nil for the
// wrong one. If that is to become a process, it has its pid from here on.
func (m *Machine) take(t token, tid uint32) *donation {
	m.donor.mu.Lock()
	defer m.donor.mu.Unlock()
	d := m.donor.pending[t]
	switch {
	case d == nil:
		return nil
	case d.process != nil && d.process.pid.Load() == int32(tid): // it shows the token again
	case d.process != nil:
		if !m.unknown(tid) {
			return nil
		}
		m.register(d.process, int(tid))
		d.thread.tid.Store(int32(tid))
		if m.verifier != nil && len(d.fds) > 0 {
			m.verifier.born(tid)
		}
	case d.from != nil && !m.owns(d.from, tid):
		return nil
	}
	delete(m.donor.pending, t)
	return d
}

// unknown says whether host thread tid is a process's only one, or its first, and
// that process has not been anybody's yet. A guest can read the token of a child
// out of its slot, and must not become its own child.
func (m *Machine) unknown(tid uint32) bool {
	m.mu.Lock()
	_, known := m.procs[int(tid)]
	m.mu.Unlock()
	return !known && unix.Tgkill(int(tid), int(tid), 0) == nil
}

// owns says whether host thread tid may belong to p. Only a thread group's
// leader can be told apart by its number; a token is secret in any case.
func (m *Machine) owns(p *Process, tid uint32) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	other, leader := m.procs[int(tid)]
	return !leader || other == p
}

func ioctl(fd uintptr, cmd uintptr, arg unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, cmd, uintptr(arg))
	return errno
}
