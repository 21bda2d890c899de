// Package sysfs is /sys: as much of sysfs(5) as programs look at to learn how
// many processors there are, how memory is laid out and which interfaces exist.
package sysfs

import (
	"fmt"
	"strconv"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/pseudo"
	"bulkhead/services/sentry/vfs"
)

// Config is what a /sys shows.
type Config struct {
	// CPUs is how many processors there are, at least 1.
	CPUs int
	// Memory is how much there is, in bytes.
	Memory uint64
	// Interfaces gives the network interfaces that there are now; nil: the loopback.
	Interfaces func() []Interface
}

// FS is one /sys.
type FS struct {
	*pseudo.FS
	interfaces func() []Interface
}

// New makes a /sys.
func New(c Config) *FS {
	c.CPUs = max(c.CPUs, 1)
	if c.Interfaces == nil {
		c.Interfaces = func() []Interface { return []Interface{loopback} }
	}
	fs := &FS{pseudo.New("sysfs", linux.SYSFS_MAGIC), c.Interfaces}
	virtual, class := fs.network()
	root := fs.dir().
		Add("block", fs.dir()).
		Add("bus", fs.dir().Add("cpu", fs.dir()).Add("pci", fs.dir().Add("devices", fs.dir())).Add("usb", fs.dir().Add("devices", fs.dir()))).
		Add("class", fs.dir().Add("net", class).Add("block", fs.dir()).Add("tty", fs.dir()).Add("mem", fs.dir()).
			Add("power_supply", fs.dir()).Add("thermal", fs.dir()).Add("dmi", fs.dir())).
		Add("dev", fs.dir().Add("block", fs.dir()).Add("char", fs.dir())).
		Add("devices", fs.dir().
			Add("system", fs.dir().Add("cpu", fs.cpus(c.CPUs)).Add("node", fs.nodes(c))).
			Add("virtual", fs.dir().Add("net", virtual))).
		Add("firmware", fs.dir()).
		Add("fs", fs.dir().Add("cgroup", fs.dir())).
		Add("hypervisor", fs.dir()).
		Add("kernel", fs.kernel()).
		Add("module", fs.dir()).
		Add("power", fs.dir())
	fs.SetRoot(root)
	return fs
}

func (fs *FS) dir() *pseudo.Dir { return fs.Dir(0o755, nil) }

// line is a file of one line.
func (fs *FS) line(format string, args ...any) *pseudo.File {
	return fs.Text(0o444, fmt.Sprintf(format, args...)+"\n")
}

// list is processors 0 to n-1 as a range.
func list(n int) string {
	if n == 1 {
		return "0"
	}
	return "0-" + strconv.Itoa(n-1)
}

// mask is the set with the bits from low to high-1, as sysfs prints it.
func mask(low, high int) string {
	s := ""
	for at := 0; at < high; at += 32 {
		word := uint32(0)
		for i := range 32 {
			if at+i >= low && at+i < high {
				word |= 1 << i
			}
		}
		if s == "" {
			s = fmt.Sprintf("%08x", word)
		} else {
			s = fmt.Sprintf("%08x,", word) + s
		}
	}
	for len(s) > 1 && s[0] == '0' && s[1] != ',' {
		s = s[1:]
	}
	return s
}

// cpus is /sys/devices/system/cpu: every processor a core, all in one package.
func (fs *FS) cpus(n int) *pseudo.Dir {
	d := fs.dir()
	for i := range n {
		topology := fs.dir().
			Add("physical_package_id", fs.line("0")).
			Add("die_id", fs.line("0")).
			Add("core_id", fs.line("%d", i)).
			Add("core_cpus", fs.line("%s", mask(i, i+1))).
			Add("core_cpus_list", fs.line("%d", i)).
			Add("thread_siblings", fs.line("%s", mask(i, i+1))).
			Add("thread_siblings_list", fs.line("%d", i)).
			Add("core_siblings", fs.line("%s", mask(0, n))).
			Add("core_siblings_list", fs.line("%s", list(n))).
			Add("package_cpus", fs.line("%s", mask(0, n))).
			Add("package_cpus_list", fs.line("%s", list(n)))
		cpu := fs.dir().Add("topology", topology)
		if i > 0 {
			cpu.Add("online", fs.line("1"))
		}
		d.Add("cpu"+strconv.Itoa(i), cpu)
	}
	for _, name := range []string{"online", "possible", "present"} {
		d.Add(name, fs.line("%s", list(n)))
	}
	return d.Add("offline", fs.line("")).Add("isolated", fs.line("")).
		Add("kernel_max", fs.line("8191")).
		Add("smt", fs.dir().Add("active", fs.line("0")).Add("control", fs.line("notsupported"))).
		Add("vulnerabilities", fs.dir())
}

// nodes is /sys/devices/system/node: one node.
func (fs *FS) nodes(c Config) *pseudo.Dir {
	d := fs.dir()
	for _, name := range []string{"online", "possible", "has_cpu", "has_memory", "has_normal_memory"} {
		d.Add(name, fs.line("0"))
	}
	node := fs.dir().
		Add("cpulist", fs.line("%s", list(c.CPUs))).
		Add("cpumap", fs.line("%s", mask(0, c.CPUs))).
		Add("distance", fs.line("10")).
		Add("meminfo", fs.line("Node 0 MemTotal:       %8d kB\nNode 0 MemFree:        %8d kB\nNode 0 MemUsed:        %8d kB",
			c.Memory/1024, c.Memory/1024, 0))
	for i := range c.CPUs {
		cpu := "cpu" + strconv.Itoa(i)
		node.Add(cpu, fs.LinkTo("../../cpu/"+cpu))
	}
	return d.Add("node0", node)
}

// kernel is /sys/kernel.
func (fs *FS) kernel() *pseudo.Dir {
	huge := fs.dir().
		Add("enabled", fs.line("always [madvise] never")).
		Add("defrag", fs.line("always defer defer+madvise [madvise] never")).
		Add("shmem_enabled", fs.line("always within_size advise [never] deny force")).
		Add("use_zero_page", fs.line("1")).
		Add("hpage_pmd_size", fs.line("2097152"))
	pages := fs.dir().
		Add("nr_hugepages", fs.line("0")).
		Add("free_hugepages", fs.line("0")).
		Add("resv_hugepages", fs.line("0")).
		Add("surplus_hugepages", fs.line("0")).
		Add("nr_overcommit_hugepages", fs.line("0"))
	return fs.dir().
		Add("mm", fs.dir().
			Add("transparent_hugepage", huge).
			Add("hugepages", fs.dir().Add("hugepages-2048kB", pages))).
		Add("cgroup", fs.dir().Add("delegate", fs.Text(0o444, "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\nmemory.oom.group\n")).
			Add("features", fs.Text(0o444, "nsdelegate\n"))).
		Add("security", fs.dir()).
		Add("debug", fs.dir()).
		Add("tracing", fs.dir())
}

var _ vfs.FileSystem = (*FS)(nil)
