package platform

import (
	"os"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Descriptors reach a stub by seccomp user notification: an answer orders
// dup(token), the filter holds the stub there, and the sentry adds the files to
// its table before it lets it go on. Nothing else can take them, and the sentry
// needs no socket to each stub.

const (
	ioctlRecv    = 0xc0502100
	ioctlSend    = 0xc0182101
	ioctlAddFD   = 0x40182103
	addFDSetFD   = 1
	spinForRings = 40
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
	from    *Process
}

// donor answers the notifications of all stubs.
type donor struct {
	listener *os.File
	raw      uintptr

	recv sync.Mutex // one receiver at a time

	mu      sync.Mutex
	pending map[token]*donation
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

func (d *donation) close() {
	if d != nil && d.owned {
		for _, fd := range d.fds {
			unix.Close(fd)
		}
		d.owned = false
	}
}

// Donate orders that duplicates of fds appear in the stub as FirstDonatedFD and
// the numbers after it, before the host calls that follow in the answer. With
// owned, the sentry's are closed afterwards. At most 8.
func (th *Thread) Donate(fds []int, owned bool) bool {
	if len(fds) > maxDonated || th.nops >= maxOps {
		return false
	}
	d := &donation{fds: fds, owned: owned, from: th.proc}
	for i := range fds {
		d.at = append(d.at, FirstDonatedFD+i)
	}
	th.gift = d
	return th.HostCall(unix.SYS_DUP, uint64(th.space.m.offer(d)))
}

// expectNotification serves notifications for a moment, since one has just been
// ordered: this thread is awake, and the donor's goroutine is not.
func (m *Machine) expectNotification() {
	for range spinForRings {
		if m.serveOne() {
			return
		}
		runtime.Gosched()
	}
}

// serveNotifications is the donor's goroutine.
func (m *Machine) serveNotifications() {
	conn, err := m.donor.listener.SyscallConn()
	if err != nil {
		return
	}
	conn.Read(func(uintptr) bool {
		for m.serveOne() {
		}
		return false // wait for the next; ends when the listener is closed
	})
}

// serveOne answers one notification, if there is one.
func (m *Machine) serveOne() bool {
	d := &m.donor
	d.recv.Lock()
	fds := []unix.PollFd{{Fd: int32(d.raw), Events: unix.POLLIN}}
	if n, _ := unix.Poll(fds, 0); n < 1 || fds[0].Revents&unix.POLLIN == 0 {
		d.recv.Unlock()
		return false
	}
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
	resp := response{id: n.id}
	t := token(n.args[0])
	d := m.take(t, n.pid)
	if d == nil {
		resp.error = -int32(unix.EPERM)
	} else {
		for i, fd := range d.fds {
			add := addFD{id: n.id, flags: addFDSetFD, srcFD: uint32(fd), newFD: uint32(d.at[i])}
			if err := ioctl(m.donor.raw, ioctlAddFD, unsafe.Pointer(&add)); err != 0 {
				resp.error = -int32(err)
				break
			}
		}
		d.close()
	}
	ioctl(m.donor.raw, ioctlSend, unsafe.Pointer(&resp))
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
	case d.process != nil:
		if !m.unknown(tid) {
			return nil
		}
		m.register(d.process, int(tid))
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
