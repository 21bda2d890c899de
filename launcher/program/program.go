// Package program makes programs of some hundred bytes, without a run-time, so that a
// process that only waits starts in no time and takes next to no memory.
package program

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// firstFD is the first descriptor that File gives: those below are where a command's
// own come to lie before it executes the file.
const firstFD = 10

// File is an executable of position-independent code that no directory has. It is
// executed by Path.
func File(name string, code []byte) (*os.File, error) {
	// MFD_EXEC is newer than the kernels that we support, but where it is known
	// and left out, the program may come out not executable: memfd_create(2).
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, err
	}
	// An image that is open for writing cannot be executed: write, and reopen.
	w := os.NewFile(uintptr(fd), name)
	defer w.Close()
	if _, err := w.Write(image(code)); err != nil {
		return nil, err
	}
	r, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if fd, err = unix.FcntlInt(r.Fd(), unix.F_DUPFD_CLOEXEC, firstFD); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Path is by what a child of this process executes f, which it does not keep open.
func Path(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// image is an ELF file with one segment that holds all of it: elf(5).
func image(code []byte) []byte {
	const base, header = 0x400000, 64 + 56
	size := uint64(header + len(code))
	le := binary.LittleEndian
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	b = le.AppendUint16(b, 2)    // ET_EXEC
	b = le.AppendUint16(b, 0x3e) // EM_X86_64
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, base+header) // entry
	b = le.AppendUint64(b, 64)          // program headers
	b = le.AppendUint64(b, 0)           // no sections
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 64, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1)   // PT_LOAD
	b = le.AppendUint32(b, 4|1) // read, execute
	for _, v := range []uint64{0, base, base, size, size, 0x1000} {
		b = le.AppendUint64(b, v)
	}
	return append(b, code...)
}
