package task

import "bulkhead/services/sentry/mm"

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
