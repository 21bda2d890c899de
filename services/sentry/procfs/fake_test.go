package procfs

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/sysvipc"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// fakeKernel is a process table that a test fills.
type fakeKernel struct {
	processes map[int32]*fakeProcess
	hostname  string
}

func (k *fakeKernel) PIDs() (pids []int32) {
	for pid := int32(1); pid < 1000; pid++ {
		if k.processes[pid] != nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (k *fakeKernel) Process(pid int32) Process {
	if p := k.processes[pid]; p != nil {
		return p
	}
	return nil
}

func (k *fakeKernel) Thread(tid int32) Thread {
	for _, p := range k.processes {
		for _, t := range p.threads {
			if t.tid == tid {
				return t
			}
		}
	}
	return nil
}

func (k *fakeKernel) Number(id int32) int32               { return id }
func (k *fakeKernel) Numbers(id int32, _ Process) []int32 { return []int32{id} }
func (k *fakeKernel) ID(number int32) int32               { return number }
func (k *fakeKernel) Whole() Kernel                       { return k }
func (k *fakeKernel) Space(vfs.Context) uint32            { return 0 }
func (k *fakeKernel) Forks() uint64                       { return 7 }
func (k *fakeKernel) Hostname() string                    { return k.hostname }
func (k *fakeKernel) SetHostname(s string)                { k.hostname = s }
func (k *fakeKernel) Domainname() string                  { return "(none)" }
func (k *fakeKernel) SetDomainname(s string)              {}
func (k *fakeKernel) UTS(vfs.Context) Names               { return k }
func (k *fakeKernel) IPC(vfs.Context) (*sysvipc.Namespace, func(*mm.Backing) int) {
	return &sysvipc.Namespace{}, func(*mm.Backing) int { return 0 }
}

type fakeProcess struct {
	info    Info
	threads []*fakeThread
	adj     int32
}

func (p *fakeProcess) PID() int32     { return p.info.PID }
func (p *fakeProcess) Info() Info     { return p.info }
func (p *fakeProcess) Leader() Thread { return p.threads[0] }
func (p *fakeProcess) Threads() (list []Thread) {
	for _, t := range p.threads {
		list = append(list, t)
	}
	return list
}
func (p *fakeProcess) Limit(what int) task.Rlimit {
	if what == unix.RLIMIT_NOFILE {
		return task.Rlimit{Cur: 1024, Max: 4096}
	}
	return task.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
}
func (p *fakeProcess) OOMScoreAdj() int32 { return p.adj }
func (p *fakeProcess) Dumpable() int32    { return 1 }
func (p *fakeProcess) Keeper() *vfs.UserNamespace {
	return nil
}
func (p *fakeProcess) SetOOMScoreAdj(v int32) { p.adj = v }

type fakeThread struct {
	tid, tgid int32
	name      string
	creds     *vfs.Creds
	memory    *fakeMemory
	fds       *task.FDTable
	fs        *task.FSContext
}

func (t *fakeThread) TID() int32         { return t.tid }
func (t *fakeThread) TGID() int32        { return t.tgid }
func (t *fakeThread) Name() string       { return t.name }
func (t *fakeThread) SetName(s string)   { t.name = s }
func (t *fakeThread) State() byte        { return 'S' }
func (t *fakeThread) Creds() *vfs.Creds  { return t.creds }
func (t *fakeThread) FDs() *task.FDTable { return t.fds }
func (t *fakeThread) FS() *task.FSContext {
	return t.fs
}
func (t *fakeThread) Signals() (pending, shared, blocked linux.SigSet) { return 0, 0, 0x10000 }
func (t *fakeThread) TimerSlack() uint64                               { return 50000 }
func (t *fakeThread) SetTimerSlack(uint64)                             {}
func (t *fakeThread) Personality() uint32                              { return 0 }
func (t *fakeThread) Affinity() []byte                                 { return nil }
func (t *fakeThread) Memory() Memory {
	if t.memory == nil {
		return nil
	}
	return t.memory
}

// fakeMemory has its arguments at 0x1000.
type fakeMemory struct {
	regions []mm.Region
	args    string
	argLen  uint64 // of args; the environment follows
}

func (m *fakeMemory) Regions() []mm.Region { return m.regions }
func (m *fakeMemory) Size() (n uint64) {
	for _, r := range m.regions {
		n += r.Len()
	}
	return n
}
func (m *fakeMemory) Exe() vfs.Path                  { return vfs.Path{} }
func (m *fakeMemory) ArgRange() (start, end mm.Addr) { return 0x1000, 0x1000 + m.argLen }
func (m *fakeMemory) EnvRange() (start, end mm.Addr) {
	return 0x1000 + m.argLen, 0x1000 + uint64(len(m.args))
}
func (m *fakeMemory) BrkRange() (start, end mm.Addr)  { return 0x600000, 0x700000 }
func (m *fakeMemory) CodeRange() (start, end mm.Addr) { return 0x400000, 0x401000 }
func (m *fakeMemory) StartStack() mm.Addr             { return 0x7fff0000 }
func (m *fakeMemory) Auxv() []byte                    { return make([]byte, 16) }
func (m *fakeMemory) Read(addr mm.Addr, p []byte) int {
	if addr < 0x1000 || addr > 0x1000+uint64(len(m.args)) {
		return 0
	}
	return copy(p, m.args[addr-0x1000:])
}

func (m *fakeMemory) Write(addr mm.Addr, p []byte) error {
	if addr < 0x1000 || addr+uint64(len(p)) > 0x1000+uint64(len(m.args)) {
		return linux.EFAULT
	}
	b := []byte(m.args)
	copy(b[addr-0x1000:], p)
	m.args = string(b)
	return nil
}

// caller is a thread of a process of the fake kernel, as it makes calls.
type caller struct {
	vfs.Context
	pid   int32
	creds *vfs.Creds
}

func (c *caller) TGID() int32       { return c.pid }
func (c *caller) TID() int32        { return c.pid }
func (c *caller) Creds() *vfs.Creds { return c.creds }

// world is a mounted /proc with init (1), a user's shell with two threads (10,
// 11) and somebody else's process (20).
type world struct {
	t  *testing.T
	k  *fakeKernel
	fs *FS
	ns *vfs.Namespace
}

func newWorld(t *testing.T) *world {
	t.Helper()
	boot := time.Now().Add(-100 * time.Second)
	w := &world{t: t, k: &fakeKernel{processes: map[int32]*fakeProcess{}, hostname: "box"}}
	w.fs = New(Config{Kernel: w.k, Host: Host{
		CPUs: 2, CPUInfo: []byte("processor\t: 0\n\nprocessor\t: 1\n\n"), Boot: boot,
		Memory: map[string]uint64{"MemTotal": 4096000, "MemFree": 1000}, Release: "6.1.0", Version: "#1 SMP",
	}})
	w.ns = vfs.NewNamespace(w.fs, 0)
	t.Cleanup(w.ns.Release)
	add := func(pid, ppid int32, name string, creds *vfs.Creds, threads ...int32) {
		p := &fakeProcess{info: Info{PID: pid, PPID: ppid, PGID: pid, SID: pid, Started: boot.Add(10 * time.Second), Foreground: -1, ExitSignal: linux.SIGCHLD}}
		for _, tid := range append([]int32{pid}, threads...) {
			p.threads = append(p.threads, &fakeThread{
				tid: tid, tgid: pid, name: name, creds: creds, fds: task.NewFDTable(), fs: task.NewFSContext(w.ns.Root(), w.ns.Root()),
				memory: &fakeMemory{args: "sh\x00-c\x00A=1\x00", argLen: 6, regions: []mm.Region{
					{Start: 0x400000, End: 0x401000, Prot: unix.PROT_READ | unix.PROT_EXEC, Offset: 0x1000,
						File: &mm.Backing{Name: "/bin/sh", Dev: linux.Mkdev(8, 1), Ino: 42}},
					{Start: 0x600000, End: 0x700000, Prot: unix.PROT_READ | unix.PROT_WRITE, Kind: mm.Heap},
					{Start: 0x7ffe0000, End: 0x7fff0000, Prot: unix.PROT_READ | unix.PROT_WRITE, Kind: mm.Stack, Grows: true},
				}},
			})
		}
		w.k.processes[pid] = p
	}
	add(1, 0, "init", vfs.RootCreds())
	add(10, 1, "sh (x)", vfs.UserCreds(1000, 1000, 4, 27), 11)
	add(20, 1, "other", vfs.UserCreds(2000, 2000))
	return w
}

func (w *world) as(pid int32) *caller {
	return &caller{vfs.KernelContext(), pid, w.k.processes[pid].threads[0].creds}
}

func (w *world) open(c vfs.Context, path string, flags linux.OpenFlags) (*vfs.File, error) {
	return vfs.Open(c, w.ns.Root(), w.ns.Root(), path, flags, 0, 0, 0)
}

func (w *world) read(c vfs.Context, path string) string {
	w.t.Helper()
	f, err := w.open(c, path, linux.O_RDONLY)
	if err != nil {
		w.t.Errorf("open %s: %v", path, err)
		return ""
	}
	defer f.DecRef(c)
	var all []byte
	b := make([]byte, 300) // in parts, as a slow reader
	for {
		n, err := f.Read(c, b)
		if err != nil {
			w.t.Errorf("read %s: %v", path, err)
		}
		if n == 0 || err != nil {
			return string(all)
		}
		all = append(all, b[:n]...)
	}
}

func (w *world) write(c vfs.Context, path, s string) error {
	f, err := w.open(c, path, linux.O_WRONLY|linux.O_TRUNC)
	if err != nil {
		return err
	}
	defer f.DecRef(c)
	_, err = f.Write(c, []byte(s))
	return err
}

func (w *world) list(c vfs.Context, path string) (names []string) {
	w.t.Helper()
	f, err := w.open(c, path, linux.O_RDONLY|linux.O_DIRECTORY)
	if err != nil {
		w.t.Errorf("open %s: %v", path, err)
		return nil
	}
	defer f.DecRef(c)
	err = f.ReadDir(c, func(e vfs.DirEntry) bool { names = append(names, e.Name); return true })
	if err != nil {
		w.t.Errorf("list %s: %v", path, err)
	}
	return names
}
