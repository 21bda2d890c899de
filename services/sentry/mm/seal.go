package mm

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/platform"
)

// Seal is mseal(2): what is mapped in a range can from then on be neither unmapped nor
// moved, protected otherwise or mapped over. EINVAL, ENOMEM where there is a hole.
func (s *Space) Seal(th *platform.Thread, addr, n uint64) error {
	size := PageUp(n)
	if addr%PageSize != 0 || size == 0 && n > 0 || addr+size < addr {
		return linux.EINVAL
	}
	if size == 0 {
		return nil
	}
	s.change(th)
	defer s.unlock()
	if !s.regions.Covered(addr, addr+size) {
		return linux.ENOMEM
	}
	s.regions.Update(addr, addr+size, func(r *Region) { r.Sealed = true })
	return nil
}

// sealed says whether anything in [start, end) is. s.mu is held.
func (s *Space) sealed(start, end Addr) bool {
	for _, r := range s.regions.Overlap(start, end) {
		if r.Sealed {
			return true
		}
	}
	return false
}

// discards says whether advice gives up what is in private memory, which one who may
// not write there would so change: mseal(2).
func discards(advice uint64) bool {
	switch advice {
	case unix.MADV_DONTNEED, MadvDontNeedLocked, unix.MADV_FREE, unix.MADV_REMOVE, unix.MADV_DONTFORK, unix.MADV_WIPEONFORK, MadvGuardInstall:
		return true
	}
	return false
}

// Advice of madvise(2) since Linux 5.18, and since 6.13.
const (
	MadvDontNeedLocked = 24

	MadvGuardInstall = 102
	MadvGuardRemove  = 103
)
