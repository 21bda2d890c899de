package syscalls

import (
	"encoding/binary"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/pipe"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// cursor is where one side of a copy between files stands: at the file's own
// position, or at an offset that is kept in the guest's memory.
type cursor struct {
	file *vfs.File
	addr mm.Addr // of the offset; 0: the file's own position
	off  int64
}

// newCursor reads the offset at addr; EINVAL if it is negative.
func newCursor(t *task.Task, f *vfs.File, addr mm.Addr) (cursor, error) {
	c := cursor{file: f, addr: addr}
	if addr == 0 {
		return c, nil
	}
	var b [8]byte
	if err := t.CopyIn(addr, b[:]); err != nil {
		return c, err
	}
	c.off = int64(binary.LittleEndian.Uint64(b[:]))
	if c.off < 0 {
		return c, linux.EINVAL
	}
	return c, nil
}

func (c *cursor) write(t *task.Task, b []byte) (int, error) {
	if c.addr == 0 {
		return c.file.Write(t, b)
	}
	n, err := c.file.Pwrite(t, b, c.off)
	c.off += int64(n)
	return n, err
}

// done stores the offset, when the call has succeeded.
func (c *cursor) done(t *task.Task) error {
	if c.addr == 0 {
		return nil
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(c.off))
	return t.CopyOutLater(c.addr, b[:])
}

// moveTo copies up to n bytes to out and steps on by what out took: nothing that
// was read is lost but from a stream whose reader fails.
func (c *cursor) moveTo(t *task.Task, out *cursor, n uint64) (uint64, error) {
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	own := c.addr == 0 && seekable(c.file)
	total := uint64(0)
	for total < n {
		if own {
			at, err := c.file.Seek(t, 0, linux.SEEK_CUR)
			if err != nil {
				return partial(total, err)
			}
			c.off = at
		}
		want := int(min(n-total, chunkSize))
		got, err := c.read(t, chunk[:want], own)
		if err != nil || got == 0 {
			return partial(total, err)
		}
		put, err := out.write(t, chunk[:got])
		c.off += int64(put)
		total += uint64(put)
		if own {
			c.file.Seek(t, c.off, linux.SEEK_SET)
		}
		if err != nil || put < got || !own && c.addr == 0 {
			return wrote(t, total, err)
		}
	}
	return total, nil
}

// read leaves off where it is.
func (c *cursor) read(t *task.Task, b []byte, own bool) (int, error) {
	if own || c.addr != 0 {
		return c.file.Pread(t, b, c.off)
	}
	return c.file.Read(t, b)
}

// sendfile copies from a file to another: sendfile(2).
func sendfile(t *task.Task, outfd, infd linux.FD, offset mm.Addr, n uint64) (uint64, error) {
	in, err := t.File(infd)
	if err != nil {
		return 0, err
	}
	defer in.DecRef(t)
	out, err := t.File(outfd)
	if err != nil {
		return 0, err
	}
	defer out.DecRef(t)
	from, err := newCursor(t, in, offset)
	switch {
	case err != nil:
		return 0, err
	case !in.Readable() || !out.Writable():
		return 0, linux.EBADF
	case offset != 0 && !seekable(in):
		return 0, linux.ESPIPE
	case !seekable(in) || out.Flags()&linux.O_APPEND != 0:
		return 0, linux.EINVAL
	case isDirectory(in.Path()):
		return 0, linux.EINVAL
	}
	moved, err := from.moveTo(t, &cursor{file: out}, min(n, linux.MAX_RW_COUNT))
	if err != nil {
		return 0, err
	}
	return moved, from.done(t)
}

// copy_file_range copies between regular files: copy_file_range(2).
func copy_file_range(t *task.Task, infd linux.FD, inOff mm.Addr, outfd linux.FD, outOff mm.Addr, n uint64, flags uint32) (uint64, error) {
	in, err := t.File(infd)
	if err != nil {
		return 0, err
	}
	defer in.DecRef(t)
	out, err := t.File(outfd)
	if err != nil {
		return 0, err
	}
	defer out.DecRef(t)
	from, err := newCursor(t, in, inOff)
	if err != nil {
		return 0, err
	}
	to, err := newCursor(t, out, outOff)
	if err != nil {
		return 0, err
	}
	if err := mayCopyRange(t, in, out, flags); err != nil {
		return 0, err
	}
	n = min(n, linux.MAX_RW_COUNT)
	if in.Path() == out.Path() && overlap(t, &from, &to, n) {
		return 0, linux.EINVAL
	}
	moved, err := from.moveTo(t, &to, n)
	if err != nil {
		return 0, err
	}
	if err := from.done(t); err != nil {
		return 0, err
	}
	return moved, to.done(t)
}

func mayCopyRange(t *task.Task, in, out *vfs.File, flags uint32) error {
	switch {
	case flags != 0:
		return linux.EINVAL
	case isDirectory(in.Path()) || isDirectory(out.Path()):
		return linux.EISDIR
	case !isRegular(t, in) || !isRegular(t, out):
		return linux.EINVAL
	case !in.Readable() || !out.Writable() || out.Flags()&linux.O_APPEND != 0:
		return linux.EBADF
	}
	return nil
}

// overlap says whether n bytes at both cursors share some.
func overlap(t *task.Task, a, b *cursor, n uint64) bool {
	at := func(c *cursor) int64 {
		if c.addr != 0 {
			return c.off
		}
		off, _ := c.file.Seek(t, 0, linux.SEEK_CUR)
		return off
	}
	x, y := at(a), at(b)
	return uint64(max(x, y)-min(x, y)) < n
}

const spliceValid = linux.SPLICE_F_MOVE | linux.SPLICE_F_NONBLOCK | linux.SPLICE_F_MORE | linux.SPLICE_F_GIFT

// splice moves bytes from or to a pipe: splice(2).
func splice(t *task.Task, infd linux.FD, inOff mm.Addr, outfd linux.FD, outOff mm.Addr, n uint64, flags uint32) (uint64, error) {
	if n == 0 {
		return 0, nil
	}
	if flags&^spliceValid != 0 {
		return 0, linux.EINVAL
	}
	in, err := t.File(infd)
	if err != nil {
		return 0, err
	}
	defer in.DecRef(t)
	out, err := t.File(outfd)
	if err != nil {
		return 0, err
	}
	defer out.DecRef(t)
	from, isFrom := in.Impl().(*pipe.End)
	to, isTo := out.Impl().(*pipe.End)
	switch {
	case isFrom && inOff != 0 || isTo && outOff != 0:
		return 0, linux.ESPIPE
	case !in.Readable() || !out.Writable():
		return 0, linux.EBADF
	case !isFrom && !isTo, isFrom && isTo && from.SamePipe(to):
		return 0, linux.EINVAL
	case !isTo && out.Flags()&linux.O_APPEND != 0:
		return 0, linux.EINVAL
	}
	n = min(n, linux.MAX_RW_COUNT)
	nonblock := flags&linux.SPLICE_F_NONBLOCK != 0
	if isFrom {
		return spliceFrom(t, from, in, out, outOff, n, nonblock || nonblocking(in))
	}
	return spliceTo(t, in, inOff, to, out, n, nonblock || nonblocking(out))
}

// peek waits until a pipe has something and copies it to b, where it also stays.
func peek(t *task.Task, p *pipe.End, b []byte, nonblock bool) (n int, err error) {
	n, err = p.Peek(b)
	if err != linux.EAGAIN || nonblock {
		return n, err
	}
	err = wait.Until(t, p.Queue(), wait.Readable, time.Time{}, func() (bool, error) {
		n, err = p.Peek(b)
		return err != linux.EAGAIN, err
	})
	return n, err
}

// spliceFrom writes what is in a pipe, and takes out what was written.
func spliceFrom(t *task.Task, p *pipe.End, in, out *vfs.File, outOff mm.Addr, n uint64, nonblock bool) (uint64, error) {
	to, err := newCursor(t, out, outOff)
	if err != nil {
		return 0, err
	}
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	got, err := peek(t, p, chunk[:min(n, chunkSize)], nonblock)
	if err != nil || got == 0 {
		return 0, err
	}
	put, err := to.write(t, chunk[:got])
	if put > 0 {
		in.Read(t, chunk[:put])
		return uint64(put), to.done(t)
	}
	return wrote(t, 0, err)
}

// spliceTo reads as much as a pipe has room for, and puts it in.
func spliceTo(t *task.Task, in *vfs.File, inOff mm.Addr, p *pipe.End, out *vfs.File, n uint64, nonblock bool) (uint64, error) {
	from, err := newCursor(t, in, inOff)
	if err != nil {
		return 0, err
	}
	room, err := roomIn(t, p, nonblock)
	if err != nil {
		return 0, signalled(t, err)
	}
	moved, err := from.moveTo(t, &cursor{file: out}, min(n, uint64(room)))
	if err != nil {
		return 0, err
	}
	return moved, from.done(t)
}

// roomIn waits until a pipe takes something and says how much at least.
func roomIn(t *task.Task, p *pipe.End, nonblock bool) (room int, err error) {
	try := func() (bool, error) {
		ev := p.Poll()
		switch {
		case ev&wait.Err != 0:
			return true, linux.EPIPE
		case ev&wait.Out == 0:
			return nonblock, linux.EAGAIN
		}
		room = max((p.Size()-p.Buffered())&^(linux.PageSize-1), linux.PageSize)
		return true, nil
	}
	return room, wait.Until(t, p.Queue(), wait.Writable, time.Time{}, try)
}

// tee copies from a pipe to another and leaves the first as it is: tee(2).
func tee(t *task.Task, infd, outfd linux.FD, n uint64, flags uint32) (uint64, error) {
	if flags&^spliceValid != 0 {
		return 0, linux.EINVAL
	}
	if n == 0 {
		return 0, nil
	}
	in, err := t.File(infd)
	if err != nil {
		return 0, err
	}
	defer in.DecRef(t)
	out, err := t.File(outfd)
	if err != nil {
		return 0, err
	}
	defer out.DecRef(t)
	if !in.Readable() || !out.Writable() {
		return 0, linux.EBADF
	}
	from, isFrom := in.Impl().(*pipe.End)
	to, isTo := out.Impl().(*pipe.End)
	if !isFrom || !isTo || from.SamePipe(to) {
		return 0, linux.EINVAL
	}
	nonblock := flags&linux.SPLICE_F_NONBLOCK != 0
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	got, err := peek(t, from, chunk[:min(n, chunkSize)], nonblock)
	if err != nil || got == 0 {
		return 0, err
	}
	room, err := roomIn(t, to, nonblock)
	if err != nil {
		return 0, signalled(t, err)
	}
	put, err := out.Write(t, chunk[:min(got, room)])
	return wrote(t, uint64(max(put, 0)), err)
}

// vmsplice moves memory into a pipe or out of it, by copying: vmsplice(2).
func vmsplice(t *task.Task, fd linux.FD, iov mm.Addr, count uint64, flags uint32) (uint64, error) {
	if flags&^spliceValid != 0 {
		return 0, linux.EINVAL
	}
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	if _, ok := f.Impl().(*pipe.End); !ok {
		return 0, linux.EBADF
	}
	v, err := copyInVector(t, iov, count)
	if err != nil {
		return 0, err
	}
	if f.Writable() {
		return v.writeTo(t, f, current)
	}
	return v.readFrom(t, f, current)
}
