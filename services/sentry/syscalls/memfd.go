package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/tmpfs"
	"bulkhead/services/sentry/vfs"
)

// memfd_create makes a file in memory without a name in the tree:
// memfd_create(2).
func memfd_create(t *task.Task, name mm.Addr, flags uint32) (uint64, error) {
	s, err := t.CopyInString(name, linux.NAME_MAX-len("memfd:")+1)
	if err == linux.ENAMETOOLONG {
		err = linux.EINVAL
	}
	if err != nil {
		return 0, err
	}
	impl, err := tmpfs.NewMemfd(t, s, flags)
	if err != nil {
		return 0, err
	}
	f := vfs.NewAnonFile(impl, tmpfs.MemfdName(s), linux.O_RDWR|linux.O_LARGEFILE)
	closeOnExec := linux.OpenFlags(0)
	if flags&linux.MFD_CLOEXEC != 0 {
		closeOnExec = linux.O_CLOEXEC
	}
	return install(t, f, closeOnExec)
}
