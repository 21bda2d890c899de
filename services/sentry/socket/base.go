package socket

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// lastIno is the inode number of the newest socket.
var lastIno atomic.Uint64

// Base is what sockets of every family have: an identity, a queue and the
// timeouts of socket(7). A family embeds it and calls Init.
type Base struct {
	domain, typ, protocol int
	ino                   uint64
	uid, gid              uint32
	queue                 wait.Queue
	kept                  kept
	peek                  atomic.Int32 // SO_PEEK_OFF, and 1

	timeouts struct {
		sync.Mutex
		recv, send time.Duration
	}
}

// firstIno is above what netstat(8) takes for too short to be a socket's number.
const firstIno = 4096

// Init says what socket it is. It is called once, before the socket is shared.
func (b *Base) Init(domain, typ, protocol int) {
	b.domain, b.typ, b.protocol = domain, typ, protocol
	b.ino = firstIno + lastIno.Add(1)
}

func (b *Base) Domain() int        { return b.domain }
func (b *Base) Type() int          { return b.typ }
func (b *Base) Protocol() int      { return b.protocol }
func (b *Base) Queue() *wait.Queue { return &b.queue }

// Ino is the number in "socket:[N]", which is also the inode's.
func (b *Base) Ino() uint64 { return b.ino }

// Name is what /proc/PID/fd shows.
func (b *Base) Name() string { return fmt.Sprintf("socket:[%d]", b.ino) }

// FileAttr is what fstat(2) tells.
func (b *Base) FileAttr(ctx vfs.Context) (vfs.Attr, error) {
	return vfs.Attr{Dev: sockfs, Ino: b.ino, Mode: linux.S_IFSOCK | 0o777, Nlink: 1, UID: b.uid, GID: b.gid, Blksize: 4096}, nil
}

// sockfs is the device number of sockets' inodes.
const sockfs = 8

// Timeouts are SO_RCVTIMEO and SO_SNDTIMEO; 0 is none.
func (b *Base) Timeouts() (recv, send time.Duration) {
	b.timeouts.Lock()
	defer b.timeouts.Unlock()
	return b.timeouts.recv, b.timeouts.send
}

// SockOptBase answers the options of SOL_SOCKET that are the same for all.
func (b *Base) SockOptBase(name int) ([]byte, bool) {
	recv, send := b.Timeouts()
	switch name {
	case linux.SO_DOMAIN:
		return Int(b.domain), true
	case linux.SO_TYPE:
		return Int(b.typ), true
	case linux.SO_PROTOCOL:
		return Int(b.protocol), true
	case linux.SO_RCVTIMEO, linux.SO_RCVTIMEO_NEW:
		return timeval(recv), true
	case linux.SO_SNDTIMEO, linux.SO_SNDTIMEO_NEW:
		return timeval(send), true
	case linux.SO_COOKIE:
		return binary.LittleEndian.AppendUint64(nil, b.ino), true
	}
	return nil, false
}

// SetSockOptBase sets the options of SOL_SOCKET that are the same for all.
func (b *Base) SetSockOptBase(name int, v []byte) (known bool, err error) {
	switch name {
	case linux.SO_DOMAIN, linux.SO_TYPE, linux.SO_PROTOCOL, linux.SO_COOKIE:
		return true, linux.ENOPROTOOPT
	case linux.SO_RCVTIMEO, linux.SO_RCVTIMEO_NEW, linux.SO_SNDTIMEO, linux.SO_SNDTIMEO_NEW:
		d, err := parseTimeval(v)
		if err != nil {
			return true, err
		}
		b.timeouts.Lock()
		defer b.timeouts.Unlock()
		if name == linux.SO_RCVTIMEO || name == linux.SO_RCVTIMEO_NEW {
			b.timeouts.recv = d
		} else {
			b.timeouts.send = d
		}
		return true, nil
	}
	return false, nil
}

// peeks says whether the socket has SO_PEEK_OFF.
func (b *Base) peeks() bool {
	switch b.domain {
	case linux.AF_UNIX:
		return true
	case linux.AF_INET, linux.AF_INET6:
		return b.protocol == linux.IPPROTO_TCP || b.typ == linux.SOCK_DGRAM && (b.protocol == linux.IPPROTO_UDP || b.protocol == linux.IPPROTO_UDPLITE)
	}
	return false
}

// PeekOffset is SO_PEEK_OFF: how many bytes of what waits a peek passes over; below 0
// is none, and then peeks do not move it.
func (b *Base) PeekOffset() int { return int(b.peek.Load()) - 1 }

// PeekFrom is how many bytes a receive with these MSG_ flags passes over.
func (b *Base) PeekFrom(flags int) int {
	if flags&linux.MSG_PEEK == 0 {
		return 0
	}
	return max(b.PeekOffset(), 0)
}

// Received moves SO_PEEK_OFF past n bytes that were peeked at, or back by n bytes that
// are gone. Receives of one socket come one at a time.
func (b *Base) Received(flags, n int) {
	off := b.peek.Load()
	if off <= 0 {
		return
	}
	if flags&linux.MSG_PEEK == 0 {
		n = -n
	}
	b.peek.CompareAndSwap(off, int32(max(int64(off)+int64(n), 1)))
}

// Int is an option's value of C's type int.
func Int(v int) []byte {
	return binary.LittleEndian.AppendUint32(nil, uint32(v))
}

// Bool is an option's value of C's type int that is 0 or 1.
func Bool(v bool) []byte {
	if v {
		return Int(1)
	}
	return Int(0)
}

// ParseInt reads an option's value of C's type int, or EINVAL.
func ParseInt(v []byte) (int, error) {
	if len(v) < 4 {
		return 0, linux.EINVAL
	}
	return int(int32(binary.LittleEndian.Uint32(v))), nil
}

func timeval(d time.Duration) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(d/time.Second))
	return binary.LittleEndian.AppendUint64(b, uint64(d%time.Second/time.Microsecond))
}

func parseTimeval(v []byte) (time.Duration, error) {
	if len(v) < 16 {
		return 0, linux.EINVAL
	}
	sec, usec := int64(binary.LittleEndian.Uint64(v)), int64(binary.LittleEndian.Uint64(v[8:]))
	switch {
	case usec < 0 || usec >= 1e6:
		return 0, linux.EDOM
	case sec < 0:
		return 1, nil // Linux: a negative timeout is one that has passed
	case sec > 1<<32:
		return 0, nil
	}
	return time.Duration(sec)*time.Second + time.Duration(usec)*time.Microsecond, nil
}

// NewFile is the open file description of s, under the name that /proc shows.
// It takes over s: the last DecRef releases it.
func NewFile(s Socket, flags linux.OpenFlags) *vfs.File {
	name := "socket:[0]"
	if n, ok := s.(interface{ Name() string }); ok {
		name = n.Name()
	}
	return vfs.NewAnonFile(s, name, flags)
}
