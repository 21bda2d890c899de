package posture_test

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// memoryCalls are those of a stub that change memory, or make processes.
var memoryCalls = map[string]uint32{
	"mmap": unix.SYS_MMAP, "munmap": unix.SYS_MUNMAP, "mprotect": unix.SYS_MPROTECT, "mremap": unix.SYS_MREMAP,
	"madvise": unix.SYS_MADVISE, "msync": unix.SYS_MSYNC, "mincore": unix.SYS_MINCORE,
	"arch_prctl": unix.SYS_ARCH_PRCTL, "clone": unix.SYS_CLONE,
}

// In strict mode no live stub can make a memory call without the sentry's leave.
func TestPosture_verified(t *testing.T) {
	for _, mode := range []struct {
		name string
		want outcomes
	}{{"native", allow}, {"verified", ask}} {
		stubs := 0
		for _, p := range start(t, "--mm="+mode.name).processes {
			if p.kind != "stub" {
				continue
			}
			filters, err := installed(p.pid)
			if err != nil {
				t.Skipf("the installed filter cannot be read here: %v", err)
			}
			stubs++
			for name, nr := range memoryCalls {
				if o := outcomesOf(filters, nr); o&(allow|ask) != mode.want {
					t.Errorf("--mm=%s: stub %d: %s: %v", mode.name, p.pid, name, o)
				}
			}
		}
		if stubs == 0 {
			t.Error("no stub was found")
		}
		fmt.Printf("--mm=%-9s %d memory calls of each of %d stubs: %v\n", mode.name, len(memoryCalls), stubs, mode.want)
	}
}
