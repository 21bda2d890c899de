// Steady runs go test and gives each test that fails one more run, alone: a machine
// on which everything runs at once starves now and then a test of something that it
// waits for, and that is worth knowing but no reason to refuse a change.
//
//	go run ./test/steady [-again N] -- GO-TEST-ARGUMENTS
//
// It prints what go test prints, and at the end names each test that failed and then
// passed, as unsteady. What shows a fault however seldom it comes is never run again: a
// data race, a panic, a test that hung, a package that did not build. Nor is anything
// if more than N tests failed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

func main() {
	again := flag.Int("again", 3, "how many `tests` that failed are run once more")
	flag.Parse()
	if err := run(flag.Args(), *again, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "steady:", err)
		os.Exit(1)
	}
}

// run is go test with args, whose failed tests, if there are no more than again, run
// once more.
func run(args []string, again int, out io.Writer) error {
	failed, err := goTest(args, out)
	if err == nil {
		return nil
	}
	switch {
	case len(failed.tests) == 0, failed.final != "":
		if failed.final != "" {
			return fmt.Errorf("%w: %s", err, failed.final)
		}
		return err
	case len(failed.tests) > again:
		return fmt.Errorf("%w: %d tests failed, and at most %d are run again", err, len(failed.tests), again)
	}
	for _, t := range failed.tests {
		fmt.Fprintf(out, "\n== once more, alone: %s %s\n", t.pkg, t.name)
		if _, err := goTest(append(options(args), "-count=1", "-p=1", "-run="+t.pattern(), t.pkg), out); err != nil {
			return fmt.Errorf("%s %s failed twice: %w", t.pkg, t.name, err)
		}
	}
	fmt.Fprintf(out, "\nUnsteady, as they failed among others and passed alone:\n")
	for _, t := range failed.tests {
		fmt.Fprintf(out, "  %s %s\n", t.pkg, t.name)
	}
	return nil
}

// options are args without the packages, which go test takes last.
func options(args []string) []string {
	i := len(args)
	for i > 0 && !strings.HasPrefix(args[i-1], "-") {
		i--
	}
	// -timeout 5m: the last option's value is no package.
	if i < len(args) && i > 0 && valued[strings.TrimLeft(args[i-1], "-")] {
		i++
	}
	return slices.Clone(args[:i])
}

// valued are the options of go test that the Makefile gives with their value apart.
var valued = map[string]bool{"timeout": true, "tags": true, "p": true, "run": true}

// goTest runs go test, whose output goes on to out, and says what failed.
func goTest(args []string, out io.Writer) (failures, error) {
	cmd := exec.Command("go", append([]string{"test"}, args...)...)
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		return failures{}, fmt.Errorf("start go test: %w", err)
	}
	ended := make(chan error, 1)
	go func() { err := cmd.Wait(); w.Close(); ended <- err }()
	f, err := read(io.TeeReader(r, out))
	if err != nil {
		cmd.Process.Kill()
		r.CloseWithError(err)
	}
	if end := <-ended; end != nil {
		return f, errors.Join(err, fmt.Errorf("go test: %w", end))
	}
	return f, err
}

// test is one that failed, by its package and its name as -v prints it: A/b/c.
type test struct{ pkg, name string }

// pattern is what makes -run choose t alone.
func (t test) pattern() string {
	parts := strings.Split(t.name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}
