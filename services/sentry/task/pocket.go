package task

import (
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// pockets are the sockets that the thread's stub reads and writes: platform/pocket.go. A file is
// lent to a thread while its descriptor holds the only reference. Whoever gets another, or
// the file from the table, or wants to know what it is ready for, first has come true what the
// stub has done; so whatever that has answered is as if it had been asked before.
//
// Lock order: FDTable.mu < mu < the socket's own.
type pockets struct {
	th      *platform.Thread
	mu      sync.Mutex
	in      [platform.Pockets]*pocket // made when they are used first
	active  []*pocket
	tickets uint32
	used    int // bytes of what is ready to be read

	// The thread's own goroutine's: files that the call being served was told of.
	wishes  []wish
	arrived bool // anew: none of them has been read from

	// inside says that the thread is being served, and all has come true.
	inside atomic.Bool
}

// wish is a file that is worth being lent.
type wish struct {
	fd   linux.FD
	file *vfs.File
}

// pocket is one of the thread's, and the file that is or was in it.
type pocket struct {
	loan   vfs.Loan
	index  int
	active bool
	fd     linux.FD
	file   *vfs.File // while it is active
	of     vfs.Lendable
	ticket uint32
	left   int // of what has arrived and has not come true as read
	credit int
	busy   bool // it was used since it was lent

	// Of the file that was in it last, which may be gone:
	last  uintptr // where it is
	worth int     // how often it may be lent in vain
	skips int     // how often it was not lent since
}

// address is a file's, for telling it from others while it is there.
func address(f *vfs.File) uintptr { return uintptr(unsafe.Pointer(f)) }

const (
	// mostVain is how often a file is lent that is not used, and vainPause how often it then is not lent
	// before it is tried again.
	mostVain  = 3
	vainPause = 64
	// leastCredit is what is worth being lent for writing, in bytes.
	leastCredit = 1 << 10
)

// Used notes that the thread has used the file behind fd, and may go on with it.
func (t *Task) Used(fd linux.FD, f *vfs.File) {
	if f.Lendable() != nil && t.th.Fast() && t.answersAlone() {
		t.wish(fd, f, false)
	}
}

// TellReady implements epoll.Teller: the thread is told that f is ready.
func (t *Task) TellReady(fd int32, f *vfs.File, ev wait.Events) {
	if f.Lendable() != nil && ev&(wait.In|wait.Err|wait.Hup) == wait.In && t.th.Fast() && t.answersAlone() {
		t.wish(linux.FD(fd), f, true)
	}
}

// wish notes that the thread is going to use f, as it seems; arrived, that there is something to be
// read.
func (t *Task) wish(fd linux.FD, f *vfs.File, arrived bool) {
	p := t.pockets.Load()
	if p == nil {
		p = &pockets{th: t.th}
		p.inside.Store(true)
		t.pockets.Store(p)
	}
	if len(p.wishes) < platform.Pockets {
		p.wishes = append(p.wishes, wish{fd, f})
		p.arrived = p.arrived || arrived
	}
}

// lend puts into pockets what was wished for, before the call's answer.
func (t *Task) lend() {
	p := t.pockets.Load()
	if p == nil {
		return
	}
	if len(p.wishes) > 0 {
		if p.worthwhile() {
			t.grant(p)
		}
		clear(p.wishes)
		p.wishes, p.arrived = p.wishes[:0], false
	}
	p.inside.Store(false)
}

// grant lends what is wished for.
func (t *Task) grant(p *pockets) {
	ft := t.fds.Load()
	ft.mu.Lock()
	defer ft.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !t.answersAlone() { // who sees to that looks at the pockets next
		return
	}
	if p.arrived {
		p.freshLocked()
	}
	for _, w := range p.wishes {
		p.lendLocked(ft, w, p.arrived)
	}
}

// worthwhile takes the wishes off the list that are not worth it, and says whether any are
// left.
func (p *pockets) worthwhile() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wishes = slices.DeleteFunc(p.wishes, func(w wish) bool {
		c := p.in[platform.PocketFor(w.fd)]
		if c == nil || c.last != address(w.file) || c.worth > 0 {
			return false
		}
		if c.skips++; c.skips == vainPause {
			c.worth, c.skips = 1, 0
		}
		return true
	})
	return len(p.wishes) > 0
}

// freshLocked takes all sockets out that still have something to be read, for what was
// ready for that is to be lent anew.
func (p *pockets) freshLocked() {
	for i := len(p.active) - 1; i >= 0; i-- {
		if c := p.active[i]; c.left > 0 {
			p.endLocked(c)
		}
	}
	p.used = 0
}

func (p *pockets) lendLocked(ft *FDTable, w wish, arrived bool) {
	of := w.file.Lendable()
	if ft.at(w.fd) != w.file {
		return
	}
	i := platform.PocketFor(w.fd)
	c := p.in[i]
	if c == nil {
		c = &pocket{index: i}
		c.loan = vfs.Loan{Look: func() { p.look(c) }, Recall: func() { p.recall(c) }}
		p.in[i] = c
	}
	if c.active {
		p.endLocked(c)
	}
	if at := address(w.file); c.last != at {
		c.last, c.worth, c.skips = at, mostVain, 0
	}
	if !w.file.Lend(&c.loan) {
		return
	}
	if w.file.Refs() != 1 {
		w.file.Returned()
		return
	}
	n := 0
	if arrived {
		n = of.Arrived(p.th.Pocketed(p.used))
	}
	credit := min(of.Credit(), platform.MostWritten)
	if credit < leastCredit {
		credit = 0
	}
	if n == 0 && credit == 0 {
		w.file.Returned()
		return
	}
	p.tickets++
	c.active, c.fd, c.file, c.of, c.ticket, c.left, c.credit, c.busy = true, w.fd, w.file, of, p.tickets, n, credit, false
	p.active = append(p.active, c)
	p.th.Pocket(i, w.fd, p.used, n, credit, c.ticket)
	p.used += (n + 7) &^ 7
	p.used = min(p.used, platform.MostPocketed)
}

// seePockets makes true what the thread's stub has done, when it has asked for something, or
// posted letters.
func (t *Task) seePockets() {
	p := t.pockets.Load()
	if p == nil {
		return
	}
	p.mu.Lock()
	p.deliverLocked()
	p.th.EmptyBox()
	if p.th.Touched() {
		for _, c := range p.active {
			p.readLocked(c)
		}
	}
	p.inside.Store(true)
	p.mu.Unlock()
}

// takeMail delivers letters, while the thread goes on.
func (t *Task) takeMail() {
	if p := t.pockets.Load(); p != nil {
		p.mu.Lock()
		p.deliverLocked()
		p.mu.Unlock()
	}
}

// emptyPockets takes everything out, before the thread gives its slot back.
func (t *Task) emptyPockets() {
	p := t.pockets.Swap(nil)
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endAllLocked()
}

// closePockets takes everything out, for any goroutine, when the stub may answer nothing any more:
// what is in the box from then on is no call that somebody has looked at.
func (t *Task) closePockets() {
	p := t.pockets.Load()
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.active) > 0 && p.th.Hold() {
		p.endAllLocked()
		p.th.Unhold()
	}
}

func (p *pockets) endAllLocked() {
	for len(p.active) > 0 {
		p.endLocked(p.active[len(p.active)-1])
	}
}

// deliverLocked delivers the letters in the box.
func (p *pockets) deliverLocked() {
	p.th.Letters(func(ticket uint32, b []byte) {
		for _, c := range p.active {
			if c.ticket == ticket && len(b) <= c.credit {
				c.credit -= len(b)
				c.busy = true
				c.of.Written(b)
				return
			}
		}
	})
}

// readLocked makes true what was read of c.
func (p *pockets) readLocked(c *pocket) {
	p.leftLocked(c, p.th.Left(c.index))
}

func (p *pockets) leftLocked(c *pocket, left int) {
	if taken := c.left - left; taken > 0 {
		c.left = left
		c.busy = true
		c.of.Taken(taken)
	}
}

// endLocked takes c out of its pocket.
func (p *pockets) endLocked(c *pocket) {
	left := p.th.TakeOut(c.index)
	p.deliverLocked()
	p.leftLocked(c, left)
	c.file.Returned()
	c.active, c.file, c.of = false, nil, nil
	if c.busy {
		c.worth = mostVain
	} else {
		c.worth--
	}
	i := slices.Index(p.active, c)
	p.active = slices.Delete(p.active, i, i+1)
}

// look is vfs.Loan's.
func (p *pockets) look(c *pocket) {
	if p.inside.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.active && p.th.Hold() {
		p.readLocked(c)
		p.th.Unhold()
	}
}

// recall is vfs.Loan's.
func (p *pockets) recall(c *pocket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.active && p.th.Hold() {
		p.endLocked(c)
		p.th.Unhold()
	}
}
