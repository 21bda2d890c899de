package channel

import (
	"encoding/binary"
	"errors"
	"sync"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Limits of a frame.
const (
	// MaxBody is the most bytes of a message.
	MaxBody = 64 << 10
	// MaxFDs is the most descriptors of a frame.
	MaxFDs = 8

	headerSize = 8
)

var (
	// ErrTooLarge refuses to send a message above MaxBody bytes or more than
	// MaxFDs descriptors. The connection is unharmed.
	ErrTooLarge = errors.New("channel: frame too large")
	// ErrClosed is what calls get after Close.
	ErrClosed = errors.New("channel: connection closed")
	// ErrPeerGone is what calls get when the other side has closed or died.
	ErrPeerGone = errors.New("channel: peer is gone")

	errShort     = errors.New("channel: peer sent a frame without a header")
	errTruncated = errors.New("channel: peer sent a frame that is too large")
	errCtrlCut   = errors.New("channel: peer sent too many descriptors")
	errCtrlOdd   = errors.New("channel: peer sent odd control data")
)

// Frame is one received packet. It belongs to whoever received it, until
// Release; so do its descriptors.
type Frame struct {
	ID   uint64
	Body []byte
	// FDs are close-on-exec. Whoever keeps them sets the field to nil.
	FDs []int

	buf []byte
	fds [MaxFDs]int
}

var frames = sync.Pool{New: func() any {
	return &Frame{buf: make([]byte, headerSize+MaxBody)}
}}

// Release closes what descriptors were left in f and recycles it. Neither f nor
// its Body may be used after.
func (f *Frame) Release() {
	f.closeFDs()
	f.Body = nil
	frames.Put(f)
}

func (f *Frame) closeFDs() {
	for _, fd := range f.FDs {
		unix.Close(fd)
	}
	f.FDs = nil
}

// Unmarshal decodes the body into m, which keeps no reference to it.
func (f *Frame) Unmarshal(m proto.Message) error { return proto.Unmarshal(f.Body, m) }

// parse checks a packet of n bytes with its control data.
func (f *Frame) parse(n int, oob []byte, flags int) error {
	ctrl := f.takeRights(oob)
	switch {
	case flags&unix.MSG_CTRUNC != 0:
		return errCtrlCut
	case ctrl != nil:
		return ctrl
	case flags&unix.MSG_TRUNC != 0:
		return errTruncated
	case n < headerSize:
		return errShort
	}
	f.ID = binary.LittleEndian.Uint64(f.buf)
	f.Body = f.buf[headerSize:n]
	return nil
}

// takeRights collects the descriptors that the kernel has already installed, so
// that none leaks whatever else is wrong.
func (f *Frame) takeRights(oob []byte) error {
	f.FDs = nil
	if len(oob) == 0 {
		return nil
	}
	f.FDs = f.fds[:0]
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return errCtrlOdd
	}
	var odd error
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			odd = errCtrlOdd
			continue
		}
		for _, fd := range fds {
			if len(f.FDs) == MaxFDs {
				unix.Close(fd)
				odd = errCtrlCut
				continue
			}
			f.FDs = append(f.FDs, fd)
		}
	}
	return odd
}
