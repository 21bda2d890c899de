package procfs

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/cgroupfs"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// This file holds the files of /proc/PID that are a few lines each.

// refuse is a knob that cannot be turned (again): EPERM.
func refuse(*entry, vfs.Context, []byte) error { return linux.EPERM }

// rlimits are the rows of limits, in the kernel's order.
var rlimits = []struct {
	name string
	what int
	unit string
}{
	{"Max cpu time", unix.RLIMIT_CPU, "seconds"},
	{"Max file size", unix.RLIMIT_FSIZE, "bytes"},
	{"Max data size", unix.RLIMIT_DATA, "bytes"},
	{"Max stack size", unix.RLIMIT_STACK, "bytes"},
	{"Max core file size", unix.RLIMIT_CORE, "bytes"},
	{"Max resident set", unix.RLIMIT_RSS, "bytes"},
	{"Max processes", unix.RLIMIT_NPROC, "processes"},
	{"Max open files", unix.RLIMIT_NOFILE, "files"},
	{"Max locked memory", unix.RLIMIT_MEMLOCK, "bytes"},
	{"Max address space", unix.RLIMIT_AS, "bytes"},
	{"Max file locks", unix.RLIMIT_LOCKS, "locks"},
	{"Max pending signals", unix.RLIMIT_SIGPENDING, "signals"},
	{"Max msgqueue size", unix.RLIMIT_MSGQUEUE, "bytes"},
	{"Max nice priority", unix.RLIMIT_NICE, ""},
	{"Max realtime priority", unix.RLIMIT_RTPRIO, ""},
	{"Max realtime timeout", unix.RLIMIT_RTTIME, "us"},
}

// limits is /proc/PID/limits.
func limits(e *entry, _ vfs.Context) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units")
	for _, r := range rlimits {
		l := e.process.Limit(r.what)
		fmt.Fprintf(&b, "%-25s %-20s %-20s ", r.name, limitText(l.Cur), limitText(l.Max))
		if r.unit != "" {
			fmt.Fprintf(&b, "%-10s", r.unit)
		}
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}

func limitText(v uint64) string {
	if v == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(v, 10)
}

// cgroup is /proc/PID/cgroup: cgroups(7), version 2. It tells the group as seen from the
// reader's namespace of them.
func cgroup(e *entry, ctx vfs.Context) ([]byte, error) {
	g, ok := e.thread.(guestThread)
	if !ok {
		return []byte("0::/\n"), nil
	}
	c, deleted := g.Group().Cgroup(), ""
	if c.Dead() {
		deleted = " (deleted)"
	}
	return fmt.Appendf(nil, "0::%s%s\n", c.PathFrom(cgroupRoot(g.Kernel(), ctx)), deleted), nil
}

// cgroupRoot is where the reader's namespace of control groups begins.
func cgroupRoot(k *task.Kernel, ctx vfs.Context) *cgroupfs.Cgroup {
	if t := k.Task(ctx.TID()); t != nil {
		return t.CgroupNamespace().Root
	}
	return k.Cgroups.Root()
}

// personality is /proc/PID/personality: personality(2).
func personality(e *entry, _ vfs.Context) ([]byte, error) {
	return fmt.Appendf(nil, "%08x\n", e.thread.Personality()), nil
}

// ksmStat is /proc/PID/ksm_stat: nothing looks for equal pages.
const ksmStat = "ksm_rmap_items 0\nksm_zero_pages 0\nksm_merging_pages 0\nksm_process_profit 0\n" +
	"ksm_merge_any: no\nksm_mergeable: no\n"

// kernelStack is /proc/PID/stack, for the machine's administrator; what a thread of the
// guest waits for in the kernel has no functions of Linux's.
func kernelStack(name string, mode uint32) row {
	return private(name, mode, func(_ *entry, ctx vfs.Context) ([]byte, error) {
		if !ctx.Creds().Has(linux.CAP_SYS_ADMIN) {
			return nil, linux.EACCES
		}
		return nil, nil
	})
}

// autogroup is /proc/PID/autogroup: sched(7). All are in one.
func autogroup(*entry, vfs.Context) ([]byte, error) { return []byte("/autogroup-1 nice 0\n"), nil }

// setAutogroup takes a nice value, which makes no difference: EINVAL.
func setAutogroup(_ *entry, _ vfs.Context, p []byte) error {
	if v, err := strconv.ParseInt(strings.TrimSpace(string(p)), 0, 32); err != nil || v < -20 || v > 19 {
		return linux.EINVAL
	}
	return nil
}

// calling is /proc/PID/syscall: the call that the thread itself asks by; of others it is not
// known whether they have one under way.
func calling(e *entry, ctx vfs.Context) ([]byte, error) {
	t, ok := ctx.(*task.Task)
	if !ok || t.TID() != e.thread.TID() {
		return []byte("running\n"), nil
	}
	r := &t.Thread().Regs
	return fmt.Appendf(nil, "%d 0x%x 0x%x 0x%x 0x%x 0x%x 0x%x 0x%x 0x%x\n", int64(r.RAX),
		r.RDI, r.RSI, r.RDX, r.R10, r.R8, r.R9, r.RSP, t.MM().Visible(r.RIP)), nil
}

func sched(e *entry, _ vfs.Context) ([]byte, error) {
	line := strings.Repeat("-", 67)
	return fmt.Appendf(nil, "%s (%d, #threads: %d)\n%s\n%-45s:%21d\n%-45s:%21d\n", e.thread.Name(), e.fs.kernel.Number(e.thread.TID()),
		max(len(e.process.Threads()), 1), line, "policy", 0, "prio", 120), nil
}

// children is /proc/PID/task/TID/children. A process's children are its leader's.
func children(e *entry, _ vfs.Context) ([]byte, error) {
	var b bytes.Buffer
	if e.thread.TID() != e.thread.TGID() {
		return nil, nil
	}
	for _, pid := range e.fs.kernel.PIDs() {
		if p := e.fs.kernel.Process(pid); p != nil && p.Info().PPID == e.thread.TGID() {
			fmt.Fprintf(&b, "%d ", e.fs.kernel.Number(pid))
		}
	}
	return b.Bytes(), nil
}

func oomScore(e *entry, _ vfs.Context) ([]byte, error) {
	return fmt.Appendf(nil, "%d\n", max(0, 666+e.process.OOMScoreAdj()*2/3)), nil
}

func oomScoreAdj(e *entry, _ vfs.Context) ([]byte, error) {
	return fmt.Appendf(nil, "%d\n", e.process.OOMScoreAdj()), nil
}

// setOOMScoreAdj takes -1000 to 1000; lowering it wants CAP_SYS_RESOURCE.
func setOOMScoreAdj(e *entry, ctx vfs.Context, p []byte) error {
	v, err := strconv.ParseInt(strings.TrimSpace(string(p)), 10, 32)
	if err != nil || v < -1000 || v > 1000 {
		return linux.EINVAL
	}
	if int32(v) < e.process.OOMScoreAdj() && !ctx.Creds().Has(linux.CAP_SYS_RESOURCE) {
		return linux.EACCES
	}
	e.process.SetOOMScoreAdj(int32(v))
	return nil
}

// oomAdj is the old scale: -17 to 15.
func oomAdj(e *entry, _ vfs.Context) ([]byte, error) {
	v := e.process.OOMScoreAdj()
	if v == 1000 {
		return []byte("15\n"), nil
	}
	return fmt.Appendf(nil, "%d\n", v*17/1000), nil
}

func setOOMAdj(e *entry, ctx vfs.Context, p []byte) error {
	v, err := strconv.ParseInt(strings.TrimSpace(string(p)), 10, 32)
	if err != nil || v < -17 || v > 15 {
		return linux.EINVAL
	}
	adj := v * 1000 / 17
	if v == 15 {
		adj = 1000
	}
	return setOOMScoreAdj(e, ctx, strconv.AppendInt(nil, adj, 10))
}

func loginUID(*entry, vfs.Context) ([]byte, error) { return []byte("4294967295"), nil }

// dumper is a Process that remembers what its core dumps would hold.
type dumper interface {
	DumpFilter() uint32
	SetDumpFilter(uint32)
}

// coredumpFilter is /proc/PID/coredump_filter: core(5). Nobody dumps.
func coredumpFilter(e *entry, _ vfs.Context) ([]byte, error) {
	d, ok := e.process.(dumper)
	if !ok || e.thread.Memory() == nil {
		return nil, nil
	}
	return fmt.Appendf(nil, "%08x\n", d.DumpFilter()), nil
}

func setCoredumpFilter(e *entry, _ vfs.Context, p []byte) error {
	v, err := strconv.ParseUint(strings.TrimSpace(string(p)), 0, 32)
	if err != nil {
		return linux.EINVAL
	}
	if d, ok := e.process.(dumper); ok {
		d.SetDumpFilter(uint32(v))
	}
	return nil
}

// timerSlack is /proc/PID/timerslack_ns.
func timerSlack(e *entry, _ vfs.Context) ([]byte, error) {
	return fmt.Appendf(nil, "%d\n", e.thread.TimerSlack()), nil
}

// setTimerSlack takes nanoseconds, of another process with CAP_SYS_NICE: EINVAL, EPERM.
func setTimerSlack(e *entry, ctx vfs.Context, p []byte) error {
	v, err := strconv.ParseUint(string(bytes.TrimSpace(p)), 0, 64)
	if err != nil {
		return linux.EINVAL
	}
	if c := ctx.Creds(); c != e.thread.Creds() && !c.Has(linux.CAP_SYS_NICE) { // a thread's own are the very same
		return linux.EPERM
	}
	e.thread.SetTimerSlack(v)
	return nil
}

// ioCounters is /proc/PID/io. Nothing is counted yet.
func ioCounters(*entry, vfs.Context) ([]byte, error) {
	return []byte("rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n"), nil
}

// attrRow is the attributes of a security module; there is none, and reading
// them is EINVAL.
func attrRow(name string) row {
	return row{name: name, mode: linux.S_IFDIR | 0o555, make: func(e *entry) vfs.Node {
		d := e.fs.Dir(0o555, e.user)
		for _, f := range []string{"current", "prev", "exec", "fscreate", "keycreate", "sockcreate"} {
			mode := uint32(0o666)
			if f == "prev" {
				mode = 0o444
			}
			d.Add(f, e.fs.File(mode, e.owner, nil))
		}
		return d
	}}
}

func netRow(name string) row {
	return row{name: name, mode: linux.S_IFDIR | 0o555, make: func(e *entry) vfs.Node { return e.fs.net }}
}
