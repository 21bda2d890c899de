package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	program("proc.self", procSelf)
	program("proc.links", procLinks)
	program("proc.fd", procFD)
	program("proc.memory", procMemory)
	program("proc.others", procOthers)
	program("proc.names", procNames)
	program("proc.writes", procWrites)
	program("proc.machine", procMachine)
	program("proc.namespaces", procNamespaces)
	child("sleep", func([]string) int {
		fmt.Println("ready")
		os.Stdin.Read(make([]byte, 1))
		return 0
	})
}

// file reads one, or says why not.
func file(t *T, name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		t.Err("read "+name, err)
	}
	return string(b)
}

// field gives a line of a status file.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Join(strings.Fields(rest), " ")
		}
	}
	return "no " + name
}

func procSelf(t *T) {
	status := file(t, "/proc/self/status")
	for _, name := range []string{"Name", "Umask", "Uid", "Gid", "TracerPid", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp"} {
		t.Say("%s %s", name, field(status, name))
	}
	pid := fmt.Sprint(os.Getpid())
	t.Say("pid %v tgid %v ppid %v", field(status, "Pid") == pid, field(status, "Tgid") == pid, field(status, "PPid") == fmt.Sprint(os.Getppid()))
	stat := file(t, "/proc/self/stat")
	after := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	t.Say("stat begins %q, %d fields follow", strings.ReplaceAll(stat[:strings.LastIndexByte(stat, ')')+1], pid, "PID"), len(after))
	t.Say("group %v session %v", after[2] == fmt.Sprint(unix.Getpgrp()), after[3] != "0")
	sid, _ := unix.Getsid(0)
	t.Say("session is getsid %v", after[3] == fmt.Sprint(sid))
	t.Say("statm fields %d", len(strings.Fields(file(t, "/proc/self/statm"))))
	t.Say("cmdline %q", strings.Split(file(t, "/proc/self/cmdline"), "\x00")[1:])
	t.Say("environ agrees %v", strings.Count(file(t, "/proc/self/environ"), "\x00") >= len(os.Environ()))
	t.Say("auxv %v", len(file(t, "/proc/self/auxv"))%16)
	t.Say("comm %q", file(t, "/proc/self/comm"))
	t.Must("nofile", unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 100, Max: 200}))
	for line := range strings.Lines(file(t, "/proc/self/limits")) {
		if strings.HasPrefix(line, "Limit") || strings.HasPrefix(line, "Max open files") {
			t.Say("%q", line)
		}
	}
	// The same file again from its start is a new text.
	f, err := os.Open("/proc/self/comm")
	t.Must("open", err)
	b := make([]byte, 100)
	n, _ := f.Read(b)
	m, err := f.Read(b[n:])
	t.Say("second read %d %v", m, err)
	name := append([]byte("renamed"), 0)
	unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
	f.Seek(0, 0)
	_, err = f.Read(b)
	t.Err("from the start", err)
	info, err := f.Stat()
	t.Say("size %d mode %v %v", info.Size(), info.Mode(), err)
}

func procLinks(t *T) {
	for _, name := range []string{"cwd", "root", "exe"} {
		target, err := os.Readlink("/proc/self/" + name)
		same := false
		switch name {
		case "cwd":
			same = target == t.dir
		case "root":
			same = target == "/"
		case "exe":
			exe, _ := os.Executable()
			same = target == exe
		}
		t.Say("%s right %v %s", name, same, errName(err))
	}
	t.Write("here", "found\n")
	t.Text("/proc/self/cwd/here")
	var a, b unix.Stat_t
	t.Must("stat", unix.Stat("/proc/self/cwd", &a))
	t.Must("stat", unix.Stat(".", &b))
	t.Say("cwd is the directory itself %v", a.Ino == b.Ino && a.Dev == b.Dev)
	t.Must("lstat", unix.Lstat("/proc/self/cwd", &a))
	t.Say("mode %o size %d", a.Mode, a.Size)
	t.Must("mkdir", os.Mkdir("gone", 0o755))
	t.Must("chdir", os.Chdir("gone"))
	t.Must("rmdir", os.Remove("../gone"))
	target, err := os.Readlink("/proc/self/cwd")
	t.Say("removed directory %q %s", strings.TrimPrefix(target, t.dir), errName(err))
	self, err := os.Readlink("/proc/self")
	t.Say("self %v %s", self == fmt.Sprint(os.Getpid()), errName(err))
	thread, err := os.Readlink("/proc/thread-self")
	t.Say("thread-self %v %s", strings.HasPrefix(thread, self+"/task/"), errName(err))
	_, err = os.Readlink("/proc/self/stat")
	t.Err("readlink of a file", err)
	_, err = os.Stat("/proc/self/nosuch")
	t.Err("no such name", err)
	_, err = os.Stat("/proc/99999999")
	t.Err("no such process", err)
	_, err = os.Stat("/proc/01")
	t.Err("leading zero", err)
	for _, kind := range []string{"mnt", "net", "pid", "user", "uts", "ipc"} {
		target, err := os.Readlink("/proc/self/ns/" + kind)
		ok, _ := regexp.MatchString(`^`+kind+`:\[[0-9]+\]$`, target)
		t.Say("ns/%s %v %s", kind, ok, errName(err))
	}
}

func procFD(t *T) {
	fd := t.Open("file", unix.O_RDWR|unix.O_CREAT|unix.O_APPEND, 0o600)
	t.Must("dup", unix.Dup3(fd, 50, unix.O_CLOEXEC))
	unix.Write(50, []byte("hello"))
	target, err := os.Readlink("/proc/self/fd/50")
	t.Say("link %v %s", target == t.dir+"/file", errName(err))
	var st unix.Stat_t
	t.Must("lstat", unix.Lstat("/proc/self/fd/50", &st))
	t.Say("mode %o", st.Mode)
	info := file(t, "/proc/self/fdinfo/50")
	t.Say("pos %s flags %s", field(info, "pos"), field(info, "flags"))
	again := t.Open("/proc/self/fd/50", unix.O_RDONLY, 0)
	b := make([]byte, 10)
	n, err := unix.Read(again, b)
	t.Say("opened again %q %s", b[:n], errName(err))
	unix.Unlink("file")
	target, _ = os.Readlink("/proc/self/fd/50")
	t.Say("unlinked %q", strings.TrimPrefix(target, t.dir))
	n, err = unix.Read(t.Open("/proc/self/fd/50", unix.O_RDONLY, 0), b)
	t.Say("unlinked, opened %q %s", b[:n], errName(err))
	var p [2]int
	t.Must("pipe", unix.Pipe2(p[:], unix.O_CLOEXEC))
	target, _ = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", p[0]))
	ok, _ := regexp.MatchString(`^pipe:\[[0-9]+\]$`, target)
	t.Say("pipe %v", ok)
	w := t.Open(fmt.Sprintf("/proc/self/fd/%d", p[0]), unix.O_WRONLY, 0)
	unix.Write(w, []byte("through"))
	n, _ = unix.Read(p[0], b)
	t.Say("pipe opened again %q", b[:n])
	e, err := unix.Eventfd(3, 0)
	t.Must("eventfd", err)
	target, _ = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", e))
	t.Say("eventfd %q", target)
	_, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", e), unix.O_RDWR, 0)
	t.Err("eventfd opened again", err)
	_, err = unix.Open("/proc/self/fd/77", unix.O_RDONLY, 0)
	t.Err("closed", err)
	names, err := os.ReadDir("/proc/self/fd")
	t.Say("listed %v %s", slices.ContainsFunc(names, func(d os.DirEntry) bool { return d.Name() == "50" }), errName(err))
	t.Err("unlink", unix.Unlink("/proc/self/fd/50"))
}

func procMemory(t *T) {
	m, err := unix.Mmap(-1, 0, 3<<12, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	t.Must("mmap", err)
	fd := t.Open("mapped", unix.O_RDWR|unix.O_CREAT, 0o600)
	t.Must("truncate", unix.Ftruncate(fd, 1<<13))
	shared, err := unix.Mmap(fd, 1<<12, 1<<12, unix.PROT_READ, unix.MAP_SHARED)
	t.Must("mmap", err)
	find := func(what string, b []byte) {
		prefix := fmt.Sprintf("%x-", addr(b))
		for line := range strings.Lines(file(t, "/proc/self/maps")) {
			if strings.HasPrefix(line, prefix) {
				f := strings.Fields(line)
				t.Say("%s %s %s %v", what, f[1], f[2], len(f) > 5 && strings.HasSuffix(f[5], "/mapped"))
				return
			}
		}
		t.Say("%s is not there", what)
	}
	find("shared", shared)
	t.Must("mprotect", unix.Mprotect(m[1<<12:2<<12], unix.PROT_NONE))
	find("after a hole", m[2<<12:])
	find("hole", m[1<<12:])
	maps := file(t, "/proc/self/maps")
	for _, name := range []string{"[heap]", "[stack]", "[vdso]"} {
		t.Say("%s %d", name, strings.Count(maps, name))
	}
	line := regexp.MustCompile(`^[0-9a-f]{8,}-[0-9a-f]{8,} [r-][w-][x-][ps] [0-9a-f]{8,} [0-9a-f]{2,}:[0-9a-f]{2,} \d+ ( +\S.*)?\n$`)
	odd := 0
	for l := range strings.Lines(maps) {
		if !line.MatchString(l) {
			odd++
			t.Say("odd line %q", l)
		}
	}
	t.Say("odd lines %d", odd)
	copy(m, "peek")
	mem := t.Open("/proc/self/mem", unix.O_RDWR, 0)
	b := make([]byte, 4)
	n, err := unix.Pread(mem, b, int64(addr(m)))
	t.Say("mem %q %s", b[:max(n, 0)], errName(err))
	n, err = unix.Pwrite(mem, []byte("poke"), int64(addr(m)))
	t.N("mem written", n, err)
	t.Say("memory %q", m[:4])
	_, err = unix.Pread(mem, b, 0)
	t.Err("mem at 0", err)
	mounts := t.Open("/proc/self/mountinfo", unix.O_RDONLY, 0)
	ep, err := unix.EpollCreate1(0)
	t.Must("epoll", err)
	t.Err("mountinfo in an epoll", unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, mounts, &unix.EpollEvent{Events: unix.EPOLLPRI}))
	stat := t.Open("/proc/self/stat", unix.O_RDONLY, 0)
	t.Err("stat in an epoll", unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, stat, &unix.EpollEvent{Events: unix.EPOLLIN}))
	t.Say("smaps has Size %v", strings.Contains(file(t, "/proc/self/smaps"), "\nSize: "))
}

func procOthers(t *T) {
	exe, err := os.Executable()
	t.Must("executable", err)
	cmd := exec.Command(exe, "+sleep", "an argument")
	in, err := cmd.StdinPipe()
	t.Must("pipe", err)
	out, err := cmd.StdoutPipe()
	t.Must("pipe", err)
	cmd.Env = []string{"ONLY=this"}
	t.Must("start", cmd.Start())
	out.Read(make([]byte, 10))
	dir := fmt.Sprintf("/proc/%d/", cmd.Process.Pid)
	t.Say("cmdline %q", strings.Split(file(t, dir+"cmdline"), "\x00")[1:])
	t.Say("environ %q", file(t, dir+"environ"))
	t.Say("ppid %v", field(file(t, dir+"status"), "PPid") == fmt.Sprint(os.Getpid()))
	t.Say("comm %q", file(t, dir+"comm"))
	target, err := os.Readlink(dir + "exe")
	t.Say("exe %v %s", target == exe, errName(err))
	t.Err("rename it", os.WriteFile(dir+"comm", []byte("x"), 0))
	children := file(t, fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	t.Say("children %v", strings.Contains(children, fmt.Sprint(cmd.Process.Pid)) || children == "")
	status, err := os.Open(dir + "status")
	t.Must("open", err)
	held, err := os.Open(dir)
	t.Must("open", err)
	in.Close()
	var si unix.Siginfo
	t.Must("waitid", unix.Waitid(unix.P_PID, cmd.Process.Pid, &si, unix.WEXITED|unix.WNOWAIT, nil))
	t.Say("zombie %q", field(file(t, dir+"status"), "State"))
	t.Say("zombie cmdline %q", file(t, dir+"cmdline"))
	_, err = os.Readlink(dir + "exe")
	t.Err("zombie exe", err)
	cmd.Wait()
	_, err = status.Read(make([]byte, 10))
	t.Err("read once reaped", err)
	_, err = held.Readdirnames(-1)
	t.Err("list once reaped", err)
	_, err = os.Stat(dir)
	t.Err("stat once reaped", err)
}

func procNames(t *T) {
	for _, name := range []string{"auxv", "cgroup", "cmdline", "comm", "cwd", "environ", "exe", "fd", "fdinfo", "gid_map", "io", "limits", "maps",
		"mountinfo", "mounts", "net", "ns", "oom_score", "oom_score_adj", "root", "setgroups", "smaps", "stat", "statm", "status", "task", "uid_map"} {
		var st unix.Stat_t
		err := unix.Lstat("/proc/self/"+name, &st)
		t.Say("%s %o %s", name, st.Mode, errName(err))
	}
	for _, name := range []string{"cpuinfo", "filesystems", "loadavg", "meminfo", "mounts", "net", "self", "stat", "swaps", "sys", "thread-self", "uptime", "version"} {
		var st unix.Stat_t
		err := unix.Lstat("/proc/"+name, &st)
		t.Say("%s %o %s", name, st.Mode, errName(err))
	}
	for _, name := range []string{"fs/file-max", "fs/nr_open", "fs/pipe-max-size", "kernel/cap_last_cap", "kernel/hostname", "kernel/ngroups_max",
		"kernel/osrelease", "kernel/ostype", "kernel/pid_max", "kernel/random/boot_id", "kernel/random/uuid", "net/core/somaxconn",
		"net/ipv4/ip_local_port_range", "vm/max_map_count", "vm/overcommit_memory"} {
		var st unix.Stat_t
		err := unix.Lstat("/proc/sys/"+name, &st)
		t.Say("%s %o %s", name, st.Mode, errName(err))
	}
}

func procWrites(t *T) {
	t.Err("comm", os.WriteFile("/proc/self/comm", []byte("a rather long name\n"), 0))
	t.Say("comm %q", file(t, "/proc/self/comm"))
	t.Err("oom_score_adj", os.WriteFile("/proc/self/oom_score_adj", []byte("300\n"), 0))
	t.Say("oom_score_adj %q", file(t, "/proc/self/oom_score_adj"))
	t.Err("oom_score_adj 1001", os.WriteFile("/proc/self/oom_score_adj", []byte("1001"), 0))
	t.Err("oom_score_adj x", os.WriteFile("/proc/self/oom_score_adj", []byte("x"), 0))
	t.Err("ostype", os.WriteFile("/proc/sys/kernel/ostype", []byte("x"), 0))
	t.Err("mkdir", os.Mkdir("/proc/x", 0o755))
	t.Err("mkdir in self", os.Mkdir("/proc/self/x", 0o755))
	t.Err("unlink", unix.Unlink("/proc/self/comm"))
	t.Err("rename", unix.Rename("/proc/self/comm", "/proc/self/other"))
	t.Err("chmod", os.Chmod("/proc/self/comm", 0o777))
	t.Err("link", unix.Link("/proc/self/comm", "/proc/self/other"))
	var st unix.Statfs_t
	t.Must("statfs", unix.Statfs("/proc", &st))
	t.Say("type %#x", st.Type)
}

func procMachine(t *T) {
	for _, c := range []struct{ name, want string }{
		{"uptime", `^\d+\.\d\d \d+\.\d\d\n$`},
		{"loadavg", `^\d+\.\d\d \d+\.\d\d \d+\.\d\d \d+/\d+ \d+\n$`},
		{"version", `^Linux version \S+ `},
		{"sys/kernel/ostype", `^Linux\n$`},
		{"sys/kernel/random/uuid", `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\n$`},
		{"stat", `(?s)^cpu  \d+( \d+){9}\ncpu0 .*\nctxt \d+\nbtime \d+\nprocesses \d+\nprocs_running \d+\nprocs_blocked \d+\n`},
		{"meminfo", `(?s)^MemTotal: +\d+ kB\nMemFree: +\d+ kB\nMemAvailable: +\d+ kB\nBuffers: +\d+ kB\nCached: `},
	} {
		ok, _ := regexp.MatchString(c.want, file(t, "/proc/"+c.name))
		t.Say("%s %v", c.name, ok)
	}
	a, b := file(t, "/proc/sys/kernel/random/uuid"), file(t, "/proc/sys/kernel/random/uuid")
	t.Say("uuids differ %v", a != b)
	a, b = file(t, "/proc/sys/kernel/random/boot_id"), file(t, "/proc/sys/kernel/random/boot_id")
	t.Say("boot ids differ %v", a != b)
	var u unix.Utsname
	unix.Uname(&u)
	t.Say("release agrees %v", strings.TrimSpace(file(t, "/proc/sys/kernel/osrelease")) == unix.ByteSliceToString(u.Release[:]))
	t.Say("hostname agrees %v", strings.TrimSpace(file(t, "/proc/sys/kernel/hostname")) == unix.ByteSliceToString(u.Nodename[:]))
	var si unix.Sysinfo_t
	unix.Sysinfo(&si)
	var up float64
	fmt.Sscanf(file(t, "/proc/uptime"), "%f", &up)
	var boot unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot)
	t.Say("uptime agrees with sysinfo %v, with the clock %v", near(up, float64(si.Uptime)), near(up, float64(boot.Sec)))
	cpus := bytes.Count([]byte(file(t, "/proc/cpuinfo")), []byte("processor\t:"))
	t.Say("processors agree %v", cpus == len(strings.Split(strings.TrimSpace(file(t, "/proc/stat")), "\ncpu"))-1)
}

func addr(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }

func near(a, b float64) bool { return a-b < 2 && b-a < 2 }

// procNamespaces compares what the links of /proc/self/ns say with the files behind.
func procNamespaces(t *T) {
	for _, name := range []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"} {
		path := "/proc/self/ns/" + name
		text, err := os.Readlink(path)
		var st, opened unix.Stat_t
		errStat := unix.Stat(path, &st)
		fd, errOpen := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		unix.Fstat(fd, &opened)
		same := text == fmt.Sprintf("%s:[%d]", name, st.Ino) && opened.Ino == st.Ino && opened.Dev == st.Dev
		t.Say("%s: %s %s %s, the same %v, mode %o, links %d, size %d", name, errName(err), errName(errStat), errName(errOpen), same, st.Mode, st.Nlink, st.Size)
		unix.Close(fd)
		_, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		t.Err("for writing", err)
		t.Err("chmod", unix.Chmod(path, 0o644))
	}
}
