package wait

import "sync/atomic"

// Watcher is where news for waiting threads comes in, from a process that else has
// to wake a goroutine of the sentry, which then wakes theirs. Who waits by polling
// looks there meanwhile:
//
//	Watch (Look ...) Unwatch
//
// Look and Unwatch tell those concerned (Notify), so they are called with no lock
// held.
type Watcher interface {
	// Watch says that somebody looks from now on: nobody need be woken.
	Watch()
	// Look is cheap when there is nothing.
	Look()
	// Unwatch ends what Watch began; what has come by then is told. With again the
	// caller goes on with something short and then watches again.
	Unwatch(again bool)
}

var watcher atomic.Pointer[Watcher]

// SetWatcher makes w the one to look at, until another is, or remove is called.
func SetWatcher(w Watcher) (remove func()) {
	p := &w
	watcher.Store(p)
	return func() { watcher.CompareAndSwap(p, nil) }
}

// Watching gives the watcher, which has been told to Watch; nil if there is none.
func Watching() Watcher {
	p := watcher.Load()
	if p == nil {
		return nil
	}
	(*p).Watch()
	return *p
}
