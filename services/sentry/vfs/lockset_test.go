package vfs

import (
	"math/rand/v2"
	"testing"
)

// TestLockSet compares lock sets with an array of who holds each byte.
func TestLockSet(t *testing.T) {
	const size = 24
	rng := rand.New(rand.NewPCG(1, 2))
	type state struct{ read, write bool }
	for round := range 500 {
		var s lockSet
		var held [3][size]state
		for range 40 {
			a, b := rng.Int64N(size), rng.Int64N(size)
			l := span{first: min(a, b), last: max(a, b), write: rng.IntN(2) == 0, owner: processOwner(rng.IntN(3))}
			me := int(l.owner.(processOwner))
			if rng.IntN(3) == 0 {
				s.clear(l)
				for i := l.first; i <= l.last; i++ {
					held[me][i] = state{}
				}
			} else {
				taken := false
				for i := l.first; i <= l.last; i++ {
					for who := range held {
						taken = taken || who != me && (held[who][i].write || l.write && held[who][i].read)
					}
				}
				if _, got := s.conflict(l); got != taken {
					t.Fatalf("round %d: conflict %v, want %v for %+v in %+v", round, got, taken, l, s)
				}
				if taken {
					continue
				}
				s.set(l)
				for i := l.first; i <= l.last; i++ {
					held[me][i] = state{!l.write, l.write}
				}
			}
			var now [3][size]state
			for _, o := range s {
				for i := o.first; i <= o.last; i++ {
					if now[o.owner.(processOwner)][i] != (state{}) {
						t.Fatalf("round %d: overlap in %+v", round, s)
					}
					now[o.owner.(processOwner)][i] = state{!o.write, o.write}
				}
			}
			if now != held {
				t.Fatalf("round %d: %+v after %+v", round, s, l)
			}
			for i := 1; i < len(s); i++ {
				for j := range i {
					if s[i].owner == s[j].owner && s[i].write == s[j].write && s[j].last+1 == s[i].first {
						t.Fatalf("round %d: neighbours not joined in %+v", round, s)
					}
				}
			}
		}
	}
}

// Of very many locks a change leaves all but its neighbours alone: it neither sorts nor
// copies them, with the locks of all files waiting for it.
func TestLockSet_many(t *testing.T) {
	var s lockSet
	for i := range int64(20000) {
		s = append(s, span{first: 4 * i, last: 4 * i, write: true, owner: processOwner(1)})
	}
	l := span{first: 40001, last: 40001, owner: processOwner(2)}
	s.set(l)
	if n := testing.AllocsPerRun(20, func() { s.clear(l); s.set(l) }); n > 1 {
		t.Errorf("a lock beside 20000 others: %v allocations", n)
	}
	if s[10001] != l || len(s) != 20001 {
		t.Errorf("%d locks, the new one is %+v", len(s), s[10001])
	}
}
