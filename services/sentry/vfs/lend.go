package vfs

import "bulkhead/services/sentry/wait"

// Lendable is a stream that a thread's stub can read and write without asking, for a while
// in which nobody else uses it: task/pocket.go.
type Lendable interface {
	// Arrived copies what can be read into p, without taking it, and says how many bytes
	// it is: 0 if that is not all, or there is more to be said of it.
	Arrived(p []byte) int
	// Taken says that so many of those bytes have been read.
	Taken(n int)
	// Credit is how many bytes can be written now for sure.
	Credit() int
	// Written writes what was written on credit. What cannot be sent any more is lost, as if
	// it had been on its way.
	Written(p []byte)
}

// Loan is a file's being lent to a thread.
type Loan struct {
	// Look makes true what the thread has read.
	Look func()
	// Recall ends it, and makes all true that the thread has done. It does nothing if the loan has
	// ended.
	Recall func()
}

// Lendable is what is behind f, or nil if it cannot be lent.
func (f *File) Lendable() Lendable { return f.lendable }

// Lend notes that f is lent; false if it is already. Who uses f afterwards has it back first,
// once it has a reference: so who lends f looks afterwards whether there is another than the
// table's.
func (f *File) Lend(l *Loan) bool { return f.lent.CompareAndSwap(nil, l) }

// Returned notes that f is lent no more.
func (f *File) Returned() { f.lent.Store(nil) }

// Recall ends f's being lent.
func (f *File) Recall() {
	if l := f.lent.Load(); l != nil {
		l.Recall()
	}
}

// pollLent is Poll of a file that may be lent. Nobody is to write to one that has hung up,
// once that is known.
func (f *File) pollLent(l *Loan) wait.Events {
	l.Look()
	ev := f.poller.Poll()
	if ev&(wait.Err|wait.Hup|wait.RDHup) != 0 {
		l.Recall()
		ev = f.poller.Poll()
	}
	return ev
}
