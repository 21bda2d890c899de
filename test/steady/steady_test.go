package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRead has what go test prints of each kind of failure.
func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		output string
		tests  []test
		final  string
	}{
		"passes": {"ok  \tp/a\t0.1s\nok  \tp/b\t(cached)\n", nil, ""},
		"two": {"--- FAIL: TestA (0.05s)\n    a_test.go:8: no\n--- FAIL: TestB (0.00s)\n    --- FAIL: TestB/x (0.00s)\n        --- FAIL: TestB/x/deep-er (0.00s)\nFAIL\nFAIL\tp/a\t0.945s\nok  \tp/b\t1s\nFAIL\n",
			[]test{{"p/a", "TestA"}, {"p/a", "TestB/x/deep-er"}}, ""},
		"race":    {"==================\nWARNING: DATA RACE\n--- FAIL: TestA (0.05s)\n    testing.go:1: race detected during execution of test\nFAIL\tp/a\t1s\n", []test{{"p/a", "TestA"}}, "WARNING: DATA RACE"},
		"panic":   {"--- FAIL: TestA (0.05s)\npanic: nil map [recovered]\nFAIL\tp/a\t1s\n", []test{{"p/a", "TestA"}}, "panic: nil map [recovered]"},
		"timeout": {"panic: test timed out after 5m0s\nFAIL\tp/a\t300s\n", nil, "p/a failed outside of a test: 300s"},
		"build":   {"# p/a\na.go:1: bad\nFAIL\tp/a [build failed]\nFAIL\n", nil, "p/a failed outside of a test: [build failed]"},
	} {
		f, err := read(strings.NewReader(c.output))
		if err != nil || !slices.Equal(f.tests, c.tests) || f.final != c.final {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

// TestOptions keeps what is no package.
func TestOptions(t *testing.T) {
	for args, want := range map[string]string{
		"-timeout 5m ./a/... ./b/...":        "-timeout 5m",
		"-race -short -timeout 5m p/a p/b":   "-race -short -timeout 5m",
		"-count=1 -p 1 -timeout 8m ./test/x": "-count=1 -p 1 -timeout 8m",
		"-v ./a":                             "-v",
	} {
		if got := strings.Join(options(strings.Fields(args)), " "); got != want {
			t.Errorf("%q: %q", args, got)
		}
	}
}

// TestRun is of a module whose tests fail once, or always.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module m\n\ngo 1.24\n")
	write("m_test.go", `package m

import (
	"os"
	"testing"
)

func TestOnce(t *testing.T) {
	t.Run("a.b", func(t *testing.T) {
		if _, err := os.Stat("been"); err != nil {
			os.WriteFile("been", nil, 0o644)
			t.Fatal("not yet")
		}
	})
}

func TestAlways(t *testing.T) {
	if os.Getenv("STEADY_ALWAYS") != "" {
		t.Fatal("no")
	}
}
`)
	t.Chdir(dir)
	t.Setenv("GOFLAGS", "-mod=mod")
	var out strings.Builder
	if err := run([]string{"-count=1", "./..."}, 3, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if !strings.Contains(out.String(), "Unsteady") || !strings.Contains(out.String(), "  m TestOnce/a.b\n") {
		t.Errorf("not told as unsteady:\n%s", &out)
	}
	t.Setenv("STEADY_ALWAYS", "1")
	if err := run([]string{"-count=1", "./..."}, 3, &out); err == nil || !strings.Contains(err.Error(), "TestAlways failed twice") {
		t.Errorf("a test that always fails: %v", err)
	}
	os.Remove("been")
	if err := run([]string{"-count=1", "./..."}, 1, &out); err == nil || !strings.Contains(err.Error(), "2 tests failed") {
		t.Errorf("more than may be run again: %v", err)
	}
}
