package vfs

import (
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

// File is an open file description: open(2). Descriptors, also of several
// processes, share it.
type File struct {
	impl   Impl
	path   Path
	refs   atomic.Int64
	flags  atomic.Uint32
	flock  atomic.Bool // has, or had, a lock by flock or F_OFD_SETLK
	leased atomic.Bool
	// created: opening has made the file; never changes.
	created bool
	watchers
	async atomic.Pointer[async]
	lent  atomic.Pointer[Loan]
	// Of a regular file: that it counts as a writer, and who runs it.
	writes bool
	text   *Text

	// The powers of impl that reading and writing use.
	readerAt ReaderAt
	writerAt WriterAt
	reader   StreamReader
	writer   StreamWriter
	poller   Poller
	lendable Lendable

	// streams says that Read and Write use the stream powers although impl has
	// positions too, records that a short write is whole: Streamer, Recorder.
	streams, records bool

	// position is held for the whole of a read or write that moves it, so that
	// those of several threads do not overlap: read(2), POSIX.1-2008 2.9.7.
	position struct {
		sync.Mutex
		at int64
	}
}

// NewFile is a File with one reference. impl is released with the last. p may be
// zero for an object without a place; see NewAnonFile.
func NewFile(impl Impl, p Path, flags linux.OpenFlags) *File {
	if p.IsZero() {
		p = newAnonPath(impl, "anon_inode:")
	}
	f := &File{impl: impl, path: p}
	f.refs.Store(1)
	f.flags.Store(uint32(flags &^ (linux.O_CREAT | linux.O_EXCL | linux.O_NOCTTY | linux.O_TRUNC | linux.O_CLOEXEC)))
	if flags&linux.O_PATH == 0 {
		f.readerAt, _ = impl.(ReaderAt)
		f.writerAt, _ = impl.(WriterAt)
		f.reader, _ = impl.(StreamReader)
		f.writer, _ = impl.(StreamWriter)
		f.poller, _ = impl.(Poller)
		f.lendable, _ = impl.(Lendable)
		_, f.streams = impl.(Streamer)
		_, f.records = impl.(Recorder)
	}
	p.Mount.hold()
	if flags&linux.O_PATH == 0 {
		notifyAt(EventOpen, p.Dentry)
	}
	return f
}

// NewAnonFile is a File for an object without a place: name is what
// /proc/PID/fd shows, "pipe:[12]", "anon_inode:[eventpoll]".
func NewAnonFile(impl Impl, name string, flags linux.OpenFlags) *File {
	return NewFile(impl, newAnonPath(impl, name), flags)
}

// IncRef takes a reference; the caller has one already.
func (f *File) IncRef() { f.refs.Add(1) }

// Text is what keeps others from writing to the file of a program: OpenToRun. It
// is nil of any other, and has one reference of the File's.
func (f *File) Text() *Text { return f.text }

// TryIncRef takes a reference unless the last is gone.
func (f *File) TryIncRef() bool {
	for {
		n := f.refs.Load()
		if n <= 0 {
			return false
		}
		if f.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Refs is the number of references now.
func (f *File) Refs() int64 { return f.refs.Load() }

// DecRef gives a reference back. With the last, locks and impl are released.
func (f *File) DecRef(ctx Context) {
	if f.refs.Add(-1) != 0 {
		return
	}
	f.notifyClose()
	if a := f.async.Load(); a != nil {
		a.end()
	}
	if f.leased.Load() {
		f.EndLease()
	}
	f.watchers.gone(f)
	if f.flock.Load() {
		releaseFileLocks(f)
	}
	f.impl.Release()
	if f.writes {
		endWrite(f.path.Node())
	}
	f.text.DecRef()
	f.path.Mount.drop()
}

// notifyClose tells that the last descriptor is gone.
func (f *File) notifyClose() {
	switch {
	case f.isPath():
	case f.Writable():
		notifyAt(EventCloseWrite, f.path.Dentry)
	default:
		notifyAt(EventCloseNoWrite, f.path.Dentry)
	}
}

// Created is F_CREATED_QUERY of fcntl(2): the open(2) behind f has made the file.
func (f *File) Created() bool { return f.created }

// Flags are the access mode and the status flags, as F_GETFL gives them.
func (f *File) Flags() linux.OpenFlags { return linux.OpenFlags(f.flags.Load()) }

// SetFlags is fcntl(F_SETFL): only the settable flags change.
func (f *File) SetFlags(ctx Context, flags linux.OpenFlags) error {
	if f.Flags()&linux.O_PATH != 0 {
		return linux.EBADF
	}
	if flags&linux.O_NOATIME != 0 && f.Flags()&linux.O_NOATIME == 0 {
		a, err := f.Attr(ctx)
		if err != nil {
			return err
		}
		if !owns(ctx.Creds(), &a) {
			return linux.EPERM
		}
	}
	if f.Queue() == nil {
		flags &^= linux.O_ASYNC // nothing will ever tell
	}
	for {
		old := f.flags.Load()
		now := old&^uint32(linux.OpenSettable) | uint32(flags&linux.OpenSettable)
		if s, ok := f.impl.(FlagSetter); ok && old != now {
			if err := s.SetFlags(ctx, linux.OpenFlags(now)); err != nil {
				return err
			}
		}
		if f.flags.CompareAndSwap(old, now) {
			f.asyncChanged(old, now)
			return nil
		}
	}
}

// SteadyFlags says whether nothing depends on O_NONBLOCK: there is nothing to wait for, and
// nobody else who would have to know.
func (f *File) SteadyFlags() bool {
	_, told := f.impl.(FlagSetter)
	return !told && f.Queue() == nil && f.Flags()&linux.O_PATH == 0
}

// SetNonblock sets or clears O_NONBLOCK of a file with SteadyFlags.
func (f *File) SetNonblock(on bool) {
	if on {
		f.flags.Or(uint32(linux.O_NONBLOCK))
	} else {
		f.flags.And(^uint32(linux.O_NONBLOCK))
	}
}

// Path is where it was opened; for an object without a place, one that leads to
// it alone.
func (f *File) Path() Path { return f.path }

// Impl is what stands behind it.
func (f *File) Impl() Impl { return f.impl }

// Name is what /proc/PID/fd shows for a process whose root is that of the
// namespace; PathName has the general case.
func (f *File) Name() string {
	name, _ := PathName(f.path.Mount.ns.Root(), f.path)
	return name
}

func (f *File) isPath() bool { return f.Flags()&linux.O_PATH != 0 }

// Readable says whether it was opened for reading.
func (f *File) Readable() bool {
	m := f.Flags()
	return m&linux.O_PATH == 0 && (m&linux.O_ACCMODE == linux.O_RDONLY || m&linux.O_ACCMODE == linux.O_RDWR)
}

// Writable says whether it was opened for writing.
func (f *File) Writable() bool {
	m := f.Flags()
	return m&linux.O_PATH == 0 && (m&linux.O_ACCMODE == linux.O_WRONLY || m&linux.O_ACCMODE == linux.O_RDWR)
}

// Poll gives what is ready now.
func (f *File) Poll() wait.Events {
	if f.poller == nil {
		return wait.In | wait.Out
	}
	if l := f.lent.Load(); l != nil {
		return f.pollLent(l)
	}
	return f.poller.Poll()
}

// Queue tells of changes of readiness; nil: it is always ready.
func (f *File) Queue() *wait.Queue {
	if f.poller == nil {
		return nil
	}
	return f.poller.Queue()
}

// Attr is fstat(2).
func (f *File) Attr(ctx Context) (Attr, error) {
	node := f.path.Node()
	if a, ok := f.impl.(Attrer); ok && !f.isPath() {
		if _, keeps := node.(AttrKeeper); !keeps {
			return a.FileAttr(ctx)
		}
	}
	return node.Attr(ctx)
}

// SetStat is fchmod(2), fchown(2), futimens(3). EBADF for an O_PATH file.
func (f *File) SetStat(ctx Context, s SetAttr) error {
	if f.isPath() {
		return linux.EBADF
	}
	return SetStat(ctx, f.path, s)
}

// Sync is fsync(2) and fdatasync(2); EINVAL for what has nothing to sync.
func (f *File) Sync(ctx Context, dataOnly bool) error {
	if f.isPath() {
		return linux.EBADF
	}
	if s, ok := f.impl.(Syncer); ok {
		return s.Sync(ctx, dataOnly)
	}
	if f.path.Dentry.IsDir() || f.readerAt != nil || f.writerAt != nil {
		return nil
	}
	return linux.EINVAL
}

// Flush is what each close(2) of a descriptor does: the process's record locks
// on the file go, whichever descriptor they were taken by.
func (f *File) Flush(ctx Context) error {
	if f.isPath() {
		return nil
	}
	releaseProcessLocks(f, ctx.TGID())
	if fl, ok := f.impl.(Flusher); ok {
		return fl.Flush(ctx)
	}
	return nil
}

// Ioctl is ioctl(2), but for FIOCLEX and FIONCLEX, which are of the descriptor.
func (f *File) Ioctl(ctx Context, cmd uint32, arg uint64) (uint64, error) {
	if f.isPath() {
		return 0, linux.EBADF
	}
	switch cmd {
	case linux.FIONBIO, linux.FIOASYNC:
		flag := linux.O_NONBLOCK
		if cmd == linux.FIOASYNC {
			flag = linux.O_ASYNC
		}
		var on [4]byte
		if err := ctx.CopyIn(arg, on[:]); err != nil {
			return 0, err
		}
		if flag == linux.O_ASYNC && on != [4]byte{} && f.Queue() == nil {
			return 0, linux.ENOTTY
		}
		flags := f.Flags() &^ flag
		if on != [4]byte{} {
			flags |= flag
		}
		return 0, f.SetFlags(ctx, flags)
	}
	if i, ok := f.impl.(Ioctler); ok {
		return i.Ioctl(ctx, cmd, arg)
	}
	if cmd == linux.FIONREAD && f.readerAt != nil {
		return 0, f.bytesLeft(ctx, arg)
	}
	return 0, linux.ENOTTY
}

// bytesLeft is FIONREAD of a regular file: what is between position and end.
func (f *File) bytesLeft(ctx Context, arg uint64) error {
	a, err := f.Attr(ctx)
	if err != nil {
		return err
	}
	if a.Mode&linux.S_IFMT != linux.S_IFREG {
		return linux.ENOTTY
	}
	f.position.Lock()
	n := uint32(a.Size - f.position.at)
	f.position.Unlock()
	return ctx.CopyOut(arg, []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
}
