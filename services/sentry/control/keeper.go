package control

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	sentryv1 "bulkhead/proto/sentry/v1"
)

// keep ties a process of the guest to its keeper, a host process that an engine
// waits for: the keeper is told the status when the process ends, and when the
// keeper is killed, so is the process.
func (s *Server) keep(id string, pid int32, keeper *os.File) {
	if keeper == nil {
		return
	}
	f, err := nonblocking(keeper)
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		var b [1]byte
		if n, err := f.Read(b[:]); n == 0 && err != nil && ctx.Err() == nil {
			s.kernel.Signal(id, pid, int32(unix.SIGKILL), false, false)
		}
	}()
	go func() {
		defer f.Close() // ends the other one too
		st, err := s.kernel.Wait(context.Background(), id, pid)
		cancel()
		if err != nil {
			return // the keeper takes the end of its socket for a SIGKILL
		}
		f.Write(statusBytes(st))
	}()
}

// statusBytes is what a keeper reads: exit code and signal number.
func statusBytes(st *sentryv1.ExitStatus) []byte {
	return []byte{byte(st.GetCode()), byte(st.GetSignal()) & 0x7f}
}

// nonblocking takes f over and gives a file on the netpoller.
func nonblocking(f *os.File) (*os.File, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
