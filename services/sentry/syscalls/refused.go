package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/task"
)

// refuse is the handler of a call that is there and that a container is not
// allowed to make, with whatever arguments: of the machine's, not of the sandbox's.
func refuse(err linux.Errno) handler {
	return func(*task.Task, uint64, uint64, uint64, uint64, uint64, uint64) (uint64, error) { return 0, err }
}

// iopl and ioperm give access to the machine's ports, which nobody has: iopl(2),
// ioperm(2).
func iopl(t *task.Task, level uint32) (uint64, error) {
	switch {
	case level > 3:
		return 0, linux.EINVAL
	case level > 0:
		return 0, linux.EPERM
	}
	return 0, nil
}

func ioperm(t *task.Task, from, n uint64, on int32) (uint64, error) {
	const ports = 65536
	switch {
	case from+n <= from || from+n > ports:
		return 0, linux.EINVAL
	case on != 0:
		return 0, linux.EPERM
	}
	return 0, nil
}

// pkey_alloc finds no memory protection key, as on a processor without them:
// pkey_alloc(2).
func pkey_alloc(t *task.Task, flags, rights uint64) (uint64, error) {
	if flags != 0 || rights&^3 != 0 {
		return 0, linux.EINVAL
	}
	return 0, linux.ENOSPC
}

// pkey_mprotect is mprotect with key -1, which is none: pkey_mprotect(2).
func pkey_mprotect(t *task.Task, addr, length uint64, prot uint32, key int32) (uint64, error) {
	if key != -1 {
		return 0, linux.EINVAL
	}
	return mprotect(t, addr, length, prot)
}
