package syscalls

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/task"
)

// The commands of membarrier(2) that there are: those of one process. A guest's
// process is a host process, so the host does them, ordered by the answer.
const (
	membarrierQuery            = 0
	membarrierPrivate          = 1 << 3
	membarrierRegisterPrivate  = 1 << 4
	membarrierSyncCore         = 1 << 5
	membarrierRegisterSyncCore = 1 << 6

	membarrierKnown = membarrierPrivate | membarrierRegisterPrivate | membarrierSyncCore | membarrierRegisterSyncCore
)

// membarrier has every thread of the process that runs pass a memory barrier:
// membarrier(2). EPERM before the process has registered.
func membarrier(t *task.Task, command int32, flags uint32, _ int32) (uint64, error) {
	switch {
	case flags != 0:
		return 0, linux.EINVAL
	case command == membarrierQuery:
		return membarrierKnown, nil
	case command < 0 || command&^membarrierKnown != 0 || command&(command-1) != 0:
		return 0, linux.EINVAL
	}
	if !t.Thread().ResultHostCall(unix.SYS_MEMBARRIER, uint64(command), 0, 0) {
		return 0, linux.ENOSYS
	}
	return 0, nil
}
