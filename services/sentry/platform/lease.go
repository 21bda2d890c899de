package platform

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A lease is a stretch of a guest's address space in which its own threads map,
// unmap and protect private anonymous memory by themselves: the stub makes the
// host's call (lease_amd64.h) and notes in memory that it shares with the sentry
// what is mapped now, a byte for each page. The sentry reads that when it next has
// to know.
//
// Outside of the stretch, too, they do so where an address is given and everything is
// private anonymous memory, or nothing: in the reservations of browsers, of runtimes
// and of allocators. The sentry gives the spans that hold all else, the foreign ones, and
// the stub logs what it has done: one call, one entry. When the log is full it asks, and
// the sentry reads the log first.
//
// Who changes anything in it, or has to know all of it, holds the lease's lock. The
// stub tries for it once, and asks the sentry, as without a lease, if another has it.
// The sentry holds it from the moment that it decides on a change of the address space
// until the thread has made the host calls of the answer, so that the stub never makes
// one between the two.
//
// The guest can write to all of this. It deceives nobody but itself: the sentry
// takes what it reads as a claim about the guest's own memory, of which it copies and
// checks each byte (Claims, and package mm), and waits for the lock a bounded time.
// A stub that goes by forged words makes calls on its own memory, which its filter
// allows from anywhere in its text.

// The layout of a lease: the slot that no thread has, the last in the stub's first page
// table. Offsets are in bytes.
const (
	leaseSlot = 15
	leaseAt   = slots + leaseSlot<<areaShift

	leaseLock     = 0x00 // u32, both: who holds it, 0 nobody
	leaseTrapMask = 0x04 // u32, sentry: see leaseTraps; 0 where no call site is rewritten
	leaseTraps    = 0x08 // u32, stub: calls by the trap lane; the sentry sees those with no bit of the mask
	leaseTop      = 0x10 // u64, sentry: the end of the stretch; 0 if there is none
	leaseLow      = 0x18 // u64, sentry: its start
	leaseCursor   = 0x20 // u64, both: all from leaseLow up to here is free
	leaseLogged   = 0x28 // u32, both: how many entries the log has
	leaseForeign  = 0x40 // LeaseForeigns * {start, end} u64, sentry: where the stub keeps off; all 0 for none
	// A byte for each page from leaseCursor to leaseTop, the highest first.
	leasePages = leaseForeign + 16*LeaseForeigns
	// LeaseLogSize * {what, end} u64, stub: the address, the PROT_ bits from bit 4 on, the call.
	leaseLog = slotSize - 16*LeaseLogSize

	// LeaseForeigns is how many foreign spans there can be.
	LeaseForeigns = 16
	// LeaseLogSize is how many calls can be logged, a power of two.
	LeaseLogSize = 256
	// LeaseSpan is how long a lease is at most, in bytes: what the slot has bytes for.
	LeaseSpan = (leaseLog - leasePages) &^ 0xff * pageSize
	// LeaseLongest is the longest range that the stub deals with, in bytes. A page of
	// bytes is 16 MiB, and costs more than a request when it is touched first; and the
	// lock is held meanwhile.
	LeaseLongest = 16 << 20

	// What a page's byte can be: LeaseMapped with the PROT_ bits, private and
	// anonymous; LeaseForeign, anything else that is mapped, which the stub keeps off.
	LeaseFree    = 0
	LeaseMapped  = 0x08
	LeaseForeign = 0x80

	// leaseCalls has a bit for each call that the stub may make by itself.
	leaseCalls = 1<<unix.SYS_MMAP | 1<<unix.SYS_MPROTECT | 1<<unix.SYS_MUNMAP | 1<<unix.SYS_MADVISE
	// leaseFlags are what the stub's mmap(2) may have besides MAP_PRIVATE and MAP_ANONYMOUS.
	leaseFlags = unix.MAP_NORESERVE | unix.MAP_STACK
	leasePlain = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	// leaseAdvice has a bit for each advice that changes nothing but pages, or how the
	// host deals with them.
	leaseAdvice = 1<<unix.MADV_NORMAL | 1<<unix.MADV_RANDOM | 1<<unix.MADV_SEQUENTIAL | 1<<unix.MADV_WILLNEED |
		1<<unix.MADV_DONTNEED | 1<<unix.MADV_FREE | 1<<unix.MADV_HUGEPAGE | 1<<unix.MADV_NOHUGEPAGE | 1<<unix.MADV_DONTDUMP | 1<<unix.MADV_DODUMP |
		1<<unix.MADV_WIPEONFORK | 1<<unix.MADV_KEEPONFORK | 1<<unix.MADV_COLD | 1<<unix.MADV_PAGEOUT
	mapFixed     = unix.MAP_FIXED
	mapNoReplace = unix.MAP_FIXED_NOREPLACE
	archX86_64   = unix.AUDIT_ARCH_X86_64

	// A holder of the lock is the upper bits of its slot's address; leaseSentry is
	// added where the sentry holds it, for that thread's answer or by itself.
	leaseSentry = 0x8000_0000
)

// Leaseable says whether the stub could do an mmap(2) by itself.
func Leaseable(addr, length uint64, flags uint32) bool {
	return addr == 0 && length <= LeaseLongest && flags&^leaseFlags == leasePlain
}

// LeaseablePlace says whether the stub could do an mmap(2) at a place that is given.
func LeaseablePlace(addr, length uint64, flags uint32) bool {
	return addr%pageSize == 0 && addr >= GuestBottom && addr < GuestTop && length <= LeaseLongest && length <= GuestTop-addr &&
		flags&^(leaseFlags|mapFixed) == leasePlain
}

// LeaseAdvice says whether the stub gives the host an advice of madvise(2) by itself.
func LeaseAdvice(advice uint64) bool { return advice < 32 && leaseAdvice>>advice&1 != 0 }

// LeaseChange is what the stub has done outside of the stretch.
type LeaseChange struct {
	Call       uint32 // SYS_MMAP, SYS_MUNMAP or SYS_MPROTECT
	Prot       uint8  // of PROT_READ, PROT_WRITE and PROT_EXEC
	Start, End uint64 // whole pages of a guest's
}

// Lease is the sentry's side of a lease. Its methods must not be called by two
// goroutines at once.
type Lease struct {
	space *Space
	mem   slot
}

// LeaseHolder says who holds a lease's lock.
type LeaseHolder uint32

// The holders that are no thread: nobody, and the sentry for itself.
const (
	LeaseNobody LeaseHolder = 0
	LeaseReader LeaseHolder = leaseSentry
)

// Sentry says whether it is the sentry that holds the lock, for whatever thread.
func (h LeaseHolder) Sentry() bool { return h&leaseSentry != 0 }

// NewLease makes a lease of th's address space, with nothing in it: false where there
// can be none. The address space must have no other.
func (th *Thread) NewLease() (*Lease, bool) {
	if th.space == nil || th.verifier != nil || th.dropped.Load() {
		return nil, false
	}
	mem, err := mapSlot(th.space.memfd, leaseSlot)
	if err != nil {
		return nil, false
	}
	l := &Lease{th.space, mem}
	l.store(leaseTop, 0)
	atomic.StoreUint32(mem.word(leaseLogged), 0)
	atomic.StoreUint32(mem.word(leaseLock), 0)
	l.space.leased.Store(true)
	return l, true
}

// End takes the lease away: no thread looks at it any more. The caller holds the
// lock, or no thread is left that could.
func (l *Lease) End() {
	l.store(leaseTop, 0)
	atomic.StoreUint32(l.mem.word(leaseLock), 0)
	l.space.leased.Store(false)
	l.mem.unmap()
	l.mem = slot{}
}

func (l *Lease) store(off int, v uint64) { atomic.StoreUint64(l.mem.long(off), v) }

// Set gives the stretch and what of it is free from low on. The caller holds the lock.
func (l *Lease) Set(low, cursor, top uint64) {
	l.store(leaseLow, low)
	l.store(leaseCursor, cursor)
	l.store(leaseTop, top)
}

// Rewriting says whether the sentry is to see some of the calls that come by the trap
// lane, to rewrite their sites.
func (l *Lease) Rewriting(on bool) {
	mask := uint32(0)
	if on {
		mask = 7
	}
	atomic.StoreUint32(l.mem.word(leaseTrapMask), mask)
}

// Claims is where the stub says that all below is free. A guest may have made it up.
func (l *Lease) Claims() (cursor uint64) { return l.mem.load(leaseCursor) }

// Bytes are those of the first n pages below the top, in the memory that the guest
// writes to; nil if there are not so many.
func (l *Lease) Bytes(n uint64) []byte {
	if n > LeaseSpan/pageSize {
		return nil
	}
	return l.mem.mem[leasePages : leasePages+n]
}

// Foreign gives the stub the spans that it has to keep off: LeaseForeigns at most. The
// caller holds the lock.
func (l *Lease) Foreign(spans [][2]uint64) {
	for i := range LeaseForeigns {
		var span [2]uint64
		if i < len(spans) {
			span = spans[i]
		}
		l.store(leaseForeign+16*i, span[0])
		l.store(leaseForeign+16*i+8, span[1])
	}
}

// Log gives each change of the log to see, in order, and empties it. A guest may have made
// them up: what none but a guest writes is left out. The caller holds the lock.
func (l *Lease) Log(see func(LeaseChange)) {
	logged := l.mem.word(leaseLogged)
	n := min(atomic.LoadUint32(logged), LeaseLogSize)
	for i := range int(n) {
		what, end := l.mem.load(leaseLog+16*i), l.mem.load(leaseLog+16*i+8)
		c := LeaseChange{uint32(what & 15), uint8(what >> 4 & 7), what &^ (pageSize - 1), end}
		known := c.Call == unix.SYS_MMAP || c.Call == unix.SYS_MUNMAP || c.Call == unix.SYS_MPROTECT
		if known && c.Start >= GuestBottom && c.Start < c.End && c.End <= GuestTop && c.End%pageSize == 0 {
			see(c)
		}
	}
	if n > 0 {
		atomic.StoreUint32(logged, 0)
	}
}

// Holder says who holds the lock, or so says the guest.
func (l *Lease) Holder() LeaseHolder {
	return LeaseHolder(atomic.LoadUint32(l.mem.word(leaseLock)))
}

// Take makes the lock go from one holder to another, if the first has it.
func (l *Lease) Take(from, to LeaseHolder) bool {
	return atomic.CompareAndSwapUint32(l.mem.word(leaseLock), uint32(from), uint32(to))
}

// Lost says whether h is a thread that is gone, and so will never release the lock:
// one of a process that shared the memory and was killed.
func (l *Lease) Lost(h LeaseHolder) bool {
	i := uint64(h) - (slots>>areaShift)&0xffff_ffff
	if i >= MaxThreads {
		return false
	}
	l.space.mu.Lock()
	defer l.space.mu.Unlock()
	if i >= uint64(len(l.space.threads)) {
		return true
	}
	th := l.space.threads[i]
	return th == nil || th.proc.gone.Load()
}

// Holds is the holder that the sentry is for the answer to th.
func (th *Thread) Holds() LeaseHolder {
	return LeaseHolder(uint32((uint64(slots)>>areaShift)+uint64(th.index)) | leaseSentry)
}

// Releases has the answer release the lock that is held for it, once its host calls
// are made.
func (th *Thread) Releases() { th.releases = true }

// UseLease tells the stub whether to look at the lease for calls of th.
func (th *Thread) UseLease(on bool) {
	if th.space == nil || th.dropped.Load() {
		return
	}
	atomic.StoreUint32(th.slot.word(slotLease), boolWord(on))
}

func boolWord(on bool) uint32 {
	if on {
		return 1
	}
	return 0
}

// SelfLease is a lease that no guest has, of memory that is the caller's: for tests
// of what reads it.
func SelfLease() *Lease {
	mem := make([]uint64, slotSize/8)
	return &Lease{&Space{}, slot{mem: unsafe.Slice((*byte)(unsafe.Pointer(&mem[0])), slotSize)}}
}

// Logs writes entry i of the log, and how many there are, as the stub or a guest would:
// for tests.
func (l *Lease) Logs(i int, what, end uint64, logged uint32) {
	l.store(leaseLog+16*i, what)
	l.store(leaseLog+16*i+8, end)
	atomic.StoreUint32(l.mem.word(leaseLogged), logged)
}
