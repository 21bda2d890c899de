package mm

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/platform"
)

// Limits are those of a process's memory, in bytes: getrlimit(2).
type Limits struct {
	Size   uint64 // RLIMIT_AS
	Data   uint64 // RLIMIT_DATA
	Locked uint64 // RLIMIT_MEMLOCK, RLIM_INFINITY for who has CAP_IPC_LOCK
}

// Unlimited are no limits.
var Unlimited = Limits{unix.RLIM_INFINITY, unix.RLIM_INFINITY, unix.RLIM_INFINITY}

// grows says whether the limits let n bytes more be mapped like r: ENOMEM, or EAGAIN if
// they would have to be locked.
func (s *Space) grows(r Region, n uint64, l Limits) error {
	if l.Size != unix.RLIM_INFINITY && s.regions.Total()+n > l.Size {
		return linux.ENOMEM
	}
	if l.Data != unix.RLIM_INFINITY && r.isData() && s.sum(Region.isData)+n > l.Data {
		return linux.ENOMEM
	}
	if r.Locked && l.Locked != unix.RLIM_INFINITY && s.sum(Region.isLocked)+n > l.Locked {
		return linux.EAGAIN
	}
	return nil
}

// isData says whether r counts for RLIMIT_DATA: what is private and can be written.
func (r Region) isData() bool {
	return !r.Shared && !r.Grows && r.Prot&unix.PROT_WRITE != 0 && r.Kind != Stack
}

func (r Region) isLocked() bool { return r.Locked }

// sum is how many bytes are in regions of a kind.
func (s *Space) sum(counts func(Region) bool) (n uint64) {
	for _, r := range s.regions.All() {
		if counts(r) {
			n += r.Len()
		}
	}
	return n
}

// LockedBytes is VmLck of /proc/PID/status.
func (s *Space) LockedBytes() uint64 {
	s.look()
	defer s.mu.Unlock()
	return s.sum(Region.isLocked)
}

// Lock is mlock2(2), and munlock(2) with on false: the pages are touched, unless they
// are to be locked when they are (onFault), and counted. That the host keeps them
// resident nobody promises. ENOMEM for a hole, up to which it is done, or past the limit.
func (s *Space) Lock(th *platform.Thread, addr, n uint64, on, onFault bool, limit uint64) error {
	n = PageUp(n + addr%PageSize)
	addr = PageDown(addr)
	if addr+n < addr {
		return linux.EINVAL
	}
	if n == 0 {
		return nil
	}
	if addr > GuestTop || n > GuestTop-addr {
		return linux.ENOMEM
	}
	s.change(th)
	defer s.unlock()
	end := addr + n
	if on && limit != unix.RLIM_INFINITY {
		fresh := n
		for _, r := range s.regions.Overlap(addr, end) {
			if r = r.within(addr, end); r.Locked {
				fresh -= r.Len()
			}
		}
		if s.sum(Region.isLocked)+fresh > limit {
			return linux.ENOMEM
		}
	}
	mapped := addr // up to here without a hole
	for _, r := range s.regions.Overlap(addr, end) {
		if r.Start > mapped {
			break
		}
		mapped = min(r.End, end)
	}
	s.setLocked(th, addr, mapped, on, onFault)
	if mapped < end {
		return linux.ENOMEM
	}
	return nil
}

// setLocked marks what is mapped in [start, end), which is not the kernel's.
func (s *Space) setLocked(th *platform.Thread, start, end Addr, on, onFault bool) {
	s.regions.Update(start, end, func(r *Region) { r.Locked = on && !r.NoRemap && !r.Kind.hidden() })
	if !on || onFault {
		return
	}
	for _, r := range s.regions.Overlap(start, end) {
		if r = r.within(start, end); r.Locked {
			touch(th, r)
		}
	}
}

// touch has a locked region's pages made.
func touch(th *platform.Thread, r Region) {
	switch {
	case r.Prot&unix.PROT_WRITE != 0 && !r.Shared:
		th.TryHostCall(unix.SYS_MADVISE, r.Start, r.Len(), unix.MADV_POPULATE_WRITE)
	case r.Prot != 0:
		th.TryHostCall(unix.SYS_MADVISE, r.Start, r.Len(), unix.MADV_POPULATE_READ)
	}
}

// LockAll is mlockall(2): current says to lock what is mapped, future what will be.
// ENOMEM if all of it is more than the limit.
func (s *Space) LockAll(th *platform.Thread, current, future, onFault bool, limit uint64) error {
	s.change(th)
	defer s.unlock()
	if current && s.regions.Total() > limit {
		return linux.ENOMEM
	}
	s.lockNew = future
	if current {
		s.setLocked(th, 0, GuestTop, true, onFault)
	}
	return nil
}

// UnlockAll is munlockall(2).
func (s *Space) UnlockAll(th *platform.Thread) {
	s.change(th)
	defer s.unlock()
	s.lockNew = false
	s.setLocked(th, 0, GuestTop, false, false)
}

// AnyLocked says whether some of [addr, addr+n) is locked.
func (s *Space) AnyLocked(addr, n uint64) bool {
	s.look()
	defer s.mu.Unlock()
	for _, r := range s.regions.Overlap(addr, addr+PageUp(n)) {
		if r.Locked {
			return true
		}
	}
	return false
}

// SetName gives anonymous memory a name for /proc/PID/maps, or none: PR_SET_VMA_ANON_NAME
// of prctl(2). EINVAL, EBADF for memory of a file, ENOMEM for a hole.
func (s *Space) SetName(th *platform.Thread, addr, n uint64, name string) error {
	size := PageUp(n)
	if addr%PageSize != 0 || size == 0 && n > 0 || addr+size < addr {
		return linux.EINVAL
	}
	if size == 0 {
		return nil
	}
	if addr > GuestTop || size > GuestTop-addr {
		return linux.ENOMEM
	}
	s.change(th)
	defer s.unlock()
	end := addr + size
	for _, r := range s.regions.Overlap(addr, end) {
		if r.File != nil && !r.File.Path.IsZero() || r.NoRemap {
			return linux.EBADF
		}
	}
	s.regions.Update(addr, end, func(r *Region) { r.Name = name })
	if !s.regions.Covered(addr, end) {
		return linux.ENOMEM
	}
	return nil
}
