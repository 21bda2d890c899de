package server

import (
	"testing"
	"time"
)

// Waits that take longer than looking is worth end the looking after a while; one that
// is short brings it back, whether or not the loop had looked.
func TestLinger(t *testing.T) {
	var l linger
	wait := func(long bool) (looked bool) {
		looked = l.begin()
		for began := time.Now(); looked && long && l.again(); {
			if time.Since(began) > 20*time.Second {
				t.Fatal("looking does not end")
			}
		}
		if long {
			time.Sleep(lingerFor)
		}
		l.end()
		return looked
	}
	if wait(true) {
		t.Error("it looks before anything has come")
	}
	for wait(false); !wait(false); { // this thread may stand still for longer
	}
	looks := 0
	for range 100 {
		if wait(true) {
			looks++
		}
	}
	if looks > lingerCredit {
		t.Errorf("it looked %d times in vain", looks)
	}
}
