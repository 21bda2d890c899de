// Bench prints the benchmark table: the same programs natively, in a sandbox
// and, where it is installed, under runc, by turns in one run, so that a busy
// moment of the machine hits all of them. A cell is the median of the rounds;
// beside it is its ratio to the native one. The last column holds the sandbox
// against the row's target.
//
//	go run ./test/bench [-only REGEXP] [-quick] [-rounds N] [-json FILE]
//	go run ./test/bench -profile ROW
//
// Run it as root with nothing else going on. make bench builds everything first.
// A row whose programs are not installed says so and why; see traffic.go for
// the network's. All traffic stays on loopback and in two network namespaces
// that bench makes and removes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

var (
	rounds   = flag.Int("rounds", 0, "rounds of each row; the table shows medians (7; 3 with -quick)")
	bin      = flag.String("bin", "bin", "directory of Bulkhead's programs")
	quick    = flag.Bool("quick", false, "about two minutes: fewer rounds, short waits, no long rows")
	only     = flag.String("only", "", "only rows whose name this regular `expression` finds")
	jsonFile = flag.String("json", "", "write all samples to `FILE` too")
	profiled = flag.String("profile", "", "show where one `row` of single operations spends its time in the sandbox (needs perf)")
)

func main() {
	flag.Parse()
	if err := bench(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench() error {
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if *rounds == 0 {
		*rounds = 7
		if *quick {
			*rounds = 3
		}
	}
	dir, err := os.MkdirTemp("/var/tmp", "bulkhead-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	b := &run{dir: dir}
	defer b.close()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	if err := b.prepare(); err != nil {
		return err
	}
	if *profiled != "" {
		return b.profile(*profiled)
	}
	b.measure(chosen(wanted), interrupted)
	b.table.print(os.Stdout)
	fmt.Printf("\nMedians of %d rounds, %d CPUs, Linux %s.\n", *rounds, runtime.NumCPU(), kernel())
	b.table.printReasons(os.Stdout)
	if *jsonFile != "" {
		return b.table.writeJSON(*jsonFile)
	}
	return nil
}

// chosen is the rows that this run is to measure.
func chosen(wanted *regexp.Regexp) []row {
	var some []row
	for _, r := range rows {
		if wanted.MatchString(r.name) && (!*quick || !r.long) {
			some = append(some, r)
		}
	}
	return some
}

// An environment runs programs its own way.
type environment struct {
	name string
	wrap func(argv []string) []string
	// outside is wrap with an outside network, for who is started in a network
	// namespace; nil where there is none.
	outside func(argv []string) []string
}

// run is one run of bench.
type run struct {
	dir          string // seen by every environment at the same place
	environments []environment
	table        table
	runc         *runcBundle
	wire         *wire // made by the first row that needs it
	wireErr      error
	goCacheWarm  bool
	gitThere     bool
}

// environment names, which are the table's columns.
const (
	native   = "native"
	bulkhead = "bulkhead"
	runc     = "runc"
)

func (b *run) prepare() error {
	launch, err := filepath.Abs(filepath.Join(*bin, "sandbox-launch"))
	if err != nil {
		return err
	}
	if _, err := os.Stat(launch); err != nil {
		return fmt.Errorf("%w: run make build", err)
	}
	if err := b.compile(); err != nil {
		return err
	}
	if err := b.writeProjects(); err != nil {
		return err
	}
	same := func(argv []string) []string { return argv }
	b.environments = []environment{
		{native, same, same},
		{bulkhead,
			func(argv []string) []string { return append([]string{launch, "run", "--"}, argv...) },
			func(argv []string) []string {
				return append([]string{launch, "run", "--network", "sandbox", "--"}, argv...)
			}},
	}
	if b.runc, err = newRuncBundle(b.dir); err != nil {
		fmt.Printf("no column for runc: %v\n", err)
	} else {
		b.environments = append(b.environments, environment{name: runc, wrap: b.runc.wrap})
	}
	b.table = newTable()
	for _, e := range b.environments {
		b.table.columns = append(b.table.columns, e.name)
	}
	return nil
}

// compile makes the programs that the rows run: seen below dir.
func (b *run) compile() error {
	_, file, _, _ := runtime.Caller(0)
	here := filepath.Dir(file)
	micro, err := filepath.Glob(filepath.Join(here, "micro", "*.c"))
	if err != nil || len(micro) == 0 {
		return fmt.Errorf("no sources in %s/micro: %v", here, err)
	}
	exits := filepath.Join(here, "exits", "exits.c")
	for _, args := range [][]string{
		append([]string{"-static", "-pthread", "-o", b.path("micro")}, micro...),
		{"-static", "-o", b.path("exits-static"), exits},
		{"-o", b.path("exits-dynamic"), exits},
	} {
		if out, err := exec.Command("gcc", append([]string{"-O2"}, args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("gcc: %w\n%s", err, out)
		}
	}
	return nil
}

func (b *run) path(name string) string { return filepath.Join(b.dir, name) }

func (b *run) close() {
	if b.runc != nil {
		b.runc.close()
	}
	if b.wire != nil {
		b.wire.close()
	}
}

// errElsewhere is for a row that has no meaning in an environment.
var errElsewhere = errors.New("not measured here")

// measure fills the table, until the end or until it is interrupted.
func (b *run) measure(rows []row, interrupted <-chan os.Signal) {
	for _, r := range rows {
		b.table.addRow(r.name, r.unit, r.target)
	}
	start := time.Now()
	for round := range *rounds {
		for _, r := range rows {
			if r.rounds > 0 && round >= r.rounds {
				continue
			}
			fmt.Fprintf(os.Stderr, "\r\x1b[K%s round %d of %d: %s", time.Since(start).Round(time.Second), round+1, *rounds, r.name)
			for _, e := range b.environments {
				select {
				case <-interrupted:
					fmt.Fprint(os.Stderr, "\r\x1b[K")
					return
				default:
				}
				if b.table.failed(r.name, e.name) {
					continue
				}
				v, err := r.measure(b, e)
				b.table.add(r.name, e.name, v, err)
			}
		}
	}
	fmt.Fprint(os.Stderr, "\r\x1b[K")
}

// output runs a program to its end and gives what it printed to standard output.
func output(argv []string) ([]byte, error) { return outputWithin(2*time.Minute, argv) }

func outputWithin(limit time.Duration, argv []string) ([]byte, error) {
	cmd := command(argv)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	timer := time.AfterFunc(limit, func() { cmd.Process.Kill() })
	out, err := cmd.Output()
	if err != nil && !timer.Stop() {
		err = fmt.Errorf("not done after %s", limit)
	}
	if err != nil {
		return out, fmt.Errorf("%w: %s", err, tail(stderr.String()+string(out)))
	}
	return out, nil
}

func command(argv []string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", "HOME=/root"}
	cmd.Dir = "/"
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// tail is the end of a text, for an error.
func tail(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 300 {
		s = "..." + s[len(s)-300:]
	}
	return strings.Join(strings.Fields(s), " ")
}

func kernel() string {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(string(b))
}
