package cores

import (
	"testing"
	"time"
)

func TestParting_needsAHabit(t *testing.T) {
	p := Parting{After: 4, Worth: 64}
	for range 100 {
		for range 3 {
			if p.Together() {
				t.Fatal("the loop leaves too soon")
			}
		}
		p.Apart()
	}
	for n := 1; ; n++ {
		if left := p.Together(); left != (n == 4) {
			t.Fatalf("look %d: left is %v", n, left)
		} else if left {
			break
		}
	}
	if p.Together() {
		t.Error("the loop leaves once more at once")
	}
}

// Moves that do not last become rarer, down to one a second; one that does brings the
// next ones back.
func TestParting_pauses(t *testing.T) {
	p := Parting{After: 1, Worth: 64}
	now := time.Now()
	p.leave(now)
	for want := shortest; want < 4*longest; want *= 2 {
		if now = now.Add(min(want, longest) - 1); p.leave(now) {
			t.Fatalf("it leaves again before %v", min(want, longest))
		}
		if now = now.Add(1); !p.leave(now) {
			t.Fatalf("it does not leave again after %v", min(want, longest))
		}
	}
	for range p.Worth {
		p.Apart()
	}
	if now = now.Add(longest); !p.leave(now) {
		t.Fatal("it does not leave after the longest pause")
	}
	if now = now.Add(shortest); !p.leave(now) {
		t.Error("the move before had lasted, and the pause is as long as after one that had not")
	}
}
