package link

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// NewPacket makes a device of an AF_PACKET socket of type SOCK_RAW that is bound
// to an interface: packet(7). Any socket that keeps the bounds of messages does.
func NewPacket(c Config) (Device, error) {
	w := &packetWire{virtio: c.Virtio}
	w.prepare()
	return newPort(c, w)
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	n uint32
	_ [4]byte
}

// packetWire moves many frames by one call each way.
type packetWire struct {
	virtio bool

	in      [receiveBatch]mmsghdr
	inVec   [receiveBatch]unix.Iovec
	buffers [receiveBatch][]byte
	packets [receiveBatch]Packet

	out     [sendBatch]mmsghdr
	outVec  [sendBatch][3]unix.Iovec
	outHead [sendBatch][VirtioSize]byte
}

func (w *packetWire) prepare() {
	const size = VirtioSize + frameSize
	room := make([]byte, receiveBatch*size)
	for i := range w.in {
		w.buffers[i] = room[i*size : (i+1)*size]
		w.inVec[i] = unix.Iovec{Base: &w.buffers[i][0], Len: size}
		w.in[i].Iov, w.in[i].Iovlen = &w.inVec[i], 1
	}
	for i := range w.out {
		w.out[i].Iov = &w.outVec[i][0]
	}
}

func (w *packetWire) receive(fd int, in []*Packet) ([]*Packet, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&w.in[0])), receiveBatch, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return in, errno
	}
	for i := range int(n) {
		m := &w.in[i]
		b := w.buffers[i][:min(int(m.n), len(w.buffers[i]))]
		if m.Flags&unix.MSG_TRUNC != 0 {
			continue
		}
		p := &w.packets[i]
		p.Offload = Offload{}
		if w.virtio {
			if len(b) < VirtioSize {
				continue
			}
			p.Offload = parseVirtio(b, len(b)-VirtioSize)
			b = b[VirtioSize:]
		}
		p.Header, p.Payload, p.Trusted = b, nil, false
		in = append(in, p)
	}
	return in, nil
}

func (w *packetWire) send(fd int, batch []*Packet) (int, error) {
	for i, p := range batch {
		vec := w.outVec[i][:0]
		if w.virtio {
			putVirtio(w.outHead[i][:], &p.Offload)
			vec = append(vec, unix.Iovec{Base: &w.outHead[i][0], Len: VirtioSize})
		}
		vec = appendPacket(vec, p)
		w.out[i].Iovlen = uint64(len(vec))
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&w.out[0])), uintptr(len(batch)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// appendPacket appends the pieces of p that are not empty.
func appendPacket(vec []unix.Iovec, p *Packet) []unix.Iovec {
	if len(p.Header) > 0 {
		vec = append(vec, unix.Iovec{Base: &p.Header[0], Len: uint64(len(p.Header))})
	}
	if len(p.Payload) > 0 {
		vec = append(vec, unix.Iovec{Base: &p.Payload[0], Len: uint64(len(p.Payload))})
	}
	return vec
}
