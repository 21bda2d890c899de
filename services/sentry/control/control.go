package control

import (
	"context"
	"errors"
	"os"

	"bulkhead/proto/rpc"
	sentryv1 "bulkhead/proto/sentry/v1"
)

// Server serves proto/sentry/v1 on a Kernel.
type Server struct {
	kernel Kernel
	fds    Descriptors
	gifts  *gifts
	// before and seal surround the kernel's Boot.
	before, seal func() error
}

// NewServer makes a server. donations is the listener for donations. before is
// called at Boot before the kernel boots, and seal after it; from then on the
// process has only what it still needs.
func NewServer(k Kernel, fds Descriptors, donations *os.File, before, seal func() error) *Server {
	return &Server{kernel: k, fds: fds, gifts: receiveGifts(donations), before: before, seal: seal}
}

// Methods are what a launcher calls: proto/control/v1.
func (s *Server) Methods() rpc.Methods {
	return rpc.Methods{
		"/control.v1.SentryService/Boot":      rpc.Unary(s.Boot),
		"/control.v1.SentryService/Create":    rpc.Unary(s.Create),
		"/control.v1.SentryService/Start":     rpc.Unary(s.Start),
		"/control.v1.SentryService/Exec":      rpc.Unary(s.Exec),
		"/control.v1.SentryService/Signal":    rpc.Unary(s.Signal),
		"/control.v1.SentryService/Wait":      rpc.Unary(s.Wait),
		"/control.v1.SentryService/State":     rpc.Unary(s.State),
		"/control.v1.SentryService/Delete":    rpc.Unary(s.Delete),
		"/control.v1.SentryService/Resize":    rpc.Unary(s.Resize),
		"/control.v1.SentryService/Reconnect": rpc.Unary(s.Reconnect),
	}
}

// Boot boots the kernel and seals the process.
func (s *Server) Boot(_ context.Context, q *sentryv1.BootRequest) (*sentryv1.BootResponse, error) {
	if err := s.before(); err != nil {
		return nil, fail("prepare sentry", err)
	}
	if err := s.kernel.Boot(q, s.fds); err != nil {
		return nil, fail("boot kernel", err)
	}
	if err := s.seal(); err != nil {
		return nil, fail("seal sentry", err)
	}
	s.kernel.Sealed()
	return &sentryv1.BootResponse{}, nil
}

// Create makes a container.
func (s *Server) Create(ctx context.Context, q *sentryv1.CreateRequest) (*sentryv1.CreateResponse, error) {
	if q.Spec == nil || q.Spec.Process == nil || q.Spec.Root == nil {
		return nil, rpc.Errorf(rpc.InvalidArgument, "create container: the spec lacks a process or a root")
	}
	g, err := s.gifts.take(ctx, q.Donation)
	if err != nil {
		return nil, fail("create container", err)
	}
	if err := s.kernel.Create(q.Spec, g.stdio(), g.take(sentryv1.Role_ROLE_CONSOLE)); err != nil {
		g.close()
		return nil, fail("create container", err)
	}
	s.keep(q.Spec.Id, 0, g.take(sentryv1.Role_ROLE_KEEPER))
	g.close()
	return &sentryv1.CreateResponse{}, nil
}

// Start runs a created container.
func (s *Server) Start(_ context.Context, q *sentryv1.StartRequest) (*sentryv1.StartResponse, error) {
	if err := s.kernel.Start(q.Id); err != nil {
		return nil, fail("start container", err)
	}
	return &sentryv1.StartResponse{}, nil
}

// Exec runs another program in a container.
func (s *Server) Exec(ctx context.Context, q *sentryv1.ExecRequest) (*sentryv1.ExecResponse, error) {
	if q.Process == nil {
		return nil, rpc.Errorf(rpc.InvalidArgument, "exec: the request lacks a process")
	}
	g, err := s.gifts.take(ctx, q.Donation)
	if err != nil {
		return nil, fail("exec", err)
	}
	defer g.close()
	pid, err := s.kernel.Exec(q.Id, q.Process, g.stdio(), g.take(sentryv1.Role_ROLE_CONSOLE))
	if err != nil {
		return nil, fail("exec", err)
	}
	s.keep(q.Id, pid, g.take(sentryv1.Role_ROLE_KEEPER))
	return &sentryv1.ExecResponse{Pid: pid}, nil
}

// Signal sends a signal.
func (s *Server) Signal(_ context.Context, q *sentryv1.SignalRequest) (*sentryv1.SignalResponse, error) {
	if err := s.kernel.Signal(q.Id, q.Pid, q.Signal, q.All, q.Foreground); err != nil {
		return nil, fail("signal", err)
	}
	return &sentryv1.SignalResponse{}, nil
}

// Wait waits for a process to end.
func (s *Server) Wait(ctx context.Context, q *sentryv1.WaitRequest) (*sentryv1.WaitResponse, error) {
	st, err := s.kernel.Wait(ctx, q.Id, q.Pid)
	if err != nil {
		return nil, fail("wait", err)
	}
	return &sentryv1.WaitResponse{Status: st}, nil
}

// State tells what a container does.
func (s *Server) State(_ context.Context, q *sentryv1.StateRequest) (*sentryv1.StateResponse, error) {
	st, err := s.kernel.State(q.Id)
	if err != nil {
		return nil, fail("read state", err)
	}
	return &sentryv1.StateResponse{State: st}, nil
}

// Delete forgets a stopped container.
func (s *Server) Delete(_ context.Context, q *sentryv1.DeleteRequest) (*sentryv1.DeleteResponse, error) {
	if err := s.kernel.Delete(q.Id); err != nil {
		return nil, fail("delete container", err)
	}
	return &sentryv1.DeleteResponse{}, nil
}

// Resize sets a terminal's size.
func (s *Server) Resize(_ context.Context, q *sentryv1.ResizeRequest) (*sentryv1.ResizeResponse, error) {
	if err := s.kernel.Resize(q.Id, q.Pid, q.Rows, q.Columns); err != nil {
		return nil, fail("resize terminal", err)
	}
	return &sentryv1.ResizeResponse{}, nil
}

// Reconnect takes another netd.
func (s *Server) Reconnect(ctx context.Context, q *sentryv1.ReconnectRequest) (*sentryv1.ReconnectResponse, error) {
	g, err := s.gifts.take(ctx, q.Donation)
	if err != nil {
		return nil, fail("reconnect", err)
	}
	defer g.close()
	netd := g.take(sentryv1.Role_ROLE_NETD)
	if netd == nil {
		return nil, rpc.Errorf(rpc.InvalidArgument, "reconnect: no channel to netd was donated")
	}
	if err := s.kernel.Reconnect(netd); err != nil {
		return nil, fail("reconnect", err)
	}
	return &sentryv1.ReconnectResponse{}, nil
}

// fail is the one place where the kernel's errors become the wire's.
func fail(step string, err error) error {
	code := rpc.CodeOf(err)
	var program *ProgramError
	var missing *NotFoundError
	switch {
	case errors.As(err, &program) && program.NotFound:
		return rpc.Errorf(rpc.NotFound, "%v", program)
	case errors.As(err, &program):
		return rpc.Errorf(rpc.PermissionDenied, "%v", program)
	case errors.As(err, &missing):
		code = rpc.NotFound
	}
	return rpc.Errorf(code, "%s: %v", step, err)
}
