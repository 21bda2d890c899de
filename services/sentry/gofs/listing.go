package gofs

import (
	"cmp"
	"container/list"
	"slices"
	"sync"

	pb "bulkhead/proto/gofer/v1"
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// listing is what is known of a directory's names. A name keeps its cookie, the
// position after it, for as long as the listing lives, whatever comes and goes
// around it: so a reader that removes what it reads misses nothing. A new name
// gets a smaller cookie than all before, so that a reader that creates what it
// reads comes to an end.
type listing struct {
	valid   bool           // complete, and nobody else changes the directory
	entries []entry        // by falling cookies; read from the end
	index   map[string]int // nil until somebody wants it
	given   int64          // cookies given out; they count down from firstCookie
	misses  int            // look-ups of listed names that had to ask
	used    bool           // some ahead was used
	below   int            // names of aheads of directories
	early   bool           // came before it was asked for, and was not used yet
	changes int            // made here
}

// entry is one name; "" if it is gone.
type entry struct {
	name   string
	ino    uint64
	cookie int64
	ahead  *ahead
	typ    uint8
}

const firstCookie = 1 << 40

// next gives a new name its cookie.
func (l *listing) next() int64 {
	l.given++
	return firstCookie - l.given
}

// byCookie sorts as entries are.
func byCookie(a, b entry) int { return cmp.Compare(b.cookie, a.cookie) }

// maxEntries is the most names of one directory: what a hostile gofer could fill
// memory with.
const maxEntries = 4 << 20

// Marks on when attributes are asked for with the names: after plusMisses
// look-ups of listed names that each had to ask, the directory is read again
// with them, and so are the next plusCredit directories at once; each of which
// they were used in earns another.
const (
	plusMisses = 2
	plusCredit = 16
)

// List emits names from off on.
func (d *dir) List(ctx vfs.Context, off int64, emit func(vfs.DirEntry) bool) error {
	d.names.Lock()
	need := !d.list.valid && (off == 0 || d.list.entries == nil || !d.fs.shared)
	d.countEarlyLocked()
	d.names.Unlock()
	if need {
		if err := d.fetch(d.fs.plus.Load() > 0); err != nil {
			return err
		}
	}
	// The lock is not held across emit, so entries are copied out.
	var part [64]vfs.DirEntry
	for {
		n := 0
		d.names.Lock()
		es := d.list.entries
		i, _ := slices.BinarySearchFunc(es, entry{cookie: off}, byCookie)
		for i--; i >= 0 && n < len(part); i-- {
			off = es[i].cookie
			if es[i].name != "" {
				part[n] = vfs.DirEntry{Name: es[i].name, Ino: es[i].ino, Type: es[i].typ, Next: es[i].cookie}
				n++
			}
		}
		end := i < 0
		d.names.Unlock()
		for _, e := range part[:n] {
			if !emit(e) {
				return nil
			}
		}
		if end {
			return nil
		}
	}
}

// fetch reads the directory.
func (d *dir) fetch(plus bool) error {
	d.fetching.Lock()
	defer d.fetching.Unlock()
	plus = plus && !d.fs.shared
	if !plus {
		d.names.Lock()
		done := d.list.valid
		d.names.Unlock()
		if done {
			return nil // another did it meanwhile
		}
	}
	d.names.Lock()
	changes := d.list.changes
	d.names.Unlock()
	var (
		got    []entry
		parent *dir
		more   []neighbour
	)
	parent, more = d.siblings()
	made := d.fs.changes.Load()
	for pos, end := int64(0), false; !end; {
		resp, fds, err := d.on(func(t *pb.Target) *pb.Request {
			q := &pb.ListRequest{Dir: t, Position: pos, Plus: plus}
			if pos == 0 && parent != nil {
				q.Parent, q.Also = parent.asParent(more)
			}
			return &pb.Request{Op: &pb.Request_List{List: q}}
		})
		closeAll(fds)
		if err != nil {
			return err
		}
		if end = resp.End; !end && len(resp.Entries) == 0 {
			return linux.EIO
		}
		for _, e := range resp.Entries {
			pos = e.Next
			if validName(e.Name) {
				got = append(got, newEntry(e, d.fs))
			}
		}
		if len(got) > maxEntries || pos < 0 {
			return linux.EIO
		}
		if parent != nil {
			d.takeSiblings(parent, more, resp.Also, made)
		}
	}
	if plus {
		d.fs.plus.Add(-1)
	}
	d.names.Lock()
	d.list.merge(got)
	// A change that raced with the reading may be missing in it.
	d.list.valid = !d.fs.shared && changes == d.list.changes
	d.names.Unlock()
	d.fs.listings.add(d, len(got))
	return nil
}

func newEntry(e *pb.Entry, fs *FS) entry {
	n := entry{name: string(e.Name), ino: e.Ino, typ: uint8(e.Type)}
	a, ok := attrOf(e.Attr)
	if !ok || !validLink(a, e.Symlink) {
		return n
	}
	// What has several names may change behind this one.
	if a.Nlink > 1 && a.Mode&linux.S_IFMT != linux.S_IFDIR && !fs.readOnly {
		return n
	}
	n.ahead = &ahead{attr: a, symlink: string(e.Symlink), noXattr: e.NoXattr}
	return n
}

// merge takes new entries, which keep the cookies of old ones.
func (l *listing) merge(got []entry) {
	old := make(map[string]int64, len(l.entries))
	for i := range l.entries {
		if e := &l.entries[i]; e.name != "" {
			old[e.name] = e.cookie
		}
	}
	slices.Reverse(got) // as they are read, in the host's order
	for i := range got {
		if c, ok := old[got[i].name]; ok {
			got[i].cookie = c
		} else {
			got[i].cookie = l.next()
		}
	}
	if len(old) > 0 {
		slices.SortFunc(got, byCookie)
	}
	if got == nil {
		got = []entry{}
	}
	l.entries, l.index, l.misses, l.used, l.early, l.below = got, nil, 0, false, false, 0
}

// find gives the place of a name.
func (l *listing) find(name string) (int, bool) {
	if l.index == nil {
		l.index = make(map[string]int, len(l.entries))
		for i := range l.entries {
			if l.entries[i].name != "" {
				l.index[l.entries[i].name] = i
			}
		}
	}
	i, ok := l.index[name]
	return i, ok
}

// lookupKnown answers Lookup without asking, if it can.
func (d *dir) lookupKnown(name string) (vfs.Node, error, bool) {
	more, absent, again := d.takeKnown(name)
	if again {
		if d.fetch(true) == nil {
			d.fs.plus.Store(plusCredit)
			more, absent, _ = d.takeKnown(name)
		}
	}
	switch {
	case absent:
		return nil, linux.ENOENT, true
	case more != nil:
		return d.fs.intern(d, name, more.attr, *more).self, nil, true
	}
	return nil, nil, false
}

// takeKnown takes what waits for name. again: it would pay to read the directory
// with attributes.
func (d *dir) takeKnown(name string) (more *ahead, absent, again bool) {
	d.names.Lock()
	defer d.names.Unlock()
	if a, ok := d.takeAheadLocked(name); ok {
		d.forgetAheadLocked(name)
		return &a, a.absent, false
	}
	if !d.list.valid {
		return nil, false, false
	}
	d.countEarlyLocked()
	i, ok := d.list.find(name)
	if !ok {
		return nil, true, false
	}
	e := &d.list.entries[i]
	if more = e.ahead; more != nil {
		e.ahead = nil
		if !d.list.used {
			d.list.used = true
			d.fs.plus.Store(min(d.fs.plus.Load()+2, plusCredit))
		}
		return more, false, false
	}
	d.list.misses++
	return nil, false, d.list.misses == plusMisses && len(d.list.entries) > 2*plusMisses
}

// countEarlyLocked notes that a listing that came early is used.
func (d *dir) countEarlyLocked() {
	if d.list.early {
		d.list.early = false
		d.fs.listing.used(true)
	}
}

// forgetAhead drops what listing has told of a name that is looked up by asking.
func (d *dir) forgetAhead(name string) {
	d.names.Lock()
	defer d.names.Unlock()
	d.forgetAheadLocked(name)
}

func (d *dir) forgetAheadLocked(name string) {
	if !d.list.valid {
		return
	}
	if i, ok := d.list.find(name); ok {
		d.list.entries[i].ahead = nil
	}
}

// Marks on when a directory is listed that nobody lists: once so many names in it were
// asked for, if it is so large, in bytes, that its entries mostly fit into one frame.
const (
	manyAsked = 4
	smallDir  = 8 << 10
)

// askedAgain counts a look-up that has to ask, and says whether to list instead.
func (d *dir) askedAgain() bool {
	d.names.Lock()
	if d.list.valid || d.fs.shared {
		d.names.Unlock()
		return false
	}
	d.asked++
	again := d.asked%manyAsked == 0
	d.names.Unlock()
	if !again {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.attr.Size <= smallDir
}

// appeared notes a name that was made here.
func (d *dir) appeared(name string, n *inode) {
	d.names.Lock()
	defer d.names.Unlock()
	l := d.changedLocked(name)
	if l == nil {
		return
	}
	l.entries = append(l.entries, entry{name: name, ino: n.key.ino, typ: uint8(n.typ >> 12), cookie: l.next()})
	l.index[name] = len(l.entries) - 1
}

// vanished notes a name that was removed here.
func (d *dir) vanished(name string) {
	d.names.Lock()
	defer d.names.Unlock()
	d.changedLocked(name)
}

// changedLocked notes that a name is not what it was, and takes it out of the list,
// which it gives; nil if there is none.
func (d *dir) changedLocked(name string) *listing {
	d.fs.changes.Add(1)
	delete(d.ahead, name)
	l := &d.list
	l.changes++
	if l.entries == nil {
		return nil
	}
	if i, ok := l.find(name); ok {
		l.entries[i] = entry{cookie: l.entries[i].cookie}
		delete(l.index, name)
	}
	return l
}

// doubt drops what is cached of the directory's names, after a change of unknown
// outcome.
func (d *dir) doubt() {
	d.fs.changes.Add(1)
	d.names.Lock()
	d.ahead, d.list.valid = nil, false
	d.names.Unlock()
	d.outdate()
}

// listings bounds the names that are kept, by directories.
type listings struct {
	mu      sync.Mutex
	order   list.List // of listed, youngest first
	entries int
}

type listed struct {
	d *dir
	n int
}

// maxListed is the most names kept.
const maxListed = 64_000

func (l *listings) add(d *dir, n int) {
	l.mu.Lock()
	if d.listed != nil {
		l.entries -= l.order.Remove(d.listed).(listed).n
	}
	d.listed = l.order.PushFront(listed{d, n})
	l.entries += n
	l.mu.Unlock()
	l.shrink(maxListed)
}

// shrink drops what was listed longest ago, but not the last.
func (l *listings) shrink(most int) {
	for {
		l.mu.Lock()
		if l.entries <= most || l.order.Len() < 2 && most > 0 || l.order.Len() == 0 {
			l.mu.Unlock()
			return
		}
		old := l.order.Remove(l.order.Back()).(listed)
		l.entries -= old.n
		old.d.listed = nil
		l.mu.Unlock()

		old.d.names.Lock()
		old.d.list = listing{changes: old.d.list.changes}
		old.d.names.Unlock()
	}
}
