package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// statfs tells about the file system that path is on: statfs(2).
func statfs(t *task.Task, path, buf mm.Addr) (uint64, error) {
	p, err := resolve(t, linux.AtFDCWD, path, 0)
	if err != nil {
		return 0, err
	}
	s, err := vfs.Statfs(t, p)
	if err != nil {
		return 0, err
	}
	return 0, copyOutStatfs(t, buf, &s)
}

// fstatfs is statfs of an open file.
func fstatfs(t *task.Task, fd linux.FD, buf mm.Addr) (uint64, error) {
	f, err := t.AnyFile(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	s, err := vfs.Statfs(t, f.Path())
	if err != nil {
		return 0, err
	}
	return 0, copyOutStatfs(t, buf, &s)
}

func copyOutStatfs(t *task.Task, addr mm.Addr, s *linux.Statfs) error {
	out := newAnswer(t, linux.SizeofStatfs)
	s.Put(out.bytes)
	return out.copyOut(t, addr)
}
