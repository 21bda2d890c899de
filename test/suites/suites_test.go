package main

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		format, log string
		want        results
	}{
		{"python", "test_a (test.test_os.X.test_a) ... ok\n" +
			"test_b (test.test_os.X.test_b)\nWhat it is about. ... FAIL\n" +
			"test_c (test.test_os.X.test_c) ... skipped 'no reason'\n" +
			"test_d (test.test_os.X.test_d) ... what it prints\nok\n" +
			"test_e (test.test_os.X) ... expected failure\n",
			results{"test_os.X.test_a": pass, "test_os.X.test_b": fail, "test_os.X.test_c": skip, "test_os.X.test_d": pass, "test_os.X.test_e": pass}},
		{"go", "=== RUN TestA\n--- PASS: TestA (0.00s)\n    --- SKIP: TestA/sub (0.00s)\n--- FAIL: TestB (1.00s)\nFAIL\nFAIL\tnet/http\t1.2s\n" +
			"--- PASS: TestA (0.00s)\nok  \tos\t1.2s\n",
			results{"net/http.TestA": pass, "net/http.TestA/sub": skip, "net/http.TestB": fail, "os.TestA": pass}},
		{"words", "PASS one thing\nFAIL two\nSKIP: three\nPASSED nothing\nPASS two\n",
			results{"one thing": pass, "two": fail, "three": skip}},
	} {
		if got := formats[c.format]([]byte(c.log)); !maps.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.format, got, c.want)
		}
	}
}

func TestHold(t *testing.T) {
	host := results{"same": pass, "fails": pass, "gone": pass, "known one": pass, "never": fail, "it passes now": pass}
	guest := results{"same": pass, "fails": fail, "known one": skip, "never": fail, "more": pass, "it passes now": pass}
	w := row{suite: "s"}
	w.hold(host, guest, map[string]string{"s/known_*": "a reason", "s/it_passes_now": "an old one"})
	if got, want := strings.Join(w.differ, ", "), "fails (fail), gone (not run)"; got != want {
		t.Errorf("differ: %s, want %s", got, want)
	}
	if len(w.known) != 1 || len(w.gone) != 1 || w.host != 5 || w.guest != 3 {
		t.Errorf("%+v", w)
	}
}

// Every suite's head can be read, and every known difference belongs to a suite.
func TestSuites(t *testing.T) {
	all, err := readSuites("suites")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, s := range all {
		names[s.name] = true
		if len(s.needs) == 0 || len(s.packages) == 0 {
			t.Errorf("%s does not say what it needs", s.name)
		}
	}
	known, err := readDiffers(filepath.Join("testdata", "differs"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range known {
		if suite, _, _ := strings.Cut(name, "/"); !names[suite] {
			t.Errorf("testdata/differs: no such suite: %s", name)
		}
	}
}
