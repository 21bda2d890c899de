package inet

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

// blockRing is the ring of TPACKET_V3: frames of any length in blocks, each of which is the
// guest's once it is full, or once it has waited for long enough.
type blockRing struct {
	fd      int
	block   int // bytes of a block
	blocks  int
	private int // bytes of each that are the guest's own
	reserve int
	cooked  bool
	patient time.Duration
	timeout func(b *blockRing, sequence uint64) // called without a lock

	at       int    // the block that is being filled
	open     bool   // it has been begun
	sequence uint64 // of the block, from 1
	frames   int    // in it
	used     int    // bytes of it
	last     int    // where its last frame is
	first    [8]byte
	latest   [8]byte // times of the first and the last frame
	timer    *time.Timer
	buf      []byte
}

// Sizes of struct tpacket_block_desc with its header and of struct tpacket3_hdr in bytes, and
// the alignment of frames.
const (
	sizeofBlock      = 48
	sizeofBlockFrame = 48
	blockAlign       = 8
)

// Statuses of a block besides those of a frame.
const blockTimedOut = 1 << 5 // TP_STATUS_BLK_TMO

// defaultPatience is how long a block waits if the guest leaves that to us.
const defaultPatience = 8 * time.Millisecond

func alignBlock(n int) int { return (n + blockAlign - 1) &^ (blockAlign - 1) }

// newBlockRing makes the ring that a struct tpacket_req3 asks for, in memory: EINVAL,
// ENOMEM.
func newBlockRing(memory *ringMemory, v []byte, reserve int, cooked bool, p *Packet) (*blockRing, error) {
	if len(v) < 28 {
		return nil, linux.EINVAL
	}
	word := func(i int) int { return int(binary.LittleEndian.Uint32(v[4*i:])) }
	frame, frames := word(2), word(3)
	r := &blockRing{block: word(0), blocks: word(1), private: word(5), reserve: reserve, cooked: cooked, timeout: p.outwaited}
	least := sizeofBlockFrame + sizeofSockaddrLL + reserve
	switch {
	case r.block <= 0 || r.block%4096 != 0 || r.block > maxRing:
		return nil, linux.EINVAL
	case r.private > r.block || r.block <= sizeofBlock+alignBlock(r.private)+least:
		return nil, linux.EINVAL
	case frame < least || frame%frameAlign != 0 || frame > r.block:
		return nil, linux.EINVAL
	case r.blocks > maxRing/r.block:
		return nil, linux.ENOMEM
	case frames != r.block/frame*r.blocks:
		return nil, linux.EINVAL
	}
	if mac, _ := places(sizeofBlockFrame, cooked, reserve); r.start()+mac >= r.block {
		return nil, linux.EINVAL
	}
	r.patient = time.Duration(min(word(4), 1<<20)) * time.Millisecond
	if r.patient == 0 {
		r.patient = defaultPatience
	}
	fd, err := memory.empty(int64(r.block) * int64(r.blocks))
	if err != nil {
		return nil, linux.ENOMEM
	}
	r.fd = fd
	return r, nil
}

func (r *blockRing) descriptor() int { return r.fd }

func (r *blockRing) close() {
	if r.timer != nil {
		r.timer.Stop()
	}
}

// start is where in a block the first frame lies.
func (r *blockRing) start() int { return sizeofBlock + alignBlock(r.private) }

func (r *blockRing) offset(block int) int64 { return int64(block) * int64(r.block) }

// status is a block's.
func (r *blockRing) status(block int) uint32 { return statusAt(r.fd, r.offset(block)+8) }

func (r *blockRing) filled() bool {
	return r.status((r.at+r.blocks-1)%r.blocks) != linux.TP_STATUS_KERNEL
}

func (r *blockRing) free() bool { return r.open || r.status(r.at) == linux.TP_STATUS_KERNEL }

// put implements packetRing. What does not fit what is left of a block goes to the next one,
// and what does not fit there either is lost.
func (r *blockRing) put(f *frame, data func(n int) []byte, now time.Time) error {
	mac, network := places(sizeofBlockFrame, r.cooked, r.reserve)
	n := max(min(f.size, r.block-r.start()-mac), 0)
	whole := alignBlock(mac + n)
	if r.open && r.used+whole > r.block {
		if err := r.retire(0); err != nil {
			return err
		}
		if !r.free() {
			return nil
		}
	}
	var stamp [8]byte
	le := binary.LittleEndian
	le.PutUint32(stamp[:], uint32(now.Unix()))
	le.PutUint32(stamp[4:], uint32(now.Nanosecond()))
	if !r.open {
		r.begin(stamp)
	}
	if cap(r.buf) < whole {
		r.buf = make([]byte, whole)
	}
	b := r.buf[:min(whole, r.block-r.used)]
	clear(b)
	le.PutUint32(b, uint32(whole))
	copy(b[4:], stamp[:])
	le.PutUint32(b[12:], uint32(n))
	le.PutUint32(b[16:], uint32(f.length))
	le.PutUint32(b[20:], f.status())
	le.PutUint16(b[24:], uint16(mac))
	le.PutUint16(b[26:], uint16(network))
	copy(b[sizeofBlockFrame:], f.address())
	copy(b[mac:], data(n))
	if _, err := unix.Pwrite(r.fd, b, r.offset(r.at)+int64(r.used)); err != nil {
		return err
	}
	r.last, r.latest = r.used, stamp
	r.used += whole
	r.frames++
	return nil
}

// begin takes the next block for filling.
func (r *blockRing) begin(stamp [8]byte) {
	r.open, r.frames, r.used, r.first = true, 0, r.start(), stamp
	r.sequence++
	sequence := r.sequence
	if r.timer != nil {
		r.timer.Stop()
	}
	r.timer = time.AfterFunc(r.patient, func() { r.timeout(r, sequence) })
}

// retire gives the block to the guest.
func (r *blockRing) retire(why uint32) error {
	le := binary.LittleEndian
	at := r.offset(r.at)
	var none [4]byte
	if _, err := unix.Pwrite(r.fd, none[:], at+int64(r.last)); err != nil { // no frame follows
		return err
	}
	b := make([]byte, sizeofBlock)
	le.PutUint32(b, linux.TPACKET_V3)
	le.PutUint32(b[4:], sizeofBlock)
	le.PutUint32(b[12:], uint32(r.frames))
	le.PutUint32(b[16:], uint32(r.start()))
	le.PutUint32(b[20:], uint32(r.used))
	le.PutUint64(b[24:], r.sequence)
	copy(b[32:], r.first[:])
	copy(b[40:], r.latest[:])
	if _, err := unix.Pwrite(r.fd, b[:8], at); err != nil {
		return err
	}
	if _, err := unix.Pwrite(r.fd, b[12:], at+12); err != nil {
		return err
	}
	// The status comes last: it gives the block away.
	if _, err := unix.Pwrite(r.fd, le.AppendUint32(nil, linux.TP_STATUS_USER|why), at+8); err != nil {
		return err
	}
	r.open = false
	r.at = (r.at + 1) % r.blocks
	return nil
}

// outwaited gives a block to the guest that is not full though it has waited for long.
func (p *Packet) outwaited(r *blockRing, sequence uint64) {
	p.receiving.Lock()
	now := p.ring == packetRing(r) && r.open && r.sequence == sequence && r.retire(blockTimedOut) == nil
	p.receiving.Unlock()
	if now {
		p.Queue().Notify(wait.In)
	}
}
