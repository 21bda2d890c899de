package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// failures are what one run of go test told of.
type failures struct {
	tests []test // the innermost that failed, each once
	final string // why nothing of it may run again, if so
}

// The lines of go test's output that matter. Those of subtests are indented under
// their test's, which comes first.
var (
	failLine    = regexp.MustCompile(`^( *)--- FAIL: (\S+) \(`)
	packageLine = regexp.MustCompile(`^FAIL\t(\S+)(?:\t| )(.*)$`)
	finalLine   = regexp.MustCompile(`^(WARNING: DATA RACE|panic: .*|fatal error: .*|\*\*\* Test killed.*)$`)
)

// read reads what go test prints without -json, to its end.
func read(r io.Reader) (failures, error) {
	var f failures
	var names []string // of the package whose output comes now
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		line = strings.TrimSuffix(line, "\n")
		switch {
		case finalLine.MatchString(line):
			f.final = line
		case failLine.MatchString(line):
			names = append(names, failLine.FindStringSubmatch(line)[2])
		case packageLine.MatchString(line):
			m := packageLine.FindStringSubmatch(line)
			if len(names) == 0 {
				f.final = fmt.Sprintf("%s failed outside of a test: %s", m[1], m[2])
			}
			for _, n := range innermost(names) {
				f.tests = append(f.tests, test{m[1], n})
			}
			names = nil
		}
		if err == io.EOF {
			return f, nil
		}
		if err != nil {
			return f, fmt.Errorf("read go test's output: %w", err)
		}
	}
}

// innermost leaves out the tests of which a subtest failed too.
func innermost(names []string) []string {
	var leaves []string
	for _, n := range names {
		outer := false
		for _, other := range names {
			outer = outer || strings.HasPrefix(other, n+"/")
		}
		if !outer {
			leaves = append(leaves, n)
		}
	}
	return leaves
}
