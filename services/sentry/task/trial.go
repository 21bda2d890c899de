package task

import (
	"slices"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// trial is a file that the thread has just opened and whose O_NONBLOCK its stub changes:
// platform/trial.go. Nobody else holds the file, which is behind that one descriptor. The
// table's lock guards it, but for table, which is the task's own goroutine's.
//
// It ends, and the flag comes true, before anybody else gets the file from the table, and
// before either descriptor stands for something else; so whatever the stub answers is as
// if it had been asked before that.
type trial struct {
	table    *FDTable
	t        *Task
	fd, poll linux.FD
	file     *vfs.File
}

// Refused notes that the epoll instance behind poll has refused a file that there is
// nothing to wait for: so it may go with others.
func (ft *FDTable) Refused(poll linux.FD) { ft.poller.Store(poll + 1) }

// MayTry says whether who has opened a file by the call being served may go on as a
// run-time does that offers each to epoll.
func (t *Task) MayTry() bool {
	return t.th.Fast() && t.answersAlone() && t.fds.Load().poller.Load() != 0
}

// Try has the stub answer what such a run-time asks about fd, which the call being served
// has just opened.
func (t *Task) Try(fd linux.FD) {
	ft := t.fds.Load()
	ft.mu.Lock()
	defer ft.mu.Unlock()
	tr := &t.trial
	poll := ft.poller.Load() - 1
	f, list := ft.at(fd), ft.at(poll)
	if f == nil || list == nil || list.Flags()&linux.O_PATH != 0 || !f.SteadyFlags() {
		return
	}
	*tr = trial{ft, t, fd, poll, f}
	ft.trials = append(ft.trials, tr)
	ft.trying.Add(1)
	if f.Refs() != 1 { // somebody has got hold of it, or will see that it is on trial
		ft.forgetLocked(tr)
		return
	}
	t.th.Try(fd, poll, f.Flags())
}

// forgetLocked takes tr off the list.
func (ft *FDTable) forgetLocked(tr *trial) {
	if i := slices.Index(ft.trials, tr); i >= 0 {
		ft.trials = slices.Delete(ft.trials, i, i+1)
		ft.trying.Add(-1)
	}
}

// endLocked ends tr, unless it has ended.
func (ft *FDTable) endLocked(tr *trial) {
	if !slices.Contains(ft.trials, tr) {
		return
	}
	if th := tr.t.host.Load(); th != nil {
		if nonblock, ok := th.EndTrial(); ok {
			tr.file.SetNonblock(nonblock)
		}
	}
	ft.forgetLocked(tr)
}

// settleLocked ends the trials that have to do with fd, before it becomes another file's.
func (ft *FDTable) settleLocked(fd linux.FD) {
	for i := len(ft.trials) - 1; i >= 0; i-- {
		if tr := ft.trials[i]; tr.fd == fd || tr.poll == fd {
			ft.endLocked(tr)
		}
	}
}

// settleFile ends the trial of the file behind fd.
func (ft *FDTable) settleFile(fd linux.FD) {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	for _, tr := range ft.trials {
		if tr.fd == fd {
			ft.endLocked(tr)
			return
		}
	}
}

func (ft *FDTable) settleAllLocked() {
	for len(ft.trials) > 0 {
		ft.endLocked(ft.trials[len(ft.trials)-1])
	}
}

// seeTrial ends the thread's own trial: it has asked for something else.
func (t *Task) seeTrial() {
	ft := t.trial.table
	if ft == nil {
		return
	}
	t.trial.table = nil
	ft.mu.Lock()
	ft.endLocked(&t.trial)
	ft.mu.Unlock()
}
