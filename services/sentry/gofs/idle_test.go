package gofs_test

import (
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"bulkhead/services/sentry/gofs"
)

// TestIdleGoferSleeps: once nothing is asked, it does not run at all.
func TestIdleGoferSleeps(t *testing.T) {
	dir := hostDir(t)
	e, pid := remote(t, dir, gofs.Options{Shared: true})
	for range 1000 {
		e.Stat("/none")
	}
	time.Sleep(200 * time.Millisecond)
	// Go's runtime looks around every now and then, and more often on a busy
	// machine: what never sleeps has no quiet half second at all.
	var n int
	for range 10 {
		before := switches(t, pid)
		time.Sleep(500 * time.Millisecond)
		if n = switches(t, pid) - before; n <= 10 {
			return
		}
	}
	t.Errorf("%d context switches in half an idle second", n)
}

// switches counts how often the threads of a process gave up the processor.
func switches(t *testing.T, pid int) int {
	t.Helper()
	tasks := "/proc/" + strconv.Itoa(pid) + "/task/"
	threads, err := os.ReadDir(tasks)
	if err != nil {
		t.Skip(err)
	}
	count := 0
	for _, th := range threads {
		b, _ := os.ReadFile(tasks + th.Name() + "/status")
		for _, m := range regexp.MustCompile(`ctxt_switches:\t(\d+)`).FindAllSubmatch(b, -1) {
			n, _ := strconv.Atoi(string(m[1]))
			count += n
		}
	}
	return count
}
