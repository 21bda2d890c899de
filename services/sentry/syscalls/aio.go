package syscalls

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/aio"
	"bulkhead/services/sentry/eventfd"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Of linux/aio_abi.h: sizes in bytes, commands and flags of a struct iocb.
const (
	sizeofIocb    = 64
	sizeofIoEvent = 32

	iocbPread  = 0
	iocbPwrite = 1
	iocbFsync  = 2
	iocbFdsync = 3
	iocbPoll   = 5
	iocbPreadv = 7
	iocbPwritv = 8

	iocbFlagResfd = 1

	maxAIOContext = 0x10000000 / sizeofIoEvent / 2
)

// contexts are those of the caller's address space.
func contexts(t *task.Task) *aio.Set {
	return t.MM().Attach(func() mm.Attachment { return aio.NewSet() }).(*aio.Set)
}

// io_setup makes a context for n requests and stores its id at addr: io_setup(2).
// As on Linux the id is the address of memory, where the C library's would look for
// a ring; here it finds none, and asks.
func io_setup(t *task.Task, n uint32, addr mm.Addr) (uint64, error) {
	var b [8]byte
	if err := t.CopyIn(addr, b[:]); err != nil {
		return 0, err
	}
	if binary.LittleEndian.Uint64(b[:]) != 0 || n == 0 || n > maxAIOContext {
		return 0, linux.EINVAL
	}
	if n > aio.MaxRequests {
		return 0, linux.EAGAIN
	}
	at, undo, err := t.MM().Map(t.Thread(), mm.Mapping{
		Len: mm.PageSize, Prot: unix.PROT_READ, Flags: unix.MAP_PRIVATE | unix.MAP_ANONYMOUS, FD: -1,
		Limits: limits(t),
	})
	if err != nil {
		return 0, err
	}
	set := contexts(t)
	if err := set.Add(at, n); err != nil {
		t.MM().Unmap(t.Thread(), at, mm.PageSize)
		return 0, err
	}
	t.OnFailure(func(linux.Errno) { undo(); set.Remove(at) })
	return 0, t.CopyOutLater(addr, binary.LittleEndian.AppendUint64(nil, at))
}

// io_destroy ends a context, and what it waits for: io_destroy(2).
func io_destroy(t *task.Task, id uint64) (uint64, error) {
	if err := contexts(t).Remove(id); err != nil {
		return 0, err
	}
	t.MM().Unmap(t.Thread(), id, mm.PageSize)
	return 0, nil
}

// io_submit begins the requests in a list of n addresses of struct iocb, and says
// how many it has; an error counts only for the first: io_submit(2).
func io_submit(t *task.Task, id uint64, n int64, list mm.Addr) (uint64, error) {
	if n < 0 {
		return 0, linux.EINVAL
	}
	c, err := contexts(t).Context(id)
	if err != nil {
		return 0, err
	}
	for i := range min(n, aio.MaxRequests) {
		var b [8]byte
		if err := t.CopyIn(list+8*uint64(i), b[:]); err != nil {
			return partial(uint64(i), err)
		}
		if err := submit(t, c, binary.LittleEndian.Uint64(b[:])); err != nil {
			return partial(uint64(i), err)
		}
		if t.Interrupted() && i+1 < n {
			return uint64(i + 1), nil
		}
	}
	return uint64(n), nil
}

// request is a struct iocb.
type request struct {
	command   uint16
	fd        linux.FD
	flags     rwFlags
	buf, size uint64
	offset    int64
	notify    *vfs.File // the eventfd that it names, or nil
	event     aio.Event
}

// copyInRequest reads the struct iocb at addr: EFAULT, EINVAL, EBADF.
func copyInRequest(t *task.Task, addr mm.Addr) (r request, err error) {
	var b [sizeofIocb]byte
	if err := t.CopyIn(addr, b[:]); err != nil {
		return r, err
	}
	le := binary.LittleEndian
	r = request{
		command: le.Uint16(b[16:]), fd: linux.FD(le.Uint32(b[20:])), flags: rwFlags(le.Uint32(b[12:])),
		buf: le.Uint64(b[24:]), size: le.Uint64(b[32:]), offset: int64(le.Uint64(b[40:])),
		event: aio.Event{Data: le.Uint64(b[0:]), Object: addr},
	}
	if le.Uint64(b[48:]) != 0 || int64(r.size) < 0 {
		return r, linux.EINVAL
	}
	if le.Uint32(b[56:])&iocbFlagResfd != 0 {
		f, err := t.File(linux.FD(le.Uint32(b[60:])))
		if err != nil {
			return r, err
		}
		if _, ok := f.Impl().(*eventfd.Eventfd); !ok {
			f.DecRef(t)
			return r, linux.EINVAL
		}
		r.notify = f
	}
	return r, nil
}

// submit begins one request.
func submit(t *task.Task, c *aio.Context, addr mm.Addr) error {
	r, err := copyInRequest(t, addr)
	if err != nil {
		return err
	}
	if err = c.Take(); err == nil {
		if err = t.CopyOut(addr+8, le32(0)); err == nil { // aio_key, which io_cancel asks for
			err = r.begin(t, c)
		}
		if err != nil {
			c.Give()
		}
	}
	if err != nil && r.notify != nil {
		r.notify.DecRef(t)
	}
	return err
}

// begin does what the request asks for, or has it waited for. An error is one that
// io_submit itself gives.
func (r *request) begin(t *task.Task, c *aio.Context) error {
	f, err := t.File(r.fd)
	if err != nil {
		return err
	}
	defer f.DecRef(t)
	var n uint64
	switch r.command {
	case iocbPread, iocbPreadv, iocbPwrite, iocbPwritv:
		v, p, refused := r.prepare(t, f)
		if refused != nil {
			return refused
		}
		n, err = r.transfer(t, f, v, p)
	case iocbFsync, iocbFdsync:
		if r.buf != 0 || r.size != 0 || r.offset != 0 || r.flags != 0 {
			return linux.EINVAL
		}
		err = f.Sync(t, r.command == iocbFdsync)
	case iocbPoll:
		if r.buf>>16 != 0 || r.size != 0 || r.offset != 0 || r.flags != 0 {
			return linux.EINVAL
		}
		f.IncRef()
		c.Poll(r.event, f, wait.Events(r.buf), r.notify)
		return nil
	default:
		return linux.EINVAL
	}
	r.event.Result = int64(n)
	if err != nil {
		r.event.Result = -int64(errnoOf(err))
	}
	c.Complete(r.event, r.notify)
	return nil
}

// reads says whether data goes to the guest.
func (r *request) reads() bool { return r.command == iocbPread || r.command == iocbPreadv }

// prepare says which memory is read or written, and where in the file.
func (r *request) prepare(t *task.Task, f *vfs.File) (v vector, p position, err error) {
	p = at(r.offset)
	if !hasPositions(f.Impl()) {
		p = current
	}
	switch {
	case r.flags&^rwValid != 0:
		return v, p, linux.EOPNOTSUPP
	case r.reads() && !f.Readable(), !r.reads() && !f.Writable():
		return v, p, linux.EBADF
	case p.fixed && r.offset < 0:
		return v, p, linux.EINVAL
	}
	v.one = linux.Iovec{Base: r.buf, Len: min(r.size, linux.MAX_RW_COUNT)}
	if r.command == iocbPreadv || r.command == iocbPwritv {
		if v, err = copyInVector(t, r.buf, r.size); err != nil {
			return v, p, err
		}
	}
	v.now = true
	return v, p, nil
}

// hasPositions says whether i can be read or written at an offset: not a stream.
func hasPositions(i vfs.Impl) bool {
	_, r := i.(vfs.ReaderAt)
	_, w := i.(vfs.WriterAt)
	return r || w
}

// transfer reads or writes.
func (r *request) transfer(t *task.Task, f *vfs.File, v vector, p position) (uint64, error) {
	if r.reads() {
		return v.readFrom(t, f, p)
	}
	if r.flags&linux.RWF_APPEND != 0 && p.fixed {
		p = at(vfs.AppendOffset)
	}
	n, err := v.writeTo(t, f, p)
	if err == nil && r.flags&(linux.RWF_DSYNC|linux.RWF_SYNC) != 0 {
		err = f.Sync(t, r.flags&linux.RWF_SYNC == 0)
	}
	return n, err
}

// errnoOf is err as a number that a request's end can tell: no call is made again.
func errnoOf(err error) linux.Errno {
	e, ok := err.(linux.Errno)
	switch {
	case !ok:
		return linux.EIO
	case e == linux.ERESTARTSYS, e == linux.ERESTARTNOINTR, e == linux.ERESTARTNOHAND, e == linux.ERESTART_RESTARTBLOCK:
		return linux.EINTR
	}
	return e
}

// io_cancel ends a request early, whose end is told all the same: io_cancel(2).
// EINPROGRESS is success; EINVAL if it has ended.
func io_cancel(t *task.Task, id uint64, iocb, _ mm.Addr) (uint64, error) {
	var key [4]byte
	if err := t.CopyIn(iocb+8, key[:]); err != nil {
		return 0, err
	}
	if key != [4]byte{} {
		return 0, linux.EINVAL
	}
	c, err := contexts(t).Context(id)
	if err != nil {
		return 0, err
	}
	return 0, c.Cancel(iocb)
}

// io_getevents takes at most most ends of requests, and waits for least of them no
// longer than timeout: io_getevents(2).
func io_getevents(t *task.Task, id uint64, least, most int64, events, timeout mm.Addr) (uint64, error) {
	var deadline time.Time
	if timeout != 0 {
		var b [linux.SizeofTimespec]byte // of which any is taken
		if err := t.CopyIn(timeout, b[:]); err != nil {
			return 0, err
		}
		deadline = time.Now().Add(duration(linux.ReadTimespec(b[:])))
	}
	c, err := contexts(t).Context(id)
	if err != nil {
		return 0, err
	}
	if least < 0 || least > most {
		return 0, linux.EINVAL
	}
	ended, err := c.Events(t, int(least), int(min(most, aio.MaxRequests)), deadline)
	if err != nil {
		return 0, err
	}
	b := make([]byte, 0, sizeofIoEvent*len(ended))
	for _, e := range ended {
		for _, w := range [...]uint64{e.Data, e.Object, uint64(e.Result), 0} {
			b = binary.LittleEndian.AppendUint64(b, w)
		}
	}
	return uint64(len(ended)), copyOut(t, events, b)
}

// io_pgetevents is io_getevents with a signal mask, at sig beside its size.
func io_pgetevents(t *task.Task, id uint64, least, most int64, events, timeout, sig mm.Addr) (uint64, error) {
	var mask [16]byte
	if sig != 0 {
		if err := t.CopyIn(sig, mask[:]); err != nil {
			return 0, err
		}
	}
	le := binary.LittleEndian
	restore, err := maskSignals(t, le.Uint64(mask[:]), le.Uint64(mask[8:]))
	if err != nil {
		return 0, err
	}
	n, err := io_getevents(t, id, least, most, events, timeout)
	restore(err)
	return n, err
}
