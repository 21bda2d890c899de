package procfs

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/vfs"
)

// TestGolden holds what the fake processes look like, byte by byte.
func TestGolden(t *testing.T) {
	w := newWorld(t)
	sh := w.as(10)
	for path, want := range map[string]string{
		"/self/comm":                        "sh (x)\n",
		"/self/cmdline":                     "sh\x00-c\x00",
		"/self/environ":                     "A=1\x00",
		"/self/cgroup":                      "0::/\n",
		"/self/statm":                       "273 0 0 1 0 272 0\n",
		"/self/uid_map":                     "         0          0 4294967295\n",
		"/self/mounts":                      "proc / proc rw 0 0\n",
		"/self/wchan":                       "0",
		"/version":                          "Linux version 6.1.0 (bulkhead@bulkhead) (gcc) #1 SMP\n",
		"/sys/kernel/hostname":              "box\n",
		"/sys/kernel/osrelease":             "6.1.0\n",
		"/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
		"/thread-self/comm":                 "sh (x)\n",
		"/1/task/1/children":                "10 20 ",
		"/self/maps": "00400000-00401000 r-xp 00001000 08:01 42                                 /bin/sh\n" +
			"00600000-00700000 rw-p 00000000 00:00 0                                  [heap]\n" +
			"7ffe0000-7fff0000 rw-p 00000000 00:00 0                                  [stack]\n",
	} {
		if got := w.read(sh, path); got != want {
			t.Errorf("%s:\n%q, want\n%q", path, got, want)
		}
	}
}

func TestStat(t *testing.T) {
	w := newWorld(t)
	got := w.read(w.as(10), "/10/stat")
	const want = `^10 \(sh \(x\)\) S 1 10 10 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 2 0 1000 1118208 0 18446744073709551615 4194304 4198400 2147418112 `
	if !regexp.MustCompile(want).MatchString(got) {
		t.Errorf("%q", got)
	}
	w.k.processes[10].info.TTY = linux.Mkdev(136, 3)
	if got := strings.Fields(w.read(w.as(10), "/10/stat"))[7]; got != "34819" {
		t.Errorf("tty_nr %s, want that of pts/3", got)
	}
}

func TestStatus(t *testing.T) {
	w := newWorld(t)
	got := w.read(w.as(10), "/self/status")
	for _, line := range []string{"Name:\tsh (x)", "Umask:\t0022", "State:\tS (sleeping)", "Tgid:\t10", "Pid:\t10", "PPid:\t1",
		"Uid:\t1000\t1000\t1000\t1000", "Groups:\t4 27 ", "VmSize:\t    1092 kB", "Threads:\t2", "SigBlk:\t0000000000010000",
		"CapEff:\t0000000000000000", "Cpus_allowed:\t3", "Cpus_allowed_list:\t0-1", "NoNewPrivs:\t0"} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no line %q in\n%s", line, got)
		}
	}
	if got := w.read(w.as(10), "/self/task/11/status"); !strings.Contains(got, "Tgid:\t10\n") || !strings.Contains(got, "Pid:\t11\n") {
		t.Errorf("thread 11:\n%s", got)
	}
}

// TestShapesAreTheHosts compares the names of lines and the number of fields
// with the host's own /proc.
func TestShapesAreTheHosts(t *testing.T) {
	w := newWorld(t)
	root := w.as(1)
	for _, c := range []struct {
		path string
		key  func(line string) string // what has to be the same
	}{
		{"/self/status", lineName},
		{"/self/stat", afterComm},
		{"/self/statm", fieldCount},
		{"/self/limits", func(l string) string { return l[:25] + l[min(68, len(l)):] }},
		{"/self/io", lineName},
		{"/uptime", fieldCount},
		{"/loadavg", fieldCount},
		{"/swaps", func(l string) string { return l }},
	} {
		host, err := os.ReadFile("/proc" + c.path)
		if err != nil {
			t.Logf("skipped: %v", err)
			continue
		}
		want := keys(string(host), c.key)
		got := keys(w.read(root, c.path), c.key)
		if c.path == "/self/status" { // which lines there are differs by kernel
			for i := 0; i < len(got); {
				if !slices.Contains(want, got[i]) {
					t.Logf("the host has no %s", got[i])
					got = slices.Delete(got, i, i+1)
				} else {
					i++
				}
			}
			want = slices.DeleteFunc(want, func(k string) bool {
				if slices.Contains(got, k) {
					return false
				}
				t.Logf("only the host has %s", k)
				return true
			})
		}
		if c.path == "/swaps" {
			want = want[:1]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%q\nhost\n%q", c.path, got, want)
		}
	}
}

func keys(text string, key func(string) string) (all []string) {
	for line := range strings.Lines(text) {
		all = append(all, key(strings.TrimSuffix(line, "\n")))
	}
	return all
}

func lineName(l string) string   { return l[:max(strings.IndexByte(l, ':'), 0)] }
func fieldCount(l string) string { return strings.Repeat("x", len(strings.Fields(l))) }
func afterComm(l string) string  { return fieldCount(l[strings.LastIndexByte(l, ')'):]) }

// TestHostParsersUnderstandMeminfo reads meminfo as the host's is read at boot.
func TestHostParsersUnderstandMeminfo(t *testing.T) {
	w := newWorld(t)
	m := parseMeminfo(w.read(w.as(1), "/meminfo"))
	if m["MemTotal"] != 4096000 || m["MemFree"] != 1000 {
		t.Errorf("%v", m)
	}
	host, err := ReadHost()
	if err != nil {
		t.Fatal(err)
	}
	if host.CPUs < 1 || host.Memory["MemTotal"] == 0 || host.Release == "" {
		t.Errorf("%+v", host)
	}
}

func TestListing(t *testing.T) {
	w := newWorld(t)
	sh := w.as(10)
	root := w.list(sh, "/")
	for _, name := range []string{"1", "10", "20", "self", "cpuinfo", "sys", "mounts"} {
		if !slices.Contains(root, name) {
			t.Errorf("/ lacks %s", name)
		}
	}
	if slices.Contains(root, "11") {
		t.Error("/ lists a thread")
	}
	if got := w.read(sh, "/11/comm"); got != "sh (x)\n" {
		t.Errorf("/11 does not lead to its process: %q", got)
	}
	if got := w.list(sh, "/self/task"); !slices.Equal(got, []string{".", "..", "10", "11"}) {
		t.Errorf("task: %q", got)
	}
	if slices.Contains(w.list(sh, "/self/task/11"), "task") {
		t.Error("a thread has a task directory")
	}
	for _, r := range table { // everything that is listed can be looked up
		if _, err := vfs.Walk(sh, w.ns.Root(), w.ns.Root(), "/10/"+r.name, vfs.NoFollow); r.in(&entry{whole: true}) && err != nil {
			t.Errorf("/10/%s: %v", r.name, err)
		}
	}
}

func TestProcessesComeAndGo(t *testing.T) {
	w := newWorld(t)
	init := w.as(1)
	w.read(init, "/20/comm")
	f, err := w.open(init, "/20/status", linux.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	replaced := *w.k.processes[20]
	replaced.threads = []*fakeThread{{tid: 20, tgid: 20, name: "new", creds: vfs.RootCreds()}}
	w.k.processes[20] = &replaced
	if got := w.read(init, "/20/comm"); got != "new\n" {
		t.Errorf("pid used again: comm %q", got)
	}
	if _, err := f.Read(init, make([]byte, 10)); err != linux.ESRCH {
		t.Errorf("read of a process that is gone: %v, want ESRCH", err)
	}
	delete(w.k.processes, 20)
	if _, err := w.open(init, "/20/comm", linux.O_RDONLY); err != linux.ENOENT {
		t.Errorf("open after it ended: %v, want ENOENT", err)
	}
}

func TestOthersArePrivate(t *testing.T) {
	w := newWorld(t)
	sh := w.as(10)
	for _, path := range []string{"/20/environ", "/20/maps", "/20/auxv", "/20/io"} {
		if _, err := w.open(sh, path, linux.O_RDONLY); err != linux.EACCES {
			t.Errorf("%s: %v, want EACCES", path, err)
		}
	}
	if _, err := w.open(sh, "/20/fd", linux.O_RDONLY|linux.O_DIRECTORY); err != linux.EACCES {
		t.Errorf("fd: %v, want EACCES", err)
	}
	for _, name := range []string{"cwd", "root"} {
		p, err := vfs.Walk(sh, w.ns.Root(), w.ns.Root(), "/20/"+name, vfs.NoFollow)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := vfs.Readlink(sh, p); err != linux.EACCES {
			t.Errorf("readlink %s: %v, want EACCES", name, err)
		}
	}
	w.read(sh, "/20/status")
	w.read(w.as(1), "/20/environ")
}

// Who could look into a process keeps no way into the program that it executes next, which
// may have more power.
func TestOpenedBefore(t *testing.T) {
	w := newWorld(t)
	process := w.k.processes[20]
	it := process.threads[0]
	if _, err := it.fds.Install(vfs.NewAnonFile(plain{}, "pipe:[5]", linux.O_RDONLY), 3, 100, false); err != nil {
		t.Fatal(err)
	}
	user := &caller{vfs.KernelContext(), 10, it.creds}
	var files []*vfs.File
	for _, name := range []string{"maps", "smaps", "environ", "auxv", "io", "syscall", "personality"} {
		f, err := w.open(user, "/20/"+name, linux.O_RDONLY)
		if err != nil {
			t.Fatal(name, err)
		}
		files = append(files, f)
	}
	var links []vfs.Path
	for _, name := range []string{"fd/3", "cwd", "root"} {
		p, err := vfs.Walk(user, w.ns.Root(), w.ns.Root(), "/20/"+name, vfs.NoFollow)
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := vfs.Readlink(user, p); err != nil {
			t.Errorf("%s before: %v", name, err)
		}
		links = append(links, p)
	}
	it.creds, it.memory = vfs.RootCreds(), &fakeMemory{args: it.memory.args, argLen: it.memory.argLen, regions: it.memory.regions}
	for _, f := range files {
		if n, err := f.Read(user, make([]byte, 100)); n > 0 || err != nil && err != linux.EACCES {
			t.Errorf("%s afterwards: %d bytes, %v", f.Name(), n, err)
		}
		f.DecRef(user)
	}
	for i, p := range links {
		if _, err := vfs.Readlink(user, p); err != linux.EACCES {
			t.Errorf("link %d afterwards: %v", i, err)
		}
	}
}

// plain is an open file of a test.
type plain struct{}

func (plain) Release()       {}
func (plain) FDInfo() []byte { return []byte("extra:\t1\n") }

func TestDescriptors(t *testing.T) {
	w := newWorld(t)
	sh := w.as(10)
	fds := w.k.processes[10].threads[0].fds
	f := vfs.NewAnonFile(plain{}, "pipe:[5]", linux.O_WRONLY)
	fd, err := fds.Install(f, 3, 100, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.list(sh, "/self/fd"); !slices.Equal(got, []string{".", "..", "3"}) {
		t.Errorf("fd: %q", got)
	}
	p, err := vfs.Walk(sh, w.ns.Root(), w.ns.Root(), "/self/fd/3", vfs.NoFollow)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := vfs.Readlink(sh, p); got != "pipe:[5]" || err != nil {
		t.Errorf("readlink %q, %v", got, err)
	}
	if a, _ := vfs.Stat(sh, p); a.Mode != linux.S_IFLNK|0o300 || a.UID != 1000 {
		t.Errorf("mode %o of uid %d", a.Mode, a.UID)
	}
	if got := w.read(sh, "/self/fdinfo/3"); !strings.HasPrefix(got, "pos:\t0\nflags:\t02000001\nmnt_id:\t") || !strings.HasSuffix(got, "extra:\t1\n") {
		t.Errorf("fdinfo %q", got)
	}
	old, _ := fds.Remove(fd)
	old.DecRef(sh)
	if _, err := vfs.Walk(sh, w.ns.Root(), w.ns.Root(), "/self/fd/3", vfs.NoFollow); err != linux.ENOENT {
		t.Errorf("closed: %v, want ENOENT", err)
	}
}

func TestKnobs(t *testing.T) {
	w := newWorld(t)
	root, sh := w.as(1), w.as(10)
	for _, c := range []struct {
		name  string
		who   vfs.Context
		path  string
		value string
		want  error
		reads string
	}{
		{"rename itself", sh, "/self/comm", "a name that is too long\n", nil, "a name that is \n"},
		{"rename another", root, "/10/comm", "x", linux.EINVAL, ""},
		{"hostname", root, "/sys/kernel/hostname", "hull\n", nil, "hull\n"},
		{"hostname without power", sh, "/sys/kernel/hostname", "x", linux.EACCES, "hull\n"},
		{"number", root, "/sys/vm/swappiness", "10\n", nil, "10\n"},
		{"no number", root, "/sys/vm/swappiness", "x", linux.EINVAL, "10\n"},
		{"two numbers", root, "/sys/net/ipv4/ip_local_port_range", "1024 2048", nil, "1024\t2048\n"},
		{"too many numbers", root, "/sys/vm/swappiness", "1 2", linux.EINVAL, "10\n"},
		{"oom_score_adj", sh, "/self/oom_score_adj", "500", nil, "500\n"},
		{"oom_score_adj lower", sh, "/self/oom_score_adj", "0", linux.EACCES, "500\n"},
		{"oom_score_adj too high", sh, "/self/oom_score_adj", "1001", linux.EINVAL, "500\n"},
	} {
		if err := w.write(c.who, c.path, c.value); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if c.reads == "" {
			continue
		}
		if got := w.read(c.who, c.path); got != c.reads {
			t.Errorf("%s: reads %q, want %q", c.name, got, c.reads)
		}
	}
	if err := w.fs.SetSysctl("net.core.somaxconn", "77"); err != nil || w.read(root, "/sys/net/core/somaxconn") != "77\n" {
		t.Errorf("SetSysctl: %v", err)
	}
	if err := w.fs.SetSysctl("no.such", "1"); err != linux.ENOENT {
		t.Errorf("SetSysctl of nothing: %v", err)
	}
}

func TestCommandLineWrittenOver(t *testing.T) {
	w := newWorld(t)
	m := w.k.processes[10].threads[0].memory
	m.args, m.argLen = "a longer title\x00B=2\x00", 6
	if got := w.read(w.as(10), "/self/cmdline"); got != "a longer title\x00" {
		t.Errorf("%q", got)
	}
}

func TestZombie(t *testing.T) {
	w := newWorld(t)
	p := w.k.processes[20]
	p.info.Zombie = true
	p.threads[0].memory, p.threads[0].fds, p.threads[0].fs = nil, nil, nil
	root := w.as(1)
	if got := w.read(root, "/20/stat"); !strings.HasPrefix(got, "20 (other) Z 1 ") {
		t.Errorf("%q", got)
	}
	for _, r := range table {
		if r.mode&linux.S_IFMT == linux.S_IFREG && r.mode&0o444 != 0 && r.only != inThread {
			if f, err := w.open(root, "/20/"+r.name, linux.O_RDONLY); err == nil {
				f.Read(root, make([]byte, 100)) // nothing of it may panic
				f.DecRef(root)
			}
		}
	}
	if got := w.list(root, "/20/fd"); len(got) != 2 {
		t.Errorf("fd: %q", got)
	}
}

func TestEscape(t *testing.T) {
	if got := escapePath("/a b\\c\n"); got != `/a\040b\134c\012` {
		t.Errorf("%q", got)
	}
}

func TestCPUMask(t *testing.T) {
	for n, want := range map[int]string{1: "1", 2: "3", 8: "ff", 32: "ffffffff", 33: "1,ffffffff", 64: "ffffffff,ffffffff"} {
		if got := cpuMask(Host{CPUs: n}.allowed(nil)); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	some := Host{CPUs: 12}.allowed([]byte{0x8e, 0x01})
	if mask, list := cpuMask(some), cpuList(some); mask != "18e" || list != "1-3,7-8" {
		t.Errorf("%s, %s", mask, list)
	}
}

// TestMapsLinesAreTheHosts takes the host's lines apart and formats them again.
func TestMapsLinesAreTheHosts(t *testing.T) {
	host, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(host)) {
		var r mm.Region
		var perms, name string
		var major, minor uint32
		var ino uint64
		if n, _ := fmt.Sscanf(line, "%x-%x %s %x %x:%x %d %s", &r.Start, &r.End, &perms, &r.Offset, &major, &minor, &ino, &name); n < 7 {
			t.Fatalf("%q: %d fields", line, n)
		}
		for i, bit := range []uint8{1, 2, 4} {
			if perms[i] != '-' {
				r.Prot |= bit
			}
		}
		r.Shared = perms[3] == 's'
		r.File = &mm.Backing{Dev: linux.Mkdev(major, minor), Ino: ino}
		var b bytes.Buffer
		mapsLine(&b, r, name)
		if b.String() != line && !strings.Contains(line, "(deleted)") {
			t.Errorf("%q\nhost\n%q", b.String(), line)
		}
	}
}

func TestMemory(t *testing.T) {
	w := newWorld(t)
	sh := w.as(10)
	f, err := w.open(sh, "/self/mem", linux.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer f.DecRef(sh)
	b := make([]byte, 2)
	if n, err := f.Pread(sh, b, 0x1003); n != 2 || err != nil || string(b) != "-c" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if n, err := f.Pwrite(sh, []byte("X"), 0x1000); n != 1 || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
	if got := w.read(sh, "/self/cmdline"); got != "Xh\x00-c\x00" {
		t.Errorf("cmdline %q", got)
	}
	if _, err := f.Pread(sh, b, 0); err != linux.EIO {
		t.Errorf("read of nothing: %v, want EIO", err)
	}
	if _, err := w.open(sh, "/20/mem", linux.O_RDONLY); err != linux.EACCES {
		t.Errorf("another's: %v, want EACCES", err)
	}
	if f, err := w.open(sh, "/self/mounts", linux.O_RDONLY); err != nil || f.Queue() == nil {
		t.Errorf("mounts cannot be polled: %v", err)
	}
}

// network has an interface eth0, and remembers what it was told last.
type network struct {
	conf6    map[string]map[string]Sysctl
	settings Settings
	told     string
	refuses  bool
}

func (n *network) Tune(path, value string) error {
	if n.refuses {
		return linux.EINVAL
	}
	n.told = path + " " + value
	return nil
}
func (n *network) Conf6() map[string]map[string]Sysctl { return n.conf6 }
func (n *network) Links() []string                     { return []string{"lo", "eth0"} }
func (n *network) Settings() *Settings                 { return &n.settings }
func (n *network) Admin(vfs.Context) bool              { return true }

// What is below net is the network's of who looks.
func TestSysctlOfNetworks(t *testing.T) {
	w := newWorld(t)
	one, other := &network{}, &network{}
	now := one
	fs := New(Config{Kernel: w.k, Network: func(vfs.Context) Network { return now }})
	value := func(path string) string { return fs.sys.value(vfs.KernelContext(), path) }
	if err := fs.SetSysctl("net.ipv4.ip_forward", "1"); err != nil || one.told != "net/ipv4/ip_forward 1" || value("net/ipv4/ip_forward") != "1" {
		t.Errorf("%v, %q", err, one.told)
	}
	for _, path := range []string{"net/ipv4/conf/all/forwarding", "net/ipv4/conf/default/forwarding", "net/ipv4/conf/lo/forwarding"} {
		if v := value(path); v != "1" {
			t.Errorf("%s: %q", path, v)
		}
	}
	if v, err := fs.sys.confs[0].read(vfs.KernelContext(), "eth0", "forwarding"); v != "1" || err != nil {
		t.Error("forwarding of an interface:", v, err)
	}
	for path, want := range map[string]error{
		"net/ipv4/conf/eth0/rp_filter": nil, "net/ipv4/conf/eth1/rp_filter": linux.ENOENT, "net/ipv4/conf/eth0/nonesuch": linux.ENOENT,
		"net/ipv6/neigh/eth0/gc_stale_time": nil,
	} {
		if err := fs.SetSysctl(path, "2"); err != want {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	if v, err := fs.sys.confs[0].read(vfs.KernelContext(), "eth0", "rp_filter"); v != "2" || err != nil {
		t.Error(v, err)
	}
	now = other
	if v, err := fs.sys.confs[0].read(vfs.KernelContext(), "eth0", "rp_filter"); v != "0" || err != nil || value("net/ipv4/ip_forward") != "0" {
		t.Error("another network has it too:", v, err)
	}
	other.refuses = true
	if err := fs.SetSysctl("net.ipv4.ip_forward", "1"); err != linux.EINVAL || value("net/ipv4/ip_forward") != "0" {
		t.Error(err)
	}
}

// A value that somebody else keeps is asked for each time, and checked there.
func TestSysctlKeptElsewhere(t *testing.T) {
	kept := int64(1)
	w := newWorld(t)
	keeper := &network{conf6: map[string]map[string]Sysctl{"eth0": {"accept_ra": {func() (int64, error) { return kept, nil }, func(v int64) error {
		if v > 2 {
			return linux.EINVAL
		}
		kept = v
		return nil
	}}}}}
	fs := New(Config{Kernel: w.k, Network: func(vfs.Context) Network { return keeper }})
	for value, want := range map[string]error{"2": nil, "0": nil, "3": linux.EINVAL, "x": linux.EINVAL} {
		was := kept
		if err := fs.SetSysctl("net.ipv6.conf.eth0.accept_ra", value); err != want || err != nil && kept != was {
			t.Errorf("%s: %v, %d", value, err, kept)
		}
	}
}
