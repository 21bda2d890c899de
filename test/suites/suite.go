package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"time"
)

// suite is a shell script that runs a suite. It starts in an empty directory,
// which is also $HOME and $TMPDIR, and with $SUITES, the directory of the scripts, and
// $PARTS, which of its parts to run if not empty.
// Lines of its head say
//
//	# needs: PROGRAM|/FILE ...    without which it is skipped
//	# packages: NAME ...          Debian's, that hold them
//	# format: python|go|words     how its results are written: see formats
//	# timeout: DURATION           in each of both places
//	# flags: FLAG ...             for sandbox-launch
type suite struct {
	name     string
	path     string
	needs    []string
	packages []string
	format   format
	timeout  time.Duration
	flags    []string
}

func readSuites(dir string) ([]suite, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.sh"))
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("no suites in %s: start from the repository's top (%v)", dir, err)
	}
	var all []suite
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		s, err := parseSuite(path, text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func parseSuite(path string, text []byte) (suite, error) {
	s := suite{name: strings.TrimSuffix(filepath.Base(path), ".sh"), timeout: 5 * time.Minute}
	var err error
	if s.path, err = filepath.Abs(path); err != nil {
		return s, err
	}
	head := func(key string) string {
		for line := range bytes.Lines(text) {
			if rest, ok := strings.CutPrefix(string(line), "# "+key+":"); ok {
				return strings.TrimSpace(rest)
			}
		}
		return ""
	}
	s.needs, s.packages, s.flags = strings.Fields(head("needs")), strings.Fields(head("packages")), strings.Fields(head("flags"))
	if v := head("timeout"); v != "" {
		if s.timeout, err = time.ParseDuration(v); err != nil {
			return s, err
		}
	}
	var ok bool
	if s.format, ok = formats[head("format")]; !ok {
		return s, fmt.Errorf("no such format: %q", head("format"))
	}
	return s, nil
}

// missing is what the suite needs and is not there.
func (s suite) missing() []string {
	var missing []string
	for _, n := range s.needs {
		if strings.HasPrefix(n, "/") {
			if found, _ := filepath.Glob(n); len(found) == 0 {
				missing = append(missing, n)
			}
		} else if _, err := exec.LookPath(n); err != nil {
			missing = append(missing, n)
		}
	}
	return missing
}

// verdict is what became of one test.
type verdict string

const (
	pass verdict = "pass"
	fail verdict = "fail"
	skip verdict = "skip"
)

// results are verdicts by the tests' names.
type results map[string]verdict

// set notes a verdict; a test that is told of twice has passed if it did both times.
func (r results) set(name string, v verdict) {
	if old, ok := r[name]; ok && old != pass {
		return
	}
	r[name] = v
}

func (r results) count(v verdict) int {
	n := 0
	for _, got := range r {
		if got == v {
			n++
		}
	}
	return n
}

func (r results) names() []string {
	var names []string
	for n := range r {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// A format reads the results out of what a suite printed.
type format func(log []byte) results

var formats = map[string]format{
	"python": pythonResults, // python3 -m test -v, or unittest -v
	"go":     goResults,     // go test -v
	"words":  wordResults,   // PASS|FAIL|SKIP NAME, a line each
}

// lines calls f for each line, however long.
func lines(log []byte, f func(line string)) {
	for line := range bytes.Lines(log) {
		f(strings.TrimRight(string(line), "\r\n"))
	}
}

var (
	pythonTest    = regexp.MustCompile(`^(test\w*) \(([\w.<>]+)\)`)
	pythonVerdict = regexp.MustCompile(`(?:\.\.\. |^)(ok|FAIL|ERROR|skipped|expected failure|unexpected success)(?: .*)?$`)
)

// pythonResults reads "test_x (test.test_os.TimesTests.test_x) ... ok", where the
// test's description may stand on a line between the name and the dots, and what
// the test itself prints between the dots and the verdict.
func pythonResults(log []byte) results {
	r := results{}
	name := ""
	lines(log, func(line string) {
		if m := pythonTest.FindStringSubmatch(line); m != nil {
			name = strings.TrimPrefix(m[2], "test.")
			if !strings.HasSuffix(name, "."+m[1]) {
				name += "." + m[1]
			}
		}
		m := pythonVerdict.FindStringSubmatch(line)
		if m == nil || name == "" {
			return
		}
		switch m[1] {
		case "ok", "expected failure":
			r.set(name, pass)
		case "skipped":
			r.set(name, skip)
		default:
			r.set(name, fail)
		}
		name = ""
	})
	return r
}

var (
	goVerdict = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+)`)
	goPackage = regexp.MustCompile(`^(?:ok|FAIL|---)\s+([a-z][\w/.]*)\s`)
)

// goResults reads "--- PASS: TestX (0.00s)" and names it by the package, whose
// name comes after its tests.
func goResults(log []byte) results {
	r, these := results{}, results{}
	lines(log, func(line string) {
		if m := goVerdict.FindStringSubmatch(line); m != nil {
			these.set(m[2], verdict(strings.ToLower(m[1])))
		} else if m := goPackage.FindStringSubmatch(line); m != nil {
			for name, v := range these {
				r.set(m[1]+"."+name, v)
			}
			these = results{}
		}
	})
	return r
}

var wordVerdict = regexp.MustCompile(`^(PASS|FAIL|SKIP)[: ]+(\S.*)$`)

// wordResults reads "PASS NAME".
func wordResults(log []byte) results {
	r := results{}
	lines(log, func(line string) {
		if m := wordVerdict.FindStringSubmatch(line); m != nil {
			r.set(strings.TrimSpace(m[2]), verdict(strings.ToLower(m[1])))
		}
	})
	return r
}

// readDiffers reads the known differences: "SUITE/TEST REASON" on each line, where
// TEST may end in "*", and a blank in a name is written as "_".
func readDiffers(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	known := map[string]string{}
	for in := bufio.NewScanner(f); in.Scan(); {
		line := strings.TrimSpace(in.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, ok := strings.Cut(line, " ")
		if !ok {
			return nil, fmt.Errorf("%s: no reason given: %s", path, line)
		}
		known[name] = strings.TrimSpace(reason)
	}
	return known, nil
}

// nameOf is what testdata/differs calls a test.
func nameOf(suite, test string) string { return suite + "/" + strings.ReplaceAll(test, " ", "_") }

// reason is why a test of a suite is known to differ, or "".
func reason(known map[string]string, suite, test string) string {
	name := nameOf(suite, test)
	if why, ok := known[name]; ok {
		return why
	}
	for pattern, why := range known {
		if head, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasPrefix(name, head) {
			return why
		}
	}
	return ""
}
