package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"bulkhead/launcher/hull"
	"bulkhead/launcher/spawn"
	"bulkhead/launcher/term"
	sentryv1 "bulkhead/proto/sentry/v1"
)

// Foreground creates the container with our own standard streams, or a terminal,
// starts it, waits for its first process, passing signals on, and gives its
// status as Status does. The sandbox ends with the process.
func Foreground(ctx context.Context, s *spawn.Sandbox, spec *sentryv1.ContainerSpec, tty bool) (int, error) {
	return attend(ctx, s, spec.Id, tty, func(streams Streams) (int32, error) {
		if err := Create(ctx, s, spec, streams, nil); err != nil {
			return 0, err
		}
		_, err := s.Control().Start(ctx, &sentryv1.StartRequest{Id: spec.Id})
		return 0, s.Sentry.Failed(err)
	}, s.Kill)
}

// ForegroundExec is Foreground for another process of a running container.
func ForegroundExec(ctx context.Context, s *spawn.Sandbox, id string, p *sentryv1.ProcessSpec, keeper *os.File) (int, error) {
	return attend(ctx, s, id, p.Terminal, func(streams Streams) (int32, error) {
		return Exec(ctx, s, id, p, streams, keeper)
	}, func() {})
}

// Attend is Foreground for a container that another step creates: begin gets the
// streams and starts the first process.
func Attend(ctx context.Context, s *spawn.Sandbox, id string, tty bool, begin func(Streams) error) (int, error) {
	return attend(ctx, s, id, tty, func(streams Streams) (int32, error) { return 0, begin(streams) }, s.Kill)
}

// attend begins a process, waits for it, and looks after its terminal and its
// signals meanwhile. end is called when it has ended.
func attend(ctx context.Context, s *spawn.Sandbox, id string, tty bool, begin func(Streams) (int32, error), end func()) (int, error) {
	// Before the process begins, so that no signal is lost to it.
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)

	streams := Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	var t *terminal
	if tty {
		var err error
		if t, err = openTerminal(); err != nil {
			return 0, err
		}
		streams = Streams{Console: t.slave}
	}
	pid, err := begin(streams)
	if err != nil {
		t.close()
		return 0, err
	}
	if t != nil {
		if err := t.attach(); err != nil {
			t.close()
			return 0, err
		}
		defer t.detach()
	}
	hull.Slim()
	rest := tend(ctx, s)
	status, err := wait(ctx, s, id, pid, t, signals)
	rest()
	s.Log.Info("ended", "id", id, "pid", pid, "status", status, "error", err)
	end()
	return status, err
}

// wait answers with the process's status, or with what ended the sandbox.
func wait(ctx context.Context, s *spawn.Sandbox, id string, pid int32, t *terminal, signals <-chan os.Signal) (int, error) {
	type end struct {
		answer *sentryv1.WaitResponse
		err    error
	}
	ended := make(chan end, 1)
	go func() {
		answer, err := s.Control().Wait(ctx, &sentryv1.WaitRequest{Id: id, Pid: pid})
		ended <- end{answer, err}
	}()
	for {
		select {
		case e := <-ended:
			if e.err != nil {
				return 0, blame(s, e.err)
			}
			return Status(e.answer.Status), nil
		case sig := <-signals:
			pass(ctx, s, id, pid, t, sig)
		}
	}
}

// blame finds which service is the reason for the sandbox's end.
func blame(s *spawn.Sandbox, err error) error {
	failed := s.Sentry.Failed(err)
	var call *spawn.CallError
	if errors.As(failed, &call) {
		return failed
	}
	// The sentry also ends, quietly, when its gofer does.
	for _, service := range []*spawn.Service{s.Sentry, s.Gofer} {
		if why := service.Crash(); why != "" {
			return errors.New(why)
		}
	}
	return failed
}

// forwarded are the signals that a user or a service manager sends to end or
// steer a program.
var forwarded = []os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
	syscall.SIGALRM, syscall.SIGCONT, syscall.SIGWINCH,
}

func pass(ctx context.Context, s *spawn.Sandbox, id string, pid int32, t *terminal, sig os.Signal) {
	n := sig.(syscall.Signal)
	if n == syscall.SIGWINCH {
		if t == nil || !t.raw {
			return
		}
		if rows, columns, err := term.Size(os.Stdin, t.master); err == nil {
			s.Control().Resize(ctx, &sentryv1.ResizeRequest{Id: id, Pid: pid, Rows: rows, Columns: columns})
		}
		return
	}
	// What a keyboard sends goes to all that is in the foreground.
	keyboard := n == syscall.SIGINT || n == syscall.SIGQUIT
	s.Control().Signal(ctx, &sentryv1.SignalRequest{Id: id, Pid: pid, Signal: int32(n), Foreground: keyboard})
}

// terminal joins the user's terminal and the guest's.
type terminal struct {
	master, slave *os.File
	raw           bool // the user's is a terminal, and raw
	restore       func()
	copied        <-chan struct{}
}

func openTerminal() (*terminal, error) {
	master, slave, err := term.Pair()
	if err != nil {
		return nil, fmt.Errorf("make terminal: %w", err)
	}
	t := &terminal{master: master, slave: slave, restore: func() {}}
	if term.Is(os.Stdin) {
		term.Size(os.Stdin, master)
	}
	return t, nil
}

// attach lets go of the sentry's end and begins to copy.
func (t *terminal) attach() error {
	t.slave.Close()
	if term.Is(os.Stdin) {
		restore, err := term.Raw(os.Stdin)
		if err != nil {
			return err
		}
		t.restore, t.raw = restore, true
	}
	t.copied = term.Copy(t.master, os.Stdin, os.Stdout)
	return nil
}

// drainTime is how long others may go on to hold the guest's terminal after its
// process has ended, and what they print is still copied.
const drainTime = 200 * time.Millisecond

// detach waits until what was printed has been copied, and restores the user's
// terminal.
func (t *terminal) detach() {
	select {
	case <-t.copied: // the sentry has closed its end
	case <-time.After(drainTime):
	}
	t.restore()
	t.master.Close()
}

func (t *terminal) close() {
	if t != nil {
		t.restore()
		t.slave.Close()
		t.master.Close()
	}
}
