package hull

import (
	"os"
	"runtime/debug"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead/proto/heap"
)

// Slim gives back the memory that a service no longer needs once it is booted:
// the heap's garbage, and the pages of its own program that only start-up used.
// Those that are used again come back from the page cache.
//
// It happens a second after the call: a sandbox that lives shorter is not made
// slower for it.
func Slim() {
	time.AfterFunc(time.Second, func() {
		heap.Slim()
		debug.FreeOSMemory()
		for _, r := range programText() {
			unix.Syscall(unix.SYS_MADVISE, r.start, r.end-r.start, unix.MADV_DONTNEED)
		}
	})
}

// span is a part of the address space.
type span struct{ start, end uintptr }

// programHeader is an ELF program header: elf(5).
type programHeader struct {
	kind, flags                        uint32
	offset, vaddr, paddr, file, memory uint64
	align                              uint64
}

const (
	ptLoad = 1
	pfW    = 2
)

// programText is where the parts of this program lie that are never written, by the
// headers that the kernel loaded it from. The program is static, at fixed addresses.
func programText() []span {
	vector, err := unix.Auxv()
	if err != nil {
		return nil
	}
	const phdr, phent, phnum = 3, 4, 5 // getauxval(3)
	aux := map[uintptr]uintptr{}
	for _, v := range vector {
		aux[v[0]] = v[1]
	}
	if aux[phdr] == 0 || aux[phent] != unsafe.Sizeof(programHeader{}) {
		return nil
	}
	var all []span
	page := uintptr(os.Getpagesize())
	headers := aux[phdr]
	for _, h := range unsafe.Slice((*programHeader)(*(*unsafe.Pointer)(unsafe.Pointer(&headers))), aux[phnum]) {
		if h.kind != ptLoad || h.flags&pfW != 0 {
			continue
		}
		start, end := uintptr(h.vaddr), uintptr(h.vaddr+h.memory)
		all = append(all, span{start &^ (page - 1), (end + page - 1) &^ (page - 1)})
	}
	return all
}
