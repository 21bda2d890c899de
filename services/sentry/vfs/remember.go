package vfs

import (
	"strings"
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
)

// Rememberer is who goes by what it has been told of a path, without asking again.
type Rememberer interface {
	// ForgetNames has it go by nothing of that kind any more from when it returns. It is
	// called by one goroutine at a time, and takes no lock of this package's.
	ForgetNames(kind Remembered)
}

// Remembered is what can be remembered of a path.
type Remembered int

// The kinds: that it leads to something which is no symlink; that there is nothing of that
// name.
const (
	NoSymlink Remembered = iota
	Absent
	remembereds
)

// remembered is who remembers. Whatever can make a path of the kind lead elsewhere is
// between begun and ended: so who sees these equal before it looks, and begun
// the same afterwards, with mu held, has seen what is still true.
//
// Lock order: dirPart.changes, Namespace.mu < remembered.mu.
var remembered [remembereds]struct {
	begun, ended atomic.Uint64

	mu sync.Mutex
	by map[Rememberer]struct{}
}

func begin(kind Remembered) {
	m := &remembered[kind]
	m.begun.Add(1)
	m.mu.Lock()
	for r := range m.by {
		r.ForgetNames(kind)
	}
	clear(m.by)
	m.mu.Unlock()
}

// beginNaming comes before names are made where there were none, endNaming after it.
func beginNaming() { begin(Absent) }
func endNaming()   { remembered[Absent].ended.Add(1) }

// beginUnnaming comes before names go or lead elsewhere, endUnnaming after it.
func beginUnnaming() {
	begin(NoSymlink)
	begin(Absent)
}

func endUnnaming() {
	remembered[NoSymlink].ended.Add(1)
	remembered[Absent].ended.Add(1)
}

// Unnaming is for who changes what paths start from: change does.
func Unnaming(change func()) {
	beginUnnaming()
	defer endUnnaming()
	change()
}

// Remember has r note, by note, what kind says of the absolute path name, if that is so and
// stays so until r is told to forget it: all names on the way are cached, of file systems
// that ask nobody else about them, none is a symlink, and the caller may search any
// directory. root gives what "/" stands for.
func Remember(ctx Context, root func() Path, name string, kind Remembered, r Rememberer, note func()) {
	m := &remembered[kind]
	since := m.ended.Load()
	if m.begun.Load() != since || straight(ctx, root(), name) != kind {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.begun.Load() != since {
		return
	}
	if m.by == nil {
		m.by = make(map[Rememberer]struct{})
	}
	m.by[r] = struct{}{}
	note()
}

// Forget has r forget what it remembers: it is another for whom other paths may lead there.
func Forget(r Rememberer) {
	for kind := range remembereds {
		m := &remembered[kind]
		m.mu.Lock()
		delete(m.by, r)
		r.ForgetNames(kind)
		m.mu.Unlock()
	}
}

// straight says what can be remembered of name as Remember wants it; -1 for nothing.
func straight(ctx Context, at Path, name string) Remembered {
	const nothing = -1
	if c := ctx.Creds(); c.Effective&searchCaps == 0 || c.UserNS != nil || !strings.HasPrefix(name, "/") {
		return nothing
	}
	for comp := range strings.SplitSeq(name[1:], "/") {
		d := at.Dentry.dir
		if d == nil || d.revalidator != nil || d.permitter != nil {
			return nothing
		}
		if comp == "" || comp == "." || comp == ".." || len(comp) > linux.NAME_MAX {
			return nothing
		}
		c := at.Dentry.cached(comp)
		switch {
		case c == nil || c.link != nil:
			return nothing
		case c.node == nil:
			return Absent
		}
		if at.Dentry = c; c.mounted.Load() > 0 {
			at.down()
		}
	}
	if at.Dentry.link != nil {
		return nothing
	}
	return NoSymlink
}
