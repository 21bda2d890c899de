package gofs

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead/proto/channel"
	pb "bulkhead/proto/gofer/v1"
	"bulkhead/proto/linux"
)

// A program that reads one file of a directory after the other, or lists one directory
// below another, would make a round trip for each. Where that has been seen, the
// neighbours are asked for at once: those that follow in the listing, which whoever
// reads all of them comes to in whatever order. It is done in exclusive trees only.

// habit is how much it has paid lately to ask for neighbours too.
type habit struct{ credit atomic.Int32 }

const (
	habitBegin = 3  // signs that it might pay, before it is tried
	habitCost  = 4  // of a try
	habitGain  = 2  // for each that was used
	habitSure  = 8  // from then on, as many as can be
	habitMost  = 16 // bounds
	habitLeast = -32
)

// sign notes a request that would have been saved, and says how many neighbours to ask
// for: none, few or most.
func (h *habit) sign(few, most int) int {
	c := h.credit.Load()
	if c < habitBegin {
		c++
	}
	n := few
	switch {
	case c < habitBegin:
		n = 0
	case c >= habitSure:
		n = most
	}
	if n > 0 {
		c -= habitCost
	}
	h.credit.Store(c) // a lost update does not matter
	return n
}

// used notes that one was used, or never will be.
func (h *habit) used(ok bool) {
	if ok {
		h.credit.Store(min(h.credit.Load()+habitGain, habitMost))
	} else {
		h.credit.Store(max(h.credit.Load()-1, habitLeast))
	}
}

// neighbour is a name of a listing.
type neighbour struct {
	name  string
	key   key
	known *ahead // of a name that was not looked up, or nil
	below bool   // what is in it is known as well
	made  int    // of a directory that was looked up: its listing.changes
}

// neighbours gives up to most names of that type that follow name, of those that want
// takes. It begins anew at the end of the listing.
func (d *dir) neighbours(name string, typ uint8, most int, want func(neighbour) bool) []neighbour {
	if most == 0 {
		return nil
	}
	var got []neighbour
	for _, m := range d.following(name, typ) {
		if len(got) < most && want(m) {
			got = append(got, m)
		}
	}
	return got
}

// following gives names of that type that follow name.
func (d *dir) following(name string, typ uint8) []neighbour {
	d.names.Lock()
	defer d.names.Unlock()
	l := &d.list
	if !l.valid {
		return nil
	}
	at, ok := l.find(name)
	if !ok {
		return nil
	}
	var got []neighbour
	for i := 1; i < len(l.entries) && i <= maxLooked; i++ {
		if e := &l.entries[(at-i+len(l.entries))%len(l.entries)]; e.name != "" && e.typ == typ {
			got = append(got, neighbour{e.name, key{d.key.dev, e.ino}, e.ahead, e.ahead != nil && e.ahead.below != nil, 0})
		}
	}
	return got
}

// maxLooked bounds what one request looks through.
const maxLooked = 512

// node gives the node of a key, if somebody holds it.
func (fs *FS) node(k key) *inode {
	fs.nodes.Lock()
	defer fs.nodes.Unlock()
	return fs.nodes.known[k].Value()
}

// place gives where n has its name, nil if it has none.
func (n *inode) place() (*dir, string) {
	n.fs.place.RLock()
	defer n.fs.place.RUnlock()
	if n.gone {
		return nil, ""
	}
	return n.parent, n.name
}

func fileNames(list []neighbour) []*pb.FileName {
	var names []*pb.FileName
	for _, m := range list {
		names = append(names, &pb.FileName{Name: []byte(m.name), Dev: m.key.dev, Ino: m.key.ino})
	}
	return names
}

// openTogether opens n for reading together with its neighbours, if that may pay. nil:
// it did not come about.
func (n *inode) openTogether() *hostFile {
	fs := n.fs
	d, name := n.place()
	if fs.shared || d == nil || n.key.dev != d.key.dev {
		return nil
	}
	var more []neighbour
	if d.isListed() {
		more = d.neighbours(name, linux.DT_REG, fs.opening.sign(3, channel.MaxFDs-1), func(m neighbour) bool { return !fs.opened(m.key) })
	}
	if len(more) == 0 {
		return nil
	}
	changes := fs.changes.Load()
	names := fileNames(append([]neighbour{{name: name, key: n.key}}, more...))
	resp, fds, err := d.on(func(t *pb.Target) *pb.Request {
		return &pb.Request{Op: &pb.Request_OpenFiles{OpenFiles: &pb.OpenFilesRequest{Dir: t, Files: names}}}
	})
	defer func() { closeAll(fds) }()
	if err != nil || len(resp.Opened) != len(names) {
		return nil
	}
	var h *hostFile
	for i, o := range resp.Opened {
		if o.GetErrno() != 0 {
			continue
		}
		if len(fds) == 0 {
			break
		}
		fd := fds[:1]
		fds = fds[1:]
		if i == 0 {
			h, _ = n.donated(fd, int(linux.O_RDONLY))
			continue
		}
		m := more[i-1]
		a, ok := attrOf(o.Attr)
		if !ok || a.Mode&linux.S_IFMT != linux.S_IFREG || (key{a.Dev, a.Ino}) != m.key || fs.changes.Load() != changes {
			unix.Close(fd[0])
			continue
		}
		known := ahead{}
		if m.known != nil {
			known = *m.known
		}
		fs.intern(d, m.name, a, known).offerAs(fd, &fs.opening)
	}
	return h
}

// opened says that a file has a descriptor for reading already.
func (fs *FS) opened(k key) bool {
	n := fs.node(k)
	if n == nil {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.files[linux.O_RDONLY] != nil
}

// siblings gives what to list besides d: directories beside it that have not been, if
// that may pay. parent is nil if there are none.
func (d *dir) siblings() (parent *dir, more []neighbour) {
	fs := d.fs
	p, name := d.place()
	if fs.shared || p == nil || d.key.dev != p.key.dev || !p.isListed() {
		return nil, nil
	}
	more = p.neighbours(name, linux.DT_DIR, fs.listing.sign(fewSiblings, maxSiblings), func(m neighbour) bool {
		if n := fs.node(m.key); n != nil {
			nd := dirOf(n.self)
			return nd != nil && !nd.isListed()
		}
		return m.known != nil && !m.below && m.known.attr.Dev == p.key.dev
	})
	if len(more) == 0 {
		return nil, nil
	}
	for i := range more {
		if n := fs.node(more[i].key); n != nil && n.isDir() {
			more[i].made = dirOf(n.self).changesNow()
		}
	}
	return p, more
}

func (d *dir) changesNow() int {
	d.names.Lock()
	defer d.names.Unlock()
	return d.list.changes
}

// asParent names d and what is to be listed in it.
func (d *dir) asParent(more []neighbour) (*pb.Target, []*pb.FileName) {
	d.fs.place.RLock()
	id := d.handle
	d.fs.place.RUnlock()
	if id == 0 {
		return nil, nil
	}
	return &pb.Target{Handle: id}, fileNames(more)
}

// How many directories are listed besides another: the gofer takes 64.
const (
	fewSiblings = 6
	maxSiblings = 64
)

// isListed says that the directory's names are known.
func (d *dir) isListed() bool {
	d.names.Lock()
	defer d.names.Unlock()
	return d.list.valid
}

// takeSiblings takes in what was listed besides, unless changes were made meanwhile.
func (d *dir) takeSiblings(p *dir, more []neighbour, got []*pb.Listing, changes uint64) {
	fs := d.fs
	next := 0
	for _, l := range got {
		i := int(l.GetIndex())
		if i < next || i >= len(more) || fs.changes.Load() != changes {
			return
		}
		next = i + 1
		var entries []entry
		for _, e := range l.Entries {
			if validName(e.GetName()) {
				entries = append(entries, newEntry(e, fs))
			}
		}
		if entries == nil {
			entries = []entry{}
		}
		if n := fs.node(more[i].key); n == nil {
			p.keepBelow(more[i], entries)
		} else if nd := dirOf(n.self); nd != nil && nd.fill(entries, more[i].made) {
			fs.listings.add(nd, len(entries))
		}
	}
}

// keepBelow keeps what is in a directory that was not looked up.
func (d *dir) keepBelow(m neighbour, entries []entry) {
	d.names.Lock()
	l := &d.list
	i, ok := l.find(m.name)
	ok = ok && l.valid && l.entries[i].ahead != nil && l.entries[i].ahead == m.known
	if ok {
		m.known.below = entries
		l.below += len(entries)
	}
	n := len(l.entries) + l.below
	d.names.Unlock()
	if ok {
		d.fs.listings.add(d, n)
	}
}

// fill gives a directory that was not listed what was listed before it was asked for,
// unless it has changed since.
func (d *dir) fill(entries []entry, made int) bool {
	d.names.Lock()
	defer d.names.Unlock()
	if d.list.valid || d.list.changes != made {
		return false
	}
	d.fillLocked(entries)
	return true
}

func (d *dir) fillLocked(entries []entry) {
	d.list.merge(entries)
	d.list.valid, d.list.early = true, true
}
