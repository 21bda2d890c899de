package vfs

import (
	"math"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

// Read is read(2). A stream with nothing to read blocks unless O_NONBLOCK.
func (f *File) Read(ctx Context, p []byte) (int, error) {
	if !f.Readable() {
		return 0, linux.EBADF
	}
	if f.readerAt != nil && !f.streams {
		f.position.Lock()
		n, err := f.readerAt.ReadAt(ctx, p, f.position.at)
		if n > 0 {
			f.position.at += int64(n)
		}
		f.position.Unlock()
		if n > 0 {
			notifyAt(EventAccess, f.path.Dentry)
		}
		return n, err
	}
	if f.reader == nil {
		return 0, f.cannot()
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := f.reader.ReadStream(ctx, p)
	if f.enough(n, len(p), err) {
		return n, err
	}
	return f.readOn(ctx, n, len(p), func(done int) (int, error) { return f.reader.ReadStream(ctx, p[done:]) })
}

// Unreader is a stream that takes bytes back which ReadStream has given, and which then are the
// first again.
type Unreader interface {
	Unread(p []byte)
}

// Positioned says whether Read reads at a position, which it moves.
func (f *File) Positioned() bool { return f.readerAt != nil && !f.streams }

// Unread gives p back, which Read has given, since it has not got to who asked for it. That may have
// changed it meanwhile: so a stream takes nothing from who could not write to it as well.
func (f *File) Unread(ctx Context, p []byte) {
	if u, ok := f.impl.(Unreader); ok {
		if a, err := f.Attr(ctx); err == nil && CheckMode(ctx.Creds(), &a, MayWrite) == nil {
			u.Unread(p)
		}
	} else if f.Positioned() {
		f.position.Lock()
		f.position.at = max(f.position.at-int64(len(p)), 0)
		f.position.Unlock()
	}
}

// enough says whether a read of size bytes that got n, or an error, is done with that.
func (f *File) enough(n, size int, err error) bool {
	switch {
	case err != nil && err != linux.EAGAIN, f.Flags()&linux.O_NONBLOCK != 0, f.Queue() == nil:
		return true
	case err != nil:
		return false
	}
	return n == 0 || n >= size || n >= min(f.lowWater(), size)
}

// lowWater is for how many bytes a blocking read waits.
func (f *File) lowWater() int {
	if l, ok := f.impl.(LowWaterer); ok {
		return l.LowWater()
	}
	return 1
}

// readOn waits until there is enough, or the end. n is what was read already, of size.
func (f *File) readOn(ctx Context, n, size int, read func(done int) (int, error)) (int, error) {
	done, least := max(n, 0), min(f.lowWater(), size)
	recv, _ := f.timeouts()
	var failed error
	err := wait.Until(ctx, f.Queue(), wait.Readable, recv, func() (bool, error) {
		n, err := read(done)
		if err == linux.EAGAIN {
			return false, err
		}
		done, failed = done+max(n, 0), err
		return err != nil || n == 0 || done >= least, err
	})
	if done > 0 {
		return done, failed // a signal or the time counts only if nothing has come
	}
	return 0, timedOut(err, recv)
}

// LowWaterer is a stream of which a blocking read waits for so many bytes, if it
// asks for as many: SO_RCVLOWAT of socket(7).
type LowWaterer interface {
	LowWater() int
}

// Timeouter is a stream whose blocking reads and writes end with EAGAIN after a
// while; 0 is never: SO_RCVTIMEO and SO_SNDTIMEO of socket(7).
type Timeouter interface {
	Timeouts() (recv, send time.Duration)
}

// timeouts are the points in time at which a read and a write end.
func (f *File) timeouts() (recv, send time.Time) {
	t, ok := f.impl.(Timeouter)
	if !ok {
		return
	}
	r, s := t.Timeouts()
	if r > 0 {
		recv = time.Now().Add(r)
	}
	if s > 0 {
		send = time.Now().Add(s)
	}
	return recv, send
}

// timedOut is err as a stream's reader or writer sees it: EAGAIN past the
// deadline, and a call with a deadline is not restarted (signal(7)).
func timedOut(err error, deadline time.Time) error {
	switch {
	case err == linux.ETIMEDOUT && !deadline.IsZero() && !time.Now().Before(deadline):
		return linux.EAGAIN
	case err == linux.ERESTARTSYS && !deadline.IsZero():
		return linux.EINTR
	}
	return err
}

// cannot is the error of reading or writing what has no such power.
func (f *File) cannot() error {
	if f.path.Dentry.IsDir() {
		return linux.EISDIR
	}
	return linux.EINVAL
}

// Pread is pread(2): ESPIPE for a stream, EINVAL for a negative offset.
func (f *File) Pread(ctx Context, p []byte, off int64) (int, error) {
	switch {
	case off < 0:
		return 0, linux.EINVAL
	case f.isPath():
		return 0, linux.EBADF
	case f.readerAt == nil && f.reader != nil:
		return 0, linux.ESPIPE
	case !f.Readable():
		return 0, linux.EBADF
	case f.readerAt == nil:
		return 0, f.cannot()
	}
	return f.readerAt.ReadAt(ctx, p, off)
}

// Write is write(2). A stream that is full blocks until all is written, unless
// O_NONBLOCK; a short count comes back when a signal or an error ends it.
func (f *File) Write(ctx Context, p []byte) (int, error) {
	if !f.Writable() {
		return 0, linux.EBADF
	}
	if f.writerAt != nil && !f.streams {
		f.position.Lock()
		defer f.position.Unlock()
		off := f.position.at
		if f.Flags()&linux.O_APPEND != 0 {
			off = AppendOffset
		}
		n, end, err := f.writeAt(ctx, p, off)
		if n > 0 {
			f.position.at = end
		}
		return n, err
	}
	if f.writer == nil {
		return 0, f.cannot()
	}
	return f.writeStream(ctx, p)
}

func (f *File) writeStream(ctx Context, p []byte) (int, error) {
	total, err := f.writer.WriteStream(ctx, p)
	if err != nil && err != linux.EAGAIN || total == len(p) || total > 0 && f.records || f.Flags()&linux.O_NONBLOCK != 0 || f.Queue() == nil {
		if total > 0 {
			err = nil
		}
		return total, err
	}
	_, send := f.timeouts()
	err = wait.Until(ctx, f.Queue(), wait.Writable, send, func() (bool, error) {
		for {
			n, err := f.writer.WriteStream(ctx, p[total:])
			total += n
			switch {
			case err == linux.EAGAIN:
				return false, nil
			case err != nil || total == len(p) || f.records:
				return true, err
			case n == 0:
				return false, nil
			}
			// A file that took some has not been asked to tell of room: only
			// EAGAIN promises that.
		}
	})
	if total > 0 {
		err = nil
	}
	return total, timedOut(err, send)
}

// Pwrite is pwrite(2). O_APPEND wins over the offset, as Linux has it; so does
// AppendOffset: RWF_APPEND.
func (f *File) Pwrite(ctx Context, p []byte, off int64) (int, error) {
	switch {
	case off < 0 && off != AppendOffset:
		return 0, linux.EINVAL
	case f.isPath():
		return 0, linux.EBADF
	case f.writerAt == nil && f.writer != nil:
		return 0, linux.ESPIPE
	case !f.Writable():
		return 0, linux.EBADF
	case f.writerAt == nil:
		return 0, f.cannot()
	}
	if f.Flags()&linux.O_APPEND != 0 {
		off = AppendOffset
	}
	n, _, err := f.writeAt(ctx, p, off)
	return n, err
}

// writeAt writes within RLIMIT_FSIZE (EFBIG) and clears set-id bits.
func (f *File) writeAt(ctx Context, p []byte, off int64) (int, int64, error) {
	if len(p) == 0 {
		return 0, 0, nil
	}
	p, err := f.withinLimit(ctx, p, off)
	if err != nil {
		return 0, 0, err
	}
	if err := f.clearPrivs(ctx); err != nil {
		return 0, 0, err
	}
	n, end, err := f.writerAt.WriteAt(ctx, p, off)
	if n > 0 {
		err = nil
		notifyAt(EventModify, f.path.Dentry)
	}
	return n, end, err
}

func (f *File) withinLimit(ctx Context, p []byte, off int64) ([]byte, error) {
	if off > math.MaxInt64-int64(len(p)) {
		return nil, linux.EINVAL
	}
	limit := ctx.FileSizeLimit()
	if limit > math.MaxInt64 {
		return p, nil
	}
	a, err := f.Attr(ctx)
	if err != nil {
		return nil, err
	}
	if a.Mode&linux.S_IFMT != linux.S_IFREG {
		return p, nil
	}
	if off == AppendOffset {
		off = a.Size
	}
	if uint64(off) >= limit {
		return nil, linux.EFBIG
	}
	if left := limit - uint64(off); uint64(len(p)) > left {
		p = p[:left]
	}
	return p, nil
}

// clearPrivs takes set-id bits from a file that is written to by somebody
// without CAP_FSETID: inode(7).
func (f *File) clearPrivs(ctx Context) error {
	if ctx.Creds().Has(linux.CAP_FSETID) {
		return nil
	}
	a, err := f.path.Node().Attr(ctx)
	if err != nil {
		return err
	}
	var s SetAttr
	if dropPrivs(ctx, &a, &s); s.Mask == 0 {
		return nil
	}
	return f.path.Node().SetAttr(ctx, s)
}

// Seek is lseek(2).
func (f *File) Seek(ctx Context, off int64, whence int) (int64, error) {
	if f.isPath() {
		return 0, linux.EBADF
	}
	f.position.Lock()
	defer f.position.Unlock()
	at, err := f.seek(ctx, off, whence)
	if err == nil {
		f.position.at = at
	}
	return at, err
}

func (f *File) seek(ctx Context, off int64, whence int) (int64, error) {
	if whence < linux.SEEK_SET || whence > linux.SEEK_HOLE {
		return 0, linux.EINVAL
	}
	at := f.position.at
	if s, ok := f.impl.(Seeker); ok {
		return s.Seek(ctx, at, off, whence)
	}
	isDir := f.path.Dentry.IsDir()
	if f.readerAt == nil && f.writerAt == nil && !isDir {
		return 0, linux.ESPIPE
	}
	switch whence {
	case linux.SEEK_SET:
		at = 0
	case linux.SEEK_CUR:
	default:
		if isDir {
			return 0, linux.EINVAL
		}
		a, err := f.Attr(ctx)
		if err != nil {
			return 0, err
		}
		at = a.Size
		if whence != linux.SEEK_END {
			if off < 0 || off >= a.Size {
				return 0, linux.ENXIO
			}
			if whence == linux.SEEK_DATA {
				at = off
			}
			off = 0
		}
	}
	if off > 0 && at > math.MaxInt64-off {
		return 0, linux.EOVERFLOW
	}
	if at+off < 0 {
		return 0, linux.EINVAL
	}
	return at + off, nil
}

// Truncate is ftruncate(2): EINVAL unless it is a regular file open for writing.
func (f *File) Truncate(ctx Context, size int64) error {
	switch {
	case size < 0:
		return linux.EINVAL
	case f.isPath():
		return linux.EBADF
	case !f.Writable():
		return linux.EINVAL
	}
	a, err := f.Attr(ctx)
	if err != nil {
		return err
	}
	if a.Mode&linux.S_IFMT != linux.S_IFREG {
		return linux.EINVAL
	}
	if size > a.Size && uint64(size) > ctx.FileSizeLimit() {
		return linux.EFBIG
	}
	if err := f.clearPrivs(ctx); err != nil {
		return err
	}
	if t, ok := f.impl.(Truncater); ok {
		err = t.Truncate(ctx, size)
	} else {
		err = f.path.Node().SetAttr(ctx, SetAttr{Mask: SetSize, Size: size})
	}
	if err == nil {
		notifyAt(EventModify, f.path.Dentry)
	}
	return err
}

// Allocate is fallocate(2).
func (f *File) Allocate(ctx Context, mode uint32, off, length int64) error {
	const known = linux.FALLOC_FL_KEEP_SIZE | linux.FALLOC_FL_PUNCH_HOLE | linux.FALLOC_FL_ZERO_RANGE |
		linux.FALLOC_FL_COLLAPSE_RANGE | linux.FALLOC_FL_INSERT_RANGE | linux.FALLOC_FL_UNSHARE_RANGE
	switch {
	case f.isPath():
		return linux.EBADF
	case off < 0 || length <= 0:
		return linux.EINVAL
	case mode&^known != 0,
		mode&linux.FALLOC_FL_PUNCH_HOLE != 0 && mode&linux.FALLOC_FL_KEEP_SIZE == 0,
		mode&linux.FALLOC_FL_PUNCH_HOLE != 0 && mode&linux.FALLOC_FL_ZERO_RANGE != 0:
		return linux.EOPNOTSUPP
	case !f.Writable():
		return linux.EBADF
	case f.path.Dentry.IsDir():
		return linux.EISDIR
	}
	a, err := f.Attr(ctx)
	if err != nil {
		return err
	}
	switch {
	case a.Mode&linux.S_IFMT == linux.S_IFIFO:
		return linux.ESPIPE
	case a.Mode&linux.S_IFMT != linux.S_IFREG:
		return linux.ENODEV
	case off > math.MaxInt64-length:
		return linux.EFBIG
	case mode&linux.FALLOC_FL_KEEP_SIZE == 0 && off+length > a.Size && uint64(off+length) > ctx.FileSizeLimit():
		return linux.EFBIG
	}
	al, ok := f.impl.(Allocater)
	if !ok {
		return linux.EOPNOTSUPP
	}
	return al.Allocate(ctx, mode, off, length)
}

// ReadDir emits the entries from the position on, which follows, until emit says
// false: getdents64(2). ENOTDIR if it is no directory.
func (f *File) ReadDir(ctx Context, emit func(DirEntry) bool) error {
	d := f.path.Dentry
	switch {
	case f.isPath():
		return linux.EBADF
	case !d.IsDir():
		return linux.ENOTDIR
	}
	lister, ok := f.impl.(DirLister)
	if !ok {
		if lister, ok = d.node.(DirLister); !ok {
			return linux.ENOTDIR
		}
	}
	if d.gone.Load() {
		return linux.ENOENT
	}
	f.position.Lock()
	defer f.position.Unlock()
	if f.position.at < 2 {
		if more, err := f.dots(ctx, emit); err != nil || !more {
			return err
		}
	}
	return lister.List(ctx, f.position.at-2, func(e DirEntry) bool {
		e.Next += 2
		if !emit(e) {
			return false
		}
		f.position.at = e.Next
		return true
	})
}

// dots emits "." and "..".
func (f *File) dots(ctx Context, emit func(DirEntry) bool) (more bool, err error) {
	up := walk{ctx: ctx, cur: f.path}
	if err := up.up(); err != nil {
		return false, err
	}
	for i, p := range [...]Path{f.path, up.cur} {
		if f.position.at > int64(i) {
			continue
		}
		a, err := p.Node().Attr(ctx)
		if err != nil {
			return false, err
		}
		if !emit(DirEntry{Name: "..."[:i+1], Ino: a.Ino, Type: linux.DT_DIR, Next: int64(i + 1)}) {
			return false, nil
		}
		f.position.at = int64(i + 1)
	}
	return true, nil
}

// Took says that n bytes have been read from where the file's position was, which moves
// on by them.
func (f *File) Took(n int64) {
	f.position.Lock()
	f.position.at += n
	f.position.Unlock()
	notifyAt(EventAccess, f.path.Dentry)
}
