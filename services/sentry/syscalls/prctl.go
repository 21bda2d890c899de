package syscalls

import (
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
)

// prctlArgs are the arguments of prctl(2) after the option.
type prctlArgs [4]uint64

// prctlOption is what one option does. Arguments after the first takes must be 0:
// EINVAL.
type prctlOption struct {
	takes int
	do    func(t *task.Task, a prctlArgs) (uint64, error)
}

// lax marks options that look at no argument that they do not take.
const lax = len(prctlArgs{})

// tscEnable is PR_TSC_ENABLE: RDTSC does not fault.
const tscEnable = 1

// prctls are the options of prctl(2) that there are. The others are of processors or
// of kernels without them: EINVAL, as there.
var prctls = map[int32]prctlOption{
	unix.PR_SET_NAME:                  {lax, prctlSetName},
	unix.PR_GET_NAME:                  {lax, prctlGetName},
	unix.PR_SET_PDEATHSIG:             {lax, prctlSetParentDeath},
	unix.PR_GET_PDEATHSIG:             {lax, prctlGetParentDeath},
	unix.PR_SET_DUMPABLE:              {lax, prctlSetDumpable},
	unix.PR_GET_DUMPABLE:              {lax, func(t *task.Task, _ prctlArgs) (uint64, error) { return uint64(t.Group().Dumpable()), nil }},
	unix.PR_SET_TIMERSLACK:            {lax, prctlSetTimerSlack},
	unix.PR_GET_TIMERSLACK:            {lax, func(t *task.Task, _ prctlArgs) (uint64, error) { return t.TimerSlack(), nil }},
	unix.PR_SET_TIMING:                {lax, onlyZero},
	unix.PR_GET_TIMING:                {lax, nothing},
	unix.PR_SET_TSC:                   {lax, prctlSetTSC},
	unix.PR_GET_TSC:                   {lax, func(t *task.Task, a prctlArgs) (uint64, error) { return 0, t.CopyOutLater(a[0], le32(tscEnable)) }},
	unix.PR_MCE_KILL:                  {2, prctlMCEKill},
	unix.PR_MCE_KILL_GET:              {0, func(t *task.Task, _ prctlArgs) (uint64, error) { return t.MemoryFailure(), nil }},
	unix.PR_SET_THP_DISABLE:           {1, prctlSetTHP},
	unix.PR_GET_THP_DISABLE:           {0, func(t *task.Task, _ prctlArgs) (uint64, error) { return oneIf(t.MM().NoHugePages()), nil }},
	unix.PR_SET_MDWE:                  {1, prctlSetMDWE},
	unix.PR_GET_MDWE:                  {0, func(t *task.Task, _ prctlArgs) (uint64, error) { return uint64(t.MM().DenyWriteExec()), nil }},
	unix.PR_SET_VMA:                   {lax, prctlSetVMA},
	unix.PR_GET_AUXV:                  {2, prctlGetAuxv},
	unix.PR_SET_PTRACER:               {lax, nothing}, // Yama's: whoever may trace by user and power may
	unix.PR_SET_SECCOMP:               {lax, prctlSetSeccomp},
	unix.PR_GET_SECCOMP:               {lax, func(t *task.Task, _ prctlArgs) (uint64, error) { return uint64(t.Seccomp().Mode()), nil }},
	unix.PR_SET_NO_NEW_PRIVS:          {lax, prctlSetNoNewPrivs},
	unix.PR_GET_NO_NEW_PRIVS:          {0, func(t *task.Task, _ prctlArgs) (uint64, error) { return oneIf(t.Creds().NoNewPrivs), nil }},
	unix.PR_SET_KEEPCAPS:              {lax, prctlSetKeepCaps},
	unix.PR_GET_KEEPCAPS:              {lax, prctlGetKeepCaps},
	unix.PR_SET_SECUREBITS:            {lax, prctlSetSecureBits},
	unix.PR_GET_SECUREBITS:            {lax, prctlGetSecureBits},
	unix.PR_CAPBSET_READ:              {lax, prctlReadBounding},
	unix.PR_CAPBSET_DROP:              {lax, prctlDropBounding},
	unix.PR_CAP_AMBIENT:               {2, prctlAmbient},
	unix.PR_SET_CHILD_SUBREAPER:       {lax, prctlSetSubreaper},
	unix.PR_GET_CHILD_SUBREAPER:       {lax, prctlGetSubreaper},
	unix.PR_SET_SYSCALL_USER_DISPATCH: {lax, prctlSetDispatch},
	// Counters of perf_event_open(2), of which a thread has none.
	unix.PR_TASK_PERF_EVENTS_DISABLE: {lax, nothing},
	unix.PR_TASK_PERF_EVENTS_ENABLE:  {lax, nothing},
}

// prctl does what its option says to the thread, the process or its memory: prctl(2).
func prctl(t *task.Task, option int32, a2, a3, a4, a5 uint64) (uint64, error) {
	o, ok := prctls[option]
	if !ok {
		return 0, linux.EINVAL
	}
	a := prctlArgs{a2, a3, a4, a5}
	for _, rest := range a[o.takes:] {
		if rest != 0 {
			return 0, linux.EINVAL
		}
	}
	return o.do(t, a)
}

func nothing(*task.Task, prctlArgs) (uint64, error) { return 0, nil }

// onlyZero is an option with one setting.
func onlyZero(_ *task.Task, a prctlArgs) (uint64, error) {
	if a[0] != 0 {
		return 0, linux.EINVAL
	}
	return 0, nil
}

func oneIf(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// maxName is the length of a thread's name in bytes, without the 0 after it.
const maxName = 15

func prctlSetName(t *task.Task, a prctlArgs) (uint64, error) {
	var name [maxName]byte
	if t.CopyIn(a[0], name[:]) != nil { // a shorter one at the end of what is mapped
		s, err := t.CopyInString(a[0], maxName+1)
		if err != nil {
			return 0, err
		}
		copy(name[:], s)
	}
	t.SetName(string(name[:]))
	return 0, nil
}

func prctlGetName(t *task.Task, a prctlArgs) (uint64, error) {
	var name [maxName + 1]byte
	copy(name[:maxName], t.Name())
	return 0, t.CopyOutLater(a[0], name[:])
}

func prctlSetParentDeath(t *task.Task, a prctlArgs) (uint64, error) {
	if a[0] > linux.NSIG {
		return 0, linux.EINVAL
	}
	t.Group().SetParentDeath(linux.Signal(a[0]))
	return 0, nil
}

func prctlGetParentDeath(t *task.Task, a prctlArgs) (uint64, error) {
	return 0, t.CopyOutLater(a[0], le32(uint32(t.Group().ParentDeath())))
}

func prctlSetDumpable(t *task.Task, a prctlArgs) (uint64, error) {
	if a[0] > 1 {
		return 0, linux.EINVAL
	}
	t.Group().SetDumpable(int32(a[0]))
	return 0, nil
}

// prctlSetTimerSlack takes nanoseconds; 0 brings the thread's first slack back.
func prctlSetTimerSlack(t *task.Task, a prctlArgs) (uint64, error) {
	t.SetTimerSlack(a[0])
	return 0, nil
}

// prctlSetTSC leaves RDTSC allowed: to have it fault is not there.
func prctlSetTSC(_ *task.Task, a prctlArgs) (uint64, error) {
	if a[0] != tscEnable {
		return 0, linux.EINVAL
	}
	return 0, nil
}

// prctlMCEKill remembers when memory that fails is to kill: nobody tells a guest of such.
func prctlMCEKill(t *task.Task, a prctlArgs) (uint64, error) {
	switch {
	case a[0] == unix.PR_MCE_KILL_CLEAR && a[1] == 0:
		t.SetMemoryFailure(unix.PR_MCE_KILL_DEFAULT)
	case a[0] == unix.PR_MCE_KILL_SET && a[1] <= unix.PR_MCE_KILL_DEFAULT:
		t.SetMemoryFailure(a[1])
	default:
		return 0, linux.EINVAL
	}
	return 0, nil
}

// prctlSetTHP is remembered; whether pages are huge is the host's to say.
func prctlSetTHP(t *task.Task, a prctlArgs) (uint64, error) {
	t.MM().SetNoHugePages(a[0] != 0)
	return 0, nil
}

// prctlSetMDWE has memory that was once written to never be executed: EINVAL, EPERM
// for less than there is.
func prctlSetMDWE(t *task.Task, a prctlArgs) (uint64, error) {
	bits, old := uint32(a[0]), t.MM().DenyWriteExec()
	if a[0]&^(unix.PR_MDWE_REFUSE_EXEC_GAIN|unix.PR_MDWE_NO_INHERIT) != 0 || bits == unix.PR_MDWE_NO_INHERIT {
		return 0, linux.EINVAL
	}
	if old != 0 && old != bits {
		return 0, linux.EPERM
	}
	t.MM().SetDenyWriteExec(bits)
	return 0, nil
}

// maxVMAName is the longest name of anonymous memory, with its NUL.
const maxVMAName = 80

// prctlSetVMA names anonymous memory, or takes its name away: EINVAL for other
// attributes, and for names of what would look odd in /proc/PID/maps.
func prctlSetVMA(t *task.Task, a prctlArgs) (uint64, error) {
	if a[0] != unix.PR_SET_VMA_ANON_NAME {
		return 0, linux.EINVAL
	}
	name := ""
	if a[3] != 0 {
		err := budget.Check() // regions with different names are many
		if err != nil {
			return 0, err
		}
		if name, err = t.CopyInString(a[3], maxVMAName); err == linux.ENAMETOOLONG {
			err = linux.EINVAL
		}
		if err != nil {
			return 0, err
		}
		for _, c := range []byte(name) {
			if c < ' ' || c > '~' || strings.IndexByte("\\`$[]", c) >= 0 {
				return 0, linux.EINVAL
			}
		}
	}
	return 0, t.MM().SetName(t.Thread(), a[1], a[2], name)
}

// savedAuxv is how long Linux says that an auxiliary vector is, in bytes.
const savedAuxv = 2 * (3 + 22 + 1) * 8

// prctlGetAuxv copies the auxiliary vector, and gives its length.
func prctlGetAuxv(t *task.Task, a prctlArgs) (uint64, error) {
	v := make([]byte, savedAuxv)
	copy(v, t.MM().Auxv())
	return savedAuxv, t.CopyOutLater(a[0], v[:min(a[1], savedAuxv)])
}

func prctlSetSeccomp(t *task.Task, a prctlArgs) (uint64, error) {
	switch a[0] {
	case unix.SECCOMP_MODE_STRICT:
		return 0, t.SetStrict()
	case unix.SECCOMP_MODE_FILTER:
		if err := budget.Check(); err != nil {
			return 0, err
		}
		return seccomp_(t, seccompSetFilter, 0, a[1])
	}
	return 0, linux.EINVAL
}

func prctlSetNoNewPrivs(t *task.Task, a prctlArgs) (uint64, error) {
	if a != (prctlArgs{1}) {
		return 0, linux.EINVAL
	}
	c := t.Creds().Clone()
	c.NoNewPrivs = true
	t.SetCreds(c)
	return 0, nil
}

func prctlSetSubreaper(t *task.Task, a prctlArgs) (uint64, error) {
	t.Group().SetSubreaper(a[0] != 0)
	return 0, nil
}

func prctlGetSubreaper(t *task.Task, a prctlArgs) (uint64, error) {
	return 0, t.CopyOutLater(a[0], le32(uint32(oneIf(t.Group().Subreaper()))))
}

// prctlSetDispatch has calls from some addresses raise SIGSYS: syscall user dispatch.
// EFAULT, EINVAL.
func prctlSetDispatch(t *task.Task, a prctlArgs) (uint64, error) {
	d, err := dispatchOf(a[0], a[1], a[2], a[3])
	if err == nil {
		t.SetDispatch(d)
	}
	return 0, err
}

// dispatchOf is what a mode and its arguments ask for, nil for none.
func dispatchOf(mode, start, n uint64, selector mm.Addr) (*task.Dispatch, error) {
	const off, exclusive, inclusive = 0, 1, 2
	switch mode {
	case off:
		if start|n|selector != 0 {
			return nil, linux.EINVAL
		}
		return nil, nil
	case exclusive:
		if start != 0 && start+n <= start {
			return nil, linux.EINVAL
		}
	case inclusive:
		if n == 0 || start+n <= start {
			return nil, linux.EINVAL
		}
		start, n = start+n, -n // all but the range, by the same comparison
	default:
		return nil, linux.EINVAL
	}
	if selector >= mm.GuestTop {
		return nil, linux.EFAULT
	}
	return &task.Dispatch{Start: start, Len: n, Selector: selector}, nil
}
