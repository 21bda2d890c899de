package net_test

import (
	"os"
	"testing"
)

// TestPrograms has what programs that nobody here wrote ask for.
func TestPrograms(t *testing.T) { alike(t, "python3", "programs.py") }

// TestAnswers sends packets that no honest stack sends to the host's own stack and to netd,
// which answer alike.
func TestAnswers(t *testing.T) {
	t.Parallel()
	needs(t, "python3")
	script, err := os.ReadFile("testdata/answers.py")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(serve func(w *wire) []string) string {
		w := newWire(t)
		s := w.start(serve(w), "ready")
		defer s.end()
		return w.run(w.peer("python3", "-c", string(script), "probe"))
	}
	args := []string{"python3", "-c", string(script), "serve"}
	want := ask(func(w *wire) []string { return append([]string{"ip", "netns", "exec", w.inside}, args...) })
	got := ask(func(w *wire) []string { return w.sandbox(nil, args...) })
	if got != want {
		t.Errorf("inside:\n%s\nthe host:\n%s", got, want)
	}
}
