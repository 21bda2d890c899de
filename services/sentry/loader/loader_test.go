package loader

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
)

// header is a small program: an ELF header and program headers.
func header(typ uint16, entry uint64, progs ...elf.Prog64) []byte {
	h := elf.Header64{Type: typ, Machine: machineX8664, Version: 1, Entry: entry, Phoff: headerSize, Phentsize: progSize, Phnum: uint16(len(progs))}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, h)
	binary.Write(&b, binary.LittleEndian, progs)
	return b.Bytes()
}

func readerOf(p []byte) reader {
	return func(buf []byte, off int64) (int, error) {
		if off < 0 || off >= int64(len(p)) {
			return 0, nil
		}
		return copy(buf, p[off:]), nil
	}
}

func load(addr, off, fileSize, memSize uint64) elf.Prog64 {
	return elf.Prog64{Type: ptLoad, Flags: 5, Off: off, Vaddr: addr, Filesz: fileSize, Memsz: memSize, Align: 0x1000}
}

func TestParse(t *testing.T) {
	good := load(0x400000, 0, 0x100, 0x2000)
	for _, c := range []struct {
		name string
		file []byte
		want error
	}{
		{"a program", header(etExec, 0x400010, good), nil},
		{"no segments", header(etExec, 0), linux.ENOEXEC},
		{"an object file", header(1, 0, good), linux.ENOEXEC},
		{"no ELF", bytes.Repeat([]byte("x"), 200), linux.ENOEXEC},
		{"cut off", header(etExec, 0, good)[:100], linux.ENOEXEC},
		{"more in the file than in memory", header(etExec, 0, load(0x400000, 0, 0x3000, 0x2000)), linux.ENOEXEC},
		{"above the guest's memory", header(etExec, 0, load(mm.GuestTop, 0, 1, 1)), linux.ENOEXEC},
		{"around the end of the address space", header(etExec, 0, load(0x400000, 0, 1, ^uint64(0))), linux.ENOEXEC},
		{"offset and address disagree", header(etExec, 0, load(0x400000, 1, 1, 1)), linux.ENOEXEC},
		{"out of order", header(etExec, 0, load(0x500000, 0, 1, 1), load(0x400000, 0, 1, 1)), linux.ENOEXEC},
		{"an interpreter without its end", header(etExec, 0, elf.Prog64{Type: ptInterp, Off: 0, Filesz: 4}, good), linux.ENOEXEC},
	} {
		if _, err := parse(c.file, readerOf(c.file)); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestParseScript(t *testing.T) {
	for _, c := range []struct {
		line, interp, arg string
		err               error
	}{
		{"#!/bin/sh\nx", "/bin/sh", "", nil},
		{"#! /bin/sh -e x \n", "/bin/sh", "-e x", nil},
		{"#!/bin/sh\t-e\n", "/bin/sh", "-e", nil},
		{"#!/bin/sh", "/bin/sh", "", nil},
		{"#!\n", "", "", linux.ENOEXEC},
		{"#!   \n", "", "", linux.ENOEXEC},
	} {
		interp, arg, err := parseScript([]byte(c.line))
		if interp != c.interp || arg != c.arg || err != c.err {
			t.Errorf("%q: %q %q %v", c.line, interp, arg, err)
		}
	}
}

// FuzzParse reads hostile programs and places them.
func FuzzParse(f *testing.F) {
	f.Add(header(etExec, 0x400010, load(0x400000, 0, 0x100, 0x2000)))
	f.Add(header(etDyn, 0x10, load(0, 0, 0x100, 0x2000), load(0x3000, 0, 1, 0x5000)))
	if self, err := os.ReadFile("/bin/true"); err == nil {
		f.Add(self[:min(len(self), 4096)])
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		im, err := parse(file[:min(len(file), scriptLine)], readerOf(file))
		parseScript(append([]byte("#!"), file...))
		if err != nil {
			return
		}
		img := Image{Exe: &Program{im: im}}
		_, loads, err := img.Place(func(uint64) uint64 { return 0 }, mm.GuestTop-1<<24)
		if err != nil {
			return
		}
		for _, l := range loads {
			if l.Start > l.FileEnd || l.FileEnd > l.End || l.End > mm.GuestTop || l.Start%mm.PageSize != 0 ||
				l.ZeroTo < l.ZeroFrom || l.ZeroTo > l.End {
				t.Fatalf("%+v", l)
			}
		}
	})
}
