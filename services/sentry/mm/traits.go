package mm

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

// traits are what prctl(2) says of an address space as a whole. Copies have them too,
// and new programs in its place.
type traits struct {
	noHugePages   atomic.Bool
	denyWriteExec atomic.Uint32
}

// Inherit takes over what a new space has of the one that it comes from.
func (s *Space) Inherit(from *Space) {
	s.traits.noHugePages.Store(from.NoHugePages())
	if bits := from.DenyWriteExec(); bits&unix.PR_MDWE_NO_INHERIT == 0 {
		s.traits.denyWriteExec.Store(bits)
	}
}

// NoHugePages is PR_GET_THP_DISABLE of prctl(2). It is told, and not gone by.
func (s *Space) NoHugePages() bool { return s.traits.noHugePages.Load() }

// SetNoHugePages sets it.
func (s *Space) SetNoHugePages(on bool) { s.traits.noHugePages.Store(on) }

// DenyWriteExec are the bits of PR_GET_MDWE of prctl(2), 0 for none. With any no memory
// can be written to and executed, nor become executable that was not.
func (s *Space) DenyWriteExec() uint32 { return s.traits.denyWriteExec.Load() }

// SetDenyWriteExec sets them. It is as StopDelegating.
func (s *Space) SetDenyWriteExec(bits uint32) {
	s.traits.denyWriteExec.Store(bits)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLease()
}

// mayProtect says whether a region that was mapped with old may have prot: EACCES.
func (s *Space) mayProtect(old, prot uint8) error {
	if prot&unix.PROT_EXEC != 0 && (prot&unix.PROT_WRITE != 0 || old&unix.PROT_EXEC == 0) && s.DenyWriteExec() != 0 {
		return linux.EACCES
	}
	return nil
}
