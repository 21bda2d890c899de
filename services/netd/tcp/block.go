package tcp

import "bulkhead/services/netd/wire"

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

// sackBlocks fills o with what we have out of order, the latest first: RFC 2018,
// section 4.
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
		if o.SACKBlocks < limit {
			o.SACK[o.SACKBlocks] = wire.SACKBlock{Start: uint32(b.start), End: uint32(b.end)}
			o.SACKBlocks++
		}
	}
	for _, b := range c.ooo {
		if b.start.Leq(c.recent.start) && c.recent.start.Less(b.end) {
			add(b)
			break
		}
	}
	for _, b := range c.ooo {
		if o.SACKBlocks > first && uint32(b.start) == o.SACK[first].Start {
			continue
		}
		add(b)
	}
}
