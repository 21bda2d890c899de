package link

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// NewStream makes a device of a stream socket on which each frame follows its
// length, 4 bytes big-endian: how passt(1) and QEMU's socket back-end speak.
func NewStream(c Config) (Device, error) {
	c.Virtio = false
	return newPort(c, &streamWire{buffer: make([]byte, 4*frameSize)})
}

const lengthSize = 4

// streamWire cuts a stream into frames.
type streamWire struct {
	buffer  []byte
	packets [receiveBatch]Packet
	from    int // what is received and not yet given away: buffer[from:to]
	to      int

	// The rest of a frame of which the socket took only a part.
	rest []byte
}

func (w *streamWire) receive(fd int, in []*Packet) ([]*Packet, error) {
	if in, err := w.cut(in); err != nil || len(in) > 0 {
		return in, err
	}
	w.to = copy(w.buffer, w.buffer[w.from:w.to])
	w.from = 0
	n, err := unix.Read(fd, w.buffer[w.to:])
	if err != nil {
		return in, err
	}
	if n == 0 {
		return in, unix.EPIPE
	}
	w.to += n
	return w.cut(in)
}

// cut takes whole frames from the buffer. A length that no frame has means that
// the two ends no longer agree where frames begin: EPROTO.
func (w *streamWire) cut(in []*Packet) ([]*Packet, error) {
	for len(in) < receiveBatch && w.to-w.from >= lengthSize {
		b := w.buffer[w.from:w.to]
		n := binary.BigEndian.Uint32(b)
		if n == 0 || n > frameSize {
			return in, unix.EPROTO
		}
		b = b[lengthSize:]
		if len(b) < int(n) {
			break
		}
		p := &w.packets[len(in)]
		p.Header, p.Payload, p.Trusted, p.Offload = b[:n], nil, false, Offload{}
		in = append(in, p)
		w.from += lengthSize + int(n)
	}
	return in, nil
}

// send sends whole frames. Of one that the socket takes in part, the rest is kept
// and goes before everything else.
func (w *streamWire) send(fd int, batch []*Packet) (int, error) {
	if len(w.rest) > 0 {
		n, err := unix.Write(fd, w.rest)
		if err != nil {
			return 0, err
		}
		if w.rest = w.rest[n:]; len(w.rest) > 0 {
			return 0, unix.EAGAIN
		}
	}
	for i, p := range batch {
		var head [lengthSize]byte
		binary.BigEndian.PutUint32(head[:], uint32(p.Size()))
		vec := appendPacket([]unix.Iovec{{Base: &head[0], Len: lengthSize}}, p)
		n, _, errno := unix.Syscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&vec[0])), uintptr(len(vec)))
		if errno != 0 {
			return i, errno
		}
		if int(n) < lengthSize+p.Size() {
			whole := append(append(head[:], p.Header...), p.Payload...)
			w.rest = append(w.rest[:0], whole[n:]...)
			return i + 1, nil
		}
	}
	return len(batch), nil
}
