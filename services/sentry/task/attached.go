package task

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
)

// Attached counts the regions, of all processes, that have b behind them: how often
// a segment of shared memory is attached. It looks at every process.
func (k *Kernel) Attached(b *mm.Backing) int {
	seen, n := map[*mm.Space]bool{}, 0
	for _, t := range k.Tasks() {
		space := t.MM()
		if space == nil || seen[space] {
			continue
		}
		seen[space] = true
		n += space.Mapped(b)
	}
	return n
}

// EndLargestMapper ends the process that has mapped the most of what is memory of the
// sandbox and no process's own, as Linux does in a container that has no memory left.
func (k *Kernel) EndLargestMapper() {
	var largest *Group
	var most uint64
	seen := map[*mm.Space]bool{}
	for _, t := range k.Tasks() {
		space := t.MM()
		if space == nil || seen[space] {
			continue
		}
		seen[space] = true
		if n := space.InMemory(); n > most {
			largest, most = t.group, n
		}
	}
	if largest != nil {
		k.kill(largest, uint32(linux.SIGKILL))
	}
}
