package server

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead/proto/cores"
)

// What a loop waits for may come from its own core: of the sentry, of a guest, of a
// client on the same machine. The loop's thread then leaves: cores.Parting.

const (
	// partAfter is how many looks in a row must end because others want the core.
	partAfter = 4
	// partWorth is how many looks without anybody else make a move worth it, which
	// takes as long as some ten of them.
	partWorth = 64
)

// crowded says whether a look that ran others so many times is to be the last on this
// core.
func crowded(p *cores.Parting, others int) bool {
	switch {
	case others == 0:
		p.Apart()
		return false
	case others < lingerCrowd:
		return false
	}
	return p.Together()
}

// leaveCore moves the calling thread to another core, if there is one for it.
func leaveCore() {
	runtime.LockOSThread() // the core is that of the thread that is to leave
	defer runtime.UnlockOSThread()
	var here uint32
	if _, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&here)), 0, 0); errno == 0 {
		cores.Leave(here)
	}
}
