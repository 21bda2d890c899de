package rewrite

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// What a signal's handler returns to is a call of rt_sigreturn(2), and unwinders
// that find no tables for it know it by its very bytes: libgcc's and libunwind's
// do. So it is overwritten only where its image has such tables for it, as the GNU
// C library has; musl has not. This file looks for them, in an image that may be
// anything.

// restorer is that code. Its SYSCALL is at restorerLen.
var restorer = []byte{0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05} // mov rax, 15; syscall

const restorerLen = 7

// IsRestorer says whether unwinders may know code around the SYSCALL at code[at]
// by its bytes.
func IsRestorer(code []byte, at int) bool {
	return at >= restorerLen && bytes.HasPrefix(code[at-restorerLen:], restorer)
}

// Memory reads p at addr: false if it cannot.
type Memory func(addr uint64, p []byte) bool

// Bounds on an image that is looked at.
const (
	maxHeaders = 64
	maxEntries = 1 << 20
	scanChunk  = 64 << 10
	maxScanned = 4 << 20
)

// UnwindsRestorer says whether nobody recognises the restorer whose SYSCALL is at
// addr, in the ELF image at base, by its bytes: there is an entry for it in the
// image's tables, or nothing that unwinds in the program, as it is one that Go's
// linker made without others' code.
func UnwindsRestorer(read Memory, base, addr uint64) bool {
	im, ok := readImage(read, base)
	if !ok || addr < base+restorerLen+1 {
		return false
	}
	// Who returns to the first byte is looked up by the one before it.
	first := addr - restorerLen - 1
	switch {
	case im.index != 0:
		return im.indexed(first)
	case im.dynamic:
		return false
	case im.golang && !im.linked:
		return true
	}
	return im.scan(first)
}

// image is what an image's program headers say.
type image struct {
	read    Memory
	index   uint64 // address of its PT_GNU_EH_FRAME, or 0
	dynamic bool   // it has an interpreter, and so other images beside it
	golang  bool   // Go's linker made a note in it
	linked  bool   // another linker had a hand in it
	fixed   []span // what is loaded and not writable
}

type span struct{ at, size uint64 }

func readImage(read Memory, base uint64) (image, bool) {
	im := image{read: read}
	var head [64]byte
	le := binary.LittleEndian
	if !read(base, head[:]) || string(head[:4]) != elf.ELFMAG || head[4] != byte(elf.ELFCLASS64) {
		return im, false
	}
	const entry = 56
	n := int(le.Uint16(head[56:]))
	if n == 0 || n > maxHeaders || le.Uint16(head[54:]) != entry {
		return im, false
	}
	progs := make([]byte, n*entry)
	if !read(base+le.Uint64(head[32:]), progs) {
		return im, false
	}
	bias, found := uint64(0), false
	for p := progs; len(p) > 0 && !found; p = p[entry:] {
		if elf.ProgType(le.Uint32(p)) == elf.PT_LOAD {
			bias, found = base-(le.Uint64(p[16:])-le.Uint64(p[8:])), true
		}
	}
	for p := progs; len(p) > 0; p = p[entry:] {
		at, size := bias+le.Uint64(p[16:]), le.Uint64(p[40:])
		switch elf.ProgType(le.Uint32(p)) {
		case elf.PT_LOAD:
			if elf.ProgFlag(le.Uint32(p[4:]))&elf.PF_W == 0 {
				im.fixed = append(im.fixed, span{at, size})
			}
		case elf.PT_GNU_EH_FRAME:
			im.index = at
		case elf.PT_INTERP, elf.PT_DYNAMIC:
			im.dynamic = true
		case elf.PT_TLS, elf.PT_GNU_RELRO:
			im.linked = true
		case elf.PT_NOTE:
			var note [16]byte // sizes of name and description, type, name
			im.golang = im.golang || read(at, note[:]) && le.Uint32(note[:]) == 4 && string(note[12:]) == "Go\x00\x00"
		}
	}
	return im, found
}

// indexed looks for pc in the sorted index of the tables, .eh_frame_hdr of the
// Linux Standard Base.
func (im *image) indexed(pc uint64) bool {
	var head [12]byte
	le := binary.LittleEndian
	// Version 1; where the tables are, a count of 4 bytes, entries of 4 and 4 that
	// are relative to the index.
	if !im.read(im.index, head[:]) || head[0] != 1 || head[1] != 0x1b || head[2] != 0x03 || head[3] != 0x3b {
		return false
	}
	n := le.Uint32(head[8:])
	if n > maxEntries {
		return false
	}
	relative := func(v uint32) uint64 { return im.index + uint64(int64(int32(v))) }
	var entry [8]byte
	low, high := uint32(0), n // the entry is one of [low, high)
	for high-low > 1 {
		mid := low + (high-low)/2
		if !im.read(im.index+12+8*uint64(mid), entry[:]) {
			return false
		}
		if relative(le.Uint32(entry[:])) <= pc {
			low = mid
		} else {
			high = mid
		}
	}
	return n > 0 && im.read(im.index+12+8*uint64(low), entry[:]) && im.covers(relative(le.Uint32(entry[4:])), pc)
}

// covers says whether the entry of the tables at fde is one of a signal's frame and
// for pc and what follows it.
func (im *image) covers(fde, pc uint64) bool {
	var p [16]byte // length, distance to its CIE, start and length of the code
	var cie [20]byte
	le := binary.LittleEndian
	if !im.read(fde, p[:]) || !im.read(fde+4-uint64(le.Uint32(p[4:])), cie[:]) {
		return false
	}
	// Its id, version 1, augmentation "zRS", three numbers of a byte, one byte of
	// augmentation data: addresses are 4 bytes and relative.
	if string(cie[4:13]) != "\x00\x00\x00\x00\x01zRS\x00" || cie[13]|cie[15] >= 0x80 || cie[16] != 1 || cie[17] != 0x1b {
		return false
	}
	start := fde + 8 + uint64(int64(int32(le.Uint32(p[8:]))))
	return pc-start < uint64(le.Uint32(p[12:])) && uint64(le.Uint32(p[12:]))-(pc-start) > 1
}

// scan looks for an entry that begins with pc in all that is loaded: a static
// program registers its tables by a call, and has no index.
func (im *image) scan(pc uint64) bool {
	buf := make([]byte, scanChunk)
	left := uint64(maxScanned)
	for _, s := range im.fixed {
		for at := s.at &^ 3; s.size >= 4 && at < s.at+s.size && left > 0; at += scanChunk {
			n := min(scanChunk, s.at+s.size-at, left) &^ 3
			if n == 0 || !im.read(at, buf[:n]) {
				break
			}
			left -= n
			for i := uint64(0); i < n; i += 4 {
				v := binary.LittleEndian.Uint32(buf[i:])
				if at+i+uint64(int64(int32(v))) == pc && im.covers(at+i-8, pc) {
					return true
				}
			}
		}
	}
	return false
}
