package task

import (
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// ahead is a file of which the stub answers what the dynamic linker asks next:
// platform/ahead.go. Nobody else has the descriptor meanwhile: the process has one
// thread, which has not made another request since it opened the file. What the linker
// has read, and that it has closed the file, comes true here when the thread asks for
// something else, or when somebody looks at its descriptors.
type ahead struct {
	mu   sync.Mutex
	fd   linux.FD
	file *vfs.File // with a reference
	read uint64    // how much of it has come true
	over bool
}

// MayAskAhead says whether the call being served is the dynamic linker's, which goes on
// as it always does, and the stub may answer it.
func (t *Task) MayAskAhead() bool {
	if t.th.Fast() || !t.th.MayAnswerAlone() || !t.MM().InLinker(t.th.Regs.RIP) || t.fds.Load().Shared() {
		return false
	}
	t.k.mu.RLock()
	defer t.k.mu.RUnlock()
	return len(t.group.tasks) == 1
}

// AnswerAhead has the stub answer what the file behind fd is like and what is at its
// begin. stat is what fstat(2) would say.
func (t *Task) AnswerAhead(fd linux.FD, stat *[linux.SizeofStat]byte, begin []byte) {
	f, err := t.AnyFile(fd)
	if err != nil {
		return
	}
	t.ahead.Store(&ahead{fd: fd, file: f})
	t.th.Ahead(int32(fd), stat, begin)
}

// seeAhead makes true what the stub has answered, and with end has it answer no more.
func (t *Task) seeAhead(end bool) {
	a := t.ahead.Load()
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return
	}
	read, closed, ok := t.host.Load().SeeAhead(end)
	ctx := exitContext(t)
	if read > a.read {
		a.file.Took(int64(read - a.read))
		a.read = read
	}
	if !closed && !end && ok {
		return
	}
	a.over = true
	t.ahead.Store(nil)
	if fds := t.fds.Load(); closed && fds != nil {
		if f, err := fds.Remove(a.fd); err == nil {
			if end { // it is the thread itself
				t.MM().Closes(t.th, f)
			}
			f.Flush(ctx)
			f.DecRef(ctx)
		}
	}
	a.file.DecRef(ctx)
}
