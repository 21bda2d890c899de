package task

import (
	"bulkhead/services/sentry/mm"
)

// The host tells which pages of a guest are in RAM, one by one. Of a region of many
// pages no more than a sample is asked about, evenly spread: what is resident of it
// is an estimate then, to which an odd page does not matter.
const (
	residentSample = 8192 // pages of a process, roughly
	residentLeast  = 64   // pages of a region
)

// Present says which of the pages at addrs are in RAM.
func (m Memory) Present(addrs []uint64, in []bool) error { return m.host.Resident(addrs, in) }

// Resident says how much of each region is in RAM, in bytes, and the sum; nothing,
// if the host does not tell.
func (m Memory) Resident(regions []mm.Region) (each []uint64, sum uint64) {
	each = make([]uint64, len(regions))
	total := uint64(0)
	for _, r := range regions {
		total += r.Len() / mm.PageSize
	}
	stride := max(total/residentSample, 1)
	var addrs []uint64
	asked := make([]uint64, len(regions))
	for i, r := range regions {
		pages := r.Len() / mm.PageSize
		n := min(pages, max(pages/stride, residentLeast))
		if len(addrs) > 4*residentSample {
			break // of regions without number
		}
		asked[i] = n
		for k := range n {
			addrs = append(addrs, r.Start+k*pages/n*mm.PageSize)
		}
	}
	in := make([]bool, len(addrs))
	if m.host.Resident(addrs, in) != nil {
		return each, 0
	}
	for i, r := range regions {
		have := uint64(0)
		for _, is := range in[:asked[i]] {
			if is {
				have++
			}
		}
		in = in[asked[i]:]
		if asked[i] > 0 {
			each[i] = have * (r.Len() / mm.PageSize) / asked[i] * mm.PageSize
			sum += each[i]
		}
	}
	return each, sum
}
