package rewrite

import "encoding/binary"

// A trampoline page begins with the address of the stub's fast lane, and goes on
// with trampolines of TrampolineSize bytes:
//
//	Moved                   shape Before
//	lea  r11, [rip+slow]
//	jmp  [rip+entry]        into the stub, which comes back to r11+2
//	slow: syscall           the stub's way out: the trap lane
//	Moved                   shape Over
//	jmp  back
//
// It touches no stack and no flag; R11 is lost with any system call.
const (
	PageSize       = 4096
	TrampolineSize = 48
	headSize       = 16
	// PageTrampolines is how many a page holds.
	PageTrampolines = (PageSize - headSize) / TrampolineSize
)

// Head is the start of a trampoline page.
func Head(entry uint64) []byte {
	return binary.LittleEndian.AppendUint64(nil, entry)
}

// Site is a rewritten site.
type Site struct {
	Plan
	Syscall    uint64 // the address of its SYSCALL
	Trampoline uint64
	Original   [JumpLen]byte
}

// Window is the address of the first overwritten byte.
func (s *Site) Window() uint64 { return s.Syscall + uint64(int64(s.Start)) }

// slow is the address of the trampoline's own SYSCALL.
func (s *Site) slow() uint64 {
	n := uint64(7 + 6)
	if s.Shape == Before {
		n += uint64(len(s.Moved))
	}
	return s.Trampoline + n
}

// TrampolineAt is the address of trampoline i of a page.
func TrampolineAt(page uint64, i int) uint64 { return page + headSize + uint64(i)*TrampolineSize }

// Near says whether a jump reaches from a to b.
func Near(a, b uint64) bool {
	d := int64(a - b)
	return d > -(1<<31-1<<16) && d < 1<<31-1<<16
}

// Bytes gives the trampoline, for a page at page.
func (s *Site) Bytes(page uint64) []byte {
	p := make([]byte, 0, TrampolineSize)
	if s.Shape == Before {
		p = append(p, s.Moved...)
	}
	p = append(p, 0x4c, 0x8d, 0x1d, 6, 0, 0, 0) // lea r11, [rip+6]
	p = append(p, 0xff, 0x25)                   // jmp [rip+rel]
	p = appendRel(p, s.Trampoline, page)
	p = append(p, 0x0f, 0x05)
	if s.Shape == Over {
		p = append(p, s.Moved...)
	}
	p = append(p, 0xe9)
	return appendRel(p, s.Trampoline, s.back())
}

// back is where the trampoline returns to.
func (s *Site) back() uint64 {
	if s.Shape == Before {
		return s.Syscall + 2
	}
	return s.Syscall + uint64(s.Len)
}

// appendRel appends the distance to target from the end of the 4 bytes that it
// appends to p, which stands at address at.
func appendRel(p []byte, at, target uint64) []byte {
	return binary.LittleEndian.AppendUint32(p, uint32(target-(at+uint64(len(p))+4)))
}

// Jump gives the bytes that the site is overwritten with.
func (s *Site) Jump() [JumpLen]byte {
	var j [JumpLen]byte
	copy(j[:], appendRel([]byte{0xe9}, s.Window(), s.Trampoline))
	return j
}

// Visible translates an address in the trampoline to where the program thinks
// that it is: what a signal handler, an unwinder or a debugger may see.
func (s *Site) Visible(rip uint64) (uint64, bool) {
	if rip < s.Trampoline || rip >= s.Trampoline+TrampolineSize {
		return 0, false
	}
	slow := s.slow()
	switch {
	case s.Shape == Before && rip < s.Trampoline+uint64(len(s.Moved)):
		return s.Window(), rip == s.Trampoline
	case rip <= slow:
		return s.Syscall, true
	case s.Shape == Before:
		return s.Syscall + 2, true
	}
	// Over: after the SYSCALL come the moved instructions, as they stood.
	return min(s.Syscall+(rip-slow), s.back()), rip >= slow+2
}

// Actual translates an address inside the overwritten window, where the program
// thinks that it goes on, to the trampoline, where it can.
func (s *Site) Actual(rip uint64) (uint64, bool) {
	if s.Shape != Over || rip < s.Syscall+2 || rip >= s.back() {
		return 0, false
	}
	return s.slow() + (rip - s.Syscall), true
}
