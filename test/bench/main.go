// Bench prints the benchmark table: the same programs natively, in a sandbox
// and, where it is installed, under runc, by turns in one run, so that a busy
// moment of the machine hits all of them. A cell is the median of the rounds;
// beside it is its ratio to the native one.
//
//	go run ./test/bench [-rounds N] [-quick]
//
// Run it as root with nothing else going on. make bench builds everything first.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	rounds = flag.Int("rounds", 7, "rounds of each row; the table shows medians")
	bin    = flag.String("bin", "bin", "directory of Bulkhead's programs")
	quick  = flag.Bool("quick", false, "only the single operations and start-up")
	only   = flag.String("only", "", "only rows whose name contains this")
)

func main() {
	flag.Parse()
	if err := bench(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench() error {
	dir, err := os.MkdirTemp("/var/tmp", "bulkhead-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &run{dir: dir, cells: map[cell][]float64{}}
	if err := b.prepare(); err != nil {
		return err
	}
	defer b.close()
	b.warm()
	for round := range *rounds {
		fmt.Fprintf(os.Stderr, "\rround %d of %d", round+1, *rounds)
		for _, e := range b.environments {
			b.micro(e)
			for _, r := range commandRows {
				if (!*quick || r.always) && strings.Contains(r.name, *only) {
					b.command(e, r)
				}
			}
			if round < 3 && strings.Contains("idle memory", *only) {
				b.idle(e)
			}
		}
	}
	fmt.Fprint(os.Stderr, "\r               \r")
	b.print()
	return nil
}

// warm reads from disk what the rows read, so that no environment pays for it.
func (b *run) warm() {
	for _, r := range commandRows {
		if !*quick && strings.Contains(r.name, *only) {
			output(b.commandLine(r))
		}
	}
}

// An environment runs programs its own way.
type environment struct {
	name string
	wrap func(argv []string) []string
}

type cell struct{ environment, row string }

type run struct {
	dir          string
	microPath    string
	environments []environment
	rows         []string // in the order of their first result
	units        map[string]string
	cells        map[cell][]float64
	failures     []string
	runc         *runcBundle
}

func (b *run) prepare() error {
	b.units = map[string]string{}
	b.microPath = filepath.Join(b.dir, "micro")
	_, file, _, _ := runtime.Caller(0)
	out, err := exec.Command("gcc", "-O2", "-static", "-pthread", "-o", b.microPath, filepath.Join(filepath.Dir(file), "micro", "micro.c")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("gcc micro.c: %w\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "hello.c"), []byte(helloC), 0o644); err != nil {
		return err
	}
	launch, err := filepath.Abs(filepath.Join(*bin, "sandbox-launch"))
	if err != nil {
		return err
	}
	b.environments = []environment{
		{"native", func(argv []string) []string { return argv }},
		{"bulkhead", func(argv []string) []string { return append([]string{launch, "run", "--"}, argv...) }},
	}
	b.runc, err = newRuncBundle(b.dir)
	if err != nil {
		fmt.Printf("no column for runc: %v\n", err)
		return nil
	}
	b.environments = append(b.environments, environment{"runc", b.runc.wrap})
	return nil
}

func (b *run) close() {
	if b.runc != nil {
		b.runc.close()
	}
}

func (b *run) add(e environment, row, unit string, v float64) {
	if _, ok := b.units[row]; !ok {
		b.rows = append(b.rows, row)
		b.units[row] = unit
	}
	c := cell{e.name, row}
	b.cells[c] = append(b.cells[c], v)
}

func (b *run) fail(e environment, row string, err error, out []byte) {
	text := strings.TrimSpace(string(out))
	if len(text) > 300 {
		text = text[len(text)-300:]
	}
	b.failures = append(b.failures, fmt.Sprintf("%s: %s: %v: %s", e.name, row, err, text))
}

// micro runs the single operations in one process.
func (b *run) micro(e environment) {
	argv := []string{b.microPath}
	if *only != "" {
		argv = append(argv, *only)
	}
	out, err := output(e.wrap(argv))
	if err != nil {
		b.fail(e, "micro", err, out)
	}
	for line := range strings.Lines(string(out)) {
		name, ns, ok := strings.Cut(strings.TrimSpace(line), "\t")
		v, err := strconv.ParseFloat(ns, 64)
		if ok && err == nil {
			b.add(e, name, "ns", v)
		}
	}
}

type commandRow struct {
	name   string
	argv   []string
	always bool
}

// commandRows are whole programs, start and end of the environment included.
var commandRows = []commandRow{
	{"start-up: /bin/true", []string{"/bin/true"}, true},
	{"python3 -c pass", []string{"/usr/bin/python3", "-c", "pass"}, false},
	{"sh: 100 × /bin/true", []string{"/bin/sh", "-c", "i=0; while [ $i -lt 100 ]; do /bin/true; i=$((i+1)); done"}, false},
	{"ls -lR /usr/share", []string{"/bin/sh", "-c", "ls -lR /usr/share >/dev/null"}, false},
	{"grep -r over /usr/include", []string{"/bin/sh", "-c", "grep -rc bulkhead /usr/include >/dev/null; true"}, false},
	{"gcc hello.c", []string{"/bin/sh", "-c", "gcc -O1 -o /tmp/hello-bench HELLO && /tmp/hello-bench >/dev/null && rm /tmp/hello-bench"}, false},
}

const helloC = "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n"

func (b *run) commandLine(r commandRow) []string {
	argv := slices.Clone(r.argv)
	for i := range argv {
		argv[i] = strings.ReplaceAll(argv[i], "HELLO", filepath.Join(b.dir, "hello.c"))
	}
	return argv
}

func (b *run) command(e environment, r commandRow) {
	start := time.Now()
	out, err := output(e.wrap(b.commandLine(r)))
	if err != nil {
		b.fail(e, r.name, err, out)
		return
	}
	b.add(e, r.name, "ms", float64(time.Since(start))/1e6)
}

func output(argv []string) ([]byte, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", "HOME=/root"}
	cmd.Dir = "/"
	timer := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	defer timer.Stop()
	return cmd.CombinedOutput()
}

// print prints the table, for a terminal and as it goes into a document.
func (b *run) print() {
	fmt.Printf("| %-28s |", "")
	for _, e := range b.environments {
		fmt.Printf(" %18s |", e.name)
	}
	fmt.Print("\n| --- |" + strings.Repeat(" ---: |", len(b.environments)) + "\n")
	for _, row := range b.rows {
		fmt.Printf("| %-28s |", row)
		native := median(b.cells[cell{b.environments[0].name, row}])
		for i, e := range b.environments {
			v := b.cells[cell{e.name, row}]
			if len(v) == 0 {
				fmt.Printf(" %18s |", "failed")
				continue
			}
			text := format(median(v), b.units[row])
			if i > 0 && native > 0 {
				text += fmt.Sprintf(" (%s×)", ratio(median(v)/native))
			}
			fmt.Printf(" %18s |", text)
		}
		fmt.Println()
	}
	fmt.Printf("\nMedians of %d rounds, %d CPUs, Linux %s.\n", *rounds, runtime.NumCPU(), kernel())
	slices.Sort(b.failures)
	for _, f := range slices.Compact(b.failures) {
		fmt.Fprintln(os.Stderr, "failed:", f)
	}
}

func ratio(r float64) string {
	if r < 10 {
		return strconv.FormatFloat(r, 'f', 1, 64)
	}
	return strconv.FormatFloat(r, 'f', 0, 64)
}

func format(v float64, unit string) string {
	switch {
	case unit == "ns" && v >= 1e6:
		return fmt.Sprintf("%.2f ms", v/1e6)
	case unit == "ns" && v >= 1e3:
		return fmt.Sprintf("%.2f µs", v/1e3)
	case unit == "ns":
		return fmt.Sprintf("%.0f ns", v)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func kernel() string {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(string(b))
}
