package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/task"
)

// Whose priority ioprio_get(2) means, the classes, and where in a priority the
// class stands.
const (
	ioprioProcess = 1
	ioprioGroup   = 2
	ioprioUser    = 3

	ioprioNone  = 0
	ioprioRT    = 1
	ioprioBE    = 2
	ioprioIdle  = 3
	ioprioShift = 13

	ioprioLevels = 8
)

// ioprio_set notes the I/O priority of processes: ioprio_set(2). Nothing goes by
// it, as the host schedules the sandbox's input and output as one.
func ioprio_set(t *task.Task, which, who int32, priority int32) (uint64, error) {
	class, level := uint32(priority)>>ioprioShift, priority&(1<<ioprioShift-1)
	switch class {
	case ioprioRT:
		if c := t.Creds(); !c.Has(linux.CAP_SYS_ADMIN) && !c.Has(linux.CAP_SYS_NICE) {
			return 0, linux.EPERM
		}
		fallthrough
	case ioprioBE:
		if level&7 >= ioprioLevels {
			return 0, linux.EINVAL
		}
	case ioprioIdle:
	case ioprioNone:
		if level != 0 {
			return 0, linux.EINVAL
		}
	default:
		return 0, linux.EINVAL
	}
	list, err := ioprioTasks(t, which, who)
	if err != nil {
		return 0, err
	}
	me := t.Creds()
	for _, o := range list {
		if it := o.Creds(); it.UID != me.EUID && it.UID != me.UID && !me.Has(linux.CAP_SYS_NICE) {
			return 0, linux.EPERM
		}
		o.SetIOPriority(priority)
	}
	return 0, nil
}

// ioprio_get gives the highest of the priorities.
func ioprio_get(t *task.Task, which, who int32) (uint64, error) {
	list, err := ioprioTasks(t, which, who)
	if err != nil {
		return 0, err
	}
	best := list[0].IOPriority()
	for _, o := range list[1:] {
		best = higherIOPriority(best, o.IOPriority())
	}
	return uint64(best), nil
}

// higherIOPriority is the better of two: the lower class, no class being the
// best effort's, and in it the lower level.
func higherIOPriority(a, b int32) int32 {
	rank := func(p int32) int32 {
		if p>>ioprioShift == ioprioNone {
			return ioprioBE<<ioprioShift | 4
		}
		return p
	}
	if rank(b) < rank(a) {
		return b
	}
	return a
}

// ioprioTasks are the threads that which and who name; who 0 is the caller.
// ESRCH for nobody, EINVAL for what is unknown.
func ioprioTasks(t *task.Task, which, who int32) (list []*task.Task, err error) {
	k := t.Kernel()
	switch which {
	case ioprioProcess:
		o := t
		if who != 0 {
			o = t.Named(who)
		}
		if o != nil {
			list = append(list, o)
		}
	case ioprioGroup:
		if who = t.PIDOf(who); who == 0 {
			who = t.Group().PGID()
		}
		for _, g := range k.ProcessGroup(who) {
			list = append(list, g.Tasks()...)
		}
	case ioprioUser:
		uid := uint32(who)
		if who == 0 {
			uid = t.Creds().UID
		}
		for _, g := range k.Groups() {
			for _, o := range g.Tasks() {
				if o.Creds().UID == uid {
					list = append(list, o)
				}
			}
		}
	default:
		return nil, linux.EINVAL
	}
	if len(list) == 0 {
		return nil, linux.ESRCH
	}
	return list, nil
}
