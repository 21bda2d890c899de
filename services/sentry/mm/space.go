package mm

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/vfs"
)

// GuestTop is the end of what a guest can map, exclusive.
const GuestTop = platform.GuestTop

// Space is a guest address space. Its methods that take a platform.Thread order
// host calls on that thread's answer; when one of them fails, the thread's owner
// calls the undo function that they give.
type Space struct {
	mu      sync.Mutex
	regions Set
	users   int

	rewrites   rewrites // see rewrite.go
	traits     traits
	delegation // see lease.go

	// The last change whose host calls may not be done yet.
	busy       *platform.Thread
	busyTicket uint64

	top            Addr // mappings are placed below
	brkStart, brk  Addr
	argStart       Addr
	argEnd, envEnd Addr
	startStack     Addr
	codeStart      Addr
	codeEnd        Addr
	auxv           []byte
	exe            vfs.Path
	text           *vfs.Text
	lockNew        bool // mlockall(2) with MCL_FUTURE

	linker, linkerEnd Addr // where the dynamic linker is

	attached Attachment
}

// Attachment is something that ends with the address space: contexts of io_setup(2).
type Attachment interface{ Release() }

// Attach gives what is attached to the space, after make has made it if nothing was.
func (s *Space) Attach(make func() Attachment) Attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attached == nil {
		s.attached = make()
	}
	return s.attached
}

// New gives an empty space with one user.
func New() *Space {
	return &Space{users: 1, top: GuestTop - 8<<20, delegation: delegation{never: true}}
}

// IncUsers counts a further task in.
func (s *Space) IncUsers() {
	s.mu.Lock()
	s.users++
	s.mu.Unlock()
}

// DecUsers counts a task out and gives how many are left.
func (s *Space) DecUsers() int {
	s.mu.Lock()
	s.users--
	left, attached, text := s.users, s.attached, s.text
	if left == 0 && s.lease != nil {
		s.dropLease()
	}
	s.mu.Unlock()
	if left == 0 {
		text.DecRef()
	}
	if left == 0 && attached != nil {
		attached.Release()
	}
	return left
}

// Users is how many tasks use the space.
func (s *Space) Users() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.users
}

// Fork gives a copy, for a process whose memory the host has copied.
func (s *Space) Fork() *Space {
	s.look()
	defer s.mu.Unlock()
	c := &Space{
		users: 1, regions: s.regions.Clone(), top: s.top, brkStart: s.brkStart, brk: s.brk,
		argStart: s.argStart, argEnd: s.argEnd, envEnd: s.envEnd, startStack: s.startStack,
		codeStart: s.codeStart, codeEnd: s.codeEnd, auxv: s.auxv, exe: s.exe, text: s.text.IncRef(), rewrites: s.rewrites.fork(),
		delegation: delegation{never: s.never, limited: s.limited},
		linker:     s.linker, linkerEnd: s.linkerEnd,
	}
	c.Inherit(s)
	for _, r := range s.regions.All() {
		if r.NoFork {
			c.regions.Remove(r.Start, r.End)
		}
	}
	c.regions.Update(0, GuestTop, func(r *Region) { r.Locked = false }) // mlock(2), NOTES
	return c
}

// How long a change waits for another thread: for host calls that the sentry ordered,
// which may populate or unmap very much, and for the lease's lock, which the stub has for
// one host call on LeaseLongest bytes at most.
const (
	orderPatience = time.Minute
	leasePatience = 4 * time.Second
)

// change takes the lock for a change by th, once every host call that another
// thread was ordered to make is done, and none is under way in the stub, nor will be
// until the answer's are made. unlock ends it.
func (s *Space) change(th *platform.Thread) {
	s.mu.Lock()
	var began time.Time
	for !th.Process().Gone() {
		ordered := s.busy != nil && s.busy != th && !s.busy.Done(s.busyTicket)
		if !ordered && s.hold(th) {
			break
		}
		began = s.pause(began)
		patience := leasePatience
		if ordered {
			patience = orderPatience
		}
		if time.Since(began) > patience {
			th.Process().Kill() // a guest that forges its slot, or the lease
		}
	}
	s.busy, s.busyTicket = th, th.Ticket()
}

func yield() { runtime.Gosched() }

// Settle waits until every ordered change has been made, before a copy of the
// memory is taken by th.
func (s *Space) Settle(th *platform.Thread) {
	s.change(th)
	s.mu.Unlock()
}

// Settled says that all that th was ordered has been made: nobody need wait for
// the rest of its answer, which may take as long as a tracer likes.
func (s *Space) Settled(th *platform.Thread) {
	s.mu.Lock()
	if s.busy == th {
		s.busy = nil
		s.letGo(th)
	}
	s.mu.Unlock()
}

// Regions gives what is mapped, in order.
func (s *Space) Regions() []Region {
	s.look()
	defer s.mu.Unlock()
	out := make([]Region, 0, len(s.regions.All()))
	for _, r := range s.regions.All() {
		if !r.Kind.hidden() {
			out = append(out, r)
		}
	}
	return out
}

// InMemory is how many bytes are of files and segments that are memory themselves.
func (s *Space) InMemory() (n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.regions.All() {
		if r.File != nil && r.File.InMemory {
			n += r.Len()
		}
	}
	return n
}

// Mapped is how many regions have b behind them.
func (s *Space) Mapped(b *Backing) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.regions.All() {
		if r.File == b {
			n++
		}
	}
	return n
}

// Size is how much is mapped, in bytes.
func (s *Space) Size() uint64 {
	s.look()
	defer s.mu.Unlock()
	return s.regions.Total()
}

// Find gives the region that holds addr.
func (s *Space) Find(addr Addr) (Region, bool) {
	s.look()
	defer s.mu.Unlock()
	return s.regions.Find(addr)
}

// Exe is the program's file.
func (s *Space) Exe() vfs.Path {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exe
}

// ArgRange and EnvRange are where the arguments and the environment lie.
func (s *Space) ArgRange() (start, end Addr) { return s.argStart, s.argEnd }

// EnvRange is where the environment lies.
func (s *Space) EnvRange() (start, end Addr) { return s.argEnd, s.envEnd }

// SetArgRange moves them: PR_SET_MM of prctl(2).
func (s *Space) SetArgRange(start, end Addr) { s.argStart, s.argEnd = start, end }

// Auxv is the auxiliary vector as the program got it.
func (s *Space) Auxv() []byte { return s.auxv }

// StartStack is where the stack pointer was at first.
func (s *Space) StartStack() Addr { return s.startStack }

// CodeRange is where the program's code lies.
func (s *Space) CodeRange() (start, end Addr) { return s.codeStart, s.codeEnd }

// BrkRange is the heap: brk(2).
func (s *Space) BrkRange() (start, end Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.brkStart, s.brk
}

// hostPageFlags are the flags of mmap(2) that are passed to the host.
const hostPageFlags = unix.MAP_NORESERVE | unix.MAP_STACK | unix.MAP_POPULATE | 0x08 // MAP_DROPPABLE

// Mapping is a request for memory: mmap(2).
type Mapping struct {
	Addr, Len uint64
	Prot      uint8
	Flags     uint32 // MAP_ constants
	// File is nil for anonymous memory; FD is the host's descriptor of it then,
	// closed after use if OwnedFD.
	File    *Backing
	FD      int
	OwnedFD bool
	Of      any    // whose closing lets go of what the stub has of FD
	Offset  uint64 // in File
	HostOff int64  // of File in FD
	Kind    Kind
	// NoWrite: FD can write, but the mapping must not come to. The host then maps
	// it privately, which shows the same while nobody writes to it.
	NoWrite bool
	Limits  Limits
}

// Map places a mapping and orders it. undo takes it off the list again.
func (s *Space) Map(th *platform.Thread, m Mapping) (addr Addr, undo func(), err error) {
	n := PageUp(m.Len)
	if m.Len == 0 {
		return 0, nil, linux.EINVAL
	}
	if n == 0 || n > GuestTop {
		return 0, nil, linux.ENOMEM
	}
	if err := s.mayProtect(m.Prot, m.Prot); err != nil {
		return 0, nil, err
	}
	s.change(th)
	defer s.unlock()
	s.limited = m.Limits.Size != unix.RLIM_INFINITY || m.Limits.Data != unix.RLIM_INFINITY || s.lockNew
	if s.limited && s.lease != nil {
		s.dropLease()
	}
	leaseable := m.FD < 0 && m.File == nil && m.Kind == Plain && platform.Leaseable(m.Addr, n, m.Flags)
	if leaseable {
		s.couldSpare(th, n)
		addr, leaseable = s.carve(n)
	} else if m.FD < 0 && m.File == nil && m.Kind == Plain && platform.LeaseablePlace(m.Addr, n, m.Flags) {
		s.asked(th, m.Addr, m.Addr+n)
	}
	if !leaseable {
		addr, err = s.place(m, n)
	}
	if err == nil && s.sealed(addr, addr+n) {
		err = linux.EPERM
	}
	if err != nil {
		return 0, nil, err
	}
	r := Region{
		Start: addr, End: addr + n, Prot: m.Prot, Shared: m.Flags&unix.MAP_TYPE != unix.MAP_PRIVATE && m.Flags&0x08 == 0,
		Grows: m.Flags&unix.MAP_GROWSDOWN != 0, Kind: m.Kind, File: m.File, Offset: m.Offset, NoWrite: m.NoWrite,
		Locked: m.Flags&unix.MAP_LOCKED != 0 || s.lockNew,
	}
	if err := s.grows(r, n, m.Limits); err != nil {
		return 0, nil, err
	}
	if err := s.unrewrite(th, addr, addr+n, true); err != nil {
		return 0, nil, err
	}
	flags := uint64(m.Flags&hostPageFlags) | unix.MAP_FIXED
	if r.Locked {
		flags |= unix.MAP_POPULATE
	}
	if r.Shared && !r.NoWrite {
		flags |= unix.MAP_SHARED
	} else if m.Flags&unix.MAP_TYPE == 0x08 {
		flags |= 0x08
	} else {
		flags |= unix.MAP_PRIVATE
	}
	if m.FD < 0 {
		th.HostCall(unix.SYS_MMAP, addr, n, uint64(m.Prot), flags|unix.MAP_ANONYMOUS, ^uint64(0), 0)
	} else {
		if err := s.mapFile(th, m, addr, n, flags); err != nil {
			return 0, nil, err
		}
	}
	s.regions.Insert(r)
	return addr, func() {
		th.LoanFailed()
		s.forget(th, addr, addr+n)
	}, nil
}

// mapFile orders the mapping of a file.
func (s *Space) mapFile(th *platform.Thread, m Mapping, addr Addr, n, flags uint64) error {
	fd, shared := uint64(platform.FirstPrivateFD), flags&unix.MAP_SHARED != 0
	ok := false
	if shared {
		fd = platform.FirstDonatedFD
		ok = th.Donate(platform.FirstDonatedFD, []int{m.FD}, m.OwnedFD)
	} else {
		ok = th.Lend(m.FD, m.OwnedFD, m.Of)
		if rip := th.Regs.RIP; rip >= s.linker && rip < s.linkerEnd {
			flags |= populate(n, m.Prot)
		}
	}
	if !ok {
		return linux.ENOMEM
	}
	th.HostCall(unix.SYS_MMAP, addr, n, uint64(m.Prot), flags, fd, uint64(m.HostOff)+m.Offset)
	if shared {
		th.TryHostCall(unix.SYS_CLOSE, fd)
	}
	return nil
}

// Closes orders that th's process give back what is lent to it of of, if anything is.
func (s *Space) Closes(th *platform.Thread, of any) {
	if !th.Lent(of) {
		return
	}
	s.change(th)
	defer s.unlock()
	if th.Lent(of) {
		th.TakeBack()
	}
}

// forget takes a range off the list, which the host has not mapped for th.
func (s *Space) forget(th *platform.Thread, start, end Addr) {
	s.change(th)
	defer s.unlock()
	s.regions.Remove(start, end)
}

const fixedNoReplace = 0x100000 // MAP_FIXED_NOREPLACE

// place decides where n bytes go.
func (s *Space) place(m Mapping, n uint64) (Addr, error) {
	if m.Flags&(unix.MAP_FIXED|fixedNoReplace) != 0 {
		if m.Addr%PageSize != 0 {
			return 0, linux.EINVAL
		}
		if m.Addr > GuestTop || n > GuestTop-m.Addr {
			return 0, linux.ENOMEM
		}
		if m.Addr < platform.GuestBottom {
			return 0, linux.EPERM
		}
		if m.Flags&fixedNoReplace != 0 && s.taken(m.Addr, m.Addr+n) {
			return 0, linux.EEXIST
		}
		return m.Addr, nil
	}
	if hint := PageUp(m.Addr); hint >= platform.GuestBottom && hint < GuestTop && n <= GuestTop-hint &&
		len(s.regions.Overlap(hint, hint+n)) == 0 {
		return hint, nil
	}
	high := s.top
	if m.Flags&unix.MAP_32BIT != 0 {
		high = 0x8000_0000
	}
	if addr, ok := s.gap(n, platform.GuestBottom, high); ok {
		return addr, nil
	}
	return 0, linux.ENOMEM
}

// checkRange says whether [addr, addr+n) can be a guest's, page-aligned start.
func checkRange(addr, n uint64) (end Addr, err error) {
	if addr%PageSize != 0 {
		return 0, linux.EINVAL
	}
	if n > GuestTop { // before it is rounded up, past 0
		return 0, linux.ENOMEM
	}
	n = PageUp(n)
	if addr > GuestTop || n > GuestTop-addr {
		return 0, linux.ENOMEM
	}
	return addr + n, nil
}

// Unmap is munmap(2).
func (s *Space) Unmap(th *platform.Thread, addr, n uint64) error {
	end, err := checkRange(addr, n)
	if err != nil || end == addr {
		return linux.EINVAL
	}
	s.change(th)
	defer s.unlock()
	s.asked(th, addr, end)
	if s.sealed(addr, end) {
		return linux.EPERM
	}
	if err := s.unrewrite(th, addr, end, true); err != nil {
		return err
	}
	if s.regions.Remove(addr, end) > 0 {
		th.HostCall(unix.SYS_MUNMAP, addr, end-addr)
	}
	return nil
}

// Protect is mprotect(2).
func (s *Space) Protect(th *platform.Thread, addr, n uint64, prot uint8) error {
	end, err := checkRange(addr, n)
	if err != nil || n == 0 {
		return err
	}
	s.change(th)
	defer s.unlock()
	s.asked(th, addr, end)
	for _, r := range s.regions.Overlap(addr, end) {
		if r.Sealed {
			return linux.EPERM
		}
		if r.NoWrite && prot&unix.PROT_WRITE != 0 {
			return linux.EACCES
		}
		if err := s.mayProtect(r.Prot, prot); err != nil {
			return err
		}
	}
	if err := s.unrewriteForProtect(th, addr, end, prot); err != nil {
		return err
	}
	// At a hole the host fails with ENOMEM, having changed what lies before it.
	th.HostCall(unix.SYS_MPROTECT, addr, end-addr, uint64(prot))
	s.regions.Update(addr, end, func(r *Region) { r.Prot = prot })
	return nil
}

// Advise is madvise(2) for advice that the host carries out.
func (s *Space) Advise(th *platform.Thread, addr, n uint64, advice uint64) error {
	end, err := checkRange(addr, n)
	if err != nil {
		return linux.EINVAL
	}
	if end == addr {
		return nil
	}
	s.change(th)
	defer s.unlock()
	if platform.LeaseAdvice(advice) {
		s.asked(th, addr, end)
	}
	if discards(advice) {
		for _, r := range s.regions.Overlap(addr, end) {
			if r.Sealed && r.Prot&unix.PROT_WRITE == 0 && !r.Shared {
				return linux.EPERM
			}
		}
	}
	refused := error(nil)
	if at, found := s.lockedFrom(addr, end); found && needsUnlocked(advice) {
		if end, refused = at, linux.EINVAL; end == addr {
			return refused
		}
	}
	if advice == MadvDontNeedLocked {
		advice = unix.MADV_DONTNEED // what is locked is so in name only
	}
	th.HostCall(unix.SYS_MADVISE, addr, end-addr, advice)
	if advice == unix.MADV_DONTFORK || advice == unix.MADV_DOFORK {
		s.regions.Update(addr, end, func(r *Region) { r.NoFork = advice == unix.MADV_DONTFORK && !r.NoRemap })
	}
	if refused == nil && !s.regions.Covered(addr, end) {
		return linux.ENOMEM
	}
	return refused
}

// needsUnlocked says whether advice is none for memory that mlock(2) keeps: madvise(2).
func needsUnlocked(advice uint64) bool {
	switch advice {
	case unix.MADV_DONTNEED, unix.MADV_FREE, unix.MADV_REMOVE, unix.MADV_COLD, unix.MADV_PAGEOUT, MadvGuardInstall:
		return true
	}
	return false
}

// lockedFrom is where in [start, end) locked memory begins. s.mu is held.
func (s *Space) lockedFrom(start, end Addr) (Addr, bool) {
	for _, r := range s.regions.Overlap(start, end) {
		if r.Locked {
			return max(r.Start, start), true
		}
	}
	return 0, false
}

// Covered says whether all of [addr, addr+n) is mapped.
func (s *Space) Covered(addr, n uint64) bool {
	end, err := checkRange(addr, n)
	if err != nil {
		return false
	}
	s.look()
	defer s.mu.Unlock()
	return s.regions.Covered(addr, end)
}

// Brk is brk(2): it gives the new end of the heap, or the old one if it cannot
// be moved there.
func (s *Space) Brk(th *platform.Thread, want Addr, l Limits) Addr {
	s.change(th)
	defer s.unlock()
	if want < s.brkStart || want-s.brkStart > l.Data || want > GuestTop {
		return s.brk
	}
	old, next := PageUp(s.brk), PageUp(want)
	switch {
	case next > old:
		if len(s.regions.Overlap(old, next+PageSize)) > 0 {
			return s.brk
		}
		const rw = unix.PROT_READ | unix.PROT_WRITE
		r := Region{Start: old, End: next, Prot: rw, Kind: Heap, Locked: s.lockNew}
		if s.grows(r, next-old, l) != nil {
			return s.brk
		}
		th.HostCall(unix.SYS_MMAP, old, next-old, rw, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED, ^uint64(0), 0)
		s.regions.Insert(r)
	case next < old:
		th.HostCall(unix.SYS_MUNMAP, next, old-next)
		s.regions.Remove(next, old)
	}
	s.brk = want
	return want
}
