package launch

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"bulkhead/launcher/spawn"
)

// A netd that has ended is followed by another, after a while, and not for ever: who has
// found how to end it is not to try as often as they like, as each has its memory laid
// out anew.
const (
	mostRenewals = 5
	firstPause   = 100 * time.Millisecond // doubled each time, up to longestPause
	longestPause = 400 * time.Millisecond
)

// tend looks after the sandbox's netd, if that is to be renewed, until the function that
// it gives is called.
func tend(ctx context.Context, s *spawn.Sandbox) (rest func()) {
	if !s.Renewable() {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tendNetd(ctx, s, done)
	}()
	return func() {
		close(done)
		s.ForgoNetd()
		<-ended
	}
}

// netdLateness is when a netd is started that nobody has asked for anything: a program
// that ends sooner is not made slower for it.
const netdLateness = 250 * time.Millisecond

// startNetd starts a netd that is yet to be started, when it is time. failed is what a user
// reads of why it could not; over says that the sandbox ends, and there is none to tend.
func startNetd(ctx context.Context, s *spawn.Sandbox, done <-chan struct{}) (failed string, over bool) {
	if s.Netd != nil {
		return "", false
	}
	if !s.AwaitNetd(netdLateness) {
		return "", true
	}
	select {
	case <-done:
		return "", true
	default:
	}
	if err := s.RenewNetd(ctx); err != nil {
		s.Log.Error("start netd", "error", err)
		return err.Error(), false
	}
	s.Log.Info("started netd", "netd", s.Netd.Pid)
	return "", false
}

// tendNetd starts a netd if there is none yet, and another whenever one has ended and the
// sandbox has not, until done is closed.
func tendNetd(ctx context.Context, s *spawn.Sandbox, done <-chan struct{}) {
	pause := firstPause
	failed, over := startNetd(ctx, s, done)
	if over {
		return
	}
	for n := range mostRenewals + 1 {
		select {
		case <-done:
			return
		case <-s.Netd.Ended():
		}
		// At the sandbox's end netd ends after the sentry, and all of this is over soon.
		select {
		case <-done:
			return
		case <-s.Sentry.Ended():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
		why := cmp.Or(failed, s.Netd.Crash())
		failed = ""
		s.Log.Warn("netd ended", "why", why)
		if n == mostRenewals {
			report("netd ended too often: the sandbox has no network any more", why)
			return
		}
		if err := s.RenewNetd(ctx); err != nil {
			s.Log.Error("renew netd", "error", err)
			failed = err.Error()
			continue // it may have been ended while it was started
		}
		s.Log.Info("renewed netd", "netd", s.Netd.Pid)
		report("netd ended, and so did the guest's connections; there is another now", why)
	}
}

// report tells the user.
func report(what, why string) {
	if why != "" {
		what += " (" + why + ")"
	}
	fmt.Fprintf(os.Stderr, "%s: warning: %s\n", filepath.Base(os.Args[0]), what)
}
