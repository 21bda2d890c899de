package spawn

import (
	"context"
	"testing"
	"time"
)

// long is more than any machine needs.
const long = time.Minute

// bootLate starts a sandbox whose netd waits to be wanted.
func bootLate(t *testing.T) *Sandbox {
	t.Helper()
	dir, err := PrivateDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	s, _, err := Start(context.Background(), Config{Libexec: services(t), Dir: dir, Renewable: true, LateNetd: true}, boots("/"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	if s.Netd != nil {
		t.Fatal("netd was started at once")
	}
	return s
}

func TestLateNetd_isStartedOnce(t *testing.T) {
	s := bootLate(t)
	if !s.AwaitNetd(0) {
		t.Fatal("netd is not awaited")
	}
	if err := s.RenewNetd(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := startTime(s.Netd.Pid); err != nil {
		t.Errorf("netd, process %d: %v", s.Netd.Pid, err)
	}
	if s.AwaitNetd(long) {
		t.Error("netd is awaited again")
	}
}

func TestLateNetd_isForgone(t *testing.T) {
	s := bootLate(t)
	awaited := make(chan bool)
	go func() { awaited <- s.AwaitNetd(long) }()
	s.ForgoNetd()
	if <-awaited {
		t.Error("netd is to be started after it was forgone")
	}
}

func TestLateNetd_isNotForADeadSentry(t *testing.T) {
	s := bootLate(t)
	s.Sentry.Kill()
	if s.AwaitNetd(long) {
		t.Error("netd is to be started for a sentry that has ended")
	}
}
