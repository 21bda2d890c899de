package mm

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/platform"
)

// Remap is mremap(2). undo, if there is one, is for where the host refuses: it has parts
// where the list has one region.
func (s *Space) Remap(th *platform.Thread, old, oldLen, newLen uint64, flags uint32, to Addr, l Limits) (addr Addr, undo func(), err error) {
	const mayMove, fixed, dontUnmap = unix.MREMAP_MAYMOVE, unix.MREMAP_FIXED, unix.MREMAP_DONTUNMAP
	if flags&^(mayMove|fixed|dontUnmap) != 0 || old%PageSize != 0 || newLen == 0 ||
		flags&fixed != 0 && flags&mayMove == 0 || flags&dontUnmap != 0 && (flags&mayMove == 0 || oldLen != newLen || to%PageSize != 0) {
		return 0, nil, linux.EINVAL
	}
	oldLen, newLen = PageUp(oldLen), PageUp(newLen)
	if newLen == 0 || newLen > GuestTop || oldLen > GuestTop || old > GuestTop-oldLen {
		return 0, nil, linux.EINVAL
	}
	s.change(th)
	defer s.unlock()
	r, ok := s.regions.Find(old)
	// What is only cut off at its end may be of several regions.
	if shrinks := flags&(fixed|dontUnmap) == 0 && newLen <= oldLen; !ok || !shrinks && oldLen > r.End-old {
		return 0, nil, linux.EFAULT
	}
	if oldLen == 0 && !r.Shared {
		return 0, nil, linux.EINVAL
	}
	if s.sealed(old, old+max(oldLen, PageSize)) {
		return 0, nil, linux.EPERM
	}
	if newLen > oldLen {
		if err := s.grows(r, newLen-oldLen, l); err != nil {
			return 0, nil, err
		}
	}
	if err := s.unrewrite(th, old, old+oldLen, false); err != nil {
		return 0, nil, err
	}
	moved := r
	moved.Offset += old - r.Start
	if flags&(fixed|dontUnmap) == 0 {
		if newLen <= oldLen {
			if newLen < oldLen {
				th.HostCall(unix.SYS_MUNMAP, old+newLen, oldLen-newLen)
				s.regions.Remove(old+newLen, old+oldLen)
			}
			return old, nil, nil
		}
		grown := old + newLen
		if oldLen > 0 && grown <= GuestTop && len(s.regions.Overlap(old+oldLen, grown)) == 0 && r.End == old+oldLen {
			undo = s.asItWas(th, span{old, grown})
			th.HostCall(unix.SYS_MREMAP, old, oldLen, newLen, 0, 0)
			moved.Start, moved.End = old, grown
			s.regions.Insert(moved)
			return old, undo, nil
		}
		if flags&mayMove == 0 {
			return 0, nil, linux.ENOMEM
		}
	}
	dest, err := s.remapTarget(old, oldLen, newLen, flags, to)
	if err != nil {
		return 0, nil, err
	}
	if s.sealed(dest, dest+newLen) {
		return 0, nil, linux.EPERM
	}
	if err := s.unrewrite(th, dest, dest+newLen, true); err != nil {
		return 0, nil, err
	}
	hostFlags := uint64(mayMove | fixed)
	if flags&dontUnmap != 0 {
		hostFlags |= dontUnmap
	}
	undo = s.asItWas(th, span{old, old + oldLen}, span{dest, dest + newLen})
	th.HostCall(unix.SYS_MREMAP, old, oldLen, newLen, hostFlags, dest)
	if flags&dontUnmap == 0 && oldLen > 0 {
		s.regions.Remove(old, old+oldLen)
	}
	moved.Start, moved.End = dest, dest+newLen
	s.regions.Insert(moved)
	return dest, undo, nil
}

// asItWas gives what makes the list say of two ranges what it says now.
func (s *Space) asItWas(th *platform.Thread, ranges ...span) func() {
	var was []Region
	for _, f := range ranges {
		for _, r := range s.regions.Overlap(f.start, f.end) {
			was = append(was, r.within(f.start, f.end))
		}
	}
	return func() {
		s.change(th)
		defer s.unlock()
		for _, f := range ranges {
			s.regions.Remove(f.start, f.end)
		}
		for _, r := range was {
			s.regions.Insert(r)
		}
	}
}

// remapTarget decides where mremap moves a mapping to.
func (s *Space) remapTarget(old, oldLen, newLen uint64, flags uint32, to Addr) (Addr, error) {
	if flags&unix.MREMAP_FIXED != 0 {
		if to%PageSize != 0 || to > GuestTop || newLen > GuestTop-to || to < platform.GuestBottom {
			return 0, linux.EINVAL
		}
		if to < old+oldLen && old < to+newLen {
			return 0, linux.EINVAL
		}
		return to, nil
	}
	dest, ok := s.gap(newLen, platform.GuestBottom, s.top)
	if !ok {
		return 0, linux.ENOMEM
	}
	return dest, nil
}
