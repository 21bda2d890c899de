// Package hostile_test runs guests that mean harm: they may end themselves, and
// nothing else. The sandbox must live on and serve its other processes.
package hostile_test

import (
	"strings"
	"testing"
	"time"

	"bulkhead/test/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

func TestGuestHarmsOnlyItself(t *testing.T) {
	prog := sandboxtest.CProgram(t, "test/hostile/hostileprog")
	for _, what := range []string{"calls", "slot", "stub"} {
		t.Run(what, func(t *testing.T) {
			// The shell is served by the same sentry, before and after.
			script := prog + " " + what + " 1 && echo served"
			r := sandboxtest.Command{Args: []string{"/bin/sh", "-c", script}, Timeout: 2 * time.Minute}.InSandbox(t).Run()
			if r.Code != 0 || !strings.Contains(r.Output, "\nalive\n") || !strings.HasSuffix(strings.TrimSpace(r.Output), "served") {
				t.Errorf("status %d:\n%s", r.Code, r.Output)
			}
		})
	}
}
