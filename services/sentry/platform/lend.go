package platform

import (
	"golang.org/x/sys/unix"
)

// The dynamic linker maps a file in four pieces. Its descriptor stays in the stub
// between them, as FirstPrivateFD, until another file takes its place, the guest closes
// the file, or another program follows: a donation and a host's close less for each piece.
// Whoever gets at the descriptor by a jump into the stub can map for itself what it might
// have mapped when the file was donated, which it could have kept mapped just as well.

// loan is what lies in FirstPrivateFD of a process.
type loan struct {
	dev, ino uint64 // on the host: as long as the stub has it open, no other file's
	of       any    // whose closing ends it
}

// Lend is Donate of one file as FirstPrivateFD, which stays there: nothing is ordered if
// the file is there already. of is compared with that of Return. The caller sees to it
// that no other thread of the process lends, returns or is donated anything before the
// answer has been carried out.
func (th *Thread) Lend(fd int, owned bool, of any) bool {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return th.Donate(FirstPrivateFD, []int{fd}, owned)
	}
	if l := th.proc.lent.Load(); l != nil && l.dev == st.Dev && l.ino == st.Ino {
		if l.of != of {
			th.proc.lent.Store(&loan{st.Dev, st.Ino, of})
		}
		if owned {
			unix.Close(fd)
		}
		return true
	}
	if !th.Donate(FirstPrivateFD, []int{fd}, owned) {
		return false
	}
	th.proc.lent.Store(&loan{st.Dev, st.Ino, of})
	return true
}

// Lent says whether a file of of is lent to the process. Any goroutine may call it.
func (th *Thread) Lent(of any) bool {
	l := th.proc.lent.Load()
	return l != nil && l.of == of
}

// TakeBack orders that the process close what is lent to it. The caller sees to the
// same as that of Lend.
func (th *Thread) TakeBack() {
	th.proc.lent.Store(nil)
	th.TryHostCall(unix.SYS_CLOSE, FirstPrivateFD)
}

// LoanFailed says that it is not known what is in FirstPrivateFD.
func (th *Thread) LoanFailed() { th.proc.lent.Store(nil) }
