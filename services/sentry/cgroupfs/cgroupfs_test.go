package cgroupfs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/ebpf"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/vfs/vfstest"
)

// world is a Host with processes that do what they are told.
type world struct {
	h     *Hierarchy
	procs map[int32]*process
	root  *Cgroup // of the caller's namespace
}

type process struct {
	w     *world
	place Place
	pid   int32
	used  time.Duration
	ended bool
}

func (w *world) Root(vfs.Context) *Cgroup { return w.root }
func (w *world) FilePages() uint64        { return 4096 }
func (w *world) Find(_ vfs.Context, n int32) Process {
	if p := w.procs[max(n, 1)]; p != nil {
		return p
	}
	return nil
}

func (w *world) End(list func() []Process) {
	for _, p := range list() {
		p.(*process).end()
	}
}

func (p *process) Place() *Place               { return &p.place }
func (p *process) Heed()                       {}
func (p *process) Number(vfs.Context) int32    { return p.pid }
func (p *process) Threads(vfs.Context) []int32 { return []int32{p.pid} }
func (p *process) Used() time.Duration         { return p.used }
func (p *process) Resident() uint64            { return 8192 }
func (p *process) end()                        { p.ended = true; p.w.h.Count(p, 0, 1, 0) }
func (p *process) reap()                       { p.w.h.Count(p, 0, 0, p.used) }

// newWorld has process 1 at the root.
func newWorld(t *testing.T) (*world, *vfstest.Env) {
	w := &world{procs: map[int32]*process{}}
	w.h = New(w)
	w.h.Processors = 4
	w.root = w.h.Root()
	p := &process{w: w, pid: 1}
	w.procs[1] = p
	w.h.Begin(p)
	return w, vfstest.NewEnv(t, vfstest.Root(), w.h.FS())
}

// fork has process 1 make another, in a group.
func (w *world) fork(pid int32, into *Cgroup) (*process, error) {
	p := &process{w: w, pid: pid}
	if err := w.h.Fork(w.procs[1], p, into); err != nil {
		return nil, err
	}
	w.procs[pid] = p
	return p, nil
}

// put writes to a file.
func put(e *vfstest.Env, path, text string) error {
	f, err := e.Open(path, linux.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.DecRef(e.Ctx)
	_, err = f.Write(e.Ctx, []byte(text))
	return err
}

func group(e *vfstest.Env, path string) *Cgroup { return Of(e.Must(path).Node()) }

// reads compares files with what they should say.
func reads(t *testing.T, e *vfstest.Env, want ...string) {
	t.Helper()
	for i := 0; i < len(want); i += 2 {
		if got := strings.ReplaceAll(strings.TrimSuffix(e.Read(want[i]), "\n"), "\n", ","); got != want[i+1] {
			t.Errorf("%s: %q, want %q", want[i], got, want[i+1])
		}
	}
}

func TestLimit(t *testing.T) {
	w, e := newWorld(t)
	for _, l := range []struct {
		name, value string
		ok          bool
		told        string
	}{
		{"memory.max", "1000000", true, "999424"},
		{"memory.high", "16M", true, "16777216"},
		{"memory.max", "-5", false, "999424"},
		{"memory.swap.max", "0", true, "0"},
		{"cpu.max", "150000 100000", true, "150000 100000"},
		{"cpu.max", "50000", true, "50000 100000"},
		{"cpu.max", "5 100000", false, "50000 100000"},
		{"cpu.weight", "10001", false, "100"},
		{"cpuset.cpus", "0,2-3", true, "0,2-3"},
		{"cpuset.cpus", "4", false, "0,2-3"},
		{"pids.max", "17", true, "17"},
		{"pids.max", "4194305", false, "17"},
	} {
		if got := w.h.Limit(l.name, l.value); got != l.ok {
			t.Errorf("%s = %s: %v", l.name, l.value, got)
		}
		reads(t, e, "/"+l.name, l.told)
	}
	if w.h.Limit("hugetlb.2MB.max", "0") || w.h.Limit("memory.current", "0") || w.h.Limit("cgroup.kill", "1") {
		t.Error("a limit that is none was taken")
	}
	reads(t, e, "/cpuset.cpus.effective", "0,2-3", "/memory.current", fmt.Sprint(8192+4096))
	e.Is(put(e, "/memory.max", "max"), linux.EPERM) // the namespace's root
	e.Is(put(e, "/cgroup.freeze", "1"), linux.EPERM)
}

func TestPIDs(t *testing.T) {
	w, e := newWorld(t)
	e.OK(put(e, "/cgroup.subtree_control", "+pids"))
	e.OK(e.Mkdir("/a", 0o755))
	e.OK(put(e, "/cgroup.subtree_control", "-pids"))
	e.OK(put(e, "/cgroup.subtree_control", "+pids +cpu"))
	e.Is(put(e, "/a/cgroup.procs", "1"), linux.EOPNOTSUPP) // below processes that share ids with it
	e.OK(put(e, "/cgroup.subtree_control", "-cpu -pids"))
	e.OK(put(e, "/a/cgroup.procs", "1"))
	e.OK(put(e, "/cgroup.subtree_control", "+pids"))
	e.OK(put(e, "/a/pids.max", "2"))
	p, err := w.fork(2, nil)
	e.OK(err)
	_, err = w.fork(3, nil)
	e.Is(err, linux.EAGAIN)
	e.Is(w.h.AddThread(p), linux.EAGAIN)
	reads(t, e, "/a/pids.current", "2", "/a/pids.events", "max 2", "/a/pids.events.local", "max 2", "/pids.events", "max 2", "/pids.events.local", "max 0")
	p.end()
	reads(t, e, "/a/pids.current", "2", "/a/cgroup.procs", "1")
	p.reap()
	reads(t, e, "/a/pids.current", "1", "/a/pids.peak", "2", "/pids.current", "1")
	e.OK(w.h.AddThread(w.procs[1]))
	reads(t, e, "/a/pids.current", "2")
	w.h.Count(w.procs[1], 1, 1, 0)
	// The controller's end takes its limit along.
	e.OK(put(e, "/cgroup.subtree_control", "-pids"))
	_, err = e.Stat("/a/pids.max")
	e.Is(err, linux.ENOENT)
	for pid := range int32(5) {
		_, err := w.fork(10+pid, nil)
		e.OK(err)
	}
	reads(t, e, "/pids.current", "6")
}

// What was used by who is gone stays with the group, or goes to the one above.
func TestCPUTime(t *testing.T) {
	w, e := newWorld(t)
	e.OK(e.Mkdir("/a", 0o755))
	p, err := w.fork(2, group(e, "/a"))
	e.OK(err)
	p.used = 5 * time.Second
	used := func(path string) time.Duration { return group(e, path).cpuTime() }
	if got := used("/a"); got != 5*time.Second {
		t.Errorf("a: %v", got)
	}
	e.OK(put(e, "/cgroup.procs", "2"))
	p.used = 7 * time.Second
	if a, all := used("/a"), used("/"); a != 5*time.Second || all != 7*time.Second {
		t.Errorf("after the move: %v of %v", a, all)
	}
	p.end()
	p.reap()
	e.OK(e.Rmdir("/a"))
	if all := used("/"); all != 7*time.Second {
		t.Errorf("at the end: %v", all)
	}
}

func TestFreezeAndKill(t *testing.T) {
	w, e := newWorld(t)
	e.OK(e.Mkdir("/a", 0o755))
	e.OK(e.Mkdir("/a/b", 0o755))
	p, err := w.fork(2, group(e, "/a/b"))
	e.OK(err)
	e.OK(put(e, "/a/cgroup.freeze", "1"))
	reads(t, e, "/a/b/cgroup.events", "populated 1,frozen 0", "/a/b/cgroup.freeze", "0")
	if !p.place.Freezing() {
		t.Error("it is not told to stand still")
	}
	w.h.Rest(p, true)
	reads(t, e, "/a/b/cgroup.events", "populated 1,frozen 1", "/a/cgroup.events", "populated 1,frozen 1", "/cgroup.events", "populated 1,frozen 0")
	e.OK(e.Mkdir("/a/c", 0o755))
	reads(t, e, "/a/c/cgroup.events", "populated 0,frozen 1", "/a/cgroup.events", "populated 1,frozen 1")
	q, err := w.fork(3, group(e, "/a/c"))
	e.OK(err)
	reads(t, e, "/a/c/cgroup.events", "populated 1,frozen 0", "/a/cgroup.events", "populated 1,frozen 0")
	e.OK(put(e, "/cgroup.procs", "3"))
	reads(t, e, "/a/c/cgroup.events", "populated 0,frozen 1", "/a/cgroup.events", "populated 1,frozen 1")
	e.OK(put(e, "/cgroup.procs", "2")) // while it stands still
	if p.place.Freezing() {
		t.Error("it stands still elsewhere")
	}
	e.OK(put(e, "/a/cgroup.procs", "2"))
	reads(t, e, "/a/cgroup.events", "populated 1,frozen 1")
	w.h.Rest(p, false)
	e.OK(put(e, "/a/cgroup.procs", "3"))
	e.OK(put(e, "/a/cgroup.kill", "1"))
	if !p.ended || !q.ended || w.procs[1].ended {
		t.Error("not those, or others, have ended")
	}
	reads(t, e, "/a/cgroup.events", "populated 0,frozen 1")
	e.OK(e.Rmdir("/a/b"))
	e.OK(e.Rmdir("/a/c"))
	e.OK(e.Rmdir("/a"))
	p.reap()
	q.reap()
	reads(t, e, "/pids.current", "1", "/cgroup.stat", "nr_descendants 0,nr_subsys_cpuset 1,nr_subsys_cpu 1,nr_subsys_io 1,nr_subsys_memory 1,nr_subsys_pids 1,"+
		"nr_dying_descendants 0,nr_dying_subsys_cpuset 0,nr_dying_subsys_cpu 0,nr_dying_subsys_io 0,nr_dying_subsys_memory 0,nr_dying_subsys_pids 0")
}

// A namespace is a boundary: nobody inside moves what is outside, or sets its limits.
func TestNamespace(t *testing.T) {
	w, e := newWorld(t)
	e.OK(e.Mkdir("/a", 0o755))
	e.OK(e.Mkdir("/a/b", 0o755))
	e.OK(e.Mkdir("/x", 0o755))
	_, err := w.fork(2, group(e, "/a"))
	e.OK(err)
	w.root = group(e, "/a")
	e.OK(put(e, "/a/b/cgroup.procs", "2"))
	e.Is(put(e, "/a/b/cgroup.procs", "1"), linux.ENOENT)
	e.Is(put(e, "/x/cgroup.procs", "2"), linux.ENOENT)
	e.Is(put(e, "/a/cgroup.max.depth", "1"), linux.EPERM)
	e.OK(put(e, "/a/b/cgroup.max.depth", "1"))
	for _, c := range []struct{ path, want string }{{"/", "/.."}, {"/a", "/"}, {"/a/b", "/b"}, {"/x", "/../x"}} {
		if got := group(e, c.path).PathFrom(w.root); got != c.want {
			t.Errorf("%s is %s, want %s", c.path, got, c.want)
		}
	}
}

// What guests can make has an end.
func TestBounds(t *testing.T) {
	_, e := newWorld(t)
	path := ""
	for range maxDepth {
		path += "/d"
		e.OK(e.Mkdir(path, 0o755))
	}
	e.Is(e.Mkdir(path+"/d", 0o755), linux.EAGAIN)
	for i := range maxCgroups - maxDepth {
		e.OK(e.Mkdir(fmt.Sprintf("/g%d", i), 0o755))
	}
	e.Is(e.Mkdir("/more", 0o755), linux.EAGAIN)
	e.OK(e.Rmdir("/g7"))
	e.OK(e.Mkdir("/more", 0o755))
	n := group(e, "/more")
	for i := range maxXattrs {
		e.OK(n.SetXattr(e.Ctx, fmt.Sprintf("user.%d", i), nil, 0))
	}
	e.Is(n.SetXattr(e.Ctx, "user.more", nil, 0), linux.ENOSPC)
	e.Is(n.SetXattr(e.Ctx, "user.1", make([]byte, maxXattrBytes+1), 0), linux.ENOSPC)
	var last error
	made := 0
	for i := 10; i < 500 && last == nil; i++ {
		if last = group(e, fmt.Sprintf("/g%d", i)).SetXattr(e.Ctx, "user.x", make([]byte, maxXattrBytes/2), 0); last == nil {
			made++
		}
	}
	e.Is(last, linux.ENOSPC)
	for i := range made {
		e.OK(e.Rmdir(fmt.Sprintf("/g%d", 10+i)))
	}
	e.OK(group(e, "/g400").SetXattr(e.Ctx, "user.x", make([]byte, maxXattrBytes/2), 0))
}

// Programs are bounded in each group and in all, and go with their group.
func TestDevicePrograms(t *testing.T) {
	w, e := newWorld(t)
	const exit, mov = "\x95\x00\x00\x00\x00\x00\x00\x00", "\xb7\x00\x00\x00\x00\x00\x00\x00"
	long, err := ebpf.New([]byte(strings.Repeat(mov, 4095)+exit), true)
	e.OK(err)
	short, err := ebpf.New([]byte(mov+exit), true)
	e.OK(err)
	for i := range maxAllInstructions/4096 - 1 {
		name := fmt.Sprintf("/l%d", i)
		e.OK(e.Mkdir(name, 0o755))
		e.OK(group(e, name).Attach(&DeviceProgram{Program: long}, nil))
	}
	e.OK(e.Mkdir("/a", 0o755))
	a := group(e, "/a")
	var all []*DeviceProgram
	for i := range maxPrograms {
		all = append(all, &DeviceProgram{Program: short, ID: uint32(i + 1)})
		e.OK(a.Attach(all[i], nil))
	}
	e.Is(a.Attach(&DeviceProgram{Program: short}, nil), linux.E2BIG)
	e.OK(a.Attach(&DeviceProgram{Program: short, ID: 99}, all[3]))
	e.Is(a.Detach(all[3]), linux.ENOENT)
	if w.h.Program(99) == nil || w.h.Program(4) != nil {
		t.Error("another was replaced")
	}
	e.OK(a.Detach(all[5]))
	e.Is(a.Attach(&DeviceProgram{Program: long}, nil), linux.ENOMEM)
	_, err = w.fork(2, a)
	e.OK(err)
	e.Is(w.h.MayUse(w.procs[2], ebpf.Access{}), linux.EPERM)
	e.OK(w.h.MayUse(w.procs[1], ebpf.Access{}))
	e.OK(put(e, "/cgroup.procs", "2"))
	e.OK(e.Rmdir("/a"))
	for i := range maxAllInstructions/4096 - 1 {
		e.OK(e.Rmdir(fmt.Sprintf("/l%d", i)))
	}
	if w.h.Filters() || w.h.instructions != 0 {
		t.Errorf("%d instructions are left", w.h.instructions)
	}
}

// A listing goes on where it was, though groups come and go.
func TestList(t *testing.T) {
	_, e := newWorld(t)
	e.OK(e.Mkdir("/a", 0o755))
	e.OK(e.Mkdir("/b", 0o755))
	got := e.List("/a")
	for _, name := range []string{"cgroup.procs", "cgroup.events", "cpu.stat"} {
		if !strings.Contains(got, name) {
			t.Errorf("no %s in %q", name, got)
		}
	}
	if strings.Contains(got, "memory.max") {
		t.Errorf("files of a controller that is off: %q", got)
	}
	e.OK(put(e, "/cgroup.subtree_control", "+cpuset"))
	if got := e.List("/a"); !strings.Contains(got, "cpuset.cpus.effective") {
		t.Errorf("no cpuset.cpus.effective in %q", got)
	}
	if a := e.MustStat("/"); a.Nlink != 4 {
		t.Errorf("%d links", a.Nlink)
	}
}
