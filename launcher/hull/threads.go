package hull

import (
	"runtime"
	"sync"
)

// SpareThreads has Go's run-time make n threads more than it needs now, which it
// keeps. A thread inherits the timer slack of the one that makes it, and the launcher
// gives the run-time's monitor a long one (spawn's calmMonitor): with some in store,
// none that waits for a timer need be made by the monitor.
func SpareThreads(n int) {
	var all, ready sync.WaitGroup
	release := make(chan struct{})
	ready.Add(n)
	for range n {
		all.Go(func() {
			runtime.LockOSThread() // a thread for each
			ready.Done()
			<-release
			runtime.UnlockOSThread()
		})
	}
	ready.Wait()
	close(release)
	all.Wait()
}
