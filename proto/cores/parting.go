package cores

import "time"

// Parting decides when a loop is to leave the core that it shares with whoever it waits
// for. A host that packs its work may leave both there, though another core is idle:
// neither sleeps for long, so that nothing places them anew. Each look of the loop then
// only gives the core to the other. It is for one goroutine.
type Parting struct {
	// After is how many looks in a row must find the other on the same core.
	After int
	// Worth is how many looks must find it elsewhere after a move for the move to have
	// been worth its while. Where all cores are wanted, moves do not last, and are tried
	// again later and later.
	Worth int

	together int // looks in a row on one core
	apart    int // looks on two since the last move
	moved    time.Time
	pause    time.Duration
}

// The pause from a move that lasted to the next one, and the longest after others.
const shortest, longest = time.Millisecond, time.Second

// Apart notes that the two are on different cores.
func (p *Parting) Apart() {
	p.together = 0
	p.apart++
}

// Together notes that they are on one, and says whether the loop is to leave it.
func (p *Parting) Together() bool { return p.habit() && p.leave(time.Now()) }

// habit notes that they are on one core, and says whether that has become a habit.
func (p *Parting) habit() bool {
	if p.together++; p.together < p.After {
		return false
	}
	p.together = 0
	return true
}

// leave says whether the last move is long enough ago for another, and notes that.
func (p *Parting) leave(now time.Time) bool {
	if now.Sub(p.moved) < p.pause {
		return false
	}
	if p.pause = min(2*p.pause, longest); p.apart >= p.Worth || p.pause == 0 {
		p.pause = shortest
	}
	p.apart = 0
	p.moved = now
	return true
}
