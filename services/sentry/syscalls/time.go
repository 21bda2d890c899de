package syscalls

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/clock"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/task"
)

func copyInTimespec(t *task.Task, addr mm.Addr) (linux.Timespec, error) {
	var buf [16]byte
	if err := t.CopyIn(addr, buf[:]); err != nil {
		return linux.Timespec{}, err
	}
	ts := linux.ReadTimespec(buf[:])
	if !ts.Valid() {
		return ts, linux.EINVAL
	}
	return ts, nil
}

func copyOutTimespec(t *task.Task, addr mm.Addr, ts linux.Timespec) error {
	var buf [16]byte
	ts.Put(buf[:])
	return t.CopyOutLater(addr, buf[:])
}

func duration(ts linux.Timespec) time.Duration { return ts.Duration() }

// cpuClockOf gives the thread, or a thread of the process, whose CPU time the clock
// id tells; EINVAL. Another's must be a thread of the caller's process or the leader
// of another: clock_getcpuclockid(3).
func cpuClockOf(t *task.Task, id int32) (*task.Task, error) {
	const perThread, kind = 4, 3
	switch id {
	case unix.CLOCK_PROCESS_CPUTIME_ID, unix.CLOCK_THREAD_CPUTIME_ID:
		return t, nil
	}
	if id >= 0 || id&kind == kind {
		return nil, linux.EINVAL
	}
	pid := ^(id >> 3)
	if pid == 0 {
		return t, nil
	}
	o := t.Named(pid)
	if o == nil || id&perThread != 0 && o.Group() != t.Group() || id&perThread == 0 && o.TGID() != o.TID() {
		return nil, linux.EINVAL
	}
	return o, nil
}

// cpuClock gives the CPU time of a process or thread clock, which are not the
// host's own of the same number.
func cpuClock(t *task.Task, id int32) (time.Duration, error) {
	o, err := cpuClockOf(t, id)
	if err != nil {
		return 0, err
	}
	if id == unix.CLOCK_THREAD_CPUTIME_ID || id < 0 && id&4 != 0 {
		return t.ThreadTime(o), nil
	}
	self, _ := o.Group().Usage()
	return self.User + self.System, nil
}

// clock_gettime: most calls are answered by the host's vDSO and never come here.
func clock_gettime(t *task.Task, id int32, addr mm.Addr) (uint64, error) {
	if c := clock.ID(id); c.Valid() {
		return 0, copyOutTimespec(t, addr, c.Now().Timespec())
	}
	if id == unix.CLOCK_THREAD_CPUTIME_ID && onHost(t, unix.SYS_CLOCK_GETTIME, unix.CLOCK_THREAD_CPUTIME_ID, addr) {
		return 0, nil
	}
	d, err := cpuClock(t, id)
	if err != nil {
		return 0, err
	}
	return 0, copyOutTimespec(t, addr, linux.TimespecOf(d))
}

// onHost orders call nr, which tells of the host's own thread and writes it to
// addr; false if the answer has no room.
func onHost(t *task.Task, nr uint32, what uint64, addr mm.Addr) bool {
	return addr < platform.GuestTop && t.Thread().HostCall(nr, what, uint64(addr))
}

func clock_getres(t *task.Task, id int32, addr mm.Addr) (uint64, error) {
	res := linux.Timespec{Nsec: 1}
	if c := clock.ID(id); c.Valid() {
		res = c.Resolution()
	} else if _, err := cpuClock(t, id); err != nil {
		return 0, err
	}
	if addr == 0 {
		return 0, nil
	}
	return 0, copyOutTimespec(t, addr, res)
}

// clock_settime would change the host's clock.
func clock_settime(t *task.Task, id int32, addr mm.Addr) (uint64, error) {
	ts, err := copyInTimespec(t, addr)
	if err != nil {
		return 0, err
	}
	if id != unix.CLOCK_REALTIME || !ts.Valid() {
		return 0, linux.EINVAL
	}
	return 0, linux.EPERM
}

// settimeofday would too.
func settimeofday(t *task.Task, tv, tz mm.Addr) (uint64, error) {
	if tv != 0 {
		var b [linux.SizeofTimeval]byte
		if err := t.CopyIn(tv, b[:]); err != nil {
			return 0, err
		}
		if !linux.ReadTimeval(b[:]).Valid() {
			return 0, linux.EINVAL
		}
	}
	if tz != 0 {
		if err := t.CopyIn(tz, make([]byte, 8)); err != nil {
			return 0, err
		}
	}
	return 0, linux.EPERM
}

func gettimeofday(t *task.Task, tv, tz mm.Addr) (uint64, error) {
	if tv != 0 {
		ts := clock.ID(unix.CLOCK_REALTIME).Now().Timespec()
		if err := copyOutTimespec(t, tv, linux.Timespec{Sec: ts.Sec, Nsec: ts.Nsec / 1000}); err != nil {
			return 0, err
		}
	}
	if tz != 0 {
		return 0, t.CopyOutLater(tz, make([]byte, 8))
	}
	return 0, nil
}

func time_(t *task.Task, addr mm.Addr) (uint64, error) {
	now := uint64(clock.ID(unix.CLOCK_REALTIME).Now().Timespec().Sec)
	if addr != 0 {
		return now, t.CopyOutLater(addr, binary.LittleEndian.AppendUint64(nil, now))
	}
	return now, nil
}

// nanosleep sleeps by the monotonic clock: nanosleep(2).
func nanosleep(t *task.Task, req, rem mm.Addr) (uint64, error) {
	ts, err := copyInTimespec(t, req)
	if err != nil {
		return 0, err
	}
	return sleepUntil(t, time.Now().Add(duration(ts)), rem)
}

// sleepUntil sleeps; when a signal ends it, what is left goes to rem, and
// restart_syscall goes on.
func sleepUntil(t *task.Task, deadline time.Time, rem mm.Addr) (uint64, error) {
	err := t.SleepUntil(deadline)
	if err == nil {
		return 0, nil
	}
	if rem != 0 {
		left := linux.TimespecOf(max(time.Until(deadline), 0))
		var buf [16]byte
		left.Put(buf[:])
		if err := t.CopyOut(rem, buf[:]); err != nil {
			return 0, err
		}
	}
	t.SetRestart(func() (uint64, error) { return sleepUntil(t, deadline, rem) })
	return 0, linux.ERESTART_RESTARTBLOCK
}

// clock_nanosleep sleeps by a clock of choice: clock_nanosleep(2).
func clock_nanosleep(t *task.Task, id int32, flags uint32, req, rem mm.Addr) (uint64, error) {
	const absolute = 1
	c := clock.ID(id)
	if !c.Timed() {
		if id == unix.CLOCK_PROCESS_CPUTIME_ID || id == unix.CLOCK_THREAD_CPUTIME_ID || untimed(id) {
			return 0, linux.EOPNOTSUPP
		}
		return 0, linux.EINVAL
	}
	ts, err := copyInTimespec(t, req)
	if err != nil {
		return 0, err
	}
	if flags&absolute != 0 {
		if err := t.SleepUntil(c.Deadline(clock.Of(ts))); err != nil {
			return 0, linux.ERESTARTNOHAND
		}
		return 0, nil
	}
	return sleepUntil(t, time.Now().Add(duration(ts)), rem)
}

// setitimer and getitimer: setitimer(2).
func setitimer(t *task.Task, which int32, set, old mm.Addr) (uint64, error) {
	timer, err := t.Group().Itimer(which)
	if err != nil {
		return 0, err
	}
	var to clock.Setting
	if set != 0 {
		var buf [32]byte
		if err := t.CopyIn(set, buf[:]); err != nil {
			return 0, err
		}
		interval, value := linux.ReadTimeval(buf[:]), linux.ReadTimeval(buf[16:])
		if !interval.Valid() || !value.Valid() {
			return 0, linux.EINVAL
		}
		to = clock.Setting{Value: clock.Of(value.Timespec()), Interval: clock.Of(interval.Timespec())}
	}
	was := timer.Set(to)
	if old != 0 {
		return 0, copyOutItimerval(t, old, was)
	}
	return 0, nil
}

func getitimer(t *task.Task, which int32, addr mm.Addr) (uint64, error) {
	timer, err := t.Group().Itimer(which)
	if err != nil {
		return 0, err
	}
	return 0, copyOutItimerval(t, addr, timer.Remaining())
}

func copyOutItimerval(t *task.Task, addr mm.Addr, s clock.Setting) error {
	var buf [32]byte
	linux.TimevalOf(time.Duration(s.Interval)).Put(buf[:])
	linux.TimevalOf(time.Duration(s.Value)).Put(buf[16:])
	return t.CopyOutLater(addr, buf[:])
}

func alarm(t *task.Task, seconds uint32) (uint64, error) {
	timer, err := t.Group().Itimer(unix.ITIMER_REAL)
	if err != nil {
		return 0, err
	}
	was := timer.Set(clock.Setting{Value: clock.Time(seconds) * 1e9})
	return uint64((was.Value + 1e9 - 1) / 1e9), nil
}

// untimed says of a clock that it is one, but nothing waits by it.
func untimed(id int32) bool {
	return id == unix.CLOCK_MONOTONIC_RAW || id == unix.CLOCK_REALTIME_COARSE || id == unix.CLOCK_MONOTONIC_COARSE
}

// timer_create makes a POSIX timer: timer_create(2).
func timer_create(t *task.Task, id int32, event, out mm.Addr) (uint64, error) {
	c := clock.Source(clock.ID(id))
	if untimed(id) {
		return 0, linux.EOPNOTSUPP
	}
	if !clock.ID(id).Timed() {
		o, err := cpuClockOf(t, id)
		if err != nil {
			return 0, err
		}
		c = o.Group().CPUClock()
	}
	n := task.Notification{Notify: task.SigevSignal, Signal: linux.SIGALRM}
	if event != 0 {
		var buf [64]byte
		if err := t.CopyIn(event, buf[:]); err != nil {
			return 0, err
		}
		le := binary.LittleEndian
		n.Value, n.Signal, n.Notify = le.Uint64(buf[:]), linux.Signal(le.Uint32(buf[8:])), int32(le.Uint32(buf[12:]))
		n.TID = int32(le.Uint32(buf[16:]))
		if n.Notify != task.SigevNone && !n.Signal.Valid() {
			return 0, linux.EINVAL
		}
		if n.Notify != task.SigevSignal && n.Notify != task.SigevNone && n.Notify != task.SigevThreadID && n.Notify != task.SigevThread {
			return 0, linux.EINVAL
		}
	}
	timer, err := t.Group().NewTimer(c, n, event == 0)
	if err != nil {
		return 0, err
	}
	if err := t.CopyOut(out, le32(uint32(timer))); err != nil {
		t.Group().DeleteTimer(timer)
		return 0, err
	}
	return 0, nil
}

func timer_settime(t *task.Task, id int32, flags uint32, set, old mm.Addr) (uint64, error) {
	timer, err := t.Group().Timer(id)
	if err != nil {
		return 0, err
	}
	if set == 0 {
		return 0, linux.EINVAL
	}
	var buf [linux.SizeofItimerspec]byte
	if err := t.CopyIn(set, buf[:]); err != nil {
		return 0, err
	}
	to, err := clock.Parse(linux.ReadItimerspec(buf[:]), flags&1 != 0)
	if err != nil {
		return 0, err
	}
	was := timer.Set(to)
	if old != 0 {
		was.Itimerspec().Put(buf[:])
		return 0, t.CopyOutLater(old, buf[:])
	}
	return 0, nil
}

func timer_gettime(t *task.Task, id int32, addr mm.Addr) (uint64, error) {
	timer, err := t.Group().Timer(id)
	if err != nil {
		return 0, err
	}
	var buf [linux.SizeofItimerspec]byte
	timer.Remaining().Itimerspec().Put(buf[:])
	return 0, t.CopyOutLater(addr, buf[:])
}

func timer_getoverrun(t *task.Task, id int32) (uint64, error) {
	return t.Group().TimerOverrun(id)
}

func timer_delete(t *task.Task, id int32) (uint64, error) { return 0, t.Group().DeleteTimer(id) }

const tick = 10 * time.Millisecond

// times tells CPU times in ticks: times(2).
func times(t *task.Task, addr mm.Addr) (uint64, error) {
	if addr != 0 {
		self, children := t.Group().Usage()
		var buf []byte
		for _, d := range []time.Duration{self.User, self.System, children.User, children.System} {
			buf = binary.LittleEndian.AppendUint64(buf, uint64(d/tick))
		}
		if err := t.CopyOutLater(addr, buf); err != nil {
			return 0, err
		}
	}
	return uint64(clock.ID(unix.CLOCK_MONOTONIC).Now() / clock.Time(tick)), nil
}

// rusage encodes struct rusage.
func rusage(u task.Usage) []byte {
	buf := make([]byte, 144)
	linux.TimevalOf(u.User).Put(buf)
	linux.TimevalOf(u.System).Put(buf[16:])
	binary.LittleEndian.PutUint64(buf[32:], uint64(u.MaxRSS))
	return buf
}

// rusageOf is the struct rusage of a child that was waited for, with what the host
// has counted of it: its largest resident size, how its time is divided, its faults
// and its switches.
func rusageOf(w task.Waited) []byte {
	if w.Group == nil {
		return rusage(w.Usage)
	}
	h := w.Group.HostUsage()
	if h == nil {
		return rusage(w.Usage)
	}
	u := w.Usage
	inKernel := min(time.Duration(h.Stime.Nano()), u.User)
	u.User, u.System = u.User-inKernel, u.System+inKernel
	u.MaxRSS = max(u.MaxRSS, h.Maxrss)
	buf, le := rusage(u), binary.LittleEndian
	for at, v := range map[int]int64{64: h.Minflt, 72: h.Majflt, 128: h.Nvcsw, 136: h.Nivcsw} {
		le.PutUint64(buf[at:], uint64(v))
	}
	return buf
}

func getrusage(t *task.Task, who int32, addr mm.Addr) (uint64, error) {
	self, children := t.Group().Usage()
	switch who {
	case unix.RUSAGE_SELF:
		// What the host tells of its thread holds the largest resident size, which is
		// the process's, and the faults; the times are put over the thread's.
		if onHost(t, unix.SYS_GETRUSAGE, unix.RUSAGE_THREAD, addr) {
			return 0, t.CopyOutLater(addr, rusage(self)[:2*linux.SizeofTimeval])
		}
	case unix.RUSAGE_CHILDREN:
		self = children
	case unix.RUSAGE_THREAD:
		if onHost(t, unix.SYS_GETRUSAGE, unix.RUSAGE_THREAD, addr) {
			return 0, nil
		}
		self = task.Usage{User: t.ThreadTime(t)}
	default:
		return 0, linux.EINVAL
	}
	return 0, t.CopyOutLater(addr, rusage(self))
}
