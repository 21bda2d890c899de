package server

import (
	"runtime"
	"testing"
	"time"
)

// crowd notes looks that ended because of others until one is to be followed by a move;
// 0: none was within most.
func crowd(p *parting, now time.Time, most int) int {
	for n := 1; n <= most; n++ {
		if p.note(lingerCrowd, now) {
			return n
		}
	}
	return 0
}

func TestPartingNeedsAHabit(t *testing.T) {
	var p parting
	now := time.Now()
	for range 100 {
		for range partAfter - 1 {
			if p.note(lingerCrowd, now) {
				t.Fatal("the loop leaves too soon")
			}
		}
		p.note(0, now)
	}
	for range 100 {
		if p.note(lingerCrowd-1, now) {
			t.Fatal("the loop leaves though it went on looking")
		}
	}
	if n := crowd(&p, now, 100); n != partAfter {
		t.Errorf("the loop leaves after %d looks", n)
	}
}

// Moves that do not last become rarer, down to one a second; one that does brings the
// next ones back.
func TestPartingPauses(t *testing.T) {
	var p parting
	now := time.Now()
	crowd(&p, now, partAfter)
	for want := partPause; want < 4*partPauseMax; want *= 2 {
		pause := min(want, partPauseMax)
		if now = now.Add(pause - 1); crowd(&p, now, 100) != 0 {
			t.Fatalf("it leaves again before %v", pause)
		}
		if now = now.Add(1); crowd(&p, now, partAfter) == 0 {
			t.Fatalf("it does not leave again after %v", pause)
		}
	}
	for range partWorth {
		p.note(0, now)
	}
	if now = now.Add(partPauseMax); crowd(&p, now, partAfter) == 0 {
		t.Fatal("it does not leave after the longest pause")
	}
	if now = now.Add(partPause); crowd(&p, now, partAfter) == 0 {
		t.Error("the move before had lasted, and the pause is as long as after one that had not")
	}
}

func TestMaskWithout(t *testing.T) {
	m := cpuMask{0b101}
	if others, ok := m.without(2); !ok || others != (cpuMask{0b001}) {
		t.Errorf("without core 2: %b, %v", others[0], ok)
	}
	if _, ok := (cpuMask{0b100}).without(2); ok {
		t.Error("something is left of one core")
	}
	if _, ok := m.without(1024); ok {
		t.Error("there is no such core")
	}
}

// Who has left may come back.
func TestLeaveCoreKeepsTheMask(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := affinity()
	for range 10 {
		leaveCore()
		if now := affinity(); now != before || now == (cpuMask{}) {
			t.Fatalf("the mask is %x, and was %x", now, before)
		}
	}
}
