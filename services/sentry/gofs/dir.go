package gofs

import (
	"container/list"
	"strings"
	"sync"
	"time"

	pb "bulkhead/proto/gofer/v1"
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// dir is a directory that offers no change.
type dir struct {
	inode

	names    sync.Mutex
	list     listing          // guarded by names
	ahead    map[string]ahead // found by Prefetch and not yet looked up; likewise
	asked    int              // look-ups before it was listed; likewise
	fetching sync.Mutex       // held while the directory is being read
	listed   *list.Element    // guarded by FS.listings.mu
}

// The four kinds of directory: whether it can change, and whether others change
// it.
type (
	writableDir       struct{ dir }
	sharedDir         struct{ dir }
	sharedWritableDir struct{ writableDir }
)

var (
	_ vfs.DirLister    = (*dir)(nil)
	_ vfs.Creator      = (*writableDir)(nil)
	_ vfs.CreateOpener = (*writableDir)(nil)
	_ vfs.Revalidator  = (*sharedDir)(nil)
	_ vfs.Revalidator  = (*sharedWritableDir)(nil)
	_ vfs.Prefetcher   = (*dir)(nil)
)

// ahead is what is already known of a name that was not looked up yet. It is
// used once: from then on the node knows better.
type ahead struct {
	attr    vfs.Attr
	symlink string
	noXattr bool
	below   []entry   // of a directory, if not nil: all that is in it
	absent  bool      // there is no such name
	until   time.Time // shared: from then on it counts no more
}

// counts says whether a may still be used.
func (a *ahead) counts() bool { return a.until.IsZero() || time.Now().Before(a.until) }

func (fs *FS) newDir() *inode {
	switch {
	case fs.shared && fs.readOnly:
		d := new(sharedDir)
		d.self = d
		return &d.inode
	case fs.shared:
		d := new(sharedWritableDir)
		d.self = d
		return &d.inode
	case fs.readOnly:
		d := new(dir)
		d.self = d
		return &d.inode
	}
	d := new(writableDir)
	d.self = d
	return &d.inode
}

func (d *dir) asDir() *dir { return d }

// dirOf gives the directory of one of our nodes, nil of all else.
func dirOf(n vfs.Node) *dir {
	if b, ok := n.(interface{ asDir() *dir }); ok {
		return b.asDir()
	}
	return nil
}

// validName says that a name from the gofer is a component.
func validName(b []byte) bool {
	s := string(b)
	return s != "" && len(s) <= linux.NAME_MAX && s != "." && s != ".." && !strings.ContainsAny(s, "/\x00")
}

// Lookup finds a name: among what listing the directory or Prefetch has told, or
// by asking.
func (d *dir) Lookup(ctx vfs.Context, name string) (vfs.Node, error) {
	if len(name) > linux.NAME_MAX {
		return nil, linux.ENAMETOOLONG
	}
	if n, err, known := d.lookupKnown(name); known {
		return n, err
	}
	if d.askedAgain() && d.fetch(true) == nil {
		if n, err, known := d.lookupKnown(name); known {
			return n, err
		}
	}
	steps, fds, err := d.walk([]string{name}, d.fs.guessOpen())
	if err != nil {
		closeAll(fds)
		return nil, err
	}
	a, more, err := checkStep(steps[0])
	if err != nil {
		closeAll(fds)
		return nil, err
	}
	d.forgetAhead(name)
	n := d.fs.intern(d, name, a, more)
	n.offer(fds)
	return n.self, nil
}

// walk asks for names one below the other, and gives what was found: all if err
// is nil. With open there may be a descriptor for reading the last.
func (d *dir) walk(names []string, open bool) ([]*pb.Step, []int, error) {
	resp, fds, err := d.on(func(t *pb.Target) *pb.Request {
		q := &pb.WalkRequest{Dir: t, Open: open, Xattr: !d.fs.shared}
		for _, s := range names {
			q.Names = append(q.Names, []byte(s))
		}
		return &pb.Request{Op: &pb.Request_Walk{Walk: q}}
	})
	if resp == nil {
		return nil, fds, err
	}
	if len(resp.Steps) > len(names) || err == nil && len(resp.Steps) == 0 {
		return nil, fds, linux.EIO
	}
	return resp.Steps, fds, err
}

func checkStep(s *pb.Step) (vfs.Attr, ahead, error) {
	a, ok := attrOf(s.GetAttr())
	if !ok || !validLink(a, s.Symlink) {
		return a, ahead{}, linux.EIO
	}
	return a, ahead{attr: a, symlink: string(s.Symlink), noXattr: s.NoXattr}, nil
}

// validLink says that text can be what a link says, if a is one.
func validLink(a vfs.Attr, text []byte) bool {
	if a.Mode&linux.S_IFMT != linux.S_IFLNK {
		return true
	}
	return len(text) > 0 && len(text) < linux.PATH_MAX && !strings.Contains(string(text), "\x00")
}

// Prefetch looks several names up at once, one below the other, because a walk
// is about to ask for each. What it finds waits for Lookup or, in a shared tree,
// Revalidate. It stops at the first that is missing or a symbolic link.
func (d *dir) Prefetch(ctx vfs.Context, names []string) {
	if len(names) < 2 || len(names) > maxPrefetch || d.knows(names[0]) {
		return
	}
	steps, fds, err := d.walk(names, d.fs.guessOpen())
	at, n := d, (*inode)(nil)
	for i, s := range steps {
		a, more, bad := checkStep(s)
		if bad != nil || at == nil {
			closeAll(fds)
			return
		}
		n = d.fs.intern(at, names[i], a, more)
		at.expect(names[i], more)
		if s.Handle != 0 {
			n.adopt(s.Handle)
		}
		at = dirOf(n.self)
	}
	if len(steps) == len(names) {
		n.offer(fds)
		return
	}
	closeAll(fds)
	if err == linux.ENOENT && at != nil {
		at.expect(names[len(steps)], ahead{absent: true})
	}
}

// expect keeps what was found of name for whoever looks it up.
func (d *dir) expect(name string, a ahead) {
	if d.fs.shared {
		a.until = time.Now().Add(freshFor)
	}
	d.names.Lock()
	defer d.names.Unlock()
	if d.ahead == nil {
		d.ahead = map[string]ahead{}
	}
	if len(d.ahead) < maxAhead {
		d.ahead[name] = a
	} else if d.fs.shared {
		clear(d.ahead) // mostly what has run out
		d.ahead[name] = a
	}
}

// takeAhead gives what was kept of name, once.
func (d *dir) takeAhead(name string) (ahead, bool) {
	d.names.Lock()
	defer d.names.Unlock()
	return d.takeAheadLocked(name)
}

func (d *dir) takeAheadLocked(name string) (ahead, bool) {
	a, ok := d.ahead[name]
	if ok {
		delete(d.ahead, name)
	}
	return a, ok && a.counts()
}

const (
	// maxPrefetch is the most names of one Prefetch; the gofer takes 128.
	maxPrefetch = 100
	// maxAhead is the most prefetched names that wait in one directory.
	maxAhead = 64
)

// knows says that a look-up of name would not have to ask.
func (d *dir) knows(name string) bool {
	d.names.Lock()
	defer d.names.Unlock()
	if a, ok := d.ahead[name]; ok && a.counts() {
		return true
	}
	if !d.list.valid {
		return false
	}
	i, ok := d.list.find(name)
	return !ok || d.list.entries[i].ahead != nil
}

// bind gets the directory its handle.
func (d *dir) bind() error {
	d.fs.place.RLock()
	has := d.handle != 0
	d.fs.place.RUnlock()
	if has {
		return nil
	}
	_, fds, err := d.on(func(t *pb.Target) *pb.Request {
		return &pb.Request{Op: &pb.Request_Stat{Stat: &pb.StatRequest{Target: t}}}
	})
	closeAll(fds)
	if err != nil {
		return err
	}
	d.fs.place.RLock()
	defer d.fs.place.RUnlock()
	if d.handle == 0 {
		return linux.EIO
	}
	return nil
}

// freshFor is how long what the gofer said of a shared tree counts for the walk
// or stat in whose course it was asked: not for the next.
const freshFor = time.Millisecond

// revalidate says whether name still leads to child, or to nothing if child is
// nil.
func (d *dir) revalidate(name string, child vfs.Node) bool {
	a, ok := d.takeAhead(name)
	if !ok {
		steps, fds, err := d.walk([]string{name}, false)
		closeAll(fds)
		if err == linux.ENOENT {
			a.absent = true
		} else if err != nil {
			return false
		} else if _, a, err = checkStep(steps[0]); err != nil {
			return false
		}
	}
	n := nodeOf(child)
	if n == nil {
		return a.absent && child == nil
	}
	if a.absent || n.key != (key{a.attr.Dev, a.attr.Ino}) || !n.sameAs(&a.attr) {
		n.closeIdle() // or the host could not free it
		return false
	}
	n.mu.Lock()
	n.attr, n.stale, n.fresh = a.attr, false, time.Now().Add(freshFor)
	n.mu.Unlock()
	d.fs.seenAt(n, d, name)
	return true
}

// Revalidate asks.
func (d *sharedDir) Revalidate(ctx vfs.Context, name string, child vfs.Node) bool {
	return d.revalidate(name, child)
}

// Revalidate asks.
func (d *sharedWritableDir) Revalidate(ctx vfs.Context, name string, child vfs.Node) bool {
	return d.revalidate(name, child)
}
