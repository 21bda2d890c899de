package platform

import "bulkhead/proto/cores"

// A guest thread and the goroutine that serves it answer each other fastest from
// two cores. The goroutine's thread leaves the guest's: cores.Parting.

const (
	// partAfter is how many requests in a row must come from the server's own core.
	partAfter = 16
	// partWorth is how many from another make a move worth it, which takes as long as a
	// hundred calls.
	partWorth = 256
)

// meet notes whether a request came from the core here, and parts the two if that
// has become a habit.
func (th *Thread) meet(here, there uint32) {
	const nodeShift = 12 // see core
	if here != there {
		th.parting.Apart()
	} else if th.parting.Together() {
		cores.Leave(here & (1<<nodeShift - 1))
	}
}
