package tcp

import (
	"slices"

	"bulkhead/services/netd/wire"
)

// block is a range of sequence numbers, end excluded.
type block struct{ start, end Seq }

// insertBlock adds b to blocks, which are ascending and apart from each other,
// joining what touches. It gives the block that b has become part of. When
// there would be more than limit blocks it changes nothing: ok is false.
func insertBlock(blocks []block, b block, limit int) (out []block, joined block, ok bool) {
	i := 0
	for i < len(blocks) && blocks[i].end.Less(b.start) {
		i++
	}
	j := i
	for j < len(blocks) && blocks[j].start.Leq(b.end) {
		b.start = minSeq(b.start, blocks[j].start)
		b.end = maxSeq(b.end, blocks[j].end)
		j++
	}
	if i == j {
		if len(blocks) >= limit {
			return blocks, block{}, false
		}
		blocks = append(blocks, block{})
		copy(blocks[i+1:], blocks[i:])
		blocks[i] = b
		return blocks, b, true
	}
	blocks[i] = b
	return append(blocks[:i+1], blocks[j:]...), b, true
}

// recency says which blocks changed last: a number in each, the latest first.
type recency struct {
	at [4]Seq
	n  int
}

// changed puts b first, in place of those that it has taken in.
func (r *recency) changed(b block) {
	kept := [len(r.at)]Seq{b.start}
	n := 1
	for _, at := range r.at[:r.n] {
		if n < len(kept) && (at.Less(b.start) || b.end.Leq(at)) {
			kept[n] = at
			n++
		}
	}
	r.at, r.n = kept, n
}

// sackBlocks fills o with what we have out of order, in the order in which it
// changed, the latest first: RFC 2018, section 4.
func (c *Conn) sackBlocks(o *wire.TCPOptions) {
	limit := 4
	if c.tsOK {
		limit = 3
	}
	first := 0
	if d := c.dsack; d.start != d.end && !c.cfg.NoDSACK { // RFC 2883, 4: it comes first
		o.SACK[0] = wire.SACKBlock{Start: uint32(d.start), End: uint32(d.end)}
		o.SACKBlocks, first = 1, 1
	}
	if len(c.ooo) == 0 {
		return
	}
	add := func(b block) {
		w := wire.SACKBlock{Start: uint32(b.start), End: uint32(b.end)}
		if o.SACKBlocks < limit && !slices.Contains(o.SACK[first:o.SACKBlocks], w) {
			o.SACK[o.SACKBlocks] = w
			o.SACKBlocks++
		}
	}
	for _, at := range c.recent.at[:c.recent.n] {
		for _, b := range c.ooo {
			if b.start.Leq(at) && at.Less(b.end) {
				add(b)
				break
			}
		}
	}
	for _, b := range c.ooo { // what was forgotten
		add(b)
	}
}
