package syscalls

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/seccomp"
	"bulkhead/services/sentry/task"
)

// dispatchConfiguration is PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG and its opposite, with a
// whole struct ptrace_sud_config: EINVAL, EFAULT.
func dispatchConfiguration(t *task.Task, set bool, tid int32, size, at uint64) error {
	const whole = 32
	if err := t.Ask(tid, func(*task.Task) error { return nil }); err != nil {
		return err
	}
	if size != whole {
		return linux.EINVAL
	}
	if !set {
		_, err := getRegisters(t, tid, at, whole, (*task.Task).DispatchConfiguration)
		return err
	}
	var p [whole]byte
	if err := t.CopyIn(at, p[:]); err != nil {
		return err
	}
	le := binary.LittleEndian
	d, err := dispatchOf(le.Uint64(p[:]), le.Uint64(p[16:]), le.Uint64(p[24:]), le.Uint64(p[8:]))
	if err != nil {
		return err
	}
	return t.Ask(tid, func(o *task.Task) error {
		o.SetDispatch(d)
		return nil
	})
}

// tracedFilters are a stopped thread's, for who may see them: EACCES, EINVAL.
func tracedFilters(t *task.Task, tid int32) (f *seccomp.Filter, err error) {
	var s *task.Seccomp
	if err := t.Ask(tid, func(o *task.Task) error { s = o.Seccomp(); return nil }); err != nil {
		return nil, err
	}
	switch {
	case !t.Creds().Has(linux.CAP_SYS_ADMIN) || t.Seccomp() != nil:
		return nil, linux.EACCES
	case s == nil || s.Filter == nil:
		return nil, linux.EINVAL
	}
	return s.Filter, nil
}

// tracedFilter is PTRACE_SECCOMP_GET_FILTER: how many instructions the filter with so many
// older ones has, and if at is not 0, these. EACCES, EINVAL, ENOENT.
func tracedFilter(t *task.Task, tid int32, older uint64, at mm.Addr) (uint64, error) {
	f, err := tracedFilters(t, tid)
	if err != nil {
		return 0, err
	}
	if f = f.Nth(older); f == nil {
		return 0, linux.ENOENT
	}
	list := f.Program()
	if at != 0 {
		if err := t.CopyOut(at, seccomp.AppendInstructions(nil, list)); err != nil {
			return 0, err
		}
	}
	return uint64(len(list)), nil
}

// tracedMetadata is PTRACE_SECCOMP_GET_METADATA, of a filter that struct seccomp_metadata
// names, as much of it as size says. EACCES, EINVAL, ENOENT.
func tracedMetadata(t *task.Task, tid int32, size uint64, at mm.Addr) (uint64, error) {
	f, err := tracedFilters(t, tid)
	switch {
	case err == linux.EINVAL: // what is asked is looked at first
		f = nil
	case err != nil:
		return 0, err
	}
	size = min(size, 16)
	if size < 8 {
		return 0, linux.EINVAL
	}
	var p [16]byte
	if err := t.CopyIn(at, p[:8]); err != nil {
		return 0, err
	}
	if f == nil {
		return 0, linux.EINVAL
	}
	if f = f.Nth(binary.LittleEndian.Uint64(p[:])); f == nil {
		return 0, linux.ENOENT
	}
	if f.Logs {
		binary.LittleEndian.PutUint64(p[8:], seccompLog)
	}
	return size, t.CopyOut(at, p[:size])
}
