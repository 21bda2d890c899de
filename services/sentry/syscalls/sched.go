package syscalls

import (
	"encoding/binary"
	"runtime"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
)

// The host schedules. What a guest asks for is checked and remembered, and changes
// nothing.

// taskOf is the thread that tid names, 0 for the caller: EINVAL, ESRCH.
func taskOf(t *task.Task, tid int32) (*task.Task, error) {
	if tid == 0 {
		return t, nil
	}
	if tid < 0 {
		return nil, linux.EINVAL
	}
	if o := t.Named(tid); o != nil {
		return o, nil
	}
	return nil, linux.ESRCH
}

func sched_yield(t *task.Task) (uint64, error) { return 0, nil }

// affinityOf is taskOf for the two calls that know no negative number.
func affinityOf(t *task.Task, tid int32) (*task.Task, error) {
	if tid < 0 {
		return nil, linux.ESRCH
	}
	return taskOf(t, tid)
}

// everyCPU is the mask of all processors, in whole words of 64.
func everyCPU() []byte {
	n := runtime.NumCPU()
	mask := make([]byte, (n+63)/64*8)
	for i := range n {
		mask[i/8] |= 1 << (i % 8)
	}
	return mask
}

func sched_getaffinity(t *task.Task, tid int32, size uint64, addr mm.Addr) (uint64, error) {
	mask := everyCPU()
	if size*8 < uint64(runtime.NumCPU()) || size%8 != 0 {
		return 0, linux.EINVAL
	}
	o, err := affinityOf(t, tid)
	if err != nil {
		return 0, err
	}
	if own := o.Affinity(); own != nil {
		mask = own
	}
	mask = mask[:min(size, uint64(len(mask)))]
	return uint64(len(mask)), t.CopyOutLater(addr, mask)
}

func sched_setaffinity(t *task.Task, tid int32, size uint64, addr mm.Addr) (uint64, error) {
	mask := everyCPU()
	asked := make([]byte, len(mask))
	if err := t.CopyIn(addr, asked[:min(size, uint64(len(asked)))]); err != nil {
		return 0, err
	}
	o, err := affinityOf(t, tid)
	if err != nil {
		return 0, err
	}
	me, it := t.Creds(), o.Creds()
	if it == nil {
		return 0, linux.ESRCH
	}
	if me.EUID != it.UID && me.EUID != it.EUID && !me.Has(linux.CAP_SYS_NICE) {
		return 0, linux.EPERM
	}
	some := byte(0)
	for i := range mask {
		mask[i] &= asked[i]
		some |= mask[i]
	}
	if some == 0 {
		return 0, linux.EINVAL
	}
	o.SetAffinity(mask)
	return 0, nil
}

// resetOnFork is SCHED_RESET_ON_FORK, which may stand beside a policy.
const resetOnFork = 0x40000000

func sched_getscheduler(t *task.Task, tid int32) (uint64, error) {
	o, err := taskOf(t, tid)
	if err != nil {
		return 0, err
	}
	s := o.Scheduling()
	policy := uint64(s.Policy)
	if s.ResetOnFork {
		policy |= resetOnFork
	}
	return policy, nil
}

func sched_setscheduler(t *task.Task, tid, policy int32, param mm.Addr) (uint64, error) {
	if policy < 0 || param == 0 {
		return 0, linux.EINVAL
	}
	return setScheduler(t, tid, uint32(policy), param)
}

func sched_setparam(t *task.Task, tid int32, param mm.Addr) (uint64, error) {
	if param == 0 {
		return 0, linux.EINVAL
	}
	o, err := taskOf(t, tid)
	if err != nil {
		return 0, err
	}
	s := o.Scheduling()
	policy := s.Policy
	if s.ResetOnFork {
		policy |= resetOnFork
	}
	return setScheduler(t, tid, policy, param)
}

func setScheduler(t *task.Task, tid int32, policy uint32, param mm.Addr) (uint64, error) {
	var buf [4]byte
	if err := t.CopyIn(param, buf[:]); err != nil {
		return 0, err
	}
	o, err := taskOf(t, tid)
	if err != nil {
		return 0, err
	}
	return 0, schedule(t, o, task.Scheduling{Policy: policy &^ resetOnFork, Priority: binary.LittleEndian.Uint32(buf[:]), ResetOnFork: policy&resetOnFork != 0})
}

// schedule checks and remembers what o is to be scheduled by: EINVAL, EPERM.
func schedule(t, o *task.Task, s task.Scheduling) error {
	rt := s.Policy == unix.SCHED_FIFO || s.Policy == unix.SCHED_RR
	switch s.Policy {
	case unix.SCHED_FIFO, unix.SCHED_RR, unix.SCHED_NORMAL, unix.SCHED_BATCH, unix.SCHED_IDLE:
		if rt != (s.Priority > 0) || s.Priority > 99 {
			return linux.EINVAL
		}
	case unix.SCHED_DEADLINE:
		if s.Priority != 0 || !inTime(&s) {
			return linux.EINVAL
		}
	default:
		return linux.EINVAL
	}
	if me, it := t.Creds(), o.Creds(); !me.Has(linux.CAP_SYS_NICE) {
		old, limits := o.Scheduling(), o.Group()
		leavesIdle := old.Policy == unix.SCHED_IDLE && s.Policy != old.Policy && uint64(20-limits.Nice()) > limits.Limit(unix.RLIMIT_NICE).Cur
		tooHigh := rt && uint64(s.Priority) > limits.Limit(unix.RLIMIT_RTPRIO).Cur && (s.Policy != old.Policy || s.Priority > old.Priority)
		if tooHigh || s.Policy == unix.SCHED_DEADLINE || leavesIdle || it == nil || me.EUID != it.UID && me.EUID != it.EUID || old.ResetOnFork && !s.ResetOnFork {
			return linux.EPERM
		}
	}
	o.SetScheduling(s)
	return nil
}

// inTime says whether the times of SCHED_DEADLINE can be kept to: sched(7). Without a
// period it is the deadline.
func inTime(s *task.Scheduling) bool {
	const leastRuntime, leastPeriod, mostPeriod = 1 << 10, 100e3, 1 << 22 * 1e3 // in nanoseconds: sched_deadline_period_max_us
	if s.Period == 0 {
		s.Period = s.Deadline
	}
	return s.Runtime >= leastRuntime && s.Runtime <= s.Deadline && s.Deadline <= s.Period && s.Period >= leastPeriod && s.Period <= mostPeriod
}

func sched_getparam(t *task.Task, tid int32, param mm.Addr) (uint64, error) {
	if param == 0 {
		return 0, linux.EINVAL
	}
	o, err := taskOf(t, tid)
	if err != nil {
		return 0, err
	}
	return 0, t.CopyOutLater(param, binary.LittleEndian.AppendUint32(nil, o.Scheduling().Priority))
}

// Sizes of struct sched_attr in bytes: the first one's, and today's.
const (
	schedAttrLeast = 48
	schedAttrSize  = 56
)

// sched_getattr tells what sched_setattr was told, and the nice value.
func sched_getattr(t *task.Task, tid int32, attr mm.Addr, size, flags uint32) (uint64, error) {
	if attr == 0 || size < schedAttrLeast || size > 4096 || flags != 0 {
		return 0, linux.EINVAL
	}
	o, err := taskOf(t, tid)
	if err != nil {
		return 0, err
	}
	s, le := o.Scheduling(), binary.LittleEndian
	b := make([]byte, schedAttrSize)
	size = min(size, schedAttrSize)
	le.PutUint32(b, size)
	le.PutUint32(b[4:], s.Policy)
	if s.ResetOnFork {
		le.PutUint64(b[8:], 1)
	}
	if s.Priority == 0 {
		le.PutUint32(b[16:], uint32(o.Group().Nice()))
	}
	le.PutUint32(b[20:], s.Priority)
	le.PutUint64(b[24:], s.Runtime)
	le.PutUint64(b[32:], s.Deadline)
	le.PutUint64(b[40:], s.Period)
	le.PutUint32(b[52:], 1024) // sched_util_max
	return 0, t.CopyOutLater(attr, b[:size])
}

// sched_setattr sets the policy, its priority and the nice value. E2BIG for fields
// that are not known and not zero.
func sched_setattr(t *task.Task, tid int32, attr mm.Addr, flags uint32) (uint64, error) {
	if attr == 0 || flags != 0 {
		return 0, linux.EINVAL
	}
	var head [4]byte
	if err := t.CopyIn(attr, head[:]); err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	size := le.Uint32(head[:])
	if size == 0 {
		size = schedAttrLeast
	}
	if size < schedAttrLeast || size > 4096 {
		return 0, tooBig(t, attr)
	}
	b := make([]byte, max(size, schedAttrSize))
	if err := t.CopyIn(attr, b[:size]); err != nil {
		return 0, err
	}
	for _, c := range b[schedAttrSize:] {
		if c != 0 {
			return 0, tooBig(t, attr)
		}
	}
	o, err := taskOf(t, tid)
	if err != nil {
		return 0, err
	}
	const reset, keepPolicy, keepParams, known = 1, 8, 0x10, 0x7f
	how, s := le.Uint64(b[8:]), task.Scheduling{Policy: le.Uint32(b[4:]), Priority: le.Uint32(b[20:])}
	if how&^known != 0 {
		return 0, linux.EINVAL
	}
	s.ResetOnFork = how&reset != 0
	if s.Policy == unix.SCHED_DEADLINE {
		s.Runtime, s.Deadline, s.Period = le.Uint64(b[24:]), le.Uint64(b[32:]), le.Uint64(b[40:])
	}
	nice := int32(le.Uint32(b[16:]))
	if how&keepPolicy != 0 {
		s.Policy = o.Scheduling().Policy
	}
	if how&keepParams != 0 {
		s.Priority, nice = o.Scheduling().Priority, o.Group().Nice()
	}
	if err := schedule(t, o, s); err != nil {
		return 0, err
	}
	if s.Policy == unix.SCHED_NORMAL || s.Policy == unix.SCHED_BATCH {
		nice = min(max(nice, -20), 19)
		if nice < o.Group().Nice() && !mayBeNicer(t, o.Group(), nice) {
			return 0, linux.EPERM
		}
		o.Group().SetNice(nice)
	}
	return 0, nil
}

// tooBig is E2BIG, after the size that would do was told.
func tooBig(t *task.Task, attr mm.Addr) error {
	if err := t.CopyOut(attr, binary.LittleEndian.AppendUint32(nil, schedAttrSize)); err != nil {
		return err
	}
	return linux.E2BIG
}

// schedExt is SCHED_EXT, of which there is no scheduler to choose.
const schedExt = 7

func sched_get_priority_max(t *task.Task, policy int32) (uint64, error) {
	switch policy {
	case unix.SCHED_FIFO, unix.SCHED_RR:
		return 99, nil
	case unix.SCHED_NORMAL, unix.SCHED_BATCH, unix.SCHED_IDLE, unix.SCHED_DEADLINE, schedExt:
		return 0, nil
	}
	return 0, linux.EINVAL
}

func sched_get_priority_min(t *task.Task, policy int32) (uint64, error) {
	n, err := sched_get_priority_max(t, policy)
	return min(n, 1), err
}

func sched_rr_get_interval(t *task.Task, tid int32, addr mm.Addr) (uint64, error) {
	o, err := taskOf(t, tid)
	if err != nil {
		return 0, err
	}
	slice := linux.Timespec{Nsec: 4e6}
	switch o.Scheduling().Policy {
	case unix.SCHED_FIFO, unix.SCHED_DEADLINE:
		slice = linux.Timespec{}
	case unix.SCHED_RR:
		slice = linux.Timespec{Nsec: 100e6}
	}
	return 0, copyOutTimespec(t, addr, slice)
}

// getpriority gives 20 minus the nice value, which is 0: getpriority(2).
func getpriority(t *task.Task, which, who int32) (uint64, error) {
	groups, err := prioritised(t, which, who)
	if err != nil {
		return 0, err
	}
	least := groups[0].Nice()
	for _, g := range groups[1:] {
		least = min(least, g.Nice())
	}
	return uint64(20 - least), nil // so that it is never negative: getpriority(2), NOTES
}

// setpriority tells what getpriority will say; the host schedules all alike.
func setpriority(t *task.Task, which, who, nice int32) (uint64, error) {
	groups, err := prioritised(t, which, who)
	if err != nil {
		return 0, err
	}
	nice = min(max(nice, -20), 19)
	for _, g := range groups {
		if !t.MaySignal(g, 0) {
			return 0, linux.EPERM
		}
		if nice < g.Nice() && !mayBeNicer(t, g, nice) {
			return 0, linux.EACCES
		}
		g.SetNice(nice)
	}
	return 0, nil
}

// mayBeNicer says whether t may lower g's nice value so far: RLIMIT_NICE, which
// counts from 1 for 19 to 40 for -20.
func mayBeNicer(t *task.Task, g *task.Group, nice int32) bool {
	return uint64(20-nice) <= g.Limit(unix.RLIMIT_NICE).Cur || t.Creds().Has(linux.CAP_SYS_NICE)
}

// prioritised are the processes that which and who mean, at least one.
func prioritised(t *task.Task, which, who int32) ([]*task.Group, error) {
	var groups []*task.Group
	switch which {
	case unix.PRIO_PROCESS:
		if who == 0 {
			return []*task.Group{t.Group()}, nil
		}
		if o := t.Named(who); o != nil {
			groups = append(groups, o.Group())
		}
	case unix.PRIO_PGRP:
		if who = t.PIDOf(who); who == 0 {
			who = t.Group().PGID()
		}
		groups = t.Kernel().ProcessGroup(who)
	case unix.PRIO_USER:
		uid := uint32(who)
		if who == 0 {
			uid = t.Creds().UID
		}
		for _, g := range t.Kernel().Groups() {
			if l := g.Leader(); l != nil && l.Creds().UID == uid {
				groups = append(groups, g)
			}
		}
	default:
		return nil, linux.EINVAL
	}
	if len(groups) == 0 {
		return nil, linux.ESRCH
	}
	return groups, nil
}

// getcpu names a processor that the thread may be on: getcpu(2).
func getcpu(t *task.Task, cpu, node mm.Addr) (uint64, error) {
	if cpu != 0 {
		if err := t.CopyOutLater(cpu, le32(t.Thread().Core())); err != nil {
			return 0, err
		}
	}
	if node != 0 {
		return 0, t.CopyOutLater(node, le32(0))
	}
	return 0, nil
}

// getrlimit and prlimit64: getrlimit(2).
func getrlimit(t *task.Task, what int32, addr mm.Addr) (uint64, error) {
	return prlimit64(t, 0, what, 0, addr)
}

func setrlimit(t *task.Task, what int32, addr mm.Addr) (uint64, error) {
	return prlimit64(t, 0, what, addr, 0)
}

func prlimit64(t *task.Task, pid, what int32, set, old mm.Addr) (uint64, error) {
	if what < 0 || what >= task.NumRlimits {
		return 0, linux.EINVAL
	}
	g, err := groupOf(t, pid)
	if err != nil {
		return 0, err
	}
	if g != t.Group() && !mayLimit(t, g) {
		return 0, linux.EPERM
	}
	was := g.Limit(int(what))
	if set != 0 {
		var buf [16]byte
		if err := t.CopyIn(set, buf[:]); err != nil {
			return 0, err
		}
		l := task.Rlimit{Cur: binary.LittleEndian.Uint64(buf[:]), Max: binary.LittleEndian.Uint64(buf[8:])}
		switch {
		case l.Cur > l.Max:
			return 0, linux.EINVAL
		case l.Max > was.Max && !t.Creds().Has(linux.CAP_SYS_RESOURCE):
			return 0, linux.EPERM
		case what == unix.RLIMIT_NOFILE && l.Max > 1<<20:
			return 0, linux.EPERM
		}
		g.SetLimit(int(what), l)
		if space := g.Leader().MM(); (what == unix.RLIMIT_AS || what == unix.RLIMIT_DATA) && space != nil {
			space.Limit(mm.Limits{Size: g.Limit(unix.RLIMIT_AS).Cur, Data: g.Limit(unix.RLIMIT_DATA).Cur})
		}
	}
	if old != 0 {
		buf := binary.LittleEndian.AppendUint64(nil, was.Cur)
		return 0, t.CopyOutLater(old, binary.LittleEndian.AppendUint64(buf, was.Max))
	}
	return 0, nil
}

// mayLimit says whether t may see and set another process's limits: it has that one's
// ids throughout, or CAP_SYS_RESOURCE.
func mayLimit(t *task.Task, g *task.Group) bool {
	me, it := t.Creds(), g.Leader().Creds()
	return me.Has(linux.CAP_SYS_RESOURCE) ||
		me.UID == it.UID && me.UID == it.EUID && me.UID == it.SUID && me.GID == it.GID && me.GID == it.EGID && me.GID == it.SGID
}

// rseq has the host keep the number of the core in guest memory, and restart the
// guest's sequences: Documentation of restartable sequences in rseq(2).
func rseq(t *task.Task, area mm.Addr, size, flags, signature uint32) (uint64, error) {
	const unregister = 1
	if flags&^unregister != 0 {
		return 0, linux.EINVAL
	}
	if area >= mm.GuestTop || uint64(size) > mm.GuestTop-area {
		return 0, linux.EFAULT
	}
	if !t.Thread().ResultHostCall(unix.SYS_RSEQ, area, uint64(size), uint64(flags), uint64(signature)) {
		return 0, linux.ENOMEM
	}
	if flags&unregister != 0 {
		t.SetRseq(task.Rseq{})
	} else {
		t.SetRseq(task.Rseq{Area: area, Size: size, Signature: signature})
	}
	return 0, nil
}
