package procfs

import (
	"bytes"
	"fmt"
	"time"

	"bulkhead/services/sentry/pseudo"
	"bulkhead/services/sentry/vfs"
)

// addMachine adds the files that are about the whole machine.
func (fs *FS) addMachine(root *pseudo.Dir) {
	gen := func(name string, text func() []byte) {
		root.Add(name, fs.File(0o444, nil, func(vfs.Context) ([]byte, error) { return text(), nil }))
	}
	gen("cpuinfo", func() []byte { return fs.host.CPUInfo })
	gen("meminfo", fs.meminfo)
	gen("stat", fs.statText)
	gen("uptime", fs.uptimeText)
	gen("loadavg", fs.loadavg)
	gen("version", fs.version)
	gen("interrupts", func() []byte { return fs.perCPU(11, 3, "NMI", "LOC", "RES", "CAL", "TLB") })
	gen("softirqs", func() []byte {
		return fs.perCPU(20, 12, "HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU")
	})
	gen("vmstat", fs.vmstat)
	gen("buddyinfo", fs.buddyinfo)
	gen("zoneinfo", fs.zoneinfo)
	gen("cgroups", fs.cgroups)
	for _, f := range machineTexts {
		root.Add(f.name, fs.Text(0o444, f.text))
	}
	root.Add("sysvipc", fs.sysvipcDir())
	root.Add("tty", fs.Dir(0o555, nil).
		Add("drivers", fs.Text(0o444, ttyDrivers)).
		Add("ldiscs", fs.Text(0o444, "n_tty       0\n")))
}

// machineTexts are the files that never change.
var machineTexts = []struct{ name, text string }{
	{"cmdline", "BOOT_IMAGE=/bulkhead quiet\n"},
	{"filesystems", "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tcgroup2\nnodev\tdevtmpfs\nnodev\tsockfs\nnodev\tpipefs\n" +
		"nodev\tdevpts\nnodev\tmqueue\nnodev\tramfs\nnodev\toverlay\n"},
	{"devices", "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n136 pts\n\nBlock devices:\n"},
	{"partitions", "major minor  #blocks  name\n\n"},
	{"diskstats", ""},
	{"swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"},
	{"modules", ""},
	{"locks", ""},
	{"misc", ""},
	{"consoles", ""},
	{"execdomains", "0-0\tLinux           \t[kernel]\n"},
	{"crypto", ""},
	{"dma", ""},
}

const ttyDrivers = "/dev/tty             /dev/tty        5       0 system:/dev/tty\n" +
	"/dev/console         /dev/console    5       1 system:console\n" +
	"/dev/ptmx            /dev/ptmx       5       2 system\n" +
	"pty_slave            /dev/pts      136 0-1048575 pty:slave\n"

// memoryLines are the lines of meminfo that every parser knows, in order; what
// the host did not tell is 0.
var memoryLines = []string{"MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapCached", "Active", "Inactive",
	"Active(anon)", "Inactive(anon)", "Active(file)", "Inactive(file)", "Unevictable", "Mlocked", "SwapTotal", "SwapFree",
	"Dirty", "Writeback", "AnonPages", "Mapped", "Shmem", "KReclaimable", "Slab", "SReclaimable", "SUnreclaim",
	"KernelStack", "PageTables", "NFS_Unstable", "Bounce", "WritebackTmp", "CommitLimit", "Committed_AS", "VmallocTotal",
	"VmallocUsed", "VmallocChunk", "Percpu", "AnonHugePages", "ShmemHugePages", "ShmemPmdMapped", "FileHugePages",
	"FilePmdMapped"}

func (fs *FS) meminfo() []byte {
	var b bytes.Buffer
	for _, name := range memoryLines {
		fmt.Fprintf(&b, "%-16s%8d kB\n", name+":", fs.host.Memory[name])
	}
	for _, name := range []string{"HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp"} {
		fmt.Fprintf(&b, "%-16s%8d\n", name+":", 0)
	}
	fmt.Fprintf(&b, "%-16s%8d kB\n%-16s%8d kB\n", "Hugepagesize:", 2048, "Hugetlb:", 0)
	return b.Bytes()
}

// load is what the processes of the sandbox use.
type load struct {
	user, system                      time.Duration
	processes, threads, running, last int32
}

func (fs *FS) load() (l load) {
	for _, pid := range fs.kernel.PIDs() {
		p := fs.kernel.Process(pid)
		if p == nil {
			continue
		}
		l.processes++
		l.last = max(l.last, fs.kernel.Number(pid))
		used, children := p.Info().Used, p.Info().Children
		l.user += used.User
		l.system += used.System
		if fs.kernel.Number(pid) == 1 { // whom all that ended was given to, in the end
			l.user += children.User
			l.system += children.System
		}
		for _, t := range p.Threads() {
			l.threads++
			if t.State() == 'R' {
				l.running++
			}
		}
	}
	return l
}

// statText is /proc/stat.
func (fs *FS) statText() []byte {
	l := fs.load()
	n := int64(fs.host.CPUs)
	user, system := ticks(l.user), ticks(l.system)
	idle := max(ticks(fs.uptime())*n-user-system, 0)
	var b bytes.Buffer
	fmt.Fprintf(&b, "cpu  %d 0 %d %d 0 0 0 0 0 0\n", user, system, idle)
	for i := range n {
		fmt.Fprintf(&b, "cpu%d %d 0 %d %d 0 0 0 0 0 0\n", i, user/n, system/n, idle/n)
	}
	fmt.Fprintf(&b, "intr 0\nctxt 0\nbtime %d\nprocesses %d\nprocs_running %d\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
		fs.boot.Unix(), fs.kernel.Forks(), max(l.running, 1))
	return b.Bytes()
}

// uptimeText is /proc/uptime: seconds since boot, and the idle ones of all
// processors together.
func (fs *FS) uptimeText() []byte {
	l := fs.load()
	up := fs.uptime()
	idle := max(up*time.Duration(fs.host.CPUs)-l.user-l.system, 0)
	// Never ahead of the clock.
	const hundredth = 10 * time.Millisecond
	return fmt.Appendf(nil, "%.2f %.2f\n", up.Truncate(hundredth).Seconds(), idle.Truncate(hundredth).Seconds())
}

// loadavg is /proc/loadavg. No averages are kept.
func (fs *FS) loadavg() []byte {
	l := fs.load()
	return fmt.Appendf(nil, "0.00 0.00 0.00 %d/%d %d\n", max(l.running, 1), l.threads, l.last)
}

// cgroups is /proc/cgroups: all controllers are of version 2, under their old names.
func (fs *FS) cgroups() []byte {
	n := 1
	if k, ok := fs.kernel.(guestKernel); ok {
		n = k.Cgroups.Len()
	}
	b := []byte("#subsys_name\thierarchy\tnum_cgroups\tenabled\n")
	for _, name := range []string{"cpuset", "cpu", "cpuacct", "blkio", "memory", "pids"} {
		b = fmt.Appendf(b, "%s\t0\t%d\t1\n", name, n)
	}
	return b
}

// version is /proc/version.
func (fs *FS) version() []byte {
	return fmt.Appendf(nil, "Linux version %s (bulkhead@bulkhead) (gcc) %s\n", fs.host.Release, fs.host.Version)
}
