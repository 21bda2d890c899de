package spawn

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// monitorSlack is the timer slack of the thread on which a service's Go run-time
// watches its others. While one of them is in a call of the host it sleeps for 20 µs
// at a time, by which it took a tenth of a core from a busy sentry on a machine where
// waking is dear. What it is for can wait for as long: a processor that a blocked
// call holds goes to another thread that much later, if no processor is idle.
const monitorSlack = time.Millisecond

// monitorTID is that thread's number in the service's own PID namespace: the run-time
// starts it first of all, next to the first.
const monitorTID = "2"

// calmMonitor gives the monitor of a service its slack: proc_pid_timerslack_ns(5). A
// host that will not have it is none the worse for it.
func calmMonitor(pid int) {
	tasks := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(tasks)
	if err != nil {
		return
	}
	for _, t := range threads {
		status, err := os.ReadFile(tasks + "/" + t.Name() + "/status")
		if err != nil || innermostTID(string(status)) != monitorTID {
			continue
		}
		os.WriteFile("/proc/"+t.Name()+"/timerslack_ns", fmt.Append(nil, monitorSlack.Nanoseconds()), 0)
		return
	}
}

// innermostTID reads a thread's number in its own PID namespace from its status:
// the last of NSpid.
func innermostTID(status string) string {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "NSpid:"); ok {
			if ids := strings.Fields(rest); len(ids) > 0 {
				return ids[len(ids)-1]
			}
		}
	}
	return ""
}
