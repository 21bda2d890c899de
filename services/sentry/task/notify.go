package task

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/seccomp"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Listener is who is asked about calls that a filter has a say in:
// seccomp_unotify(2). It implements vfs.Impl.
type Listener struct {
	k        *Kernel
	killable bool // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	queue    wait.Queue

	mu       sync.Mutex
	calls    []*asked // oldest first
	last     uint64
	deserted bool // no thread has the filter any more
	closed   bool
}

// asked is a call that waits for its listener.
type asked struct {
	id    uint64
	t     *Task
	data  seccomp.Data
	told  bool // the listener knows of it
	done  chan struct{}
	reply answered // once done is closed
}

// answered is what the listener says: a result, an error, or that the call goes on.
type answered struct {
	result uint64
	err    linux.Errno
	goesOn bool
}

// find gives a call that the listener was told of: ENOENT, EINPROGRESS for one that
// it was not.
func (l *Listener) findLocked(id uint64) (*asked, error) {
	for _, a := range l.calls {
		if a.id != id {
			continue
		}
		if !a.told {
			return nil, linux.EINPROGRESS
		}
		return a, nil
	}
	return nil, linux.ENOENT
}

func (l *Listener) settleLocked(a *asked, r answered) {
	a.reply = r
	l.calls = without(l.calls, a)
	close(a.done)
}

// listened says whether somebody still listens to one of the filters.
func listened(f *seccomp.Filter) bool {
	for ; f != nil; f = f.Before() {
		if l, _ := f.Listener.(*Listener); l != nil {
			l.mu.Lock()
			closed := l.closed
			l.mu.Unlock()
			if !closed {
				return true
			}
		}
	}
	return false
}

// askListener has the listener of a filter decide a call: true if it goes on. The
// reply is there otherwise: ENOSYS without a listener.
func (t *Task) askListener(f *seccomp.Filter, d *seccomp.Data) bool {
	l, _ := f.Listener.(*Listener)
	if l == nil {
		t.reply.err = linux.ENOSYS
		return false
	}
	a := &asked{t: t, data: *d, done: make(chan struct{})}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		t.reply.err = linux.ENOSYS
		return false
	}
	l.last++
	a.id = l.last
	l.calls = append(l.calls, a)
	l.mu.Unlock()
	l.queue.Notify(wait.In)
	for t.Sleep(a.done, time.Time{}) != nil {
		doomed := t.doomed()
		l.mu.Lock()
		if slices.Contains(l.calls, a) && (!l.killable || !a.told || doomed) {
			l.calls = without(l.calls, a)
			l.mu.Unlock()
			t.reply.err = linux.ERESTARTSYS
			return false
		}
		l.mu.Unlock()
		if !t.sleepKillable(a.done) {
			continue // it ends
		}
		break
	}
	t.reply.result, t.reply.err = a.reply.result, a.reply.err
	return a.reply.goesOn
}

// sleepKillable sleeps until done, or the thread is to end, which is false.
func (t *Task) sleepKillable(done <-chan struct{}) bool {
	t.shed()
	t.th.Patience()
	t.state.Store(killable)
	defer t.state.Store(inKernel)
	if t.attention.Load() && t.doomed() {
		return false
	}
	for {
		select {
		case <-done:
			return true
		case <-t.interrupt:
			t.attention.Store(true)
			if t.doomed() {
				return false
			}
		}
	}
}

// desert looks, at a thread's end, whether its filters' listeners have nobody left.
func (t *Task) desert() {
	s := t.seccomp.Load()
	if s == nil {
		return
	}
	for f := s.Filter; f != nil; f = f.Before() {
		l, _ := f.Listener.(*Listener)
		if l == nil || t.k.anyFiltered(f, t) {
			continue
		}
		l.mu.Lock()
		l.deserted = true
		l.mu.Unlock()
		l.queue.Notify(wait.Hup)
	}
}

// anyFiltered says whether a thread other than one that ends has a filter.
func (k *Kernel) anyFiltered(f *seccomp.Filter, except *Task) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, o := range k.tasks {
		if s := o.seccomp.Load(); o != except && o.mm.Load() != nil && s != nil && s.Filter.Descends(f) {
			return true
		}
	}
	return false
}

// Poll says In with a call to be told of, Out with one to be answered, and Hup once no
// thread has the filter.
func (l *Listener) Poll() (ev wait.Events) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.calls {
		if a.told {
			ev |= wait.Out
		} else {
			ev |= wait.In
		}
	}
	if l.deserted {
		ev |= wait.Hup
	}
	return ev
}

// Queue implements vfs.Poller.
func (l *Listener) Queue() *wait.Queue { return &l.queue }

// Release answers all calls with ENOSYS: nobody listens any more.
func (l *Listener) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, a := range slices.Clone(l.calls) {
		l.settleLocked(a, answered{err: linux.ENOSYS})
	}
}

// The requests of a listener: linux/seccomp.h.
const (
	notifRecv     = 0xc0502100
	notifSend     = 0xc0182101
	notifValid    = 0x40082102
	notifValidOld = 0x80082102 // as it was called first
	notifAddFD    = 0x2103     // without the direction and the size, which may grow
	notifSetFlags = 0x40082104

	sizeMask = 0x3fff << 16 // where the number of a request says how long its argument is

	notifGoOn = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE

	addFDSet  = 1 // SECCOMP_ADDFD_FLAG_SETFD
	addFDSend = 2 // SECCOMP_ADDFD_FLAG_SEND
)

// Sizes in bytes: SECCOMP_GET_NOTIF_SIZES.
const (
	SizeofNotif         = 80
	SizeofNotifResponse = 24
	SizeofNotifData     = 64
)

// Ioctl implements vfs.Ioctler.
func (l *Listener) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	t, ok := ctx.(*Task)
	if !ok {
		return 0, linux.EINVAL
	}
	if cmd&^(3<<30|sizeMask) == notifAddFD {
		return l.addFD(t, arg, cmd&sizeMask>>16)
	}
	switch cmd {
	case notifRecv:
		return 0, l.receive(t, arg)
	case notifSend:
		return 0, l.send(t, arg)
	case notifValid, notifValidOld:
		var b [8]byte
		if err := t.CopyIn(arg, b[:]); err != nil {
			return 0, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, err := l.findLocked(binary.LittleEndian.Uint64(b[:])); err != nil {
			return 0, linux.ENOENT
		}
		return 0, nil
	case notifSetFlags:
		if arg > 1 { // how the two wake each other, which is as it is here
			return 0, linux.EINVAL
		}
		return 0, nil
	}
	return 0, linux.EINVAL
}

// receive waits for a call and tells of it: EINVAL, EFAULT, ENOENT once nobody can ask.
func (l *Listener) receive(t *Task, addr uint64) error {
	var b [SizeofNotif]byte
	if err := t.CopyIn(addr, b[:]); err != nil {
		return err
	}
	if b != ([SizeofNotif]byte{}) {
		return linux.EINVAL
	}
	var a *asked
	err := wait.Until(t, &l.queue, wait.In|wait.Hup, time.Time{}, func() (bool, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, c := range l.calls {
			if !c.told {
				a, c.told = c, true
				return true, nil
			}
		}
		if l.deserted {
			return true, linux.ENOENT
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	le.PutUint64(b[:], a.id)
	le.PutUint32(b[8:], uint32(t.ShowPID(a.t.tid)))
	a.data.Put(b[16:])
	if err := t.CopyOut(addr, b[:]); err != nil {
		l.mu.Lock()
		a.told = false
		l.mu.Unlock()
		l.queue.Notify(wait.In)
		return err
	}
	l.queue.Notify(wait.Out)
	return nil
}

// send answers a call: EINVAL, ENOENT, EINPROGRESS.
func (l *Listener) send(t *Task, addr uint64) error {
	var b [SizeofNotifResponse]byte
	if err := t.CopyIn(addr, b[:]); err != nil {
		return err
	}
	le := binary.LittleEndian
	id, val, code, flags := le.Uint64(b[:]), le.Uint64(b[8:]), int32(le.Uint32(b[16:])), le.Uint32(b[20:])
	if flags&^notifGoOn != 0 || flags != 0 && (val != 0 || code != 0) {
		return linux.EINVAL
	}
	r := answered{goesOn: flags != 0, result: val}
	if code != 0 {
		// As the kernel has it, the error is what the call gives.
		r.result = uint64(int64(code))
		if code < 0 && code >= -4095 {
			r.result, r.err = chosen(linux.Errno(-code))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a, err := l.findLocked(id)
	if err != nil {
		return err
	}
	l.settleLocked(a, r)
	return nil
}

// addFD gives the thread whose call it is a descriptor of the listener's, and with
// addFDSend that for an answer: EINVAL, E2BIG, EBADF, ENOENT, EINPROGRESS, EMFILE.
func (l *Listener) addFD(t *Task, addr uint64, size uint32) (uint64, error) {
	const known = 24
	if size < known || size >= linux.PageSize {
		return 0, linux.EINVAL
	}
	b := make([]byte, size)
	if err := t.CopyIn(addr, b); err != nil {
		return 0, err
	}
	if slices.ContainsFunc(b[known:], func(c byte) bool { return c != 0 }) {
		return 0, linux.E2BIG
	}
	le := binary.LittleEndian
	id, flags, from, to, fdFlags := le.Uint64(b[:]), le.Uint32(b[8:]), linux.FD(le.Uint32(b[12:])), linux.FD(le.Uint32(b[16:])), linux.OpenFlags(le.Uint32(b[20:]))
	if flags&^(addFDSet|addFDSend) != 0 || fdFlags&^linux.O_CLOEXEC != 0 || to != 0 && flags&addFDSet == 0 {
		return 0, linux.EINVAL
	}
	f, err := t.File(from)
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a, err := l.findLocked(id)
	if err != nil {
		f.DecRef(t)
		return 0, err
	}
	fd, err := a.t.give(f, to, flags&addFDSet != 0, fdFlags&linux.O_CLOEXEC != 0)
	if err != nil {
		return 0, err
	}
	if flags&addFDSend != 0 {
		l.settleLocked(a, answered{result: uint64(fd)})
	}
	return uint64(fd), nil
}

// give puts f, whose reference it takes over, into the table of a thread that waits: at
// a place, or at the lowest that is free. EBADF, EMFILE.
func (t *Task) give(f *vfs.File, at linux.FD, there, closeOnExec bool) (linux.FD, error) {
	ctx, fds := exitContext(t), t.FDs()
	if fds == nil {
		f.DecRef(ctx)
		return 0, linux.ENOENT
	}
	limit := t.group.Limit(unix.RLIMIT_NOFILE).Cur
	if !there {
		fd, err := fds.Install(f, 0, limit, closeOnExec)
		if err != nil {
			f.DecRef(ctx)
		}
		return fd, err
	}
	if at < 0 || uint64(at) >= limit {
		f.DecRef(ctx)
		return 0, linux.EBADF
	}
	old, err := fds.Set(at, f, closeOnExec)
	if err != nil {
		f.DecRef(ctx)
		return 0, err
	}
	if old != nil {
		closeAll(ctx, []*vfs.File{old})
	}
	return at, nil
}
