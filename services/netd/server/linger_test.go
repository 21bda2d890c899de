package server

import (
	"testing"
	"time"
)

// A phase in vain ends by itself; some of them end the phases, and a try now and
// then is all that is left; one that pays brings them back.
func TestLinger(t *testing.T) {
	var l linger
	phases := func(sleeps int) (n int) {
		for range sleeps {
			if !l.begin() {
				continue
			}
			n++
			for began := time.Now(); l.again(); {
				if time.Since(began) > time.Second {
					t.Fatal("a phase does not end")
				}
			}
		}
		return n
	}
	if n := phases(1000); n == 0 || n > 1+1000/lingerTry {
		t.Errorf("%d phases of 1000 in vain from the beginning", n)
	}
	l.paid()
	if n := phases(lingerCredit); n != lingerCredit {
		t.Errorf("%d phases of %d after one that paid", n, lingerCredit)
	}
	if n := phases(lingerTry - 1); n != 0 {
		t.Errorf("%d phases though %d were in vain", n, lingerCredit)
	}
}
