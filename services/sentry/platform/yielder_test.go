package platform

import (
	"testing"

	"bulkhead/services/sentry/wait"
)

type countingWatcher struct{ watched, looked int }

func (w *countingWatcher) Watch()       { w.watched++ }
func (w *countingWatcher) Look()        { w.looked++ }
func (w *countingWatcher) Unwatch(bool) { w.watched-- }

// TestYielderWatches has an idle wait look at the watcher until it is over, and one
// with locks held leave it alone: a watch without an end would have nobody woken.
func TestYielderWatches(t *testing.T) {
	w := &countingWatcher{}
	defer wait.SetWatcher(w)()
	y := Yielder{Idle: true}
	y.Done(false)
	for range 20 {
		y.Yield()
		if w.watched != 1 {
			t.Fatalf("watched %d times", w.watched)
		}
	}
	y.Done(false)
	y.Done(false)
	if w.watched != 0 || w.looked != 20 || yielders.Load() != 0 {
		t.Fatalf("watched %d, looked %d, yielders %d", w.watched, w.looked, yielders.Load())
	}
	var held Yielder
	held.Yield()
	held.Done(false)
	if w.looked != 20 || yielders.Load() != 0 {
		t.Fatal("looked with locks held")
	}
}
