package gofs

import (
	"container/list"
	"math"
	"sync"

	"golang.org/x/sys/unix"

	pb "bulkhead/proto/gofer/v1"
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// hostFile is a donated descriptor. The open files of one node with the same
// access share it, and it stays for a while after the last: opening the file
// again then costs nothing.
type hostFile struct {
	node   *inode
	fd     int
	access int // linux.O_RDONLY, O_WRONLY, O_RDWR

	users   int           // guarded by node.mu
	guessed bool          // likewise: nobody has used it yet
	habit   *habit        // likewise: what to tell if somebody does, or nil
	element *list.Element // guarded by idleFiles.mu
}

func (h *hostFile) idle() bool { return h.users == 0 }

// idleFiles are the descriptors without users, youngest first.
type idleFiles struct {
	mu    sync.Mutex
	order list.List
}

// maxIdle is the most descriptors without users. Of those that can write, a
// shared tree keeps none: others would find the file busy (ETXTBSY).
const maxIdle = 256

// openFile is an open file description of a regular file. Positions are File's.
type openFile struct {
	h    *hostFile
	sync int // RWF_ flags that O_SYNC or O_DSYNC ask for
}

var (
	_ vfs.ReaderAt  = (*openFile)(nil)
	_ vfs.WriterAt  = (*openFile)(nil)
	_ vfs.Seeker    = (*openFile)(nil)
	_ vfs.Mapper    = (*openFile)(nil)
	_ vfs.Attrer    = (*openFile)(nil)
	_ vfs.Truncater = (*openFile)(nil)
	_ vfs.Allocater = (*openFile)(nil)
	_ vfs.Syncer    = (*openFile)(nil)
	_ vfs.HostFile  = (*openFile)(nil)
)

// Open gives a file its descriptor: one that is there, or a new one.
func (f *file) Open(ctx vfs.Context, flags linux.OpenFlags) (vfs.Impl, error) {
	access := accessOf(flags)
	if f.fs.readOnly && access != int(linux.O_RDONLY) {
		return nil, linux.EROFS
	}
	if h := f.use(access); h != nil {
		return newOpenFile(h, flags), nil
	}
	if access == int(linux.O_RDONLY) {
		f.fs.guessed(+1) // it would have paid
		if h := f.openTogether(); h != nil {
			return newOpenFile(h, flags), nil
		}
	}
	_, fds, err := f.on(func(t *pb.Target) *pb.Request {
		return &pb.Request{Op: &pb.Request_Open{Open: &pb.OpenRequest{Target: t, Access: pb.Access(access + 1)}}}
	})
	if err != nil {
		return nil, err
	}
	h, err := f.donated(fds, access)
	if err != nil {
		return nil, err
	}
	return newOpenFile(h, flags), nil
}

// accessOf is the access mode. 3 asks for both (open(2)).
func accessOf(flags linux.OpenFlags) int {
	return min(int(flags&linux.O_ACCMODE), int(linux.O_RDWR))
}

func newOpenFile(h *hostFile, flags linux.OpenFlags) *openFile {
	o := &openFile{h: h}
	switch {
	case flags.Has(linux.O_SYNC):
		o.sync = unix.RWF_SYNC
	case flags.Has(linux.O_DSYNC):
		o.sync = unix.RWF_DSYNC
	}
	return o
}

// use gives the descriptor of that access, if there is one.
func (n *inode) use(access int) *hostFile {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.files[access]
	if h == nil {
		return nil
	}
	if h.users++; h.users == 1 {
		n.fs.idle.remove(h)
	}
	if h.guessed {
		h.tellUsed(true)
	}
	return h
}

// Bounds of FS.guess. Opening with the look-up saves the later round trip; where
// files are only looked at, it is a descriptor for nothing.
const (
	guessMost  = 16
	guessLeast = -64
)

// guessOpen says whether a look-up should bring a descriptor along.
func (fs *FS) guessOpen() bool { return fs.guess.Load() > 0 }

func (fs *FS) guessed(by int32) {
	if g := fs.guess.Load() + by; g >= guessLeast && g <= guessMost {
		fs.guess.Store(g) // a lost update does not matter
	}
}

// tellUsed says whether a descriptor that nobody had asked for was used. It is called
// with node.mu held.
func (h *hostFile) tellUsed(ok bool) {
	h.guessed = false
	switch {
	case h.habit != nil:
		h.habit.used(ok)
	case ok:
		h.node.fs.guessed(+1)
	default:
		h.node.fs.guessed(-1)
	}
}

// offer takes a descriptor for reading that came with a look-up of n.
func (n *inode) offer(fds []int) { n.offerAs(fds, nil) }

// offerAs is offer of one that came by such a habit.
func (n *inode) offerAs(fds []int, why *habit) {
	if len(fds) == 0 {
		return
	}
	if n.typ != linux.S_IFREG {
		closeAll(fds)
		return
	}
	h, err := n.donated(fds, int(linux.O_RDONLY))
	if err != nil {
		return
	}
	n.mu.Lock()
	if h.users == 1 {
		h.guessed, h.habit = true, why
	}
	n.mu.Unlock()
	h.release()
}

// donated takes what the gofer sent for an open of n. EIO unless it is one
// descriptor, of that file and of that access.
func (n *inode) donated(fds []int, access int) (*hostFile, error) {
	if len(fds) != 1 {
		closeAll(fds)
		return nil, linux.EIO
	}
	fd := fds[0]
	var st unix.Stat_t
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err != nil || flags&unix.O_ACCMODE != access || flags&(unix.O_APPEND|unix.O_PATH|unix.O_DIRECT) != 0 ||
		st.Mode&unix.S_IFMT != unix.S_IFREG || st.Ino != n.key.ino || st.Dev != n.key.dev {
		unix.Close(fd)
		return nil, linux.EIO
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.files[access]; h != nil { // two opened at once
		unix.Close(fd)
		if h.users++; h.users == 1 {
			n.fs.idle.remove(h)
		}
		return h, nil
	}
	h := &hostFile{node: n, fd: fd, access: access, users: 1}
	n.files[access] = h
	n.attr, n.stale = attrOfStat(&st, n.attr.Btime), false
	return h, nil
}

// release ends one use.
func (h *hostFile) release() {
	n := h.node
	n.fs.place.RLock()
	gone := n.gone
	n.fs.place.RUnlock()
	n.mu.Lock()
	h.users--
	last := h.users == 0
	if last && (gone || n.fs.shared && h.access != int(linux.O_RDONLY)) {
		n.closeLocked(h)
		last = false
	}
	if last {
		n.fs.idle.add(h)
	}
	n.mu.Unlock()
	if last {
		n.fs.idle.shrink(maxIdle)
	}
}

// closeLocked closes a descriptor without users, and takes along what it knows.
func (n *inode) closeLocked(h *hostFile) {
	if n.dirty.Load() || n.mapped.Load() {
		n.readFDLocked()
	}
	if h.guessed {
		h.tellUsed(false)
	}
	n.files[h.access] = nil
	if n.files == [3]*hostFile{} {
		n.mapped.Store(false)
	}
	unix.Close(h.fd)
}

// closeIdle closes the descriptors of n that nobody uses: it has lost its name.
func (n *inode) closeIdle() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.files {
		if h != nil && h.idle() {
			n.fs.idle.remove(h)
			n.closeLocked(h)
		}
	}
}

// inUse says that an open file is behind n.
func (n *inode) inUse() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.files {
		if h != nil && !h.idle() {
			return true
		}
	}
	return false
}

func (l *idleFiles) add(h *hostFile) {
	l.mu.Lock()
	h.element = l.order.PushFront(h)
	l.mu.Unlock()
}

func (l *idleFiles) remove(h *hostFile) {
	l.mu.Lock()
	if h.element != nil {
		l.order.Remove(h.element)
		h.element = nil
	}
	l.mu.Unlock()
}

// shrink closes the oldest above most.
func (l *idleFiles) shrink(most int) {
	for {
		l.mu.Lock()
		back := l.order.Back()
		if back == nil || l.order.Len() <= most {
			l.mu.Unlock()
			return
		}
		h := back.Value.(*hostFile)
		l.order.Remove(back)
		h.element = nil
		l.mu.Unlock()

		n := h.node
		n.mu.Lock()
		// Somebody may have begun to use it, or closed it, meanwhile.
		if h.idle() && n.files[h.access] == h {
			l.remove(h)
			n.closeLocked(h)
		}
		n.mu.Unlock()
	}
}

// truncateFD sets the size through a descriptor that can write, if there is one.
func (n *inode) truncateFD(size int64) (done bool, err error) {
	h := n.use(int(linux.O_RDWR))
	if h == nil {
		h = n.use(int(linux.O_WRONLY))
	}
	if h == nil {
		return false, nil
	}
	defer h.release()
	return true, h.truncate(size)
}

func (h *hostFile) truncate(size int64) error {
	h.node.dirty.Store(true)
	return eintr(func() error { return unix.Ftruncate(h.fd, size) })
}

// eintr repeats a host call that one of Go's own signals interrupted.
func eintr(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// Release ends the open file.
func (o *openFile) Release() { o.h.release() }

// HostFD is the donated descriptor.
func (o *openFile) HostFD() int { return o.h.fd }

// ReadAt is pread(2).
func (o *openFile) ReadAt(ctx vfs.Context, p []byte, off int64) (n int, err error) {
	err = eintr(func() error {
		n, err = unix.Pread(o.h.fd, p, off)
		return err
	})
	return max(n, 0), err
}

// WriteAt is pwrite(2), or an atomic append.
func (o *openFile) WriteAt(ctx vfs.Context, p []byte, off int64) (int, int64, error) {
	if off == vfs.AppendOffset {
		return o.append(ctx, p)
	}
	n, err := o.write(p, off, o.sync)
	return n, off + int64(n), err
}

func (o *openFile) write(p []byte, off int64, flags int) (n int, err error) {
	// Before, so that who sees the bytes sees the size: and after, so that a
	// stat that came in between is not the last word.
	o.h.node.dirty.Store(true)
	defer o.h.node.dirty.Store(true)
	err = eintr(func() error {
		if flags == 0 {
			n, err = unix.Pwrite(o.h.fd, p, off)
		} else {
			n, err = unix.Pwritev2(o.h.fd, [][]byte{p}, off, flags)
		}
		return err
	})
	return max(n, 0), err
}

// append writes at the end. The host makes it atomic, also towards others who
// append to a shared file; the position after it is exact among ourselves.
func (o *openFile) append(ctx vfs.Context, p []byte) (int, int64, error) {
	n := o.h.node
	n.appending.Lock()
	defer n.appending.Unlock()
	if limit := ctx.FileSizeLimit(); limit < math.MaxInt64 {
		var st unix.Stat_t
		if err := unix.Fstat(o.h.fd, &st); err != nil {
			return 0, 0, err
		}
		if st.Size >= int64(limit) {
			return 0, st.Size, linux.EFBIG
		}
		if room := int64(limit) - st.Size; int64(len(p)) > room {
			p = p[:room]
		}
	}
	w, err := o.write(p, 0, o.sync|unix.RWF_APPEND)
	if err != nil {
		return w, 0, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(o.h.fd, &st); err != nil {
		return w, 0, err
	}
	return w, st.Size, nil
}

// Seek gives the new position. The host finds data and holes.
func (o *openFile) Seek(ctx vfs.Context, cur, off int64, whence int) (int64, error) {
	base := int64(0)
	switch whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		base = cur
	case unix.SEEK_END:
		a, err := o.FileAttr(ctx)
		if err != nil {
			return 0, err
		}
		base = a.Size
	case unix.SEEK_DATA, unix.SEEK_HOLE:
		return unix.Seek(o.h.fd, off, whence)
	default:
		return 0, linux.EINVAL
	}
	if off > 0 && base > math.MaxInt64-off {
		return 0, linux.EOVERFLOW
	}
	if base+off < 0 {
		return 0, linux.EINVAL
	}
	return base + off, nil
}

// MapFD gives the donated descriptor.
func (o *openFile) MapFD(ctx vfs.Context, shared, write bool) (int, int64, error) {
	if shared && write {
		o.h.node.mapped.Store(true)
	}
	return o.h.fd, 0, nil
}

// FileAttr never asks the gofer.
func (o *openFile) FileAttr(ctx vfs.Context) (vfs.Attr, error) {
	n := o.h.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dirty.Load() || n.mapped.Load() || n.stale || n.fs.shared {
		if !n.readFDLocked() {
			return vfs.Attr{}, linux.EIO
		}
	}
	return n.attr, nil
}

// Truncate is ftruncate(2).
func (o *openFile) Truncate(ctx vfs.Context, size int64) error { return o.h.truncate(size) }

// Allocate is fallocate(2).
func (o *openFile) Allocate(ctx vfs.Context, mode uint32, off, length int64) error {
	o.h.node.dirty.Store(true)
	return eintr(func() error { return unix.Fallocate(o.h.fd, mode, off, length) })
}

// Sync is fsync(2) or fdatasync(2).
func (o *openFile) Sync(ctx vfs.Context, dataOnly bool) error {
	return eintr(func() error {
		if dataOnly {
			return unix.Fdatasync(o.h.fd)
		}
		return unix.Fsync(o.h.fd)
	})
}
