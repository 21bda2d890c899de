package mm

import (
	"math/rand/v2"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/vfs"
)

// Load is the mapping of one segment of a program: [Start, FileEnd) from the
// file, [FileEnd, End) of zeros; [ZeroFrom, ZeroTo) is cleared.
type Load struct {
	Start, FileEnd, End Addr
	ZeroFrom, ZeroTo    Addr
	Prot                uint8
	File                int // index into Program.Files
	Offset              uint64
}

// ProgramFile is a file that segments come from.
type ProgramFile struct {
	FD      int // the host's, not closed
	HostOff int64
	Backing *Backing
}

// Program is what Exec maps.
type Program struct {
	Loads []Load
	Files []ProgramFile
	Exe   vfs.Path
	Text  *vfs.Text // of Exe; Exec takes a reference

	Brk                  Addr // where the heap begins
	CodeStart, CodeEnd   Addr
	StackLow, StackHigh  Addr
	ExecStack            bool
	Top                  Addr // of mmap
	ArgStart, ArgEnd     Addr
	EnvEnd, StackPointer Addr
	Auxv                 []byte
	VDSOStart, VDSOEnd   Addr
}

// Exec orders that th's memory hold a new program and nothing else, and makes s,
// which must be new, say so.
func (s *Space) Exec(th *platform.Thread, p Program) error {
	s.change(th)
	defer s.unlock()
	const private = unix.MAP_PRIVATE | unix.MAP_FIXED
	none := ^uint64(0)
	s.rewrites = rewrites{entry: th.FastEntry()}
	var fds []int
	for _, f := range p.Files {
		fds = append(fds, f.FD)
	}
	// Before the old memory goes, which takes longer than anybody looks for a token.
	ok := th.Donate(platform.FirstPrivateFD, fds, false)
	th.Slow()
	ok = ok && th.HostCall(unix.SYS_MUNMAP, 0, GuestTop)
	for _, l := range p.Loads {
		f := p.Files[l.File]
		if l.File > 0 { // in the order of their addresses
			if s.linkerEnd == 0 {
				s.linker = l.Start
			}
			s.linkerEnd = l.End
		}
		if l.FileEnd > l.Start {
			ok = ok && th.HostCall(unix.SYS_MMAP, l.Start, l.FileEnd-l.Start, uint64(l.Prot), private|populate(l.FileEnd-l.Start, l.Prot),
				uint64(platform.FirstPrivateFD+l.File), uint64(f.HostOff)+l.Offset)
			s.regions.Insert(Region{Start: l.Start, End: l.FileEnd, Prot: l.Prot, File: f.Backing, Offset: l.Offset})
		}
		if l.End > l.FileEnd {
			ok = ok && th.HostCall(unix.SYS_MMAP, l.FileEnd, l.End-l.FileEnd, uint64(l.Prot), private|unix.MAP_ANONYMOUS, none, 0)
			s.regions.Insert(Region{Start: l.FileEnd, End: l.End, Prot: l.Prot})
		}
		if l.ZeroTo > l.ZeroFrom && l.Prot&unix.PROT_WRITE != 0 {
			ok = ok && th.Zero(l.ZeroFrom, l.ZeroTo-l.ZeroFrom)
		}
	}
	for i := range p.Files {
		ok = ok && th.TryHostCall(unix.SYS_CLOSE, uint64(platform.FirstPrivateFD+i))
	}
	stackProt := uint8(unix.PROT_READ | unix.PROT_WRITE)
	if p.ExecStack {
		stackProt |= unix.PROT_EXEC
	}
	ok = ok && th.HostCall(unix.SYS_MMAP, p.StackLow, p.StackHigh-p.StackLow, uint64(stackProt),
		private|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|unix.MAP_STACK, none, 0)
	// What the arguments, and the first frames below them, will touch.
	top := p.StackPointer &^ (PageSize - 1)
	if low := top - 2*PageSize; low >= p.StackLow && p.StackHigh-low <= 8*PageSize {
		th.TryHostCall(unix.SYS_MADVISE, low, p.StackHigh-low, unix.MADV_POPULATE_WRITE)
	}
	if !ok {
		return linux.ENOMEM
	}
	s.regions.Insert(Region{Start: p.StackLow, End: p.StackHigh, Prot: stackProt, Kind: Stack})
	s.regions.Insert(Region{Start: p.VDSOStart, End: p.VDSOEnd, Prot: unix.PROT_READ | unix.PROT_EXEC, Kind: VDSO, NoRemap: true})
	s.top, s.exe, s.text, s.auxv = p.Top, p.Exe, p.Text.IncRef(), p.Auxv
	s.brkStart = p.Brk
	s.brk = s.brkStart
	s.codeStart, s.codeEnd = p.CodeStart, p.CodeEnd
	s.argStart, s.argEnd, s.envEnd, s.startStack = p.ArgStart, p.ArgEnd, p.EnvEnd, p.StackPointer
	return nil
}

// InLinker says whether addr is where Exec put the program's dynamic linker.
func (s *Space) InLinker(addr Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return addr >= s.linker && addr < s.linkerEnd
}

// populate is MAP_POPULATE for n bytes of a program's or a library's data, if they are
// few: relocating touches nearly all of it at once, and to have the host copy the pages
// together costs a fraction of so many faults.
func populate(n uint64, prot uint8) uint64 {
	if prot&unix.PROT_WRITE == 0 || n > 8*PageSize {
		return 0
	}
	return unix.MAP_POPULATE
}

// Layout decides where the stack of a program goes and below which address its
// mappings do. limit is RLIMIT_STACK, random a number of whole pages below n, in bytes.
func Layout(limit uint64, random func(n uint64) uint64) (stackLow, stackHigh, top Addr) {
	const least, most = 128 << 10, 1 << 30
	size := PageUp(min(max(limit, least), most))
	if limit == unix.RLIM_INFINITY {
		size = 8 << 20
	}
	stackHigh = GuestTop - random(1<<14)
	stackLow = stackHigh - size
	// Within the stack's GiB, if there is room: a page table less to make and free.
	const gap, room, span = 1 << 20, 64 << 20, 1 << 30
	scatter := uint64(span)
	if below := stackLow % span; below > gap+4*room {
		scatter = below - gap - room
	}
	top = stackLow - gap - random(scatter/PageSize)
	return stackLow, stackHigh, top
}

// RandomPages is a random number of whole pages below n, in bytes.
func RandomPages(n uint64) uint64 { return rand.Uint64N(n) * PageSize }
