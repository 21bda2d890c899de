package procfs

import (
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/pseudo"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Config is what a /proc is made of.
type Config struct {
	Kernel Kernel
	Host   Host
	// Net generates files of /proc/net in place of the empty ones here.
	Net map[string]func(ctx vfs.Context) ([]byte, error)
	// Orphans are the TCP connections that no process has a socket of; nil: there are none.
	Orphans func(ctx vfs.Context) []socket.Orphan
	// Network is the namespace of the network that a reader is in; nil: there are none.
	Network func(ctx vfs.Context) Network
}

// FS is one /proc.
type FS struct {
	*pseudo.FS
	kernel Kernel
	host   Host
	boot   time.Time
	sys    *sysctls
	net    *pseudo.Dir

	orphans func(ctx vfs.Context) []socket.Orphan

	mountQueue wait.Queue
}

// New makes a /proc.
func New(c Config) *FS {
	fs := &FS{
		FS: pseudo.New("proc", linux.PROC_SUPER_MAGIC), kernel: c.Kernel, host: c.Host,
		boot: c.Host.Boot, orphans: c.Orphans,
	}
	fs.RefuseNames(linux.ENOENT)
	if fs.boot.IsZero() {
		fs.boot = time.Now()
	}
	fs.host.CPUs = max(fs.host.CPUs, 1)
	fs.net = fs.netDir(c.Net)
	root := fs.Dir(0o555, nil).WithDynamic(&pids{fs})
	fs.addMachine(root)
	fs.sys = newSysctls(fs, c.Network)
	root.Add("sys", fs.sys.root)
	root.Add("self", fs.Link(nil, func(ctx vfs.Context) (string, error) {
		pid := fs.kernel.Number(ctx.TGID())
		if pid == 0 {
			return "", linux.ENOENT
		}
		return decimal(pid), nil
	}))
	root.Add("thread-self", fs.Link(nil, func(ctx vfs.Context) (string, error) {
		pid, tid := fs.kernel.Number(ctx.TGID()), fs.kernel.Number(ctx.TID())
		if pid == 0 || tid == 0 {
			return "", linux.ENOENT
		}
		return decimal(pid) + "/task/" + decimal(tid), nil
	}))
	root.Add("mounts", fs.LinkTo("self/mounts"))
	root.Add("net", fs.LinkTo("self/net"))
	fs.SetRoot(root)
	return fs
}

// SetSysctl sets what is at name below /proc/sys, as sysctl(8) names it
// ("net.ipv4.ip_forward") or by path: ENOENT, EINVAL.
func (fs *FS) SetSysctl(name, value string) error {
	fs.sys.root.Fill()
	return fs.sys.set(name, value)
}

// uptime is the time since boot.
func (fs *FS) uptime() time.Duration { return time.Since(fs.boot) }

// ticks counts a time in clock ticks of times(2), of which there are 100 a
// second.
func ticks(d time.Duration) int64 { return int64(d / (10 * time.Millisecond)) }
