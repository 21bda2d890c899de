// Package sandboxtest lets a test run programs in a sandbox, by Bulkhead's own
// programs as a user runs them.
//
// The programs are those of $BULKHEAD_BIN, where make has built them, or are
// built once for each test binary.
package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Root is the top directory of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// mains are the packages of the programs, by file name.
var mains = map[string]string{
	"sandbox-launch":  "./launcher/sandbox-launch",
	"bulkhead":        "./launcher/bulkhead",
	"bulkhead-sentry": "./services/sentry",
	"bulkhead-gofer":  "./services/gofer",
	"bulkhead-netd":   "./services/netd",
}

var built struct {
	sync.Mutex
	dir string
	err error
}

// Main runs the tests, then what else is to be done at the end, and takes away
// what Bin built: func TestMain calls it.
func Main(m *testing.M, after ...func()) {
	plain()
	code := m.Run()
	for _, f := range after {
		f()
	}
	built.Lock()
	if built.dir != "" && os.Getenv("BULKHEAD_BIN") == "" {
		os.RemoveAll(built.dir)
	}
	programs.Lock()
	for _, dir := range programs.dirs {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// plain takes away what the tests' own parent may have left to its children, and
// what programs would print: open descriptors and ignored signals.
func plain() {
	unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGTERM, syscall.SIGCHLD, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s) // a child gets the default for what is caught
		}
	}
}

// Bin is the directory of Bulkhead's programs. It skips a test that is not run
// by root, since starting a sandbox takes root's rights.
func Bin(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a sandbox needs root")
	}
	built.Lock()
	defer built.Unlock()
	if built.dir == "" && built.err == nil {
		built.dir, built.err = build()
	}
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

func build() (string, error) {
	if dir := os.Getenv("BULKHEAD_BIN"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.MkdirTemp("", "bulkhead-bin")
	if err != nil {
		return "", err
	}
	for name, pkg := range mains {
		if err := goBuild(filepath.Join(dir, name), pkg); err != nil {
			return dir, err
		}
	}
	return dir, nil
}

func goBuild(to, pkg string) error {
	cmd := exec.Command("go", "build", "-o", to, pkg)
	cmd.Dir = Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return errors.New("go build " + pkg + ": " + err.Error() + "\n" + string(out))
	}
	return nil
}

// programs are those that the tests have built, once for all tests of a binary.
var programs struct {
	sync.Mutex
	paths map[string]string
	dirs  []string
}

// program builds a program of a directory of this repository, if no test has yet.
func program(t testing.TB, source string, compile func(path string) error) string {
	t.Helper()
	programs.Lock()
	defer programs.Unlock()
	if path := programs.paths[source]; path != "" {
		return path
	}
	dir, err := visibleDir()
	if err != nil {
		t.Fatal(err)
	}
	programs.dirs = append(programs.dirs, dir)
	path := filepath.Join(dir, filepath.Base(source))
	if err := compile(path); err != nil {
		t.Fatal(err)
	}
	if programs.paths == nil {
		programs.paths = map[string]string{}
	}
	programs.paths[source] = path
	return path
}

// GoProgram builds a static program of this repository into a directory that a
// sandbox sees too, which the host's /tmp is not. Main takes it away.
func GoProgram(t testing.TB, pkg string) string {
	t.Helper()
	return program(t, pkg, func(path string) error { return goBuild(path, pkg) })
}

// CProgram builds a static C program from all files of a directory of this
// repository. It skips the test where there is no C compiler.
func CProgram(t testing.TB, dir string) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no gcc")
	}
	return program(t, dir, func(path string) error {
		sources, err := filepath.Glob(filepath.Join(Root(), dir, "*.c"))
		if err != nil || len(sources) == 0 {
			return fmt.Errorf("no C files in %s: %v", dir, err)
		}
		args := append([]string{"-O1", "-g", "-Wall", "-Wextra", "-static", "-pthread", "-o", path}, sources...)
		if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("gcc: %v\n%s", err, out)
		}
		return nil
	})
}

// VisibleDir is a temporary directory that a sandbox on the host's root sees:
// outside /tmp, which is the sandbox's own.
func VisibleDir(t testing.TB) string {
	t.Helper()
	dir, err := visibleDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func visibleDir() (string, error) {
	dir, err := os.MkdirTemp("/var/tmp", "bulkhead-test")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// Result is what a program did.
type Result struct {
	Code   int // exit status, 128 plus a signal's number, or -1 if it took too long
	Output string
}

// Command is one program to run.
type Command struct {
	Args    []string
	Env     []string // replaces the environment if not nil
	Dir     string
	Stdin   string
	Timeout time.Duration // a minute if 0
}

// Run runs a command on the host.
func (c Command) Run() Result {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Env, cmd.Dir = c.Env, c.Dir
	// A session of its own, so that what it started ends with it, and so that it
	// has one even where the tests' is outside of their PID namespace.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Stdin = strings.NewReader(c.Stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return Result{code(ctx, err), out.String()}
}

func code(ctx context.Context, err error) int {
	if ctx.Err() != nil {
		return -1
	}
	if err == nil {
		return 0
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return -2
	}
	if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return exit.ExitCode()
}

// Flags are further flags for every sandbox of a test, from $BULKHEAD_TEST_FLAGS:
// --mm=verified, for instance.
func Flags() []string { return strings.Fields(os.Getenv("BULKHEAD_TEST_FLAGS")) }

// InSandbox is the same command under sandbox-launch, with flags of its own. It
// gets just c's environment.
func (c Command) InSandbox(t testing.TB, flags ...string) Command {
	t.Helper()
	flags = append(Flags(), flags...)
	for _, v := range c.Env {
		flags = append(flags, "--env", v)
	}
	c.Args = append(append(append([]string{filepath.Join(Bin(t), "sandbox-launch"), "run"}, flags...), "--"), c.Args...)
	return c
}

// Installed says whether a program is found in the system's own directories,
// which is where a sandbox looks.
func Installed(name string) bool {
	for _, dir := range []string{"/usr/local/go/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err == nil && st.Mode()&0o111 != 0 {
			return true
		}
	}
	return false
}
