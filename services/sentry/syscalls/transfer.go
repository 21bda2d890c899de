package syscalls

import (
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// chunkSize is the most that one step of a large transfer moves, in bytes. A
// datagram that is longer would be cut.
const chunkSize = 256 << 10

// laterMax is up to which length a piece is worth a copy into the window.
const laterMax = 16 << 10

// chunks are buffers for transfers that the window has no room for.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// position is where a transfer takes place: at off, or where the file stands.
type position struct {
	off   int64
	fixed bool
}

// current is the file's own position.
var current = position{}

// at is a given position, for pread and pwrite.
func at(off int64) position { return position{off, true} }

func (p *position) read(t *task.Task, f *vfs.File, b []byte) (int, error) {
	if !p.fixed {
		return f.Read(t, b)
	}
	n, err := f.Pread(t, b, p.off)
	p.off += int64(n)
	return n, err
}

func (p *position) write(t *task.Task, f *vfs.File, b []byte) (int, error) {
	if !p.fixed {
		return f.Write(t, b)
	}
	n, err := f.Pwrite(t, b, p.off)
	if p.off != vfs.AppendOffset {
		p.off += int64(n)
	}
	return n, err
}

// userRange says whether n bytes at addr lie in the half that is a program's, which
// Linux asks before anything else; what is mapped there shows later.
func userRange(addr mm.Addr, n uint64) bool {
	const top = 1<<47 - mm.PageSize
	return addr <= top && n <= top-addr
}

// readTo reads up to n bytes of f into the guest's memory at addr.
//
// What fits goes through the window, shared memory that the guest's own thread
// copies out when it has the answer. More goes through a chunk; a stream gives
// at most one of those, as it may block for the next.
func readTo(t *task.Task, f *vfs.File, p position, addr mm.Addr, n uint64) (uint64, error) {
	if !userRange(addr, n) {
		if !f.Readable() {
			return 0, linux.EBADF
		}
		return 0, linux.EFAULT
	}
	n = min(n, linux.MAX_RW_COUNT)
	if w := window(t, n); w != nil {
		got, err := p.read(t, f, w)
		if got <= 0 {
			return 0, err
		}
		t.Took(f, addr, w[:got], p.fixed)
		return uint64(got), t.CommitWindow(addr, got)
	}
	v := vector{one: linux.Iovec{Base: addr, Len: n}}
	return v.readFrom(t, f, p)
}

// writeFrom writes n bytes of the guest's memory at addr to f.
func writeFrom(t *task.Task, f *vfs.File, p position, addr mm.Addr, n uint64) (uint64, error) {
	if !userRange(addr, n) {
		if !f.Writable() {
			return 0, linux.EBADF
		}
		return 0, linux.EFAULT
	}
	n = min(n, linux.MAX_RW_COUNT)
	if n <= chunkSize {
		if b := t.CopiedIn(addr, int(n)); b != nil {
			got, err := p.write(t, f, b)
			return wrote(t, uint64(max(got, 0)), err)
		}
	}
	v := vector{one: linux.Iovec{Base: addr, Len: n}}
	return v.writeTo(t, f, p)
}

// wrote is the end of a write that moved n bytes: an error counts only if there
// were none.
func wrote(t *task.Task, n uint64, err error) (uint64, error) {
	if n > 0 || err == nil {
		return n, nil
	}
	return 0, signalled(t, err)
}

// signalled raises the signal that two errors of writing come with, and gives
// err back.
func signalled(t *task.Task, err error) error {
	switch err {
	case linux.EPIPE:
		t.Send(t.UserSignal(linux.SIGPIPE, linux.SI_USER))
	case linux.EFBIG:
		t.Send(t.UserSignal(linux.SIGXFSZ, linux.SI_USER))
	}
	return err
}

// window is n bytes of the task's window, nil if it is shorter.
func window(t *task.Task, n uint64) []byte {
	if n > chunkSize {
		return nil
	}
	return t.Window(int(n))
}

// vector is the guest's memory that a transfer goes to or comes from, in pieces.
type vector struct {
	one  linux.Iovec   // the current piece
	rest []linux.Iovec // those after it
	now  bool          // what is read must be there before the answer is
}

// total is what is left, in bytes.
func (v *vector) total() uint64 {
	n := v.one.Len
	for _, p := range v.rest {
		n += p.Len
	}
	return n
}

// next is the memory of the next n bytes at most; it is empty only at the end.
func (v *vector) next(n int) (mm.Addr, int) {
	for v.one.Len == 0 && len(v.rest) > 0 {
		v.one, v.rest = v.rest[0], v.rest[1:]
	}
	addr, n := v.one.Base, int(min(uint64(n), v.one.Len))
	v.one.Base += uint64(n)
	v.one.Len -= uint64(n)
	return addr, n
}

// scatter copies b to the guest and says how much of it got there.
func (v *vector) scatter(t *task.Task, b []byte) (int, error) {
	done := 0
	for done < len(b) {
		addr, n := v.next(len(b) - done)
		if n == 0 {
			return done, linux.EFAULT
		}
		put := copyOut
		if v.now {
			put = (*task.Task).CopyOut
		}
		if err := put(t, addr, b[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// copyOut copies p with the answer if it is small, and at once otherwise.
func copyOut(t *task.Task, addr mm.Addr, p []byte) error {
	if len(p) <= laterMax {
		return t.CopyOutLater(addr, p)
	}
	return t.CopyOut(addr, p)
}

// gather fills b from the guest and says how much of it it got.
func (v *vector) gather(t *task.Task, b []byte) (int, error) {
	done := 0
	for done < len(b) {
		addr, n := v.next(len(b) - done)
		if n == 0 {
			break
		}
		if err := t.CopyIn(addr, b[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// readFrom reads from f until v is full, a read comes back short, or an error,
// which counts only if nothing was read.
func (v *vector) readFrom(t *task.Task, f *vfs.File, p position) (uint64, error) {
	if !p.fixed {
		n, err := f.ReadDirect(t, int(min(v.total(), linux.MAX_RW_COUNT)), func(b []byte) (int, error) { return v.scatter(t, b) })
		if err != vfs.ErrIndirect {
			return partial(uint64(max(n, 0)), err)
		}
	}
	_, stream := f.Impl().(vfs.StreamReader)
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)

	total := uint64(0)
	for {
		want := int(min(v.total(), chunkSize))
		got, err := p.read(t, f, chunk[:want])
		if got > 0 {
			put, err := v.scatter(t, chunk[:got])
			total += uint64(put)
			if err != nil {
				return partial(total, err)
			}
		}
		if err != nil || stream || got < want || want == 0 || v.total() == 0 {
			return partial(total, err)
		}
	}
}

// writeTo writes v to f, a chunk at a time.
func (v *vector) writeTo(t *task.Task, f *vfs.File, p position) (uint64, error) {
	if !p.fixed {
		n, err := v.writeDirect(t, f)
		if err != vfs.ErrIndirect {
			return wrote(t, n, err)
		}
	}
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)

	total := uint64(0)
	for {
		want := int(min(v.total(), chunkSize))
		have, fault := v.gather(t, chunk[:want])
		if fault != nil && have == 0 {
			return partial(total, fault)
		}
		n, err := p.write(t, f, chunk[:have])
		total += uint64(max(n, 0))
		if err != nil || fault != nil || n < have || v.total() == 0 {
			if err == nil {
				err = fault
			}
			return wrote(t, total, err)
		}
	}
}

// writeDirect writes v to f without a chunk between, until all is written or an
// error, as vfs.File.Write does.
func (v *vector) writeDirect(t *task.Task, f *vfs.File) (total uint64, err error) {
	get := func(b []byte) (int, error) { return v.gather(t, b) }
	for {
		n, err := f.WriteDirect(t, int(min(v.total(), linux.MAX_RW_COUNT)), get)
		if err == vfs.ErrIndirect && total > 0 {
			return total, nil
		}
		total += uint64(max(n, 0))
		if err != nil || n == 0 || v.total() == 0 {
			return total, err
		}
	}
}

// partial is the result of a transfer that an error ended after n bytes.
func partial(n uint64, err error) (uint64, error) {
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// copyInVector reads count iovecs at addr. EINVAL if there are more than IOV_MAX
// or their lengths are more than a signed size.
func copyInVector(t *task.Task, addr mm.Addr, count uint64) (vector, error) {
	if count > linux.IOV_MAX {
		return vector{}, linux.EINVAL
	}
	if count == 0 {
		return vector{}, nil
	}
	b := make([]byte, count*linux.SizeofIovec)
	if err := t.CopyIn(addr, b); err != nil {
		return vector{}, err
	}
	list := make([]linux.Iovec, count)
	total := uint64(0)
	for i := range list {
		p := linux.ReadIovec(b[i*linux.SizeofIovec:])
		if int64(p.Len) < 0 {
			return vector{}, linux.EINVAL
		}
		p.Len = min(p.Len, linux.MAX_RW_COUNT-total)
		total += p.Len
		list[i] = p
	}
	return vector{one: list[0], rest: list[1:]}, nil
}
