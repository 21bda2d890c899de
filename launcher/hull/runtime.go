package hull

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Slim gives back the memory that a service no longer needs once it is booted:
// the heap's garbage, and the pages of its own program that only start-up used.
// Those that are used again come back from the page cache. program is what
// ProgramText gave before the process lost sight of /proc.
//
// It happens a second after the call: a sandbox that lives shorter is not made
// slower for it.
func Slim(program []Range) {
	time.AfterFunc(time.Second, func() {
		debug.FreeOSMemory()
		for _, r := range program {
			unix.Syscall(unix.SYS_MADVISE, r.Start, r.End-r.Start, unix.MADV_DONTNEED)
		}
	})
}

// Range is a part of the address space.
type Range struct{ Start, End uintptr }

// ProgramText is where the parts of this program lie that are never written:
// proc_pid_maps(5).
func ProgramText() []Range {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	var all []Range
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line)
		if len(f) != 6 || f[5] != self || f[1][1] != '-' {
			continue
		}
		start, end, _ := strings.Cut(f[0], "-")
		a, err1 := strconv.ParseUint(start, 16, 64)
		b, err2 := strconv.ParseUint(end, 16, 64)
		if err1 == nil && err2 == nil {
			all = append(all, Range{uintptr(a), uintptr(b)})
		}
	}
	return all
}
