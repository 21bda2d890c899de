package syscalls

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

const (
	protMask     = unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC
	mapDroppable = 0x08
	maxOffset    = 1 << 62
)

// limits are those of the caller's memory.
func limits(t *task.Task) mm.Limits {
	g := t.Group()
	return mm.Limits{Size: g.Limit(unix.RLIMIT_AS).Cur, Data: g.Limit(unix.RLIMIT_DATA).Cur, Locked: lockLimit(t)}
}

// lockLimit is how many bytes the caller may lock.
func lockLimit(t *task.Task) uint64 {
	if t.Creds().Has(linux.CAP_IPC_LOCK) {
		return unix.RLIM_INFINITY
	}
	return t.Group().Limit(unix.RLIMIT_MEMLOCK).Cur
}

// mmap maps a file or anonymous memory: mmap(2).
func mmap(t *task.Task, addr mm.Addr, length uint64, prot, flags uint32, fd linux.FD, off uint64) (uint64, error) {
	if off%mm.PageSize != 0 {
		return 0, linux.EINVAL
	}
	m := mm.Mapping{
		Addr: addr, Len: length, Prot: uint8(prot & protMask), Flags: flags, FD: -1, Offset: off,
		Limits: limits(t),
	}
	kind := flags & unix.MAP_TYPE
	if kind != unix.MAP_PRIVATE && kind != unix.MAP_SHARED && kind != unix.MAP_SHARED_VALIDATE && kind != mapDroppable {
		return 0, linux.EINVAL
	}
	const validated = unix.MAP_TYPE | unix.MAP_FIXED | unix.MAP_ANONYMOUS | unix.MAP_32BIT | unix.MAP_GROWSDOWN | unix.MAP_DENYWRITE |
		unix.MAP_EXECUTABLE | unix.MAP_LOCKED | unix.MAP_NORESERVE | unix.MAP_POPULATE | unix.MAP_NONBLOCK | unix.MAP_STACK |
		unix.MAP_HUGETLB | unix.MAP_FIXED_NOREPLACE
	switch {
	case kind == unix.MAP_SHARED_VALIDATE && flags&unix.MAP_ANONYMOUS != 0:
		return 0, linux.EINVAL
	case kind == unix.MAP_SHARED_VALIDATE && flags&^validated != 0:
		return 0, linux.EOPNOTSUPP
	case flags&(unix.MAP_HUGETLB|unix.MAP_ANONYMOUS) == unix.MAP_HUGETLB|unix.MAP_ANONYMOUS:
		return 0, linux.ENOMEM // no huge page is set aside: nr_hugepages of proc(5)
	case flags&unix.MAP_LOCKED != 0 && lockLimit(t) == 0:
		return 0, linux.EPERM
	}
	if flags&unix.MAP_ANONYMOUS == 0 {
		if err := mapFile(t, &m, fd, kind); err != nil {
			return 0, err
		}
	} else if kind != unix.MAP_PRIVATE && kind != mapDroppable {
		m.File = &mm.Backing{Name: "/dev/zero (deleted)"}
		m.Offset = 0
	} else {
		m.Offset = 0
	}
	at, undo, err := t.MM().Map(t.Thread(), m)
	if err != nil {
		return 0, err
	}
	t.OnFailure(func(linux.Errno) { undo() })
	return at, nil
}

// mapFile fills in the file of a mapping.
func mapFile(t *task.Task, m *mm.Mapping, fd linux.FD, kind uint32) error {
	f, err := t.File(fd)
	if err != nil {
		return err
	}
	defer f.DecRef(t)
	if m.Len == 0 || m.Offset > maxOffset || m.Len > maxOffset-m.Offset {
		return linux.EINVAL
	}
	access := f.Flags() & linux.O_ACCMODE
	shared := kind != unix.MAP_PRIVATE
	write := m.Prot&unix.PROT_WRITE != 0
	if access == linux.O_WRONLY || shared && write && access != linux.O_RDWR {
		return linux.EACCES
	}
	if p := f.Path(); m.Prot&unix.PROT_EXEC != 0 && p.Mount != nil && p.Mount.Flags()&vfs.MountNoExec != 0 {
		return linux.EPERM
	}
	if _, ok := f.Impl().(vfs.AnonymousMapper); ok {
		m.Offset = 0
		if shared {
			m.File = &mm.Backing{Name: "/dev/zero"}
		}
		return nil
	}
	mapper, ok := f.Impl().(vfs.Mapper)
	if !ok {
		return linux.ENODEV
	}
	if m.FD, m.HostOff, err = mapper.MapFD(t, shared, access == linux.O_RDWR); err != nil {
		return err
	}
	_, always := mapper.(vfs.WritableMapper)
	m.NoWrite = always && shared && access != linux.O_RDWR
	// The file may be closed by another thread before the guest has mapped it.
	if m.FD, err = unix.FcntlInt(uintptr(m.FD), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return linux.ENFILE
	}
	m.OwnedFD, m.Of = true, f
	if m.File, err = task.BackingOf(t, f); err == nil {
		_, m.File.InMemory = f.Impl().(budget.Mapped)
	}
	return err
}

// munmap takes mappings away: munmap(2).
func munmap(t *task.Task, addr mm.Addr, length uint64) (uint64, error) {
	return 0, t.MM().Unmap(t.Thread(), addr, length)
}

// mprotect changes what may be done with memory: mprotect(2).
func mprotect(t *task.Task, addr mm.Addr, length uint64, prot uint32) (uint64, error) {
	const growsDown, growsUp = 0x01000000, 0x02000000
	if prot&^(protMask|growsDown|growsUp|0x8) != 0 {
		return 0, linux.EINVAL
	}
	if prot&(growsDown|growsUp) != 0 && length != 0 && addr+length > addr {
		r, ok := t.MM().Find(addr)
		switch {
		case prot&(growsDown|growsUp) == growsDown|growsUp || addr%mm.PageSize != 0:
			return 0, linux.EINVAL
		case !ok:
			return 0, linux.ENOMEM
		case prot&growsUp != 0 || !r.Grows && r.Kind != mm.Stack:
			return 0, linux.EINVAL
		}
		// The change reaches down to the region's begin: the dynamic linker makes the whole
		// of a stack executable so, for a library that wants it.
		addr, length = r.Start, length+(addr-r.Start)
	}
	return 0, t.MM().Protect(t.Thread(), addr, length, uint8(prot&protMask))
}

// mremap moves or resizes a mapping: mremap(2).
func mremap(t *task.Task, old mm.Addr, oldLen, newLen uint64, flags uint32, to mm.Addr) (uint64, error) {
	at, undo, err := t.MM().Remap(t.Thread(), old, oldLen, newLen, flags, to, limits(t))
	if undo != nil {
		t.OnFailure(func(linux.Errno) { undo() })
	}
	return at, err
}

// brk moves the end of the heap and gives it: brk(2).
func brk(t *task.Task, addr mm.Addr) (uint64, error) {
	return t.MM().Brk(t.Thread(), addr, limits(t)), nil
}

// madvise passes on advice that changes what the guest sees, and checks the
// rest: madvise(2).
func madvise(t *task.Task, addr mm.Addr, length uint64, advice uint32) (uint64, error) {
	switch advice {
	case unix.MADV_NORMAL, unix.MADV_RANDOM, unix.MADV_SEQUENTIAL, unix.MADV_WILLNEED, unix.MADV_DONTNEED,
		unix.MADV_FREE, unix.MADV_REMOVE, unix.MADV_DONTFORK, unix.MADV_DOFORK, unix.MADV_HUGEPAGE,
		unix.MADV_NOHUGEPAGE, unix.MADV_DONTDUMP, unix.MADV_DODUMP, unix.MADV_WIPEONFORK, unix.MADV_KEEPONFORK,
		unix.MADV_COLD, unix.MADV_PAGEOUT, unix.MADV_POPULATE_READ, unix.MADV_POPULATE_WRITE, unix.MADV_COLLAPSE,
		mm.MadvDontNeedLocked, mm.MadvGuardInstall, mm.MadvGuardRemove:
		return 0, t.MM().Advise(t.Thread(), addr, length, uint64(advice))
	}
	switch advice {
	case unix.MADV_MERGEABLE, unix.MADV_UNMERGEABLE: // nothing looks for equal pages
		if addr%mm.PageSize != 0 {
			return 0, linux.EINVAL
		}
		if !t.MM().Covered(addr, length) {
			return 0, linux.ENOMEM
		}
		return 0, nil
	}
	return 0, linux.EINVAL
}

// mseal keeps memory as it is mapped: mseal(2).
func mseal(t *task.Task, addr mm.Addr, length, flags uint64) (uint64, error) {
	if flags != 0 {
		return 0, linux.EINVAL
	}
	return 0, t.MM().Seal(t.Thread(), addr, length)
}

// msync has a shared mapping written back: msync(2).
func msync(t *task.Task, addr mm.Addr, length uint64, flags uint32) (uint64, error) {
	if flags&^(unix.MS_ASYNC|unix.MS_INVALIDATE|unix.MS_SYNC) != 0 || addr%mm.PageSize != 0 ||
		flags&(unix.MS_ASYNC|unix.MS_SYNC) == unix.MS_ASYNC|unix.MS_SYNC {
		return 0, linux.EINVAL
	}
	if mm.PageUp(length) == 0 { // as Linux has it, also of what is rounded up past 0
		return 0, nil
	}
	if !t.MM().Covered(addr, length) {
		return 0, linux.ENOMEM
	}
	if flags&unix.MS_INVALIDATE != 0 && t.MM().AnyLocked(addr, length) {
		return 0, linux.EBUSY
	}
	if flags&unix.MS_SYNC != 0 && length > 0 {
		t.Thread().HostCall(unix.SYS_MSYNC, addr, mm.PageUp(length), uint64(flags))
	}
	return 0, nil
}

// mincore says which pages are resident: mincore(2).
func mincore(t *task.Task, addr mm.Addr, length uint64, vec mm.Addr) (uint64, error) {
	if addr%mm.PageSize != 0 {
		return 0, linux.EINVAL
	}
	if !t.MM().Covered(addr, length) {
		return 0, linux.ENOMEM
	}
	if vec >= mm.GuestTop {
		return 0, linux.EFAULT
	}
	t.Thread().HostCall(unix.SYS_MINCORE, addr, length, vec)
	return 0, nil
}

// mlock has pages counted as locked and made. The sandbox holds no right to keep
// them in memory, so that the host may still take them away: mlock(2).
func mlock(t *task.Task, addr mm.Addr, length uint64) (uint64, error) {
	return mlock2(t, addr, length, 0)
}

func mlock2(t *task.Task, addr mm.Addr, length uint64, flags uint32) (uint64, error) {
	const onFault = 1 // MLOCK_ONFAULT
	if flags&^onFault != 0 {
		return 0, linux.EINVAL
	}
	limit := lockLimit(t)
	if limit == 0 {
		return 0, linux.EPERM
	}
	return 0, t.MM().Lock(t.Thread(), addr, length, true, flags&onFault != 0, limit)
}

func munlock(t *task.Task, addr mm.Addr, length uint64) (uint64, error) {
	return 0, t.MM().Lock(t.Thread(), addr, length, false, false, unix.RLIM_INFINITY)
}

// mlockall is mlock of everything, also of what is to come.
func mlockall(t *task.Task, flags uint32) (uint64, error) {
	const onFault = 4 // MCL_ONFAULT
	if flags == 0 || flags&^(unix.MCL_CURRENT|unix.MCL_FUTURE|onFault) != 0 || flags == onFault {
		return 0, linux.EINVAL
	}
	limit := lockLimit(t)
	if limit == 0 {
		return 0, linux.EPERM
	}
	err := t.MM().LockAll(t.Thread(), flags&unix.MCL_CURRENT != 0, flags&unix.MCL_FUTURE != 0, flags&onFault != 0, limit)
	if err == nil {
		t.MM().Limit(limits(t))
	}
	return 0, err
}

func munlockall(t *task.Task) (uint64, error) {
	t.MM().UnlockAll(t.Thread())
	return 0, nil
}
