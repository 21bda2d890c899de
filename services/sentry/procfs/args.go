package procfs

import (
	"bytes"
	"fmt"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/vfs"
)

// maxArgs is the most of a command line or environment that is shown, in bytes:
// what execve(2) takes at most.
const maxArgs = 2 << 20

func readRange(m Memory, start, end mm.Addr) []byte {
	if end <= start || end-start > maxArgs {
		return nil
	}
	p := make([]byte, end-start)
	return p[:m.Read(start, p)]
}

// cmdline is /proc/PID/cmdline. A program that wrote over its arguments and
// their last NUL continues into what was its environment: setproctitle(3).
func cmdline(e *entry, _ vfs.Context) ([]byte, error) {
	m := e.thread.Memory()
	if m == nil {
		return nil, nil
	}
	start, end := m.ArgRange()
	args := readRange(m, start, end)
	if len(args) == 0 || args[len(args)-1] == 0 || uint64(len(args)) < end-start {
		return args, nil
	}
	args = append(args, readRange(m, end, envEnd(m))...)
	if i := bytes.IndexByte(args, 0); i >= 0 {
		args = args[:i+1]
	}
	return args, nil
}

func envEnd(m Memory) mm.Addr {
	_, end := m.EnvRange()
	return end
}

// environ is /proc/PID/environ.
func environ(_ *entry, m Memory, _ vfs.Context) ([]byte, error) {
	if m == nil {
		return nil, nil
	}
	start, end := m.EnvRange()
	return readRange(m, start, end), nil
}

// auxv is /proc/PID/auxv: getauxval(3).
func auxv(_ *entry, m Memory, _ vfs.Context) ([]byte, error) {
	if m != nil {
		return m.Auxv(), nil
	}
	return nil, nil
}

// comm is /proc/PID/comm.
func comm(e *entry, _ vfs.Context) ([]byte, error) {
	return fmt.Appendf(nil, "%s\n", escape(e.thread.Name(), "\n\\")), nil
}

// setComm renames a thread of the writer's own process.
func setComm(e *entry, ctx vfs.Context, p []byte) error {
	if ctx.TGID() != e.thread.TGID() {
		return linux.EINVAL
	}
	e.thread.SetName(string(p[:min(len(p), 15)]))
	return nil
}
