package posix_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/test/sandboxtest"
)

// These are held against what Linux does with a processor's debug registers, and not
// against the host: under some hypervisors such registers can be set and never trap.

func TestDebugRegisters_watch(t *testing.T) {
	expectOf(t, "+debug.watch", `begun: stopped by 19
dr0 0
dr1 0
dr2 0
dr3 0
dr4 0
dr5 0
dr6 ffff0ff0
dr7 0
address: ok
control: ok
0 90001
written: stopped by 5
  code 4, dr6 1, watched 1 5
status: ok
0
by the kernel, for it: stopped by 5
  code 4, dr6 1, watched 9 5
written again: stopped by 5
  code 4, dr6 1, watched 10 5
over: exited 3
begun: stopped by 19
address: ok
address: ok
control: ok
next: stopped by 5
  code 4, dr6 2, watched 0 5
  at it: 0
next: stopped by 5
  code 4, dr6 8, watched 1 5
  at it: 1
next: stopped by 5
  code 4, dr6 8, watched 9 5
  at it: 1
next: exited 3
begun: stopped by 19
address: ok
control: ok
none again: ok
not watched: exited 3
`)
}

func TestDebugRegisters_step(t *testing.T) {
	expectOf(t, "+debug.step", `begun: stopped by 19
address: ok
control: ok
a step: code 2, dr6 4000
hit: code 2, dr6 4001, many 1, watched 1
detach: ok
killed: killed by 9
`)
}

// expectOf runs one of cprogs in the sandbox alone.
func expectOf(t *testing.T, name, want string) {
	t.Helper()
	sandboxtest.Bin(t)
	c := program{sandboxtest.CProgram(t, "test/posix/cprogs"), name}.on("/tmp")
	got := c.InSandbox(t).Run()
	if strings.TrimSpace(got.Output) != strings.TrimSpace(want) || got.Code != 0 {
		t.Errorf("got %d:\n%s\nwant:\n%s", got.Code, got.Output, want)
	}
}

// gdb's watch uses the debug registers wherever it believes that there are any.
func TestGdb_watch(t *testing.T) {
	sandboxtest.Bin(t)
	for _, p := range []string{"gdb", "gcc"} {
		if !sandboxtest.Installed(p) {
			t.Skipf("%s is not installed", p)
		}
	}
	dir := sandboxtest.VisibleDir(t)
	source, program, script := filepath.Join(dir, "w.c"), filepath.Join(dir, "w"), filepath.Join(dir, "w.gdb")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(source, "int x;\nstatic void set(int n)\n{\n\tx = n;\n}\nint main(void)\n{\n\tset(3);\n\tset(3);\n\tset(5);\n\treturn x;\n}\n")
	write(script, "set pagination off\nbreak main\nrun\nwatch x\ncontinue\ncontinue\ndelete 2\ncontinue\n")
	if out, err := exec.Command("gcc", "-g", "-O0", "-no-pie", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	c := sandboxtest.Command{Args: []string{"gdb", "-nx", "-batch", "-x", script, program}, Env: environment, Dir: "/"}
	got := c.InSandbox(t).Run()
	rest := got.Output
	for _, line := range []string{"Hardware watchpoint 2: x", "Old value = 0", "New value = 3", "Old value = 3", "New value = 5", "exited with code 05"} {
		_, after, found := strings.Cut(rest, line)
		if !found {
			t.Fatalf("no %q in what is left of:\n%s", line, got.Output)
		}
		rest = after
	}
}
