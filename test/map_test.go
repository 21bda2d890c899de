package test

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// TestMap holds the code map of ARCHITECTURE.md against the packages that there are: each
// is named, or lies below or above one that is, and what is named is there.
func TestMap(t *testing.T) {
	text, err := os.ReadFile("../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## Code map\n")
	section, _, found := strings.Cut(section, "\n## ")
	if !ok || !found {
		t.Fatal("there is no code map")
	}
	named, above := map[string]bool{}, map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?) \\|").FindAllStringSubmatch(section, -1) {
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			for _, name := range braces(m[1]) {
				for at := name; at != "."; at = path.Dir(at) {
					above[at] = true
				}
				named[name] = true
				if _, err := os.Stat("../" + name); err != nil {
					t.Errorf("the map has %s, which is not there", name)
				}
			}
		}
	}
	if len(named) < 50 {
		t.Fatalf("the map has only %d names: is it read rightly?", len(named))
	}
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		at := name
		for at != "." && !named[at] {
			at = path.Dir(at)
		}
		if at == "." && !above[name] {
			t.Errorf("the map has not %s", name)
		}
	}
}

// braces gives the names that a/{b,c} stands for.
func braces(name string) (names []string) {
	before, rest, ok := strings.Cut(name, "{")
	list, after, closed := strings.Cut(rest, "}")
	if !ok || !closed {
		return []string{name}
	}
	for one := range strings.SplitSeq(list, ",") {
		names = append(names, before+one+after)
	}
	return names
}
