package procfs

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/aio"
	"bulkhead/services/sentry/pseudo"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// sysctl is one file of /proc/sys.
type sysctl struct {
	path  string // below /proc/sys
	value string // at first
	kind  sysctlKind
}

type sysctlKind int

const (
	fixedValue sysctlKind = iota // mode 0444
	number                       // as many integers as it has, writable
	word                         // any text, writable
)

// sysctlTable is what programs look for, with Linux's own defaults: proc_sys(5)
// and its pages for fs, kernel, vm and net. Writing is CAP_SYS_ADMIN's, and
// changes what is read here, no more.
var sysctlTable = []sysctl{
	{"fs/aio-max-nr", "65536", number},
	{"fs/dentry-state", "0\t0\t45\t0\t0\t0", fixedValue},
	{"fs/epoll/max_user_watches", "1048576", number},
	{"fs/file-max", "9223372036854775807", number},
	{"fs/file-nr", "1024\t0\t9223372036854775807", fixedValue},
	{"fs/inode-nr", "0\t0", fixedValue},
	{"fs/inotify/max_queued_events", "16384", number},
	{"fs/inotify/max_user_instances", "128", number},
	{"fs/inotify/max_user_watches", "1048576", number},
	{"fs/lease-break-time", "45", number},
	{"fs/leases-enable", "1", number},
	{"fs/mount-max", "100000", number},
	{"fs/mqueue/msg_default", "10", number},
	{"fs/mqueue/msg_max", "10", number},
	{"fs/mqueue/msgsize_default", "8192", number},
	{"fs/mqueue/msgsize_max", "8192", number},
	{"fs/mqueue/queues_max", "256", number},
	{"fs/nr_open", "1048576", number},
	{"fs/overflowgid", "65534", number},
	{"fs/overflowuid", "65534", number},
	{"fs/pipe-max-size", "1048576", number},
	{"fs/pipe-user-pages-hard", "0", number},
	{"fs/pipe-user-pages-soft", "16384", number},
	{"fs/protected_fifos", "0", number},
	{"fs/protected_hardlinks", "1", number},
	{"fs/protected_regular", "0", number},
	{"fs/protected_symlinks", "1", number},
	{"fs/suid_dumpable", "0", number},
	{"kernel/auto_msgmni", "0", number},
	{"kernel/cap_last_cap", strconv.Itoa(int(linux.CAP_LAST_CAP)), fixedValue},
	{"kernel/core_pattern", "core", word},
	{"kernel/core_pipe_limit", "0", number},
	{"kernel/core_uses_pid", "0", number},
	{"kernel/dmesg_restrict", "1", number},
	{"kernel/io_uring_disabled", "2", number},
	{"kernel/kptr_restrict", "1", number},
	{"kernel/max_lock_depth", "1024", number},
	{"kernel/msgmax", "8192", number},
	{"kernel/msgmnb", "16384", number},
	{"kernel/msgmni", "32000", number},
	{"kernel/ngroups_max", "65536", fixedValue},
	{"kernel/ns_last_pid", "0", number},
	{"kernel/ostype", "Linux", fixedValue},
	{"kernel/overflowgid", "65534", number},
	{"kernel/overflowuid", "65534", number},
	{"kernel/panic", "0", number},
	{"kernel/perf_event_paranoid", "4", number},
	{"kernel/pid_max", strconv.Itoa(task.PIDMax), number},
	{"kernel/printk", "4\t4\t1\t7", number},
	{"kernel/pty/max", "4096", number},
	{"kernel/pty/nr", "0", fixedValue},
	{"kernel/pty/reserve", "1024", number},
	{"kernel/random/entropy_avail", "256", fixedValue},
	{"kernel/random/poolsize", "256", fixedValue},
	{"kernel/random/urandom_min_reseed_secs", "60", number},
	{"kernel/random/write_wakeup_threshold", "256", number},
	{"kernel/randomize_va_space", "2", number},
	{"kernel/sched_child_runs_first", "0", number},
	{"kernel/sched_rr_timeslice_ms", "100", number},
	{"kernel/sched_rt_period_us", "1000000", number},
	{"kernel/sched_rt_runtime_us", "950000", number},
	{"kernel/seccomp/actions_avail", "kill_process kill_thread trap errno trace log allow", fixedValue},
	{"kernel/sem", "32000\t1024000000\t500\t32000", number},
	{"kernel/shm_rmid_forced", "0", number},
	{"kernel/shmall", "18446744073692774399", number},
	{"kernel/shmmax", "18446744073692774399", number},
	{"kernel/shmmni", "4096", number},
	{"kernel/sysrq", "0", number},
	{"kernel/tainted", "0", fixedValue},
	{"kernel/threads-max", "65536", number},
	{"kernel/unprivileged_bpf_disabled", "2", number},
	{"kernel/yama/ptrace_scope", "0", number},
	{"user/max_user_namespaces", "1024", fixedValue},
	{"vm/dirty_background_ratio", "10", number},
	{"vm/dirty_ratio", "20", number},
	{"vm/drop_caches", "0", number},
	{"vm/max_map_count", "65530", number},
	{"vm/mmap_min_addr", "65536", number},
	{"vm/nr_hugepages", "0", number},
	{"vm/overcommit_memory", "0", number},
	{"vm/overcommit_ratio", "50", number},
	{"vm/swappiness", "60", number},
	{"vm/vfs_cache_pressure", "100", number},
}

// sysctls is /proc/sys.
type sysctls struct {
	fs    *FS
	root  *pseudo.Dir
	dirs  map[string]*pseudo.Dir
	kind  map[string]sysctlKind
	confs []*confDir

	network func(ctx vfs.Context) Network // nil: there are none

	mu     sync.Mutex
	values map[string]string
}

func newSysctls(fs *FS, network func(ctx vfs.Context) Network) *sysctls {
	s := &sysctls{
		fs: fs, network: network, root: fs.Dir(0o555, nil), dirs: make(map[string]*pseudo.Dir),
		kind: make(map[string]sysctlKind), values: make(map[string]string),
	}
	s.dirs[""] = s.root
	s.root.WithLate(s.fill) // it takes longer than all the rest of /proc
	return s
}

// fill makes the files.
func (s *sysctls) fill() {
	fs := s.fs
	for _, c := range slices.Concat(sysctlTable, networkTable()) {
		s.values[c.path], s.kind[c.path] = c.value, c.kind
		mode := uint32(0o644)
		if c.kind == fixedValue {
			mode = 0o444
		}
		s.put(c.path, mode, func(ctx vfs.Context) (string, error) { return s.value(ctx, c.path), nil },
			func(ctx vfs.Context, v string) error { return s.write(ctx, c.path, v) })
	}
	readOnly := func(path string, get func() string) {
		s.put(path, 0o444, func(vfs.Context) (string, error) { return get(), nil }, nil)
	}
	readOnly("kernel/osrelease", func() string { return fs.host.Release })
	readOnly("kernel/version", func() string { return fs.host.Version })
	readOnly("fs/aio-nr", func() string { return strconv.FormatInt(aio.Reserved(), 10) })
	bootID := newUUID()
	readOnly("kernel/random/boot_id", func() string { return bootID })
	readOnly("kernel/random/uuid", newUUID)
	s.confs = s.confDirs()
	for _, d := range s.confs {
		s.dir(d.path).WithDynamic(d)
	}
	s.putName("hostname", Names.Hostname, Names.SetHostname)
	s.putName("domainname", Names.Domainname, Names.SetDomainname)
}

// putName makes a file in kernel that holds a name of uname(2), the caller's own.
func (s *sysctls) putName(name string, get func(Names) string, set func(Names, string)) {
	const mode = 0o644
	f := s.fs.File(mode, nil, func(ctx vfs.Context) ([]byte, error) { return []byte(get(s.fs.kernel.UTS(ctx)) + "\n"), nil })
	f.WithSet(func(ctx vfs.Context, p []byte) error {
		if c := ctx.Creds(); !c.Has(linux.CAP_SYS_ADMIN) && c.EUID != 0 {
			return linux.EPERM
		}
		v := firstLine(p)
		set(s.fs.kernel.UTS(ctx), v[:min(len(v), linux.UTS_LEN)])
		return nil
	})
	s.dir("kernel").Add(name, f.WithPermit(func(ctx vfs.Context, mask uint32) error { return permitSysctl(ctx.Creds(), mode, mask) }))
}

// put makes the file at path; set may be nil.
func (s *sysctls) put(path string, mode uint32, get func(vfs.Context) (string, error), set func(vfs.Context, string) error) {
	at := strings.LastIndexByte(path, '/')
	s.putIn(s.dir(path[:max(at, 0)]), path[at+1:], mode, isNetwork(path), get, set)
}

// isNetwork says whether a path is of the network, which CAP_NET_ADMIN may set too.
func isNetwork(path string) bool { return strings.HasPrefix(path, "net/") }

// putIn makes the file in a directory.
func (s *sysctls) putIn(d *pseudo.Dir, name string, mode uint32, network bool, get func(vfs.Context) (string, error), set func(vfs.Context, string) error) {
	f := s.fs.File(mode, nil, func(ctx vfs.Context) ([]byte, error) {
		v, err := get(ctx)
		return []byte(v + "\n"), err
	})
	if set != nil && mode&0o200 != 0 {
		f.WithSet(func(ctx vfs.Context, p []byte) error {
			if !ctx.Creds().Has(linux.CAP_SYS_ADMIN) && !(network && s.mayTune(ctx)) {
				return linux.EPERM
			}
			return set(ctx, firstLine(p))
		})
	}
	d.Add(name, f.WithPermit(func(ctx vfs.Context, mask uint32) error {
		return permitSysctl(ctx.Creds(), mode, mask)
	}))
}

// permitSysctl is the kernel's test_perm: the mode counts for everyone, for
// user 0 too, whatever capabilities there are.
func permitSysctl(c *vfs.Creds, mode, mask uint32) error {
	switch {
	case c.EUID == 0:
		mode >>= 6
	case c.InEffectiveGroup(0):
		mode >>= 3
	}
	if mask&7&^mode != 0 {
		return linux.EACCES
	}
	return nil
}

// firstLine is a written value without what ends it.
func firstLine(p []byte) string {
	v, _, _ := strings.Cut(string(p), "\n")
	v, _, _ = strings.Cut(v, "\x00")
	return strings.TrimRight(v, " \t")
}

func (s *sysctls) dir(path string) *pseudo.Dir {
	if d := s.dirs[path]; d != nil {
		return d
	}
	at := strings.LastIndexByte(path, '/')
	d := s.fs.Dir(0o555, nil)
	s.dir(path[:max(at, 0)]).Add(path[at+1:], d)
	s.dirs[path] = d
	return d
}

// networkOf is the network of who looks; nil if there is none.
func (s *sysctls) networkOf(ctx vfs.Context) Network {
	if s.network == nil {
		return nil
	}
	return s.network(ctx)
}

// mayTune says whether the caller may set what is the network's.
func (s *sysctls) mayTune(ctx vfs.Context) bool {
	if n := s.networkOf(ctx); n != nil {
		return n.Admin(ctx)
	}
	return ctx.Creds().Has(linux.CAP_NET_ADMIN)
}

// value is what was written: of the network, in that of who looks.
func (s *sysctls) value(ctx vfs.Context, path string) string {
	if isNetwork(path) {
		if n := s.networkOf(ctx); n != nil {
			if v, ok := n.Settings().value(path); ok {
				return v
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[path]
}

// write checks a value against what is there: as many numbers, or any word.
func (s *sysctls) write(ctx vfs.Context, path, v string) (err error) {
	if s.kind[path] == number {
		if v, err = numbers(v, len(strings.Fields(s.value(ctx, path)))); err != nil {
			return err
		}
	}
	if n := s.networkOf(ctx); n != nil && isNetwork(path) {
		if err := n.Tune(path, v); err != nil {
			return err
		}
		return n.Settings().set(path, v)
	}
	s.mu.Lock()
	s.values[path] = v
	s.mu.Unlock()
	return nil
}

// numbers checks a value of so many numbers at most: EINVAL.
func numbers(v string, most int) (string, error) {
	fields := strings.Fields(v)
	if len(fields) == 0 || len(fields) > most {
		return "", linux.EINVAL
	}
	for _, f := range fields {
		if _, err := strconv.ParseInt(f, 0, 64); err != nil {
			if _, err := strconv.ParseUint(f, 0, 64); err != nil {
				return "", linux.EINVAL
			}
		}
	}
	return strings.Join(fields, "\t"), nil
}

// set is FS.SetSysctl.
func (s *sysctls) set(name, value string) error {
	path := name
	if !strings.Contains(name, "/") {
		path = strings.ReplaceAll(name, ".", "/")
	}
	switch path {
	case "kernel/hostname":
		s.fs.kernel.UTS(nil).SetHostname(value)
		return nil
	case "kernel/domainname":
		s.fs.kernel.UTS(nil).SetDomainname(value)
		return nil
	}
	ctx := vfs.KernelContext()
	for _, d := range s.confs {
		if of, ok := strings.CutPrefix(path, d.path+"/"); ok {
			if at := strings.LastIndexByte(of, '/'); at >= 0 && !isStatic(of[:at]) {
				return d.write(ctx, of[:at], of[at+1:], value)
			}
		}
	}
	kind, ok := s.kind[path]
	if !ok {
		return linux.ENOENT
	}
	if kind == fixedValue {
		return linux.EINVAL
	}
	return s.write(ctx, path, value)
}

// newUUID is a random UUID, version 4: RFC 9562.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
