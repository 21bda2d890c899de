package vfs

import "sync"

// Watcher wants to know when a File is gone without keeping it: epoll's interest
// list. Its owner keeps it alive until Unwatch has returned or Gone was called.
type Watcher struct {
	// Gone is called when the last reference was dropped, before the Impl is
	// released and with no lock held. The watcher is unregistered by then.
	Gone func(*File)

	next, prev *Watcher
	on         bool
}

// watchers are those of one File. The zero value is ready.
type watchers struct {
	mu   sync.Mutex
	head *Watcher
}

// Watch registers w, which is not registered anywhere. The caller holds a
// reference to the File.
func (l *watchers) Watch(w *Watcher) {
	l.mu.Lock()
	w.next, w.prev, w.on = l.head, nil, true
	if l.head != nil {
		l.head.prev = w
	}
	l.head = w
	l.mu.Unlock()
}

// Unwatch removes w; it does nothing if w is not registered. A call of w.Gone
// that has begun may still be under way.
func (l *watchers) Unwatch(w *Watcher) {
	l.mu.Lock()
	l.removeLocked(w)
	l.mu.Unlock()
}

func (l *watchers) removeLocked(w *Watcher) {
	if !w.on {
		return
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.next, w.prev, w.on = nil, nil, false
}

// gone tells all watchers of f that it is.
func (l *watchers) gone(f *File) {
	for {
		l.mu.Lock()
		w := l.head
		if w == nil {
			l.mu.Unlock()
			return
		}
		l.removeLocked(w)
		l.mu.Unlock()
		w.Gone(f)
	}
}
