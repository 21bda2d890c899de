// Suites runs other people's test suites and programs on the host and in the
// sandbox, and compares which of their tests passed: what passes on Linux is to
// pass here.
//
//	go run ./test/suites [-only REGEXP] [-parts "NAME ..."] [-logs DIR] [-reuse] [-list]
//
// Run it as root; make suites builds everything first. A suite is a shell script
// of suites/*.sh, whose head says what it needs and how its results are written;
// see suite.go. It runs one after the other, on the host in namespaces of its own,
// and each within its time. A test differs if it passes on the host and not in the
// sandbox; testdata/differs names those that are known, with the reason. Nothing is
// installed: a suite whose programs are missing is skipped, and the packages named.
// Those that come as source alone are got and made by test/suites/sources.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"
)

var (
	only  = flag.String("only", "", "only suites whose name this regular `expression` finds")
	parts = flag.String("parts", "", "of suites that consist of parts (packages, modules), only those of these `names`")
	logs  = flag.String("logs", "", "keep what the suites print in this `directory`")
	reuse = flag.Bool("reuse", false, "take the host's results from -logs, where they are, rather than run there again")
	list  = flag.Bool("list", false, "list the suites and what they need, and run nothing")
	bin   = flag.String("bin", "bin", "`directory` of Bulkhead's programs")
)

// sources is where test/suites/sources leaves what it makes.
const sources = "/var/tmp/bulkhead-sources/"

func main() {
	flag.Parse()
	differing, err := suites()
	if err == nil && differing > 0 {
		err = fmt.Errorf("%d tests that pass on the host do not in the sandbox, for no reason that testdata/differs knows", differing)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "suites:", err)
		os.Exit(1)
	}
}

func suites() (differing int, err error) {
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return 0, fmt.Errorf("-only: %w", err)
	}
	all, err := readSuites(filepath.Join("test", "suites", "suites"))
	if err != nil {
		return 0, err
	}
	known, err := readDiffers(filepath.Join("test", "suites", "testdata", "differs"))
	if err != nil {
		return 0, err
	}
	if *list {
		listSuites(all)
		return 0, nil
	}
	r, err := newRunner()
	if err != nil {
		return 0, err
	}
	defer r.close()
	var t table
	for _, s := range all {
		if wanted.MatchString(s.name) {
			t.add(r.compare(s, known))
		}
	}
	t.print(os.Stdout)
	return t.differing, nil
}

func listSuites(all []suite) {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	defer w.Flush()
	for _, s := range all {
		state := ""
		if missing := s.missing(); len(missing) > 0 {
			state = "missing: " + strings.Join(missing, " ")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.name, s.timeout, strings.Join(s.packages, " "), state)
	}
}

// compare runs a suite in both places.
func (r *runner) compare(s suite, known map[string]string) row {
	w := row{suite: s.name}
	if missing := s.missing(); len(missing) > 0 {
		w.note = fmt.Sprintf("skipped, for want of %s: apt-get install %s", strings.Join(missing, " "), strings.Join(s.packages, " "))
		if strings.HasPrefix(missing[0], sources) {
			w.note += fmt.Sprintf("; test/suites/sources %s", s.name)
		}
		return w
	}
	fmt.Fprintf(os.Stderr, "%s %s: host\n", time.Now().Format("15:04:05"), s.name)
	host, err := r.onHost(s)
	if err != nil {
		w.note = "on the host: " + err.Error()
		if !errors.Is(err, errTimeout) {
			return w
		}
	}
	fmt.Fprintf(os.Stderr, "%s %s: sandbox\n", time.Now().Format("15:04:05"), s.name)
	guest, err := r.inSandbox(s)
	if err != nil {
		w.note = strings.TrimSpace(w.note + " in the sandbox: " + err.Error())
	}
	w.hold(host, guest, known)
	return w
}
