package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	program("misc.time", miscTime)
	program("misc.rlimit", miscRlimit)
	program("misc.uname", miscUname)
	program("misc.random", miscRandom)
	program("misc.prctl", miscPrctl)
	program("misc.priority", miscPriority)
	program("misc.sched", miscSched)
	program("misc.enosys", miscEnosys)
	program("misc.proc", miscProc)
	program("go.goroutines", goGoroutines)
	program("go.timers", goTimers)
	program("go.nilpointer", goNilPointer)
	program("go.exec", goExec)
	program("go.pipes", goPipes)
}

func miscTime(t *T) {
	for _, c := range []int32{unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_PROCESS_CPUTIME_ID, unix.CLOCK_THREAD_CPUTIME_ID, unix.CLOCK_MONOTONIC_RAW, unix.CLOCK_REALTIME_COARSE, unix.CLOCK_MONOTONIC_COARSE, unix.CLOCK_BOOTTIME, unix.CLOCK_TAI, 99} {
		var ts unix.Timespec
		err := unix.ClockGettime(c, &ts)
		t.Say("clock %d %s plausible %v", c, errName(err), err != nil || ts.Nsec >= 0 && ts.Nsec < 1e9)
		err = unix.ClockGetres(c, &ts)
		t.Say("resolution %s %v", errName(err), err != nil || ts.Nano() > 0)
		// The call itself, past the vDSO.
		_, _, e := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, uintptr(c), uintptr(unsafe.Pointer(&ts)), 0)
		t.Err("call", errnoErr(e))
	}
	var a, b unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &a)
	unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&b)), 0)
	t.Say("vDSO and call agree %v", b.Nano()-a.Nano() < 1e9 && b.Nano() >= a.Nano())
	start := time.Now()
	t.Err("nanosleep", unix.Nanosleep(&unix.Timespec{Nsec: 20e6}, nil))
	t.Say("slept %v", time.Since(start) >= 20*time.Millisecond)
	t.Err("bad nanosleep", unix.Nanosleep(&unix.Timespec{Nsec: 1e9}, nil))
	t.Err("negative nanosleep", unix.Nanosleep(&unix.Timespec{Sec: -1}, nil))
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &a)
	dl := unix.NsecToTimespec(a.Nano() + 20e6)
	slept := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &dl, nil)
	for slept == unix.EINTR { // by a signal of Go's scheduler
		slept = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &dl, nil)
	}
	t.Err("absolute", slept)
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &b)
	t.Say("slept %v", b.Nano() >= dl.Nano())
	t.Err("past", unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &a, nil))
	t.Err("cpu clock", unix.ClockNanosleep(unix.CLOCK_THREAD_CPUTIME_ID, 0, &a, nil))
	var tms unix.Tms
	ticks, err := unix.Times(&tms)
	t.Say("times %v %s", ticks > 0, errName(err))
	var ru unix.Rusage
	t.Err("getrusage", unix.Getrusage(unix.RUSAGE_SELF, &ru))
	t.Say("used %v", ru.Utime.Nano()+ru.Stime.Nano() > 0)
	t.Err("getrusage bad", unix.Getrusage(5, &ru))
	var si unix.Sysinfo_t
	t.Err("sysinfo", unix.Sysinfo(&si))
	t.Say("memory %v procs %v", si.Totalram > 0, si.Procs > 0)
}

func miscRlimit(t *T) {
	for r := range 16 {
		var l unix.Rlimit
		err := unix.Getrlimit(r, &l)
		t.Say("limit %d %s ordered %v", r, errName(err), l.Cur <= l.Max)
	}
	t.Err("bad", unix.Getrlimit(16, new(unix.Rlimit)))
	t.Err("cur above max", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 2, Max: 1}))
	t.Err("lower", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 0, Max: 1000}))
	var l unix.Rlimit
	t.Err("prlimit", unix.Prlimit(0, unix.RLIMIT_CORE, nil, &l))
	t.Say("%d %d", l.Cur, l.Max)
	t.Say("child exit %d", t.runChild("+rlimit"))
	as(1000, 1000, nil, func() {
		t.Err("raise as a user", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 0, Max: 2000}))
	})
	t.Err("nofile beyond", unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 40, Max: 1 << 40}))
	t.Err("no such process", unix.Prlimit(1<<22-1, unix.RLIMIT_CORE, nil, &l))
}

func init() {
	child("rlimit", func([]string) int {
		var l unix.Rlimit
		unix.Getrlimit(unix.RLIMIT_CORE, &l)
		fmt.Println("inherited", l.Cur, l.Max)
		return 4
	})
}

func miscUname(t *T) {
	var u unix.Utsname
	t.Err("uname", unix.Uname(&u))
	str := func(b []byte) string { s, _, _ := strings.Cut(string(b), "\x00"); return s }
	t.Say("%s %s release %v node %v", str(u.Sysname[:]), str(u.Machine[:]), str(u.Release[:]) != "", str(u.Nodename[:]) != "")
	h, err := os.Hostname()
	t.Say("hostname %v %s", h == str(u.Nodename[:]), errName(err))
	_, _, e := unix.Syscall(unix.SYS_UNAME, 8, 0, 0)
	t.Err("bad address", errnoErr(e))
	t.Say("page size %d", os.Getpagesize())
}

func miscRandom(t *T) {
	b := make([]byte, 300)
	for _, f := range []int{0, unix.GRND_NONBLOCK, unix.GRND_RANDOM, unix.GRND_INSECURE} {
		n, err := unix.Getrandom(b, f)
		t.Say("%d: %d %s %v", f, n, errName(err), sum(b) != 0)
	}
	_, err := unix.Getrandom(b, 0x80)
	t.Err("bad flag", err)
	_, _, e := unix.Syscall(unix.SYS_GETRANDOM, 8, 16, 0)
	t.Err("bad address", errnoErr(e))
}

func miscPrctl(t *T) {
	inThread(func() {
		name := append([]byte("a-long-thread-name"), 0)
		t.Err("set name", unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0))
		got := make([]byte, 16)
		t.Err("get name", unix.Prctl(unix.PR_GET_NAME, uintptr(unsafe.Pointer(&got[0])), 0, 0, 0))
		t.Say("%q", got)
		comm, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/comm", unix.Gettid()))
		t.Say("%q %s", comm, errName(err))
		for _, o := range []struct {
			name string
			opt  int
		}{{"DUMPABLE", unix.PR_GET_DUMPABLE}, {"KEEPCAPS", unix.PR_GET_KEEPCAPS}, {"NO_NEW_PRIVS", unix.PR_GET_NO_NEW_PRIVS}, {"TIMING", unix.PR_GET_TIMING}, {"SECUREBITS", unix.PR_GET_SECUREBITS}} {
			v, err := unix.PrctlRetInt(o.opt, 0, 0, 0, 0)
			t.N(o.name, v, err)
		}
		t.Err("pdeathsig", unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGUSR1), 0, 0, 0))
		var sig int32
		t.Err("get", unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&sig)), 0, 0, 0))
		t.Say("%d", sig)
		t.Err("bad pdeathsig", unix.Prctl(unix.PR_SET_PDEATHSIG, 99, 0, 0, 0))
		t.Err("keepcaps", unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0))
		t.Err("no_new_privs 0", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0))
		t.Err("no_new_privs", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		v, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
		t.N("no_new_privs", v, err)
		t.Err("unknown", unix.Prctl(9999, 0, 0, 0, 0))
	})
}

func miscPriority(t *T) {
	p, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	t.N("priority", p, err)
	t.Err("nice", unix.Setpriority(unix.PRIO_PROCESS, 0, 5))
	p, err = unix.Getpriority(unix.PRIO_PROCESS, 0)
	t.N("priority", p, err)
	_, err = unix.Getpriority(9, 0)
	t.Err("bad which", err)
	_, err = unix.Getpriority(unix.PRIO_PROCESS, 1<<22-1)
	t.Err("no process", err)
}

func miscSched(t *T) {
	var set unix.CPUSet
	t.Err("getaffinity", unix.SchedGetaffinity(0, &set))
	t.Say("some %v", set.Count() > 0)
	t.Err("setaffinity", unix.SchedSetaffinity(0, &set))
	var none unix.CPUSet
	t.Err("empty", unix.SchedSetaffinity(0, &none))
	one := none
	for i := 0; one.Count() == 0; i++ {
		if set.IsSet(i) {
			one.Set(i)
		}
	}
	t.Err("one", unix.SchedSetaffinity(0, &one))
	var got unix.CPUSet
	t.Err("ask again", unix.SchedGetaffinity(0, &got))
	t.Say("the same %v", got == one)
	t.Err("all again", unix.SchedSetaffinity(0, &set))
	t.Err("negative", unix.SchedGetaffinity(-1, &got))
	t.Err("negative", unix.SchedSetaffinity(-1, &one))
	_, _, e := unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	t.Err("yield", errnoErr(e))
	for _, c := range [][2]int32{{unix.SCHED_BATCH, 0}, {unix.SCHED_IDLE, 0}, {unix.SCHED_IDLE, 1}, {unix.SCHED_FIFO, 0}, {99, 0}, {-1, 0}, {unix.SCHED_NORMAL | 0x40000000, 0}, {unix.SCHED_NORMAL, 0}} {
		_, _, e := unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, 0, uintptr(c[0]), uintptr(unsafe.Pointer(&c[1])))
		t.Err(fmt.Sprintf("policy %#x priority %d", c[0], c[1]), errnoErr(e))
		r, _, e := unix.Syscall(unix.SYS_SCHED_GETSCHEDULER, 0, 0, 0)
		t.N("now", int(r), errnoErr(e))
	}
	attr, err := unix.SchedGetAttr(0, 0)
	if err == nil {
		t.Say("attr: size %d policy %d flags %d nice %d priority %d", attr.Size, attr.Policy, attr.Flags, attr.Nice, attr.Priority)
		attr.Policy = unix.SCHED_BATCH
		t.Err("set attr", unix.SchedSetAttr(0, attr, 0))
		attr.Policy = unix.SCHED_NORMAL
		t.Err("set attr", unix.SchedSetAttr(0, attr, 0))
		t.Err("set attr with flags", unix.SchedSetAttr(0, attr, 1))
	}
	t.Err("get attr", err)
	r, _, e := unix.Syscall(unix.SYS_SCHED_GETSCHEDULER, 0, 0, 0)
	t.N("policy", int(r), errnoErr(e))
	r, _, e = unix.Syscall(unix.SYS_SCHED_GET_PRIORITY_MAX, 1, 0, 0)
	t.N("fifo max", int(r), errnoErr(e))
	var cpu, node uint32
	_, _, e = unix.Syscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), uintptr(unsafe.Pointer(&node)), 0)
	t.Say("getcpu %s %v", errName(errnoErr(e)), cpu < 1024)
}

func miscEnosys(t *T) {
	for _, nr := range []uintptr{180, 183, 500, 1000, 100000, ^uintptr(0)} {
		_, _, e := unix.Syscall(nr, 0, 0, 0)
		t.Err(fmt.Sprint("call ", int64(nr)), errnoErr(e))
	}
}

func miscProc(t *T) {
	for _, n := range []string{"cmdline", "comm"} {
		b, err := os.ReadFile("/proc/self/" + n)
		t.Say("%s %q %s", n, strings.ReplaceAll(string(b), os.Args[0], "PROG"), errName(err))
	}
	st, err := os.ReadFile("/proc/self/status")
	t.Err("status", err)
	for _, l := range strings.Split(string(st), "\n") {
		k, v, _ := strings.Cut(l, ":\t")
		switch k {
		case "Name", "Uid", "Gid", "Umask":
			t.Say("%s %q", k, v)
		case "Pid", "Tgid":
			t.Say("%s right %v", k, v == fmt.Sprint(os.Getpid()))
		case "PPid":
			t.Say("%s right %v", k, v == fmt.Sprint(os.Getppid()))
		}
	}
	stat, err := os.ReadFile("/proc/self/stat")
	f := strings.Fields(string(stat))
	t.Say("stat fields %d pid right %v %s", len(f), f[0] == fmt.Sprint(os.Getpid()), errName(err))
	maps, err := os.ReadFile("/proc/self/maps")
	t.Say("maps %s stack %v vdso %v exe %v", errName(err), strings.Contains(string(maps), "[stack]"), strings.Contains(string(maps), "[vdso]"), strings.Contains(string(maps), "r-xp"))
	for _, n := range []string{"/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/uptime", "/proc/loadavg", "/proc/version", "/proc/filesystems", "/proc/mounts", "/proc/self/mountinfo", "/proc/self/limits", "/proc/self/statm", "/proc/self/environ", "/proc/self/auxv", "/proc/self/cgroup", "/proc/self/smaps", "/proc/self/io", "/proc/self/oom_score_adj", "/proc/sys/kernel/pid_max", "/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory", "/proc/sys/fs/file-max", "/proc/net/dev"} {
		b, err := os.ReadFile(n)
		t.Say("%s %s %v", n, errName(err), len(b) > 0)
	}
	exe, err := os.Readlink("/proc/self/exe")
	t.Say("exe %v %s", exe != "", errName(err))
	ents, err := os.ReadDir("/proc/self/task")
	t.Say("threads %v %s", len(ents) > 0, errName(err))
	t.Err("write to a read-only file", os.WriteFile("/proc/uptime", []byte("x"), 0))
	t.Err("create in proc", os.WriteFile("/proc/newfile", []byte("x"), 0o644))
	t.Err("mkdir in proc", unix.Mkdir("/proc/dir", 0o755))
	_, err = os.Stat("/proc/4194303")
	t.Err("no such process", err)
	fdn, err := os.ReadDir("/proc/self/fd")
	t.Say("fds %v %s", len(fdn) >= 3, errName(err))
}

func goGoroutines(t *T) {
	var wg sync.WaitGroup
	var total atomic.Int64
	ch := make(chan int, 10)
	for i := range 1000 {
		wg.Add(1)
		go func() { defer wg.Done(); ch <- i }()
	}
	go func() { wg.Wait(); close(ch) }()
	for v := range ch {
		total.Add(int64(v))
	}
	t.Say("sum %d", total.Load())
	// Threads in system calls at once.
	var wg2 sync.WaitGroup
	r, w := t.pipe(0)
	for range 50 {
		wg2.Add(1)
		go func() { defer wg2.Done(); b := make([]byte, 1); unix.Read(r, b) }()
	}
	time.Sleep(30 * time.Millisecond)
	unix.Write(w, make([]byte, 50))
	wg2.Wait()
	t.Say("50 threads woke")
	garbage := 0
	for range 200 {
		b := make([]byte, 1<<20)
		b[len(b)/2] = 1
		garbage += int(b[len(b)/2])
	}
	t.Say("garbage %d", garbage)
}

func goTimers(t *T) {
	start := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	for range 10 {
		<-tick.C
	}
	t.Say("10 ticks in time %v", time.Since(start) >= 49*time.Millisecond && time.Since(start) < 5*time.Second)
	fired := make(chan int, 3)
	for _, d := range []int{300, 10, 150} { // far apart: two that have both fired come in any order
		time.AfterFunc(time.Duration(d)*time.Millisecond, func() { fired <- d })
	}
	t.Say("%d %d %d", <-fired, <-fired, <-fired)
	select {
	case <-time.After(10 * time.Millisecond):
		t.Say("timeout")
	case <-make(chan int):
	}
	// A goroutine that never yields is preempted by a signal.
	var stop atomic.Bool
	go func() {
		for !stop.Load() {
		}
	}()
	time.Sleep(20 * time.Millisecond)
	stop.Store(true)
	t.Say("preempted")
}

func goNilPointer(t *T) {
	for i := range 3 {
		func() {
			defer func() { t.Say("%d recovered: %v", i, recover()) }()
			var p *int
			*p = 1
		}()
	}
	func() {
		defer func() { t.Say("recovered: %v", recover()) }()
		z := 0
		t.Say("%d", 1/z)
	}()
}

func goExec(t *T) {
	for _, argv := range [][]string{{"/bin/true"}, {"/bin/false"}, {"/bin/echo", "hello", "there"}, {"/nonexistent"}, {t.dir}, {"/etc/passwd"}} {
		pid, err := forkExec(argv)
		if err != nil {
			t.Err("exec "+strings.ReplaceAll(argv[0], t.dir, "DIR"), err)
			continue
		}
		var ws unix.WaitStatus
		_, err = unix.Wait4(pid, &ws, 0, nil)
		t.Say("exec %s: exit %d %s", argv[0], ws.ExitStatus(), errName(err))
	}
	os.WriteFile("script", []byte("#!/bin/echo interpreted by\n"), 0o755)
	pid, err := forkExec([]string{"./script", "arg"})
	unix.Wait4(pid, nil, 0, nil)
	t.Err("script", err)
	os.WriteFile("bad", []byte("#!/nonexistent\n"), 0o755)
	_, err = forkExec([]string{"./bad"})
	t.Err("missing interpreter", err)
	os.WriteFile("garbage", []byte("\x7fELFgarbage"), 0o755)
	_, err = forkExec([]string{"./garbage"})
	t.Err("garbage", err)
	os.WriteFile("empty", nil, 0o755)
	_, err = forkExec([]string{"./empty"})
	t.Err("empty", err)
	os.WriteFile("loop", []byte("#!./loop\n"), 0o755)
	_, err = forkExec([]string{"./loop"})
	t.Err("loop", err)
	_, err = forkExec([]string{"/bin/true", strings.Repeat("x", 200000)})
	t.Err("one argument too long", err)
	for i := range 30 {
		if c := t.runChild("+fds"); c != 7 {
			t.Say("run %d: %d", i, c)
		}
	}
	t.Say("30 children")
}

func goPipes(t *T) {
	for _, size := range []int{0, 1, 100000} {
		c := t.startChild("+cat")
		in, _ := c.StdinPipe()
		c.Stdout = nil
		out, _ := c.StdoutPipe()
		t.Must("start", c.Start())
		go func() { in.Write(make([]byte, size)); in.Close() }()
		n := 0
		b := make([]byte, 65536)
		for {
			m, err := out.Read(b)
			n += m
			if err != nil {
				break
			}
		}
		t.Say("%d bytes came back, exit %d", n, exitCode(c.Wait()))
	}
}
