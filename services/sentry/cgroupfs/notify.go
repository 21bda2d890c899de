package cgroupfs

import (
	"sync/atomic"

	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// notifier tells who waits for a file's changes: poll(2) gives POLLPRI and POLLERR until
// the file is read again, inotify(7) IN_MODIFY.
type notifier struct {
	file    *file
	changes atomic.Uint32
	queue   wait.Queue
	due     bool // h.mu
}

// changedLocked tells of a change of one of c's files. Nobody looks at one that has not
// been opened.
func (c *Cgroup) changedLocked(name string) {
	f := c.files[name]
	if f == nil || f.notifier == nil {
		return
	}
	n, h := f.notifier, c.h
	n.changes.Add(1)
	if n.due {
		return
	}
	n.due = true
	h.due = append(h.due, n)
	if !h.telling {
		h.telling = true
		go h.tell() // who waits may need what the caller holds
	}
}

// tell wakes who waits for what is due.
func (h *Hierarchy) tell() {
	for {
		h.mu.Lock()
		list := h.due
		h.due = nil
		for _, n := range list {
			n.due = false
		}
		h.telling = len(list) > 0
		h.mu.Unlock()
		if len(list) == 0 {
			return
		}
		for _, n := range list {
			n.queue.Notify(wait.Pri | wait.Err)
			vfs.Modified(n.file.of, n.file.kind.name, n.file)
		}
	}
}
