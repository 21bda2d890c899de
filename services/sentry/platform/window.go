package platform

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A process that comes and goes has its first slot mapped and unmapped, and each time
// that the sentry unmaps memory it interrupts whatever cores its threads are on. So the
// first slots of several processes are mapped beside each other, in a window, which goes
// as a whole once it has been filled and all of them have been let go of. Up to then it
// keeps the few pages that they have used.

// windowSlots is how many slots a window has.
const windowSlots = 16

// window is a stretch of the sentry's addresses.
type window struct {
	base unsafe.Pointer
	live atomic.Int32 // slots that are in use, or that may still be handed out
}

// windows hands out places.
type windows struct {
	mu   sync.Mutex
	now  *window
	next int // the first place of now that is free
}

// mapSlot maps the first slot of memfd.
func (ws *windows) mapSlot(memfd int) (slot, error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.now == nil || ws.next == windowSlots {
		base, err := unix.MmapPtr(-1, 0, nil, windowSlots*slotSize, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
		if err != nil {
			return slot{}, err
		}
		ws.now, ws.next = &window{base: base}, 0
		ws.now.live.Store(windowSlots)
	}
	at := unsafe.Add(ws.now.base, ws.next*slotSize)
	if _, err := unix.MmapPtr(memfd, 0, at, slotSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED); err != nil {
		return slot{}, err
	}
	ws.next++
	return slot{unsafe.Slice((*byte)(at), slotSize), ws.now}, nil
}

// drop lets go of one slot.
func (w *window) drop() {
	if w.live.Add(-1) == 0 {
		unix.MunmapPtr(w.base, windowSlots*slotSize)
	}
}
