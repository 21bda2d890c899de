// Package hostile_test runs guests that mean harm: they may end themselves, and
// nothing else. The sandbox must live on, serve its other processes, fall quiet,
// and leave nothing behind on the host.
package hostile_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bulkhead/test/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// slow are the attacks that take more than a moment: not with -short.
var slow = map[string]bool{"neighbours": true, "stub-garbage": true, "stub-plausible": true, "threads": true, "forks": true}

// attackNames asks the program.
func attackNames(t *testing.T, prog string) []string {
	t.Helper()
	out, err := exec.Command(prog, "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

func TestGuestHarmsOnlyItself(t *testing.T) {
	prog := sandboxtest.CProgram(t, "test/hostile/hostileprog")
	for _, what := range attackNames(t, prog) {
		t.Run(what, func(t *testing.T) {
			if slow[what] && testing.Short() {
				t.Skip("takes long")
			}
			t.Parallel()
			attack(t, prog, what)
		})
	}
}

// The same in strict mode, as far as it has to do with memory and processes.
func TestGuestHarmsOnlyItself_verified(t *testing.T) {
	prog := sandboxtest.CProgram(t, "test/hostile/hostileprog")
	for _, what := range []string{"slot", "neighbours", "gadget-unmap", "gadget-clone", "execs", "remap-overlap", "lease", "frames"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			attack(t, prog, what, "--mm=verified")
		})
	}
}

// stride: a jump to every byte of the stub, with each kind of registers, takes
// minutes, for a third of the guests go round in circles until they are ended. A
// run of the tests takes one byte in sixteen, another run others; and of attacks with
// many children every other one.
func stride() string {
	if os.Getenv("BULKHEAD_TEST_FULL") != "" {
		return "1"
	}
	return "16"
}

// attack runs all children of an attack beside a witness.
func attack(t *testing.T, prog, what string, flags ...string) {
	t.Helper()
	seed := os.Getpid()
	t.Log("seed", seed)
	env := []string{"STRIDE=" + stride()}
	g := start(t, sandboxtest.Command{Args: []string{prog, what, strconv.Itoa(seed)}, Env: env}.InSandbox(t, flags...))
	var said []string
	for line := ""; line != "alive"; said = append(said, line) {
		var ok bool
		if line, ok = g.line(4 * time.Minute); !ok {
			t.Fatalf("the first process did not live to the end; it said:\n%s\n%s", strings.Join(said, "\n"), g.kill())
		}
	}
	all := strings.Join(said, "\n")
	if !strings.Contains(all, "attackers 0\n") || !strings.Contains(all, "witness 0\n") {
		t.Errorf("want attackers 0, witness 0:\n%s", all)
	}
	t.Log(said[0])
	g.fallsQuiet(t)
	if code := g.end(t); code != 42 {
		t.Errorf("exit status %d, want 42; standard error:\n%s", code, g.errors())
	}
	g.leftNothing(t)
}

// The first process itself does its worst: the sandbox ends with it, or by
// SIGKILL to the launcher if it hangs, and nothing is left.
func TestFirstProcess(t *testing.T) {
	prog := sandboxtest.CProgram(t, "test/hostile/hostileprog")
	for _, what := range attackNames(t, prog) {
		t.Run(what, func(t *testing.T) {
			if slow[what] && testing.Short() {
				t.Skip("takes long")
			}
			t.Parallel()
			for _, n := range firsts() {
				g := start(t, sandboxtest.Command{Args: []string{prog, what, "1", strconv.Itoa(n)}}.InSandbox(t))
				done := make(chan int, 1)
				go func() { done <- g.wait() }()
				select {
				case code := <-done:
					if code == 125 || code > 128+64 || code < 0 {
						t.Errorf("%d: exit status %d; standard error:\n%s", n, code, g.errors())
					}
				case <-time.After(3 * time.Second):
					g.kill() // it may go on for ever, as any guest
					<-done
				}
				g.leftNothing(t)
			}
		})
	}
}

// firsts are the children that TestFirstProcess plays: of two one, another run the other.
func firsts() []int {
	if os.Getenv("BULKHEAD_TEST_FULL") != "" {
		return []int{0, 1}
	}
	return []int{os.Getpid() % 2}
}

// guest is a running sandbox-launch and what belongs to it on the host.
type guest struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	lines  chan string
	stderr *os.File
	tmp    string // its temporary directory

	mounts map[string]bool // the host's, before
	spaces map[string]bool // its processes' PID namespaces, when last looked
}

func start(t *testing.T, c sandboxtest.Command) *guest {
	t.Helper()
	g := &guest{tmp: t.TempDir(), mounts: hostMounts(), spaces: map[string]bool{}, lines: make(chan string, 1000)}
	g.cmd = exec.Command(c.Args[0], c.Args[1:]...)
	g.cmd.Env = append(os.Environ(), "TMPDIR="+g.tmp)
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	g.stderr, g.cmd.Stderr = stderr, stderr
	stdin, err := g.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	g.stdin = stdin
	// Not StdoutPipe: Wait must not take away what has not been read yet.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	g.cmd.Stdout = w
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() {
		defer close(g.lines)
		defer r.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			select {
			case g.lines <- s.Text():
			default: // a guest that writes without end
			}
		}
	}()
	t.Cleanup(func() { g.cmd.Process.Kill(); stderr.Close() })
	for range 2000 { // until its namespaces are there to be seen, or have been
		if running := g.look(); len(g.spaces) > 0 || !running {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return g
}

func (g *guest) line(most time.Duration) (string, bool) {
	select {
	case l, ok := <-g.lines:
		return l, ok
	case <-time.After(most):
		return "", false
	}
}

func (g *guest) errors() string {
	b, _ := os.ReadFile(g.stderr.Name())
	return string(b)
}

// kill ends the launcher without warning, and gives what it had to say.
func (g *guest) kill() string {
	g.look()
	g.cmd.Process.Kill()
	return g.errors()
}

func (g *guest) wait() int {
	g.cmd.Wait()
	ws := g.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// end lets the first process end.
func (g *guest) end(t *testing.T) int {
	t.Helper()
	g.look()
	g.stdin.Close()
	done := make(chan int, 1)
	go func() { done <- g.wait() }()
	select {
	case code := <-done:
		return code
	case <-time.After(60 * time.Second):
		t.Error("the sandbox did not end")
		g.kill()
		return <-done
	}
}

// TestUsersGainNothing has a process without power try for what its user may not do
// in the sandbox. The first process says what came of each.
func TestUsersGainNothing(t *testing.T) {
	prog := sandboxtest.CProgram(t, "test/hostile/hostileprog")
	g := start(t, sandboxtest.Command{Args: []string{prog, "gains"}}.InSandbox(t))
	code := g.wait()
	var said []string
	for line, ok := g.line(20 * time.Second); ok; line, ok = g.line(20 * time.Second) {
		said = append(said, line)
	}
	if code != 0 || len(said) != 9 {
		t.Errorf("exit status %d; want 0 and nine times held:\n%s\n%s", code, strings.Join(said, "\n"), g.errors())
	}
	g.leftNothing(t)
}
