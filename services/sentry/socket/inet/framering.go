package inet

import (
	"encoding/binary"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// packetRing is a ring of frames that a packet socket shares with the guest:
// Documentation/networking/packet_mmap.rst. The memory is the guest's to write: nothing that
// is read from it is used but the status of a frame or a block, which says at worst that one
// of the guest's own is free.
type packetRing interface {
	// descriptor is that of the memory.
	descriptor() int
	// free says whether there is room for a frame.
	free() bool
	// put adds f, whose first n bytes data gives.
	put(f *frame, data func(n int) []byte, now time.Time) error
	// filled says whether what was filled last is still the guest's to read.
	filled() bool
	close()
}

// frameRing is the ring of TPACKET_V1 and TPACKET_V2, in which each frame is the guest's by
// itself.
type frameRing struct {
	fd       int
	version  int
	block    int // bytes of a block
	frame    int // bytes of a frame
	perBlock int
	frames   int
	next     int // the frame that is filled next
	reserve  int
	cooked   bool
	buf      []byte // a frame being made
}

// Bounds of a ring.
const (
	maxRing    = 64 << 20 // bytes
	maxReserve = 1 << 16
)

// sizeofFrameHeader is the size of struct tpacket2_hdr in bytes, and of struct tpacket_hdr
// as far as what follows is aligned; frameAlign is
// TPACKET_ALIGNMENT.
const (
	sizeofFrameHeader = 32
	frameAlign        = 16
)

// ringMemory is the memfd of a packet socket's rings, one after another. It stays
// the same until the socket goes: a descriptor that is just being mapped must not
// become another file's.
type ringMemory struct{ file *os.File }

// empty makes it so many bytes, all zero, and gives the descriptor.
func (m *ringMemory) empty(size int64) (int, error) {
	if m.file == nil {
		fd, err := unix.MemfdCreate("packets", unix.MFD_CLOEXEC)
		if err != nil {
			return -1, err
		}
		m.file = os.NewFile(uintptr(fd), "packets")
	}
	fd := int(m.file.Fd())
	if err := unix.Ftruncate(fd, 0); err != nil {
		return -1, err
	}
	return fd, unix.Ftruncate(fd, size)
}

func (m *ringMemory) close() {
	if m.file != nil {
		m.file.Close()
	}
}

// newFrameRing makes the ring that a struct tpacket_req asks for, in memory: EINVAL,
// ENOMEM.
func newFrameRing(memory *ringMemory, v []byte, version, reserve int, cooked bool) (*frameRing, error) {
	word := func(i int) int { return int(binary.LittleEndian.Uint32(v[4*i:])) }
	r := &frameRing{version: version, block: word(0), frame: word(2), frames: word(3), reserve: reserve, cooked: cooked}
	blocks := word(1)
	_, head := places(sizeofFrameHeader, cooked, reserve)
	switch {
	case r.block <= 0 || r.block%4096 != 0 || r.block > maxRing:
		return nil, linux.EINVAL
	case r.frame < head || r.frame%frameAlign != 0 || r.frame > r.block:
		return nil, linux.EINVAL
	case blocks <= 0:
		return nil, linux.EINVAL
	case blocks > maxRing/r.block:
		return nil, linux.ENOMEM
	}
	if r.perBlock = r.block / r.frame; r.frames != r.perBlock*blocks {
		return nil, linux.EINVAL
	}
	fd, err := memory.empty(int64(r.block) * int64(blocks))
	if err != nil {
		return nil, linux.ENOMEM
	}
	r.fd = fd
	return r, nil
}

func (r *frameRing) descriptor() int { return r.fd }

func (r *frameRing) close() {} // its memory is the socket's

// places is where in a frame the link header and the packet begin, behind a header of so many
// bytes.
func places(header int, cooked bool, reserve int) (mac, network int) {
	align := func(n int) int { return (n + frameAlign - 1) &^ (frameAlign - 1) }
	head := header + sizeofSockaddrLL
	if cooked {
		network = align(head) + 16 + reserve
		return network, network
	}
	network = align(head+16) + reserve
	return network - etherHeader, network
}

// at is where frame i begins.
func (r *frameRing) at(i int) int64 {
	return int64(i/r.perBlock)*int64(r.block) + int64(i%r.perBlock)*int64(r.frame)
}

// status is frame i's, and a ring that cannot be read has no free frame.
func (r *frameRing) status(i int) uint32 { return statusAt(r.fd, r.at(i)) }

func statusAt(fd int, at int64) uint32 {
	var b [4]byte
	if n, err := unix.Pread(fd, b[:], at); err != nil || n != len(b) {
		return linux.TP_STATUS_USER
	}
	return binary.LittleEndian.Uint32(b[:])
}

// filled says whether the frame that was filled last is still the guest's to read.
func (r *frameRing) filled() bool {
	return r.status((r.next+r.frames-1)%r.frames) != linux.TP_STATUS_KERNEL
}

// free says whether there is a frame to fill.
func (r *frameRing) free() bool { return r.status(r.next) == linux.TP_STATUS_KERNEL }

// put fills the next frame with f, whose first n bytes data gives.
func (r *frameRing) put(f *frame, data func(n int) []byte, now time.Time) error {
	mac, network := places(sizeofFrameHeader, r.cooked, r.reserve)
	n := min(f.size, r.frame-mac)
	if cap(r.buf) < r.frame {
		r.buf = make([]byte, r.frame)
	}
	b := r.buf[:mac+max(n, 0)]
	clear(b[:mac])
	le := binary.LittleEndian
	if r.version == linux.TPACKET_V1 {
		le.PutUint32(b[8:], uint32(f.length))
		le.PutUint32(b[12:], uint32(n))
		le.PutUint16(b[16:], uint16(mac))
		le.PutUint16(b[18:], uint16(network))
		le.PutUint32(b[20:], uint32(now.Unix()))
		le.PutUint32(b[24:], uint32(now.Nanosecond()/1000))
	} else {
		le.PutUint32(b[4:], uint32(f.length))
		le.PutUint32(b[8:], uint32(n))
		le.PutUint16(b[12:], uint16(mac))
		le.PutUint16(b[14:], uint16(network))
		le.PutUint32(b[16:], uint32(now.Unix()))
		le.PutUint32(b[20:], uint32(now.Nanosecond()))
	}
	copy(b[sizeofFrameHeader:], f.address())
	copy(b[mac:], data(n))
	at := r.at(r.next)
	// The status comes last: it gives the frame away.
	if _, err := unix.Pwrite(r.fd, b[4:], at+4); err != nil {
		return err
	}
	if _, err := unix.Pwrite(r.fd, le.AppendUint32(nil, f.status()), at); err != nil {
		return err
	}
	r.next = (r.next + 1) % r.frames
	return nil
}

// setRing is PACKET_RX_RING of a struct tpacket_req, which of no blocks takes the
// ring away: EINVAL, ENOMEM, EBUSY.
func (p *Packet) setRing(v []byte) error {
	if len(v) < 16 {
		return linux.EINVAL
	}
	p.mu.Lock()
	version, reserve := p.options.version, p.options.reserve
	p.mu.Unlock()
	p.receiving.Lock()
	defer p.receiving.Unlock()
	if binary.LittleEndian.Uint32(v[4:]) == 0 {
		if binary.LittleEndian.Uint32(v[12:]) != 0 {
			return linux.EINVAL
		}
		p.dropRingLocked()
		return nil
	}
	if p.ring != nil {
		return linux.EBUSY
	}
	cooked := p.Type() == linux.SOCK_DGRAM
	if version == linux.TPACKET_V3 {
		r, err := newBlockRing(&p.memory, v, reserve, cooked, p)
		if err == nil {
			p.ring = r
		}
		return err
	}
	r, err := newFrameRing(&p.memory, v, version, reserve, cooked)
	if err == nil {
		p.ring = r
	}
	return err
}

func (p *Packet) dropRingLocked() {
	if p.ring != nil {
		p.ring.close()
		p.memory.empty(0)
	}
	p.ring = nil
}

// MapFD is mmap(2) of the ring: EINVAL without one.
func (p *Packet) MapFD(vfs.Context, bool, bool) (int, int64, error) {
	p.receiving.Lock()
	defer p.receiving.Unlock()
	if p.ring == nil {
		return 0, 0, linux.EINVAL
	}
	return p.ring.descriptor(), 0, nil
}

// drainLocked moves what has come to the mapped ring, as long as there is room.
func (p *Packet) drainLocked(e *end) {
	for p.ring != nil && p.ring.free() {
		f, err := p.next(e)
		if err != nil {
			return
		}
		if p.ring.put(&f, func(n int) []byte { return e.down.Slice(gramHeader, n) }, time.Now()) != nil {
			return
		}
		e.skip(f.size)
	}
}
