// Package loader reads programs: ELF images and scripts. It turns them into a
// plan of what to map (Image); mm carries the plan out.
//
// A program file is written by somebody hostile: every number in it is checked
// before it is used.
package loader

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
)

const (
	pageSize   = mm.PageSize
	headerSize = 64
	progSize   = 56
	maxProgs   = 64
	maxInterp  = 4096

	etExec, etDyn            = 2, 3
	ptLoad, ptInterp, ptPhdr = 1, 3, 6
	ptGNUStack               = 0x6474e551
	machineX8664             = 62
	pfExec, pfWrite, pfRead  = 1, 2, 4
)

// reader reads a file from an offset; fewer bytes at its end.
type reader func(p []byte, off int64) (int, error)

// segment is one PT_LOAD.
type segment struct {
	addr, fileSize, memSize, offset uint64
	prot                            uint8
}

// image is what an ELF file's headers say.
type image struct {
	dyn       bool
	entry     uint64
	phoff     uint64
	phnum     uint16
	phdr      uint64 // address of the program headers, 0 if unknown
	segments  []segment
	interp    string
	execStack bool
	low, high uint64 // of all segments, page-aligned
	align     uint64
}

func readFull(read reader, p []byte, off int64) error {
	n, err := read(p, off)
	if err != nil {
		return err
	}
	if n < len(p) {
		return linux.ENOEXEC
	}
	return nil
}

// parse checks and reads the headers of an ELF file. ENOEXEC if it is none that
// can run here.
func parse(head []byte, read reader) (*image, error) {
	le := binary.LittleEndian
	if len(head) < headerSize || string(head[:4]) != "\x7fELF" || head[4] != 2 || head[5] != 1 {
		return nil, linux.ENOEXEC
	}
	typ := le.Uint16(head[16:])
	if typ != etExec && typ != etDyn || le.Uint16(head[18:]) != machineX8664 || le.Uint16(head[54:]) != progSize {
		return nil, linux.ENOEXEC
	}
	im := &image{dyn: typ == etDyn, entry: le.Uint64(head[24:]), phoff: le.Uint64(head[32:]), phnum: le.Uint16(head[56:])}
	if im.phnum == 0 || im.phnum > maxProgs || im.phoff > 1<<40 {
		return nil, linux.ENOEXEC
	}
	progs := make([]byte, int(im.phnum)*progSize)
	if err := readFull(read, progs, int64(im.phoff)); err != nil {
		return nil, err
	}
	im.execStack = true
	for ; len(progs) > 0; progs = progs[progSize:] {
		if err := im.program(progs, read); err != nil {
			return nil, err
		}
	}
	if len(im.segments) == 0 {
		return nil, linux.ENOEXEC
	}
	im.findProgramHeaders()
	return im, nil
}

// program takes one program header.
func (im *image) program(p []byte, read reader) error {
	le := binary.LittleEndian
	flags, off, addr := le.Uint32(p[4:]), le.Uint64(p[8:]), le.Uint64(p[16:])
	fileSize, memSize, align := le.Uint64(p[32:]), le.Uint64(p[40:]), le.Uint64(p[48:])
	switch le.Uint32(p) {
	case ptInterp:
		if im.interp != "" || fileSize < 2 || fileSize > maxInterp || off > 1<<40 {
			return linux.ENOEXEC
		}
		name := make([]byte, fileSize)
		if err := readFull(read, name, int64(off)); err != nil {
			return err
		}
		if name[fileSize-1] != 0 {
			return linux.ENOEXEC
		}
		im.interp = cString(name)
	case ptPhdr:
		im.phdr = addr
	case ptGNUStack:
		im.execStack = flags&pfExec != 0
	case ptLoad:
		return im.load(segment{addr, fileSize, memSize, off, prot(flags)}, align)
	}
	return nil
}

func cString(p []byte) string {
	for i, c := range p {
		if c == 0 {
			return string(p[:i])
		}
	}
	return string(p)
}

func prot(flags uint32) uint8 {
	var p uint8
	if flags&pfRead != 0 {
		p |= unix.PROT_READ
	}
	if flags&pfWrite != 0 {
		p |= unix.PROT_WRITE
	}
	if flags&pfExec != 0 {
		p |= unix.PROT_EXEC
	}
	return p
}

// load checks and adds a segment: in order, apart, within the guest's memory.
func (im *image) load(s segment, align uint64) error {
	if s.memSize == 0 {
		return nil
	}
	if s.fileSize > s.memSize || s.addr >= mm.GuestTop || s.memSize > mm.GuestTop-s.addr ||
		s.offset > 1<<40 || s.fileSize > 1<<40 || s.addr%pageSize != s.offset%pageSize {
		return linux.ENOEXEC
	}
	if im.segments == nil {
		im.low = mm.PageDown(s.addr)
	} else if mm.PageDown(s.addr) < im.low || s.addr < im.segments[len(im.segments)-1].addr {
		return linux.ENOEXEC
	}
	im.segments = append(im.segments, s)
	im.high = max(im.high, mm.PageUp(s.addr+s.memSize))
	if align&(align-1) == 0 && align <= 1<<30 {
		im.align = max(im.align, align)
	}
	return nil
}

// findProgramHeaders finds where the headers will be in memory: AT_PHDR.
func (im *image) findProgramHeaders() {
	if im.phdr != 0 {
		return
	}
	for _, s := range im.segments {
		if im.phoff >= s.offset && im.phoff < s.offset+s.fileSize {
			im.phdr = im.phoff - s.offset + s.addr
			return
		}
	}
}
