package syscalls

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/task"
)

// membarrier has running threads pass a memory barrier: membarrier(2). A guest's
// process is a host process, whose registration the host keeps, so the host does
// all of it, ordered by the answer.
func membarrier(t *task.Task, command int32, flags uint32, cpu int32) (uint64, error) {
	if command < 0 || command&^platform.MembarrierCommands != 0 || flags&^platform.MembarrierFlags != 0 {
		return 0, linux.EINVAL
	}
	if !t.Thread().ResultHostCall(unix.SYS_MEMBARRIER, uint64(command), uint64(flags), uint64(uint32(cpu))) {
		return 0, linux.ENOSYS
	}
	return 0, nil
}
