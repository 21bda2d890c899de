package spawn

import (
	"fmt"
	"os"
	"time"
)

// timerSlack is that of a service's threads: prctl(2), PR_SET_TIMERSLACK. Go's
// scheduler sleeps for 3 µs before it takes another thread's next goroutine, and its
// monitor for 20 µs at a time while one is in a call of the host. At Linux's 50 µs
// the two took a quarter of the processor's time of a sandbox that starts programs,
// on a machine where waking is dear. What must be on time sets a slack of its own.
const timerSlack = time.Millisecond

// slackened are the services that have it. netd's timers are the network's.
var slackened = map[string]bool{"sentry": true, "gofer": true}

// slacken gives the threads of a service that slack, and so those that they make:
// proc_pid_timerslack_ns(5). A host that will not have it is none the worse for it.
func slacken(pid int) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return
	}
	for _, t := range threads {
		os.WriteFile("/proc/"+t.Name()+"/timerslack_ns", fmt.Append(nil, timerSlack.Nanoseconds()), 0)
	}
}
