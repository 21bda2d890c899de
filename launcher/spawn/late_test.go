package spawn

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// long is more than any machine needs.
const long = time.Minute

// bootLate starts a sandbox whose netd waits to be wanted.
func bootLate(t *testing.T, libexec string) *Sandbox {
	t.Helper()
	dir, err := PrivateDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	s, _, err := Start(context.Background(), Config{Libexec: libexec, Dir: dir, Renewable: true, LateNetd: true}, boots("/"))
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
	s := bootLate(t, services(t))
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
	s := bootLate(t, services(t))
	awaited := make(chan bool)
	go func() { awaited <- s.AwaitNetd(long) }()
	s.ForgoNetd()
	if <-awaited {
		t.Error("netd is to be started after it was forgone")
	}
}

func TestLateNetd_isNotForADeadSentry(t *testing.T) {
	s := bootLate(t, services(t))
	s.Sentry.Kill()
	if s.AwaitNetd(long) {
		t.Error("netd is to be started for a sentry that has ended")
	}
}

// TestLateNetd_thatFails: a netd that cannot be started is followed by one that can, which
// is joined to the sentry like another's successor.
func TestLateNetd_thatFails(t *testing.T) {
	libexec := services(t)
	netd := filepath.Join(libexec, Program("netd"))
	program, err := os.Readlink(netd)
	if err != nil {
		t.Fatal(err)
	}
	s := bootLate(t, libexec)
	link(t, "/bin/false", netd)
	if err := s.RenewNetd(context.Background()); err == nil {
		t.Fatal("a netd that is /bin/false was started")
	}
	<-s.Netd.Ended()
	link(t, program, netd)
	if err := s.RenewNetd(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := startTime(s.Netd.Pid); err != nil {
		t.Errorf("netd, process %d: %v", s.Netd.Pid, err)
	}
}

// link makes name lead to program from now on.
func link(t *testing.T, program, name string) {
	t.Helper()
	os.Remove(name)
	if err := os.Symlink(program, name); err != nil {
		t.Fatal(err)
	}
}
