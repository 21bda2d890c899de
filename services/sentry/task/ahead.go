package task

import (
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// ahead is a file of which the stub answers what is asked next: platform/ahead.go. Nobody
// else has the descriptor meanwhile: the process has one thread, which has not made another
// request since it opened the file; and nobody else changes the file (vfs.Foresee). What has been
// read, and that the file is closed, come true here when the thread asks for something else,
// or when somebody looks at its descriptors, who may get the file, and its position with it.
type ahead struct {
	t    *Task
	mu   sync.Mutex
	fd   linux.FD
	file *vfs.File // with a reference
	has  bool      // its contents too
	read uint64    // how much of it has come true
	over bool
}

// mostUnread is how many files are offered with their contents to a program that reads none of
// them, and unreadPause how many then without.
const (
	mostUnread  = 4
	unreadPause = 32
)

// MayAskAhead says whether the stub may answer what is asked of a file that the call being
// served has opened; linker, that it is the dynamic linker who has, and will go on as it always
// does; contents, that it may be worth its while to have them too.
func (t *Task) MayAskAhead() (may, linker, contents bool) {
	if !t.answersAlone() || t.fds.Load().Shared() {
		return false, false, false
	}
	t.k.mu.RLock()
	defer t.k.mu.RUnlock()
	if len(t.group.tasks) != 1 {
		return false, false, false
	}
	linker = !t.th.Fast() && t.MM().InLinker(t.th.Regs.RIP)
	if t.unread >= mostUnread {
		t.unread++
		if t.unread == mostUnread+unreadPause {
			t.unread = mostUnread - 1
		}
		return true, linker, linker
	}
	return true, linker, true
}

// AnswerAhead has the stub answer what the file behind fd is like and what is at its
// begin, as look says; all says that no more is in it. stat is what fstat(2) would say.
func (t *Task) AnswerAhead(fd linux.FD, look func(f *vfs.File, stat *[linux.SizeofStat]byte) (begin []byte, all, ok bool)) {
	f, err := t.AnyFile(fd)
	if err != nil {
		return
	}
	a := &ahead{t: t, fd: fd, file: f}
	if f.Foresee(a) {
		var stat [linux.SizeofStat]byte
		if begin, all, ok := look(f, &stat); ok {
			a.has = len(begin) > 0
			a.mu.Lock()
			defer a.mu.Unlock()
			if !a.over { // somebody began to change it
				t.ahead.Store(a)
				if f.Refs() == 2 { // the table's and a's; who has another looks for a
					t.th.Ahead(int32(fd), &stat, begin, all)
					return
				}
				t.ahead.Store(nil)
			}
		}
		vfs.Foresaw(a)
	}
	f.DecRef(t)
}

// Unforesee implements vfs.Foreseer.
func (a *ahead) Unforesee() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.t.ahead.Load() != a {
		a.over = true
		return
	}
	a.seeLocked(true, false)
}

// seeAhead makes true what the thread's own stub has answered, and with end has it answer no more.
func (t *Task) seeAhead(end bool) {
	if a := t.ahead.Load(); a != nil {
		a.mu.Lock()
		a.seeLocked(end, end)
		a.mu.Unlock()
	}
}

func (a *ahead) seeLocked(end, own bool) {
	if a.over {
		return
	}
	t := a.t
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
	vfs.Foresaw(a)
	t.ahead.Store(nil)
	if own && a.has {
		if a.read > 0 {
			t.unread = 0
		} else {
			t.unread++
		}
	}
	if fds := t.fds.Load(); closed && fds != nil {
		if f, err := fds.Remove(a.fd); err == nil {
			if own {
				t.MM().Closes(t.th, f)
			}
			f.Flush(ctx)
			f.DecRef(ctx)
		}
	}
	a.file.DecRef(ctx)
}
