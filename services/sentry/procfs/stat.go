package procfs

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

const kib = 1024

// Resident is a Memory that knows how much of each of its regions is in RAM, in
// bytes, and the sum. Without it /proc tells 0.
type Resident interface {
	Resident(regions []mm.Region) (each []uint64, sum uint64)
}

// residentOf is that of m's regions.
func residentOf(m Memory, regions []mm.Region) ([]uint64, uint64) {
	if r, ok := m.(Resident); ok {
		return r.Resident(regions)
	}
	return make([]uint64, len(regions)), 0
}

// usage is what of an address space is for what, in bytes.
type usage struct {
	size, resident, files, data, stack, text, libraries, locked uint64
}

func usageOf(m Memory) (u usage) {
	if m == nil {
		return u
	}
	u.size = m.Size()
	regions := m.Regions()
	each, sum := residentOf(m, regions)
	u.resident = sum
	start, end := m.CodeRange()
	u.text = mm.PageUp(end) - mm.PageDown(start)
	for i, r := range regions {
		if r.File != nil && (r.Shared || r.Prot&unix.PROT_WRITE == 0) {
			u.files += each[i]
		}
		if r.Locked {
			u.locked += r.Len()
		}
		switch {
		case r.Kind == mm.Stack || r.Grows:
			u.stack += r.Len()
		case !r.Shared && r.Prot&unix.PROT_WRITE != 0:
			u.data += r.Len()
		case r.File != nil && r.Prot&unix.PROT_EXEC != 0 && (r.End <= start || r.Start >= end):
			u.libraries += r.Len()
		}
	}
	return u
}

// ttyNumber is a device number as stat has it: minor, major, the rest of minor.
func ttyNumber(dev uint64) int32 {
	major, minor := linux.Major(dev), linux.Minor(dev)
	return int32(minor&0xff | major<<8 | minor&^0xff<<12)
}

// state is the letter of the thread, or of the process once all of it is gone.
func (e *entry) state(i Info) byte {
	if i.Zombie {
		return 'Z'
	}
	return e.thread.State()
}

// stat is /proc/PID/stat: 52 fields on a line.
func stat(e *entry, ctx vfs.Context) ([]byte, error) {
	i, n := e.process.Info(), e.fs.kernel.Number
	m := e.thread.Memory()
	u := usageOf(m)
	pending, _, blocked := e.thread.Signals()
	foreground := i.Foreground
	if foreground > 0 {
		foreground = n(foreground)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d (%s) %c %d %d %d %d %d %d", n(e.thread.TID()), escape(e.thread.Name(), "\n\\"), e.state(i),
		n(i.PPID), n(i.PGID), n(i.SID), ttyNumber(i.TTY), foreground, 0x400000)
	e.ownTime(ctx, &i)
	fmt.Fprintf(&b, " 0 0 0 0 %d %d %d %d", ticks(i.Used.User), ticks(i.Used.System), ticks(i.Children.User), ticks(i.Children.System))
	fmt.Fprintf(&b, " 20 0 %d 0 %d", max(len(e.process.Threads()), 1), ticks(i.Started.Sub(e.fs.boot)))
	fmt.Fprintf(&b, " %d %d %d", u.size, u.resident/mm.PageSize, e.process.Limit(unix.RLIMIT_RSS).Cur)
	var a addresses
	if e.inspect(ctx) == nil {
		a = addressesOf(m)
	}
	status := uint32(0)
	if i.Zombie && e.inspect(ctx) == nil {
		status = i.ExitStatus
	}
	fmt.Fprintf(&b, " %d %d %d 0 0", a.codeStart, a.codeEnd, a.stack)
	fmt.Fprintf(&b, " %d %d %d %d", pending&0x7fffffff, blocked&0x7fffffff, i.Ignored&0x7fffffff, i.Caught&0x7fffffff)
	fmt.Fprintf(&b, " 0 0 0 %d 0 0 0 0 0 0", i.ExitSignal)
	fmt.Fprintf(&b, " %d %d %d %d %d %d %d %d\n", a.codeEnd, a.brk, a.brk, a.argStart, a.argEnd, a.envStart, a.envEnd, status)
	return b.Bytes(), nil
}

// ownTime makes what is used that of the thread, in the files of a thread.
func (e *entry) ownTime(ctx vfs.Context, i *Info) {
	if t, ok := e.thread.(interface {
		Used(vfs.Context) time.Duration
	}); ok && !e.whole && !i.Zombie {
		i.Used, i.Children = task.Usage{User: t.Used(ctx)}, task.Usage{}
	}
}

// addresses are what stat shows to those who may inspect the process; 1 and 0
// for others in Linux too.
type addresses struct {
	codeStart, codeEnd, stack, brk, argStart, argEnd, envStart, envEnd mm.Addr
}

func addressesOf(m Memory) (a addresses) {
	if m == nil {
		return a
	}
	a.codeStart, a.codeEnd = m.CodeRange()
	a.stack = m.StartStack()
	a.brk, _ = m.BrkRange()
	a.argStart, a.argEnd = m.ArgRange()
	a.envStart, a.envEnd = m.EnvRange()
	return a
}

// statm is /proc/PID/statm, in pages.
func statm(e *entry, _ vfs.Context) ([]byte, error) {
	u := usageOf(e.thread.Memory())
	return fmt.Appendf(nil, "%d %d %d %d 0 %d 0\n", u.size/mm.PageSize, u.resident/mm.PageSize, u.files/mm.PageSize,
		u.text/mm.PageSize, (u.data+u.stack)/mm.PageSize), nil
}

// tracer is the thread that traces this one, 0 for none.
func (e *entry) tracer() int32 {
	if t, ok := e.thread.(interface{ TracerPID() int32 }); ok {
		return e.fs.kernel.Number(t.TracerPID())
	}
	return 0
}

var stateNames = map[byte]string{
	'R': "R (running)", 'S': "S (sleeping)", 'D': "D (disk sleep)", 'T': "T (stopped)", 't': "t (tracing stop)",
	'Z': "Z (zombie)", 'X': "X (dead)",
}

// status is /proc/PID/status.
func status(e *entry, ctx vfs.Context) ([]byte, error) {
	i, n := e.process.Info(), e.fs.kernel.Number
	var b bytes.Buffer
	fmt.Fprintf(&b, "Name:\t%s\n", escape(e.thread.Name(), "\n\\"))
	if f := e.thread.FS(); f != nil {
		fmt.Fprintf(&b, "Umask:\t%#04o\n", f.Umask())
	}
	fmt.Fprintf(&b, "State:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t%d\n",
		stateNames[e.state(i)], n(i.PID), n(e.thread.TID()), n(i.PPID), e.tracer())
	e.statusIDs(&b, i, ctx.Creds().UserNS)
	e.statusMemory(&b)
	fmt.Fprintf(&b, "Threads:\t%d\n", max(len(e.process.Threads()), 1))
	e.statusSignals(&b, i)
	c := e.thread.Creds()
	noNewPrivs := 0
	if c.NoNewPrivs {
		noNewPrivs = 1
	}
	fmt.Fprintf(&b, "CapInh:\t%016x\nCapPrm:\t%016x\nCapEff:\t%016x\nCapBnd:\t%016x\nCapAmb:\t%016x\n",
		uint64(c.Inheritable), uint64(c.Permitted), uint64(c.Effective), uint64(c.Bounding), uint64(c.Ambient))
	mode, filters := e.seccomp()
	fmt.Fprintf(&b, "NoNewPrivs:\t%d\nSeccomp:\t%d\nSeccomp_filters:\t%d\n", noNewPrivs, mode, filters)
	b.WriteString("Speculation_Store_Bypass:\tthread vulnerable\nSpeculationIndirectBranch:\tconditional enabled\n")
	cpus := e.fs.host.allowed(e.thread.Affinity())
	fmt.Fprintf(&b, "Cpus_allowed:\t%s\nCpus_allowed_list:\t%s\n", cpuMask(cpus), cpuList(cpus))
	b.WriteString("Mems_allowed:\t00000000,00000001\nMems_allowed_list:\t0\n")
	b.WriteString("voluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n")
	return b.Bytes(), nil
}

// seccomp is the thread's mode of seccomp(2), and how many filters it has.
func (e *entry) seccomp() (mode, filters int) {
	t, ok := e.thread.(interface{ Seccomp() *task.Seccomp })
	if !ok {
		return 0, 0
	}
	s := t.Seccomp()
	if mode = s.Mode(); mode == task.SeccompFilter {
		filters = s.Filter.Count()
	}
	return mode, filters
}

func (e *entry) statusIDs(b *bytes.Buffer, i Info, ns *vfs.UserNamespace) {
	c := e.thread.Creds()
	u, gr := ns.ShowUID, ns.ShowGID
	fmt.Fprintf(b, "Uid:\t%d\t%d\t%d\t%d\n", u(c.UID), u(c.EUID), u(c.SUID), u(c.FSUID))
	fmt.Fprintf(b, "Gid:\t%d\t%d\t%d\t%d\n", gr(c.GID), gr(c.EGID), gr(c.SGID), gr(c.FSGID))
	size := 0
	if fds := e.thread.FDs(); fds != nil {
		size = 64
		if all := fds.All(); len(all) > 0 {
			for size <= int(all[len(all)-1].FD) {
				size *= 2
			}
		}
	}
	fmt.Fprintf(b, "FDSize:\t%d\nGroups:\t", size)
	for _, g := range c.Groups {
		fmt.Fprintf(b, "%d ", gr(g))
	}
	b.WriteByte('\n')
	for _, l := range []struct {
		name string
		id   int32
	}{{"NStgid", i.PID}, {"NSpid", e.thread.TID()}, {"NSpgid", i.PGID}, {"NSsid", i.SID}} {
		b.WriteString(l.name + ":")
		for _, n := range e.fs.kernel.Numbers(l.id, e.process) {
			fmt.Fprintf(b, "\t%d", n)
		}
		b.WriteByte('\n')
	}
	b.WriteString("Kthread:\t0\n")
}

func (e *entry) statusMemory(b *bytes.Buffer) {
	m := e.thread.Memory()
	if m == nil {
		return
	}
	u := usageOf(m)
	for _, l := range []struct {
		name  string
		bytes uint64
	}{
		{"VmPeak", u.size}, {"VmSize", u.size}, {"VmLck", u.locked}, {"VmPin", 0}, {"VmHWM", u.resident}, {"VmRSS", u.resident},
		{"RssAnon", u.resident - u.files}, {"RssFile", u.files}, {"RssShmem", 0}, {"VmData", u.data}, {"VmStk", u.stack},
		{"VmExe", u.text}, {"VmLib", u.libraries}, {"VmPTE", u.size / 512}, {"VmSwap", 0}, {"HugetlbPages", 0},
	} {
		fmt.Fprintf(b, "%s:\t%8d kB\n", l.name, l.bytes/kib)
	}
	b.WriteString("CoreDumping:\t0\nTHP_enabled:\t1\nuntag_mask:\t0xffffffffffffffff\n")
}

func (e *entry) statusSignals(b *bytes.Buffer, i Info) {
	pending, shared, blocked := e.thread.Signals()
	fmt.Fprintf(b, "SigQ:\t0/%d\n", e.process.Limit(unix.RLIMIT_SIGPENDING).Cur)
	fmt.Fprintf(b, "SigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\n",
		uint64(pending), uint64(shared), uint64(blocked), uint64(i.Ignored), uint64(i.Caught))
}

// allowed says of each processor whether it is in mask, which is nil for all.
func (h Host) allowed(mask []byte) []bool {
	set := make([]bool, max(h.CPUs, 1))
	for i := range set {
		set[i] = mask == nil || i/8 < len(mask) && mask[i/8]>>(i%8)&1 != 0
	}
	return set
}

// cpuMask is a set of processors in words of 32 from the top; the topmost has no
// more digits than there are processors.
func cpuMask(set []bool) string {
	var words []string
	for at := 0; at < len(set); at += 32 {
		part, word := set[at:min(len(set), at+32)], uint32(0)
		for i, in := range part {
			if in {
				word |= 1 << i
			}
		}
		words = append(words, fmt.Sprintf("%0*x", (len(part)+3)/4, word))
	}
	slices.Reverse(words)
	return strings.Join(words, ",")
}

// cpuList is the same as ranges.
func cpuList(set []bool) string {
	var ranges []string
	for i := 0; i < len(set); i++ {
		if !set[i] {
			continue
		}
		from := i
		for i+1 < len(set) && set[i+1] {
			i++
		}
		if from == i {
			ranges = append(ranges, fmt.Sprint(i))
		} else {
			ranges = append(ranges, fmt.Sprintf("%d-%d", from, i))
		}
	}
	return strings.Join(ranges, ",")
}
