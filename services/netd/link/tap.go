package link

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// NewTAP makes a device of the descriptor of a TAP interface that was opened with
// IFF_NO_PI, and with IFF_VNET_HDR if c says Virtio.
func NewTAP(c Config) (Device, error) {
	return newPort(c, &tapWire{virtio: c.Virtio, buffer: make([]byte, VirtioSize+frameSize)})
}

// tapWire moves a frame a call: there is no call for more.
type tapWire struct {
	virtio bool
	buffer []byte
	packet Packet
	head   [VirtioSize]byte
	vec    [3]unix.Iovec
}

func (w *tapWire) receive(fd int, in []*Packet) ([]*Packet, error) {
	n, err := unix.Read(fd, w.buffer)
	if err != nil {
		return in, err
	}
	if n == 0 {
		return in, unix.EPIPE
	}
	b, p := w.buffer[:n], &w.packet
	p.Offload = Offload{}
	if w.virtio {
		if n < VirtioSize {
			return in, nil
		}
		p.Offload = parseVirtio(b, n-VirtioSize)
		b = b[VirtioSize:]
	}
	p.Header, p.Payload, p.Trusted = b, nil, false
	return append(in, p), nil
}

func (w *tapWire) send(fd int, batch []*Packet) (int, error) {
	for i, p := range batch {
		vec := w.vec[:0]
		if w.virtio {
			putVirtio(w.head[:], &p.Offload)
			vec = append(vec, unix.Iovec{Base: &w.head[0], Len: VirtioSize})
		}
		vec = appendPacket(vec, p)
		if _, _, errno := unix.Syscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&vec[0])), uintptr(len(vec))); errno != 0 {
			return i, errno
		}
	}
	return len(batch), nil
}
