package server

import (
	"os"

	"bulkhead/proto/channel"
	netdv1 "bulkhead/proto/netd/v1"
)

// poolLimit is how many unused rings of a size are kept for the next sockets, and keptLimit
// how many bytes of memory they keep in all. A page that is given back costs whoever
// needs it next a fault in each of the two processes.
const (
	poolLimit = 256
	keptLimit = 32 << 20
)

// pool makes and recycles the rings of sockets. The sentry maps each once.
type pool struct {
	free map[int][]*entry // by the size of their rings
	kept int              // bytes of memory that those of free have
	last uint32

	heads    uint32                         // how many Heads were made
	places   []place                        // in them, that no rings have
	announce func(heads uint32, f *os.File) // tells the sentry of new ones
}

// place is one of some heads'.
type place struct {
	id    uint32
	heads *channel.Heads
	head  int
}

// entry is one piece of shared memory.
type entry struct {
	id    uint32
	rings *channel.Rings
	place place
	file  *os.File // until the sentry has it
	kept  int      // bytes of memory that it has while nobody uses it
}

// take gives rings of size bytes each that nobody uses.
func (p *pool) take(size int) (*entry, error) {
	if free := p.free[size]; len(free) > 0 {
		e := free[len(free)-1]
		p.free[size] = free[:len(free)-1]
		p.kept -= e.kept
		return e, nil
	}
	if len(p.places) == 0 {
		if err := p.extend(); err != nil {
			return nil, err
		}
	}
	at := p.places[len(p.places)-1]
	r, f, err := at.heads.CreateRings("netd-socket", at.head, size)
	if err != nil {
		return nil, err
	}
	p.places = p.places[:len(p.places)-1]
	r.Reset()
	p.last++
	return &entry{id: p.last, rings: r, place: at, file: f}, nil
}

// extend makes places for heads.
func (p *pool) extend() error {
	h, f, err := channel.CreateHeads("netd-heads")
	if err != nil {
		return err
	}
	p.heads++
	for i := channel.HeadsOf - 1; i >= 0; i-- {
		p.places = append(p.places, place{p.heads, h, i})
	}
	p.announce(p.heads, f)
	return nil
}

// message names e to the sentry, with its descriptor the first time.
func (e *entry) message() (*netdv1.Rings, *os.File) {
	f := e.file
	e.file = nil
	return &netdv1.Rings{Id: e.id, Size: uint32(e.rings.Size()), Heads: e.place.id, Head: uint32(e.place.head)}, f
}

// give takes rings back, of whose memory so many bytes were used. It says whether they were kept;
// if not, the sentry is to be told.
func (p *pool) give(e *entry, used int) bool {
	size := e.rings.Size()
	if len(p.free[size]) >= poolLimit {
		if e.file != nil {
			e.file.Close()
		}
		e.rings.Unmap()
		p.places = append(p.places, e.place)
		return false
	}
	if e.kept = max(e.kept, used); p.kept+e.kept > keptLimit {
		e.rings.Discard()
		e.kept = 0
	}
	p.kept += e.kept
	e.rings.Reset()
	if p.free == nil {
		p.free = map[int][]*entry{}
	}
	p.free[size] = append(p.free[size], e)
	return true
}
