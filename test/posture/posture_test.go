// Package posture_test looks at a live sandbox from the host and fails on any
// power that its processes hold and no table here grants.
//
// It reads /proc and, where the kernel offers it, the seccomp filters that are
// really installed. It trusts nothing that the processes say about themselves.
package posture_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/jail"
	"bulkhead/test/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// A grant is what one kind of process may hold. What is not here must be absent.
type grant struct {
	can, cannot string // said in the report
	uid         int
	caps        jail.Caps
	root        []string          // entries of its root directory; nil: none
	fds         []string          // kinds of open descriptors, as "socket" or "memfd:*"
	fdAt        map[string]string // a further kind that one descriptor may be of
	execs       []string          // what may be mapped executable, by name
	golden      string            // the filter's listing, relative to the repository
	ownNS       []string          // namespaces that are its own, not the host's
	private     bool              // its user is the sandbox's own, and not uid
}

// every service and stub has these for itself: none shares one with the host.
var allNS = []string{"pid", "mnt", "net", "ipc", "uts"}

// goPlumbing is what Go's run-time and the control connection need.
var goPlumbing = []string{"socket", "pipe", "anon_inode:[eventpoll]", "anon_inode:[eventfd]", "/dev/null", "log"}

// grants are the powers, by kind of process.
var grants = map[string]grant{
	"sentry": {
		can:     "answer its guests' calls; use descriptors that it was given; read and write its guests' memory; end its guests",
		cannot:  "name, open or make any file; make a socket; execute a program; see host processes; be root",
		private: true,
		fds:     append([]string{"memfd:*", "anon_inode:[pidfd]", "anon_inode:seccomp notify", "file", "terminal"}, goPlumbing...),
		execs:   []string{"bulkhead-sentry", "[vdso]"},
		golden:  "services/sentry/testdata/filter.golden",
		ownNS:   allNS,
	},
	"gofer": {
		can:    "open and change files below the container's root and mounts, as any user",
		cannot: "see another path; make a socket; execute a program; mount; see guest memory or packets; leave its root",
		uid:    0,
		caps: jail.CapsOf(unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER,
			unix.CAP_FSETID, unix.CAP_SETFCAP),
		root:   []string{"0"},
		fds:    append([]string{"file", "directory of its root"}, goPlumbing...),
		execs:  []string{"bulkhead-gofer", "[vdso]"},
		golden: "services/gofer/testdata/filter.golden",
		ownNS:  allNS,
	},
	"netd": {
		can:     "move packets over its one link and its own loopback; share byte rings with the sentry",
		cannot:  "open or name a file; make a socket; execute a program; see guest memory or files; be root",
		private: true,
		fds:     append([]string{"memfd:*"}, goPlumbing...),
		execs:   []string{"bulkhead-netd", "[vdso]"},
		golden:  "services/netd/testdata/filter.golden",
		ownNS:   allNS,
	},
	"stub": {
		can:     "compute in its own memory; ask the sentry",
		cannot:  "name or open anything; see another process; with --mm=verified, make a process or change its memory as the sentry did not order",
		private: true,
		fds:     []string{"anon_inode:[eventfd]"}, // a doorbell
		fdAt:    map[string]string{"16": "file"},  // lent, to be mapped piece by piece: the filter allows it private maps only
		ownNS:   allNS,
	},
}

func TestPosture(t *testing.T) {
	sb := start(t)
	var report strings.Builder
	fmt.Fprintf(&report, "\n%-8s %7s %6s %-18s %4s %-9s %6s  %s\n", "process", "pid", "uid", "capabilities", "nnp", "seccomp", "calls", "descriptors")
	for _, p := range sb.processes {
		g, ok := grants[p.kind]
		if !ok {
			t.Errorf("process %d (%s) is of no known kind", p.pid, p.exe)
			continue
		}
		check(t, p, g, &report)
	}
	report.WriteString("\n")
	seen := map[string]bool{}
	for _, p := range sb.processes {
		if g := grants[p.kind]; !seen[p.kind] {
			seen[p.kind] = true
			fmt.Fprintf(&report, "%-7s can     %s\n        cannot  %s\n", p.kind, g.can, g.cannot)
		}
	}
	checkApart(t, sb.processes)
	for kind := range grants {
		if !seen[kind] {
			t.Errorf("no %s process was found", kind)
		}
	}
	fmt.Println(report.String())
}

// check holds one process against its grant, and adds its line to the report.
func check(t *testing.T, p process, g grant, report *strings.Builder) {
	t.Helper()
	bad := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s (pid %d): %s", p.kind, p.pid, fmt.Sprintf(format, args...))
	}
	s := p.status(t)
	for _, field := range []string{"Uid", "Gid"} {
		uid := g.uid
		if g.private {
			if fmt.Sscan(s[field], &uid); uid < 0x7000_0000 {
				bad("%s is %q, want one that no other process has", field, s[field])
			}
		}
		want := fmt.Sprintf("%d\t%d\t%d\t%d", uid, uid, uid, uid)
		if s[field] != want {
			bad("%s is %q, want %q", field, s[field], want)
		}
	}
	if limit := p.limit("Max processes"); p.kind == "stub" && (limit < 1 || limit > 32768) {
		bad("may have %d processes, which can be all of the host's", limit)
	}
	if adj, _ := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", p.pid)); (p.kind == "sentry" || p.kind == "stub") && string(adj) != "500\n" {
		bad("leaves others to be ended for the memory that its files hold: oom_score_adj is %q", adj)
	}
	if s["Groups"] != "" {
		bad("has supplementary groups %s", s["Groups"])
	}
	for field, most := range map[string]jail.Caps{"CapEff": g.caps, "CapPrm": g.caps, "CapInh": 0, "CapAmb": 0, "CapBnd": 0} {
		var got jail.Caps
		fmt.Sscanf(s[field], "%x", &got)
		if extra := got &^ most; extra != 0 {
			bad("%s has %#x (%s), which nothing grants", field, extra, capNames(extra))
		}
	}
	if s["NoNewPrivs"] != "1" {
		bad("may gain privileges: NoNewPrivs is %q", s["NoNewPrivs"])
	}
	if s["Seccomp"] != "2" {
		bad("has no filter: Seccomp is %q", s["Seccomp"])
	}
	p.checkThreads(t, s)
	calls := p.checkFilter(t, g, bad)
	p.checkNamespaces(t, g, bad)
	p.checkRoot(g, bad)
	kinds := p.checkDescriptors(g, bad)
	p.checkMaps(g, bad)
	fmt.Fprintf(report, "%-8s %7d %6s %-18s %4s %-9s %6s  %s\n", p.kind, p.pid, strings.Fields(s["Uid"])[0], capNames(hex(s["CapEff"])),
		s["NoNewPrivs"], s["Seccomp_filters"]+" filter(s)", calls, kinds)
}

func hex(s string) (c jail.Caps) { fmt.Sscanf(s, "%x", &c); return }

// checkThreads: a thread that was made too early would keep what others gave up.
func (p process) checkThreads(t *testing.T, s map[string]string) {
	t.Helper()
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.pid))
	for _, path := range tasks {
		one := readStatus(path)
		if one == nil {
			continue // it ended meanwhile
		}
		for _, field := range []string{"Uid", "Gid", "CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters"} {
			if one[field] != s[field] {
				t.Errorf("%s: %s: %s is %q, where the process has %q", p.kind, path, field, one[field], s[field])
			}
		}
	}
}

// checkNamespaces: its own ones differ from the host's.
func (p process) checkNamespaces(t *testing.T, g grant, bad func(string, ...any)) {
	t.Helper()
	for _, ns := range g.ownNS {
		host, own := nsOf("self", ns), nsOf(fmt.Sprint(p.pid), ns)
		if own == "" || own == host {
			bad("is in the host's %s namespace", ns)
		}
	}
}

// limit is a soft limit of the process; -1 if it has none.
func (p process) limit(name string) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.pid))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n := -1
			fmt.Sscan(rest, &n)
			return n
		}
	}
	return -1
}

// checkApart: no two services share a user or a namespace, and stubs share the sentry's.
func checkApart(t *testing.T, all []process) {
	t.Helper()
	seen := map[string]process{}
	users := map[string]process{}
	for _, p := range all {
		if p.kind == "stub" {
			continue
		}
		uid := p.status(t)["Uid"]
		if other, ok := users[uid]; ok {
			t.Errorf("%s and %s are of one user, %s", p.kind, other.kind, uid)
		}
		users[uid] = p
		for _, ns := range allNS {
			id := nsOf(fmt.Sprint(p.pid), ns)
			if other, ok := seen[id]; ok && id != "" {
				t.Errorf("%s and %s share a %s namespace", p.kind, other.kind, ns)
			}
			seen[id] = p
		}
	}
}

func nsOf(pid, ns string) string {
	l, _ := os.Readlink("/proc/" + pid + "/ns/" + ns)
	return l
}

// checkRoot lists the process's root directory, and looks at what is mounted.
func (p process) checkRoot(g grant, bad func(string, ...any)) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/root", p.pid))
	if err != nil {
		bad("root: %v", err)
		return
	}
	for _, e := range entries {
		if !slices.Contains(g.root, e.Name()) {
			bad("its root directory holds %s", e.Name())
		}
	}
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.pid))
	if err == nil && cwd != "/" {
		bad("its working directory is %s", cwd)
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", p.pid))
	if err != nil {
		bad("mountinfo: %v", err)
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) > 4 && f[4] != "/" && !slices.ContainsFunc(g.root, func(r string) bool { return f[4] == "/"+r || strings.HasPrefix(f[4], "/"+r+"/") }) {
			bad("has %s mounted", f[4])
		}
		if len(f) > 6 && f[4] == "/" && !strings.Contains(f[5], "ro") {
			bad("its empty root is writable: %s", f[5])
		}
	}
}

// checkDescriptors allows only the granted kinds, and says how many of each.
func (p process) checkDescriptors(g grant, bad func(string, ...any)) string {
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.pid))
	if err != nil || len(links) == 0 {
		links = nil
	}
	count := map[string]int{}
	for _, l := range links {
		to, err := os.Readlink(l)
		if err != nil {
			continue
		}
		kind := descriptorKind(l, to)
		if !slices.ContainsFunc(g.fds, func(k string) bool { return kindMatches(k, kind) }) && g.fdAt[filepath.Base(l)] != kind {
			bad("descriptor %s is %s (%s), which nothing grants", filepath.Base(l), to, kind)
		}
		count[kind]++
	}
	var all []string
	for k, n := range count {
		all = append(all, fmt.Sprintf("%d %s", n, k))
	}
	sort.Strings(all)
	return strings.Join(all, ", ")
}

func kindMatches(granted, kind string) bool {
	if prefix, ok := strings.CutSuffix(granted, "*"); ok {
		return strings.HasPrefix(kind, strings.TrimSuffix(prefix, ":"))
	}
	return granted == kind
}

// descriptorKind names what a descriptor is, from its link.
func descriptorKind(path, to string) string {
	name, _, isPseudo := strings.Cut(to, ":")
	switch {
	case isPseudo && (name == "socket" || name == "pipe"):
		return name
	case strings.HasPrefix(to, "/memfd:"):
		return "memfd"
	case isPseudo && name == "anon_inode":
		return to
	case to == "/dev/null" || strings.HasSuffix(to, "/null"):
		return "/dev/null"
	case strings.HasPrefix(to, "/dev/pts/") || strings.HasPrefix(to, "/dev/tty"):
		return "terminal"
	case strings.HasSuffix(to, ".log") || strings.HasSuffix(to, ".err"):
		return "log"
	}
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return to
	case st.IsDir() && (to == "/0" || strings.HasPrefix(to, "/0/")):
		return "directory of its root"
	case st.IsDir():
		return "directory"
	case strings.HasPrefix(to, "/sys/") || strings.HasPrefix(to, "/proc/") || strings.Contains(to, "/cpu.cfs"):
		return "kernel file"
	}
	return "file"
}

// checkMaps: executable memory comes only from the program itself, and nothing
// is writable and executable at once. A stub's memory is its guest's.
func (p process) checkMaps(g grant, bad func(string, ...any)) {
	if g.execs == nil {
		return
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.pid))
	if err != nil {
		bad("maps: %v", err)
		return
	}
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line)
		if len(f) < 2 || !strings.Contains(f[1], "x") {
			continue
		}
		name := "anonymous memory"
		if len(f) > 5 {
			name = filepath.Base(f[5])
		}
		if name == "[vsyscall]" {
			continue // the kernel's, in every process
		}
		if strings.Contains(f[1], "w") {
			bad("has writable and executable memory: %s", strings.TrimSpace(line))
		}
		if !slices.Contains(g.execs, name) {
			bad("may execute %s", strings.TrimSpace(line))
		}
	}
}

func capNames(c jail.Caps) string {
	if c == 0 {
		return "none"
	}
	names := []string{"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "linux_immutable",
		"net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace",
		"sys_pacct", "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write",
		"audit_control", "setfcap"}
	var has []string
	for i := range 64 {
		if c&(1<<i) == 0 {
			continue
		}
		if i < len(names) {
			has = append(has, names[i])
		} else {
			has = append(has, fmt.Sprint(i))
		}
	}
	if len(has) > 2 {
		return fmt.Sprintf("%d caps", len(has))
	}
	return strings.Join(has, "+")
}
