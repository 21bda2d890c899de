package link

import "encoding/binary"

// VirtioSize is the length of the virtio-net header that frames carry in front,
// in bytes: virtio 1.2, 5.1.6, without num_buffers. Its fields are in the
// machine's own byte order: packet(7) and the kernel's tuntap documentation
// speak of the legacy layout.
const VirtioSize = 10

// Flags and kinds of segmentation: linux/virtio_net.h.
const (
	virtioSumDue  = 1
	virtioSumGood = 2

	virtioTCP4 = 1
	virtioTCP6 = 4
	virtioUDP  = 5
	virtioECN  = 0x80
)

var native = binary.NativeEndian

// putVirtio writes o to b, of VirtioSize bytes.
func putVirtio(b []byte, o *Offload) {
	clear(b[:VirtioSize])
	if o.SumDue {
		b[0] = virtioSumDue
		native.PutUint16(b[6:], o.SumStart)
		native.PutUint16(b[8:], o.SumOffset)
	}
	switch o.GSO {
	case GSOTCP4:
		b[1] = virtioTCP4
	case GSOTCP6:
		b[1] = virtioTCP6
	case GSOUDP:
		b[1] = virtioUDP
	default:
		return
	}
	native.PutUint16(b[2:], o.HeaderSize)
	native.PutUint16(b[4:], o.SegmentSize)
}

// parseVirtio reads the header of a frame of size bytes. What it cannot mean is
// taken as not said: the packet is then checked like any other.
func parseVirtio(b []byte, size int) Offload {
	var o Offload
	switch b[1] &^ virtioECN {
	case virtioTCP4:
		o.GSO = GSOTCP4
	case virtioTCP6:
		o.GSO = GSOTCP6
	case virtioUDP:
		o.GSO = GSOUDP
	}
	if o.GSO != GSONone {
		o.HeaderSize = native.Uint16(b[2:])
		o.SegmentSize = native.Uint16(b[4:])
		if o.SegmentSize == 0 || int(o.HeaderSize) > size {
			o.GSO, o.HeaderSize, o.SegmentSize = GSONone, 0, 0
		}
	}
	if b[0]&virtioSumDue != 0 {
		start, offset := native.Uint16(b[6:]), native.Uint16(b[8:])
		if int(start)+int(offset)+2 <= size {
			o.SumDue, o.SumStart, o.SumOffset = true, start, offset
		}
	}
	o.SumGood = b[0]&virtioSumGood != 0
	return o
}

// minSegment is the least that a guest's packet that stands for several may have in each, in
// bytes.
const minSegment = 48

// ParseVirtio reads the header of a frame of size bytes that a program wrote, whose IP header
// begins at head. It is false if it means what cannot be done: a packet of several whose
// checksums are not to be filled in, or whose headers are not those of its kind.
func ParseVirtio(b [VirtioSize]byte, head, size int) (o Offload, ok bool) {
	kind := b[1] &^ virtioECN
	if o = parseVirtio(b[:], size); o.GSO == GSONone {
		return o, kind == 0 && (b[0]&virtioSumDue == 0 || o.SumDue)
	}
	at, least := uint16(16), 20 // of the checksum in TCP's header, and that header
	if o.GSO == GSOUDP {
		at, least = 6, 8
	}
	return o, o.SumDue && o.SumOffset == at && int(o.SumStart) >= head+20 && int(o.HeaderSize) >= int(o.SumStart)+least && o.SegmentSize >= minSegment
}
