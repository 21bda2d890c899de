package channel

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Heads is one piece of shared memory, mapped, with the heads of many rings: a socket
// that is idle then takes no page of its own. It is never unmapped. All of them are of
// the same two peers, each of which can spoil them all as it can one.
type Heads struct {
	base unsafe.Pointer
}

const (
	headsSize  = 64 << 10
	headStride = int(unsafe.Sizeof(Head{})) // whole cache lines

	// HeadsOf is how many a Heads has.
	HeadsOf = headsSize / headStride
)

// CreateHeads makes some and maps them. The file is for the peer, and the caller's to
// close.
func CreateHeads(name string) (*Heads, *os.File, error) {
	f, err := createShared(name, headsSize)
	if err != nil {
		return nil, nil, fmt.Errorf("make heads %s: %w", name, err)
	}
	h, err := mapHeads(int(f.Fd()))
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return h, f, nil
}

// MapHeads maps heads that the peer made, as MapRings does rings.
func MapHeads(fd int) (*Heads, error) {
	if err := checkShared(fd, headsSize); err != nil {
		return nil, fmt.Errorf("map heads: %w", err)
	}
	return mapHeads(fd)
}

func mapHeads(fd int) (*Heads, error) {
	base, err := unix.MmapPtr(fd, 0, nil, headsSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map heads: %w", err)
	}
	return &Heads{base}, nil
}

func (h *Heads) at(i int) *Head {
	if i < 0 || i >= HeadsOf {
		return nil
	}
	return (*Head)(unsafe.Add(h.base, i*headStride))
}

// CreateRings is CreateRings of rings whose head is the ith here.
func (h *Heads) CreateRings(name string, i, size int) (*Rings, *os.File, error) {
	head := h.at(i)
	if head == nil {
		return nil, nil, fmt.Errorf("make rings %s: no head %d", name, i)
	}
	return createRings(name, size, head)
}

// MapRings is MapRings of rings whose head is the ith here.
func (h *Heads) MapRings(fd, i, size int) (*Rings, error) {
	head := h.at(i)
	if head == nil {
		return nil, fmt.Errorf("map rings: no head %d", i)
	}
	return mapPeers(fd, size, head)
}
