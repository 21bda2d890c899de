package server

import (
	"os"

	"bulkhead/proto/channel"
	netdv1 "bulkhead/proto/netd/v1"
)

// poolLimit is how many unused rings are kept for the next sockets, and keptLimit
// how many bytes of memory they keep in all. A page that is given back costs whoever
// needs it next a fault in each of the two processes.
const (
	poolLimit = 256
	keptLimit = 32 << 20
)

// pool makes and recycles the rings of sockets. The sentry maps each once.
type pool struct {
	free []*entry
	kept int // bytes of memory that those of free have
	last uint32
}

// entry is one piece of shared memory.
type entry struct {
	id    uint32
	rings *channel.Rings
	file  *os.File // until the sentry has it
	kept  int      // bytes of memory, beyond the head, that it has while nobody uses it
}

// take gives rings that nobody uses.
func (p *pool) take() (*entry, error) {
	if n := len(p.free); n > 0 {
		e := p.free[n-1]
		p.free = p.free[:n-1]
		p.kept -= e.kept
		return e, nil
	}
	r, f, err := channel.CreateRings("netd-socket", RingSize)
	if err != nil {
		return nil, err
	}
	p.last++
	return &entry{id: p.last, rings: r, file: f}, nil
}

// message names e to the sentry, with its descriptor the first time.
func (e *entry) message() (*netdv1.Rings, *os.File) {
	f := e.file
	e.file = nil
	return &netdv1.Rings{Id: e.id, Size: uint32(e.rings.Size())}, f
}

// give takes rings back, of whose memory so many bytes were used. It says whether they were kept;
// if not, the sentry is to be told.
func (p *pool) give(e *entry, used int) bool {
	if len(p.free) >= poolLimit {
		if e.file != nil {
			e.file.Close()
		}
		e.rings.Unmap()
		return false
	}
	if e.kept = max(e.kept, used); p.kept+e.kept > keptLimit {
		e.rings.Discard()
		e.kept = 0
	}
	p.kept += e.kept
	e.rings.Reset()
	p.free = append(p.free, e)
	return true
}
