package vfs

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

// AppendOffset as an offset of WriteAt means: at the end, atomically (O_APPEND).
const AppendOffset = -1

// Impl is what stands behind an open file description (File). It has the powers
// below that it implements. A byte slice that it is given may be memory that the
// guest can change during the call: read each byte of it at most once.
type Impl interface {
	// Release is called once, when the last reference to the File is gone.
	Release()
}

// Stream is a readable object without positions: pipes, sockets, terminals.
// With nothing to read it gives EAGAIN; File blocks and retries unless
// O_NONBLOCK is set, so an implementation never blocks. 0, nil is the end.
type StreamReader interface {
	ReadStream(ctx Context, p []byte) (int, error)
}

// StreamWriter likewise. A short count is allowed when it would block.
type StreamWriter interface {
	WriteStream(ctx Context, p []byte) (int, error)
}

// ReaderAt is a readable object with positions. 0, nil is the end.
type ReaderAt interface {
	ReadAt(ctx Context, p []byte, off int64) (int, error)
}

// WriterAt likewise. off may be AppendOffset; end is the position after the
// last byte written.
type WriterAt interface {
	WriteAt(ctx Context, p []byte, off int64) (n int, end int64, err error)
}

// Streamer is an object with positions whose read(2) and write(2) nevertheless go
// by the stream powers, because the position is not File's own: a host file that
// others have open too. Seeker tells and moves it.
type Streamer interface {
	StreamReader
	StreamWriter
	Streams()
}

// Recorder is a StreamWriter that takes one record a write: a short count is
// final. An eventfd takes 8 bytes of however many.
type Recorder interface {
	StreamWriter
	Records()
}

// Poller is an object whose readiness changes. An object without it is always
// readable and writable, and epoll refuses it with EPERM.
type Poller interface {
	// Poll gives what is ready now, of all events.
	Poll() wait.Events
	// Queue is where changes are told.
	Queue() *wait.Queue
}

// Seeker has its own idea of positions: directories, SEEK_DATA and SEEK_HOLE.
// Without it, File seeks by Attr's size.
type Seeker interface {
	Seek(ctx Context, cur, off int64, whence int) (int64, error)
}

// Ioctler answers ioctl(2). Arguments that are addresses are reached through
// ctx. ENOTTY for what it does not know. FIONBIO, FIOCLEX are File's own.
type Ioctler interface {
	Ioctl(ctx Context, cmd uint32, arg uint64) (uint64, error)
}

// Mapper is an object that can be mapped. The host descriptor stays the
// implementation's; it is opened with exactly the access the File has. off is
// added to the guest's offset.
type Mapper interface {
	MapFD(ctx Context, shared, write bool) (fd int, off int64, err error)
}

// AnonymousMapper is an object whose mapping is anonymous memory, private or
// shared: /dev/zero. It needs no descriptor.
type AnonymousMapper interface {
	MapAnonymous()
}

// Attrer is an open object that knows its attributes better than its Node, or
// has no Node.
type Attrer interface {
	FileAttr(ctx Context) (Attr, error)
}

// Truncater is an open object that is truncated through its own descriptor.
type Truncater interface {
	Truncate(ctx Context, size int64) error
}

// Allocater answers fallocate(2).
type Allocater interface {
	Allocate(ctx Context, mode uint32, off, length int64) error
}

// Syncer answers fsync(2) and fdatasync(2).
type Syncer interface {
	Sync(ctx Context, dataOnly bool) error
}

// Flusher is told of each close(2) of a descriptor of it.
type Flusher interface {
	Flush(ctx Context) error
}

// FlagSetter is told when fcntl(F_SETFL) changes the status flags.
type FlagSetter interface {
	SetFlags(ctx Context, flags linux.OpenFlags) error
}

// HostFile is an object that is one host descriptor at the same position: bulk
// copies (sendfile, copy_file_range, splice) may use it directly.
type HostFile interface {
	HostFD() int
}

// AttrKeeper is a Node whose attributes count for an open file of it too, though
// its Impl may know others: an overlay's, opened from the lower file system.
type AttrKeeper interface {
	NodeAttr()
}

// WritableMapper is a Mapper whose descriptor can always write, also where the
// File cannot. Whoever maps it sees to it that the mapping cannot.
type WritableMapper interface {
	Mapper
	MapsWritable()
}
