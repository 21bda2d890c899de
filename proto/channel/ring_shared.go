package channel

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Rings is one piece of shared memory, mapped: a head page, a ring up (from the
// client to the service) and a ring down (from the service to the client). The
// head may lie elsewhere, beside others: Heads.
//
// The memory is a memfd that can neither shrink nor grow any more, so that no
// access to the mapping can fault whatever the peer does.
type Rings struct {
	Head *Head
	base unsafe.Pointer
	span uintptr
	at   int // where the rings begin
	size int
}

// Head is the first page of the memory, or lies with others in a Heads. Every word has one writer, said beside
// it, except the flags, which one side sets and the other clears. Indexes lie a
// cache line apart.
type Head struct {
	upWritten atomic.Uint64 // client
	upShift   atomic.Uint64 // client
	upUrgent  atomic.Uint64 // client
	// More is set by the client before it publishes what is to wait for more: MSG_MORE.
	More   atomic.Uint32
	_      [36]byte
	upRead atomic.Uint64 // service
	_      [56]byte

	downWritten atomic.Uint64 // service
	downShift   atomic.Uint64 // service
	downUrgent  atomic.Uint64 // service
	_           [40]byte
	downRead    atomic.Uint64 // client
	_           [56]byte

	// State, Error, ErrorCount, Queued and SendSpace are the service's; what they mean is
	// the protocol's business.
	State      atomic.Uint32
	Error      atomic.Uint32
	ErrorCount atomic.Uint32
	Queued     atomic.Uint32
	SendSpace  atomic.Uint32
	_          [44]byte

	// Taken is the client's.
	Taken atomic.Uint32
	_     [60]byte

	// WantUp is set by the service: tell me when there is more in the up ring.
	WantUp atomic.Uint32
	// WantRoom is set by the service: tell me when the down ring has more room.
	WantRoom atomic.Uint32
	_        [56]byte

	// WantDown is set by the client: tell me when there is more in the down ring
	// or the state has changed.
	WantDown atomic.Uint32
	// WantSpace is set by the client: tell me when the up ring has more room.
	WantSpace atomic.Uint32
	_         [56]byte

	// Told is set by the client when it posts the ring to the service's bell,
	// and cleared by the service when it takes it from there; ToldClient is the
	// same the other way.
	Told       atomic.Uint32
	ToldClient atomic.Uint32
	_          [56]byte
}

// HeadSize is the size of the head in bytes.
const HeadSize = 4096

// Sizes of a ring in bytes. A size is a power of two.
const (
	MinRing = 4096
	MaxRing = 16 << 20
)

func validRing(size int) bool {
	return size >= MinRing && size <= MaxRing && size&(size-1) == 0
}

// CreateRings makes the shared memory of two rings of size bytes each, with their
// head, and maps it. The file is for the peer, and the caller's to close.
func CreateRings(name string, size int) (*Rings, *os.File, error) {
	return createRings(name, size, nil)
}

// createRings has the head lie in the memory's first page, or elsewhere.
func createRings(name string, size int, head *Head) (*Rings, *os.File, error) {
	if !validRing(size) {
		return nil, nil, fmt.Errorf("make rings %s: size %d", name, size)
	}
	f, err := createShared(name, headSize(head)+2*size)
	if err != nil {
		return nil, nil, fmt.Errorf("make rings %s: %w", name, err)
	}
	r, err := mapRings(int(f.Fd()), size, head)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return r, f, nil
}

// headSize is how much of the memory of rings with that head is before them.
func headSize(head *Head) int {
	if head != nil {
		return 0
	}
	return HeadSize
}

// createShared makes memory that can neither shrink nor grow.
func createShared(name string, size int) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		f.Close()
		return nil, fmt.Errorf("ftruncate: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, sealsWanted|unix.F_SEAL_SEAL); err != nil {
		f.Close()
		return nil, fmt.Errorf("seal: %w", err)
	}
	return f, nil
}

const sealsWanted = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW

// checkShared refuses memory of the peer's that could shrink under a mapping of size
// bytes.
func checkShared(fd, size int) error {
	var st unix.Stat_t
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	switch {
	case err != nil:
		return fmt.Errorf("not a memfd: %w", err)
	case seals&sealsWanted != sealsWanted:
		return fmt.Errorf("seals %#x are not enough", seals)
	case unix.Fstat(fd, &st) != nil || st.Size != int64(size):
		return fmt.Errorf("size %d, not %d", st.Size, size)
	}
	return nil
}

// MapRings maps rings of size bytes, with their head, that the peer made; fd stays the
// caller's and may be closed after. It refuses memory that could shrink under the
// mapping.
func MapRings(fd, size int) (*Rings, error) { return mapPeers(fd, size, nil) }

func mapPeers(fd, size int, head *Head) (*Rings, error) {
	if !validRing(size) {
		return nil, fmt.Errorf("map rings: size %d", size)
	}
	if err := checkShared(fd, headSize(head)+2*size); err != nil {
		return nil, fmt.Errorf("map rings: %w", err)
	}
	return mapRings(fd, size, head)
}

// mapRings lays out, in one reservation: head if none is given, up, up again, down, down
// again.
func mapRings(fd, size int, head *Head) (*Rings, error) {
	at := headSize(head)
	span := uintptr(at + 4*size)
	base, err := unix.MmapPtr(-1, 0, nil, span, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("map rings: reserve: %w", err)
	}
	const rw, fixed = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_FIXED
	for _, p := range [...]struct{ at, off, n int }{
		{0, 0, at + size},
		{at + size, at, 2 * size},
		{at + 3*size, at + size, size},
	} {
		if _, err := unix.MmapPtr(fd, int64(p.off), unsafe.Add(base, p.at), uintptr(p.n), rw, fixed); err != nil {
			unix.MunmapPtr(base, span)
			return nil, fmt.Errorf("map rings: %w", err)
		}
	}
	if head == nil {
		head = (*Head)(base)
	}
	return &Rings{Head: head, base: base, span: span, at: at, size: size}, nil
}

// Size is the size of each ring in bytes.
func (r *Rings) Size() int { return r.size }

func (r *Rings) up() []byte {
	return unsafe.Slice((*byte)(unsafe.Add(r.base, r.at)), 2*r.size)
}

func (r *Rings) down() []byte {
	return unsafe.Slice((*byte)(unsafe.Add(r.base, r.at+2*r.size)), 2*r.size)
}

// Client gives the client's ends. The rings start where the peer's index says,
// that is at the beginning for fresh ones.
func (r *Rings) Client() (up *Producer, down *Consumer) {
	h := r.Head
	return newProducer(r.up(), &h.upWritten, &h.upRead, &h.upShift, &h.upUrgent), newConsumer(r.down(), &h.downRead, &h.downWritten, &h.downShift, &h.downUrgent)
}

// Service gives the service's ends.
func (r *Rings) Service() (down *Producer, up *Consumer) {
	h := r.Head
	return newProducer(r.down(), &h.downWritten, &h.downRead, &h.downShift, &h.downUrgent), newConsumer(r.up(), &h.upRead, &h.upWritten, &h.upShift, &h.upUrgent)
}

func newProducer(mem []byte, own, peer, shift, urgent *atomic.Uint64) *Producer {
	return &Producer{mem: mem, size: uint64(len(mem) / 2), own: own, peer: peer, told: shift, urgent: urgent}
}

func newConsumer(mem []byte, own, peer, shift, urgent *atomic.Uint64) *Consumer {
	return &Consumer{mem: mem, size: uint64(len(mem) / 2), own: own, peer: peer, told: shift, urgent: urgent}
}

// Reset makes the memory as new, for another use: its owner calls it when the
// peer has promised not to touch it any more.
func (r *Rings) Reset() {
	clear(unsafe.Slice((*byte)(unsafe.Pointer(r.Head)), unsafe.Sizeof(*r.Head)))
}

// Discard gives the pages of both rings back to the host; they read as zeros.
func (r *Rings) Discard() {
	unix.Madvise(r.up()[:r.size], unix.MADV_REMOVE)
	unix.Madvise(r.down()[:r.size], unix.MADV_REMOVE)
}

// Unmap ends the mapping. Nothing that points into it may be used after.
func (r *Rings) Unmap() {
	if r.base != nil {
		unix.MunmapPtr(r.base, r.span)
		r.base, r.Head = nil, nil // a head of Heads stays mapped with those
	}
}
