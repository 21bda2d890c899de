// Package posix_test holds the sandbox against Linux itself: each program runs
// on the host first, then in the sandbox, and both must print the same and exit
// alike.
//
// progs and cprogs are many small programs that print what the kernel answers;
// cases/*.sh are shell scripts that use real ones. testdata/differs names what
// is known to differ, with the reason.
package posix_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/test/sandboxtest"
)

func TestMain(m *testing.M) {
	sandboxtest.Main(m, func() {
		if n := unsteady.Load(); n > 0 {
			fmt.Printf("%d programs agreed with the host only at another try; run with -v to see which\n", n)
		}
	})
}

// environment is what programs run with, in both places.
var environment = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root", "LANG=C", "LC_ALL=C", "TZ=UTC", "TERM=dumb",
}

func init() {
	for _, name := range []string{"BULKHEAD_TEST_FULL", "GOCACHE"} {
		if v := os.Getenv(name); v != "" {
			environment = append(environment, name+"="+v)
		}
	}
}

// aboutFiles says which programs ask a file system, and so run once on each.
var aboutFiles = regexp.MustCompile(`^(file|names|open|fd|lock|pipe\.fifo|unix\.stream|memory\.(files|shared)|poll\.inotify)`)

func TestProgs(t *testing.T) {
	compareAll(t, sandboxtest.GoProgram(t, "./test/posix/progs"))
}

func TestCPrograms(t *testing.T) {
	compareAll(t, sandboxtest.CProgram(t, "test/posix/cprogs"))
}

// TestRewriteOff runs what is about call sites once more with none rewritten:
// the trap lane alone must answer the same. All others are make test-lanes.
func TestRewriteOff(t *testing.T) {
	sandboxtest.Bin(t)
	for _, path := range []string{sandboxtest.GoProgram(t, "./test/posix/progs"), sandboxtest.CProgram(t, "test/posix/cprogs")} {
		list := sandboxtest.Command{Args: []string{path, "list"}}.Run()
		for name := range strings.FieldsSeq(list.Output) {
			if !aboutSites.MatchString(name) {
				continue
			}
			t.Run(filepath.Base(path)+"/"+name, func(t *testing.T) {
				t.Parallel()
				c := program{path, name}.on("/tmp")
				check(t, name, "", c.Run(), c.Run, c.InSandbox(t, "--rewrite=off").Run)
			})
		}
	}
}

// TestAnonymousNames holds names of memory against what they are on a kernel that has
// them, as this host's may not.
func TestAnonymousNames(t *testing.T) {
	sandboxtest.Bin(t)
	c := program{sandboxtest.CProgram(t, "test/posix/cprogs"), "+names"}.on("/tmp")
	long := strings.Repeat("q", 79)
	want := strings.Join([]string{
		"a page: ok", "shared: ok", "  [anon_shmem:ours]", "  [anon:my page]",
		"the longest: ok", "too long: EINVAL", "brackets: EINVAL", "no text: EFAULT", "no page: EINVAL", "nothing: ok",
		"  [anon_shmem:ours]", "  [anon:my page]", "  [anon:" + long + "]",
		"none: ok", "  [anon_shmem:ours]",
		"across a hole: ENOMEM", "  [anon_shmem:ours]", "  [anon:both]", "  [anon:both]", "a file: EBADF", "",
	}, "\n")
	if got := c.InSandbox(t).Run(); got.Output != want || got.Code != 0 {
		t.Errorf("got %d:\n%s\nwant:\n%s", got.Code, got.Output, want)
	}
}

// aboutSites says which programs TestRewriteOff runs.
var aboutSites = regexp.MustCompile(`^(sites\.|text\.(private|hole)$|process\.(vfork|pids|exec-thread)$|start\.|vfork\.)`)

// program is one of a program of many.
type program struct{ path, name string }

// on is the command that runs it in a directory below scratch.
func (p program) on(scratch string) sandboxtest.Command {
	env := append(slices.Clone(environment), "SCRATCH="+scratch)
	timeout := 2 * time.Minute
	if strings.HasPrefix(p.name, "file.random") { // thousands of operations, each on its own
		timeout = 4 * time.Minute
	}
	return sandboxtest.Command{Args: []string{p.path, p.name}, Env: env, Dir: "/", Timeout: timeout}
}

// compareAll compares every program of a program of many.
func compareAll(t *testing.T, path string) {
	sandboxtest.Bin(t)
	list := sandboxtest.Command{Args: []string{path, "list"}}.Run()
	if list.Code != 0 {
		t.Fatalf("list: %+v", list)
	}
	differs := knownDifferences(t)
	for name := range strings.FieldsSeq(list.Output) {
		c := program{path, name}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := c.on("/tmp").Run
			want := host()
			for _, p := range places(t, name) {
				key := name
				if p.name != "" {
					key += "@" + p.name
				}
				check(t, key, differs[key], want, host, c.on(p.scratch).InSandbox(t, p.flags...).Run)
			}
		})
	}
}

// place is a file system of the sandbox that a program works on.
type place struct {
	name, scratch string
	flags         []string
}

// places is where a program runs in the sandbox: on its tmpfs, and if it is
// about files, also on the overlay over the host's root and on a volume, whose
// changes the gofer makes on the host.
func places(t *testing.T, program string) []place {
	all := []place{{scratch: "/tmp"}}
	if !aboutFiles.MatchString(program) {
		return all
	}
	volume := sandboxtest.VisibleDir(t)
	return append(all,
		place{name: "overlay", scratch: "/var/tmp"},
		place{name: "volume", scratch: volume, flags: []string{"--volume", volume + ":" + volume}})
}

// Cases are shell scripts. A first line "# shell: NAME ARG..." names the shell,
// which is /bin/sh otherwise; "# needs: PROGRAM..." skips a case where one of
// the programs is not installed.
func TestCases(t *testing.T) {
	sandboxtest.Bin(t)
	scripts, err := filepath.Glob("cases/*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no cases", err)
	}
	dir := sandboxtest.VisibleDir(t)
	differs := knownDifferences(t)
	for _, script := range scripts {
		name := strings.TrimSuffix(filepath.Base(script), ".sh")
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Base(script))
		if err := os.WriteFile(path, text, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, p := range strings.Fields(header(text, "needs")) {
				if !sandboxtest.Installed(p) {
					t.Skipf("%s is not installed", p)
				}
			}
			shell := strings.Fields(header(text, "shell"))
			if len(shell) == 0 {
				shell = []string{"/bin/sh"}
			}
			c := sandboxtest.Command{Args: append(shell, path), Env: environment, Dir: "/", Timeout: 4 * time.Minute}
			check(t, name, differs[name], c.Run(), c.Run, c.InSandbox(t).Run)
		})
	}
}

// header is the rest of a script's line "# key: ...".
func header(text []byte, key string) string {
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "# "+key+":"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// unsteady counts the programs that agreed with Linux only at another try.
var unsteady atomic.Int32

// tries is how often a difference must show.
const tries = 3

// check runs a program in the sandbox and fails the test if what it did differs
// from what it did on the host and no reason is known for it. A difference must
// show in each of three tries, and from the second on against the host's own next
// try: a program that lets another get ahead by sleeping can lose on either side
// of a busy machine. What comes and goes is told, in the log and at the end, and
// is a bug all the same.
func check(t *testing.T, key, reason string, want sandboxtest.Result, host, guest func() sandboxtest.Result) {
	t.Helper()
	for try := 1; ; try++ {
		if want.Code == -1 {
			t.Fatalf("took too long on the host:\n%s", want.Output)
		}
		want.Output = normalise(want.Output)
		got := guest()
		got.Output = normalise(got.Output)
		switch {
		case got == want && reason != "":
			t.Logf("%s agrees now: take its line out of testdata/differs (%s)", key, reason)
		case got == want && try > 1:
			unsteady.Add(1)
		case got == want:
		case reason != "":
			t.Logf("%s differs, as is known (%s):\n%s", key, reason, difference(want, got))
		case try < tries:
			t.Logf("%s differs in the sandbox at try %d (- host, + sandbox):\n%s", key, try, difference(want, got))
			want = host()
			continue
		default:
			t.Errorf("%s differs in the sandbox (- host, + sandbox):\n%s", key, difference(want, got))
		}
		return
	}
}

// volatile is what two runs of a correct program may print differently. The
// programs avoid it where they can; the rest is here, with its reason.
var volatile = []struct {
	pattern *regexp.Regexp
	with    string
}{
	// Names that mktemp and os.MkdirTemp chose.
	{regexp.MustCompile(`/(var/)?tmp/(bulkhead-test[0-9]+/)?(c?progs|tmp\.)[A-Za-z0-9]+`), "DIR"},
	// Bash's word on a job that died: "line 17: 12481 Killed".
	{regexp.MustCompile(`line ([0-9]+): +[0-9]+ (\w)`), "line $1: PID $2"},
	// Whatever a program times.
	{regexp.MustCompile(`\b[0-9]+\.[0-9]+ ?(s|secs|seconds)\b`), "TIME"},
}

func normalise(s string) string {
	for _, v := range volatile {
		s = v.pattern.ReplaceAllString(s, v.with)
	}
	return s
}

// difference shows the lines that only one side has, in order, with the exit
// statuses; "took too long" is status -1.
func difference(host, guest sandboxtest.Result) string {
	var out strings.Builder
	if host.Code != guest.Code {
		fmt.Fprintf(&out, "- exit status %d\n+ exit status %d\n", host.Code, guest.Code)
	}
	a, b := strings.Split(host.Output, "\n"), strings.Split(guest.Output, "\n")
	shown := 0
	for len(a) > 0 || len(b) > 0 {
		if len(a) > 0 && len(b) > 0 && a[0] == b[0] {
			a, b = a[1:], b[1:]
			continue
		}
		if shown++; shown > 40 {
			out.WriteString("  ...\n")
			break
		}
		// Skip to where the two meet again, if they soon do.
		i, j := meet(a, b)
		for _, l := range a[:i] {
			fmt.Fprintf(&out, "- %.300s\n", l)
		}
		for _, l := range b[:j] {
			fmt.Fprintf(&out, "+ %.300s\n", l)
		}
		a, b = a[i:], b[j:]
	}
	return out.String()
}

// meet finds the nearest pair of equal lines.
func meet(a, b []string) (i, j int) {
	for n := 0; n < 40; n++ {
		for i := 0; i <= n; i++ {
			if j := n - i; i < len(a) && j < len(b) && a[i] == b[j] {
				return i, j
			}
		}
	}
	return min(len(a), 20), min(len(b), 20)
}

// knownDifferences reads testdata/differs: a name and the reason on each line.
func knownDifferences(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open("testdata/differs")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	known := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, ok := strings.Cut(line, " ")
		if !ok {
			t.Fatalf("testdata/differs: no reason given: %s", line)
		}
		known[name] = strings.TrimSpace(reason)
	}
	return known
}
