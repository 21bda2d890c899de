package syscalls

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/pipe"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// pipe makes a pipe: pipe(2).
func pipe_(t *task.Task, fds mm.Addr) (uint64, error) { return pipe2(t, fds, 0) }

// pipe2 is pipe with flags.
func pipe2(t *task.Task, fds mm.Addr, flags linux.OpenFlags) (uint64, error) {
	if flags&^(linux.O_CLOEXEC|linux.O_NONBLOCK|linux.O_DIRECT) != 0 {
		return 0, linux.EINVAL
	}
	r, w := pipe.New(t, flags)
	return 0, installPair(t, r, w, fds, flags)
}

// installPair gives two files descriptors and writes those to addr. It takes
// over both references.
func installPair(t *task.Task, a, b *vfs.File, addr mm.Addr, flags linux.OpenFlags) error {
	first, err := t.Install(a, 0, flags&linux.O_CLOEXEC != 0)
	if err != nil {
		b.DecRef(t)
		return err
	}
	second, err := t.Install(b, 0, flags&linux.O_CLOEXEC != 0)
	if err == nil {
		out := newAnswer(t, 8)
		binary.LittleEndian.PutUint32(out.bytes, uint32(first))
		binary.LittleEndian.PutUint32(out.bytes[4:], uint32(second))
		if err = out.copyOut(t, addr); err == nil {
			return nil
		}
		close_(t, second)
	}
	close_(t, first)
	return err
}
