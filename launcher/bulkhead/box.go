package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"bulkhead/launcher/cgroup"
	"bulkhead/launcher/spawn"
	"bulkhead/launcher/state"
	sentryv1 "bulkhead/proto/sentry/v1"
)

// box is a container that an earlier command made. Its directory is locked.
type box struct {
	dir   *state.Dir
	state *state.State
	crash string // why the sandbox ended, if it did so before its time
	found *spawn.Sandbox
}

// open finds the container id. shared: this command does not change it.
func (g *global) open(id string, shared bool) (*box, error) {
	dir, err := state.Open(g.root, id, shared)
	if err != nil {
		return nil, err
	}
	st, err := dir.Load()
	if err != nil {
		dir.Close()
		return nil, err
	}
	return &box{dir: dir, state: st}, nil
}

func (b *box) close() { b.dir.Close() }

// sandbox connects to the sentry, once. spawn.ErrEnded if it is gone.
func (b *box) sandbox() (*spawn.Sandbox, error) {
	if b.found != nil {
		return b.found, nil
	}
	sentry, err := spawn.Reattach(b.dir.Handle, "sentry", b.state.Services["sentry"])
	if err != nil {
		return nil, err
	}
	b.found = &spawn.Sandbox{Sentry: sentry, Dir: b.dir.Handle, Log: slog.New(slog.DiscardHandler)}
	return b.found, nil
}

// status is runc's word for what the container does, and its pid for the host, 0
// if it has stopped.
func (b *box) status(ctx context.Context) (string, int, error) {
	s, err := b.sandbox()
	if errors.Is(err, spawn.ErrEnded) {
		return "stopped", 0, nil
	}
	if err != nil {
		return "", 0, err
	}
	answer, err := s.Control().State(ctx, &sentryv1.StateRequest{Id: b.state.ID})
	if err = s.Sentry.Failed(err); err != nil {
		var call *spawn.CallError
		if !errors.As(err, &call) {
			b.crash = err.Error()
			return "stopped", 0, nil
		}
		if call.Code == codes.NotFound {
			return "stopped", 0, nil
		}
		return "", 0, err
	}
	switch answer.State.Status {
	case sentryv1.ContainerState_STATUS_CREATED:
		return "created", b.state.Keeper.Pid, nil
	case sentryv1.ContainerState_STATUS_RUNNING:
		return "running", b.state.Keeper.Pid, nil
	}
	return "stopped", 0, nil
}

// killTime is how long a container may take to end by SIGKILL, before its sentry
// is killed, and its keeper cannot learn how it ended.
const killTime = time.Second

// kill ends the container by SIGKILL, and waits until whoever waits for its
// keeper has been told so.
func (b *box) kill(ctx context.Context) {
	s, err := b.sandbox()
	if err != nil {
		return
	}
	k, err := spawn.Find(b.dir.Handle, "keeper", spawn.Found(b.state.Keeper))
	if err != nil {
		return
	}
	s.Control().Signal(ctx, &sentryv1.SignalRequest{Id: b.state.ID, Signal: int32(unix.SIGKILL), All: true})
	k.WaitFor(killTime)
}

// destroy ends what is left of the container and forgets it.
func (b *box) destroy() error {
	for _, name := range []string{"sentry", "gofer", "netd"} {
		s, err := spawn.Find(b.dir.Handle, name, b.state.Services[name])
		if err != nil {
			continue
		}
		if name == "netd" {
			s.WaitFor(spawn.NetdFarewell)
		}
		s.Kill()
	}
	// A keeper ends with its sentry; but the cgroup must be empty before it goes.
	b.endKeeper()
	if err := b.state.Taken.GiveBack(); err != nil {
		return err
	}
	if err := cgroup.Remove(b.state.Cgroup); err != nil {
		return err
	}
	return b.dir.Remove()
}

// endKeeper waits until the keeper, whose sentry has ended, has ended too.
func (b *box) endKeeper() {
	k, err := spawn.Find(b.dir.Handle, "keeper", spawn.Found(b.state.Keeper))
	if err == nil {
		k.Kill()
	}
}

func writePidFile(path string, pid int) error {
	if path == "" {
		return nil
	}
	if err := state.WriteFile(path, fmt.Appendf(nil, "%d", pid), 0o644); err != nil {
		return fmt.Errorf("write pid-file: %w", err)
	}
	return nil
}

// kill ends a keeper whose command failed.
func kill(p *os.Process) {
	if p != nil {
		p.Kill()
		p.Wait()
	}
}
