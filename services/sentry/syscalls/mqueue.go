package syscalls

import (
	"encoding/binary"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/mqueue"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/socket/netlink"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// Sizes in bytes, and what a thread that waits for a notification gets through its
// netlink socket: mq_notify(3), SIGEV_THREAD.
const (
	sizeofMqAttr   = 64
	sizeofSigevent = 64
	mqCookie       = 32
	mqWokenUp      = 1
	mqRemoved      = 2
)

// mq_open opens the queue with a name, which the C library gives without its slash,
// or makes it: mq_open(3).
func mq_open(t *task.Task, name mm.Addr, flags linux.OpenFlags, mode uint32, attr mm.Addr) (uint64, error) {
	making := &mqueue.Making{
		Context: t, Limit: t.Group().Limit(unix.RLIMIT_MSGQUEUE).Cur,
		Attr: mqueue.Attr{Messages: mqueue.DefaultMessages, Size: mqueue.DefaultSize},
	}
	if attr != 0 {
		var b [sizeofMqAttr]byte
		if err := t.CopyIn(attr, b[:]); err != nil {
			return 0, err
		}
		making.Attr = mqueue.Attr{Messages: int64(binary.LittleEndian.Uint64(b[8:])), Size: int64(binary.LittleEndian.Uint64(b[16:]))}
	}
	n, err := mqName(t, name)
	if err != nil {
		return 0, err
	}
	if flags&linux.O_ACCMODE == linux.O_ACCMODE {
		return 0, linux.EINVAL
	}
	root := t.IPC().QueueRoot()
	const taken = linux.O_ACCMODE | linux.O_CREAT | linux.O_EXCL | linux.O_NONBLOCK
	f, err := vfs.Open(making, root, root, n, flags&taken, mode&linux.S_IALL, t.FS().Umask(), vfs.NoFollow)
	if err != nil {
		return 0, err
	}
	return install(t, f, linux.O_CLOEXEC)
}

// mqName reads the name of a queue: EACCES for what is none, ENAMETOOLONG, ENOENT.
func mqName(t *task.Task, addr mm.Addr) (string, error) {
	n, err := t.CopyInPath(addr)
	switch {
	case err != nil:
		return "", err
	case n == "":
		return "", linux.ENOENT
	case n == ".", n == "..", strings.Contains(n, "/"):
		return "", linux.EACCES
	case len(n) > linux.NAME_MAX:
		return "", linux.ENAMETOOLONG
	}
	return n, nil
}

// mq_unlink takes a queue's name away: mq_unlink(3).
func mq_unlink(t *task.Task, name mm.Addr) (uint64, error) {
	n, err := mqName(t, name)
	if err != nil {
		return 0, err
	}
	return 0, vfs.Unlink(t, t.IPC().QueueRoot(), n)
}

// mqOf is the queue behind a descriptor that may be used so: EBADF.
func mqOf(t *task.Task, fd linux.FD, may func(*vfs.File) bool) (*mqueue.Queue, *vfs.File, error) {
	f, err := t.File(fd)
	if err != nil {
		return nil, nil, err
	}
	d, ok := f.Impl().(*mqueue.Descriptor)
	if !ok || !may(f) {
		f.DecRef(t)
		return nil, nil, linux.EBADF
	}
	return d.Of(), f, nil
}

// mqDeadline reads an absolute time of the real clock: EFAULT, EINVAL.
func mqDeadline(t *task.Task, addr mm.Addr) (time.Time, error) {
	if addr == 0 {
		return time.Time{}, nil
	}
	ts, err := copyInTimespec(t, addr)
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(ts.Sec, ts.Nsec), nil
}

// mq_timedsend sends a message: mq_send(3).
func mq_timedsend(t *task.Task, fd linux.FD, msg mm.Addr, n uint64, priority uint32, timeout mm.Addr) (uint64, error) {
	if priority >= mqueue.MaxPriority {
		return 0, linux.EINVAL
	}
	deadline, err := mqDeadline(t, timeout)
	if err != nil {
		return 0, err
	}
	q, f, err := mqOf(t, fd, (*vfs.File).Writable)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	if n > uint64(q.Measures().Size) {
		return 0, linux.EMSGSIZE
	}
	text := make([]byte, n)
	if err := t.CopyIn(msg, text); err != nil {
		return 0, err
	}
	return 0, q.Send(t, text, priority, f.Flags()&linux.O_NONBLOCK == 0, deadline)
}

// mq_timedreceive takes the oldest of the messages with the highest priority, and
// gives its length: mq_receive(3).
func mq_timedreceive(t *task.Task, fd linux.FD, msg mm.Addr, n uint64, priority, timeout mm.Addr) (uint64, error) {
	deadline, err := mqDeadline(t, timeout)
	if err != nil {
		return 0, err
	}
	q, f, err := mqOf(t, fd, (*vfs.File).Readable)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	text, p, err := q.Receive(t, n, f.Flags()&linux.O_NONBLOCK == 0, deadline)
	if err != nil {
		return 0, err
	}
	if priority != 0 {
		if err := t.CopyOutLater(priority, le32(p)); err != nil {
			return 0, err
		}
	}
	return uint64(len(text)), copyOut(t, msg, text)
}

// mq_getsetattr tells of a queue, and sets O_NONBLOCK of its descriptor:
// mq_getattr(3).
func mq_getsetattr(t *task.Task, fd linux.FD, set, old mm.Addr) (uint64, error) {
	var b [sizeofMqAttr]byte
	le := binary.LittleEndian
	if set != 0 {
		if err := t.CopyIn(set, b[:]); err != nil {
			return 0, err
		}
		if le.Uint64(b[:])&^uint64(linux.O_NONBLOCK) != 0 {
			return 0, linux.EINVAL
		}
	}
	q, f, err := mqOf(t, fd, func(*vfs.File) bool { return true })
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	flags, was := linux.OpenFlags(le.Uint64(b[:])), f.Flags()
	if set != 0 {
		if err := f.SetFlags(t, was&^linux.O_NONBLOCK|flags); err != nil {
			return 0, err
		}
	}
	if old == 0 {
		return 0, nil
	}
	b = [sizeofMqAttr]byte{}
	a := q.Measures()
	for i, v := range [...]int64{int64(was & linux.O_NONBLOCK), a.Messages, a.Size, int64(q.Len())} {
		le.PutUint64(b[8*i:], uint64(v))
	}
	return 0, t.CopyOutLater(old, b[:])
}

// mq_notify has the caller told once, when a message comes to the empty queue and
// nobody waits for it; without an event it takes that back: mq_notify(3).
func mq_notify(t *task.Task, fd linux.FD, event mm.Addr) (uint64, error) {
	var n *mqueue.Notice
	if event != 0 {
		var b [sizeofSigevent]byte
		err := t.CopyIn(event, b[:])
		if err == nil {
			n, err = mqNotice(t, b[:])
		}
		if err != nil {
			return 0, err
		}
	}
	q, f, err := mqOf(t, fd, func(*vfs.File) bool { return true })
	if err == nil {
		err = q.Notify(n, t.TGID())
		f.DecRef(t)
	}
	return 0, err
}

// mqNotice makes what a struct sigevent asks for: EINVAL, EBADF.
func mqNotice(t *task.Task, ev []byte) (*mqueue.Notice, error) {
	le := binary.LittleEndian
	value, signo, kind := le.Uint64(ev), int32(le.Uint32(ev[8:])), int32(le.Uint32(ev[12:]))
	n := &mqueue.Notice{Owner: t.TGID(), Tell: func(int32, uint32) {}, Gone: func() {}}
	switch kind {
	case task.SigevNone:
	case task.SigevSignal:
		if signo < 0 || signo > linux.NSIG {
			return nil, linux.EINVAL
		}
		n.Signal = signo
		g := t.Group()
		n.Tell = func(pid int32, uid uint32) {
			if signo == 0 {
				return
			}
			info := linux.SigInfo{Signo: signo, Code: linux.SI_MESGQ}
			info.SetPID(g.PIDNamespace().Number(pid))
			info.SetUID(uid)
			info.SetValue(value)
			g.Send(info)
		}
	case task.SigevThread:
		var cookie [mqCookie]byte
		if err := t.CopyIn(value, cookie[:]); err != nil {
			return nil, err
		}
		s, err := netlinkOf(t, linux.FD(signo))
		if err != nil {
			return nil, err
		}
		tell := func(what byte) {
			cookie[mqCookie-1] = what
			s.Tell(cookie[:])
		}
		n.Tell = func(int32, uint32) { tell(mqWokenUp) }
		n.Gone = func() { tell(mqRemoved) }
	default:
		return nil, linux.EINVAL
	}
	return n, nil
}

// netlinkOf is the netlink socket behind fd, which the caller keeps open while it
// waits for what comes: EBADF, ENOTSOCK, EINVAL.
func netlinkOf(t *task.Task, fd linux.FD) (*netlink.Socket, error) {
	f, err := t.File(fd)
	if err != nil {
		return nil, err
	}
	defer f.DecRef(t)
	s, ok := f.Impl().(socket.Socket)
	if !ok {
		return nil, linux.ENOTSOCK
	}
	nl, ok := s.(*netlink.Socket)
	if !ok {
		return nil, linux.EINVAL
	}
	return nl, nil
}
