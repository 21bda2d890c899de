package vfs

import (
	"strings"
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
)

// Rememberer is who goes by what it has been told of a path, without asking again.
type Rememberer interface {
	// ForgetNames has it go by nothing any more from when it returns. It is called by one
	// goroutine at a time, and takes no lock of this package's.
	ForgetNames()
}

// remembered is who remembers. Whatever can make a name that is there lead elsewhere, or
// nowhere, is between begun and ended: so who sees these equal before it looks, and begun
// the same afterwards, with mu held, has seen what is still true.
//
// Lock order: dirPart.changes, Namespace.mu < remembered.mu.
var remembered struct {
	begun, ended atomic.Uint64

	mu sync.Mutex
	by map[Rememberer]struct{}
}

// beginUnnaming comes before names go or lead elsewhere: they are forgotten.
func beginUnnaming() {
	remembered.begun.Add(1)
	remembered.mu.Lock()
	for r := range remembered.by {
		r.ForgetNames()
	}
	clear(remembered.by)
	remembered.mu.Unlock()
}

// endUnnaming comes after it.
func endUnnaming() { remembered.ended.Add(1) }

// Unnaming is for who changes what paths start from: change does.
func Unnaming(change func()) {
	beginUnnaming()
	defer endUnnaming()
	change()
}

// Remember has r note, by note, that the absolute path name leads to something that is no
// symlink, if that is so and stays so until r is told to forget it: all names on the way
// are cached, of file systems that ask nobody else about them, none is a symlink, and the
// caller may search any directory. root gives what "/" stands for.
func Remember(ctx Context, root func() Path, name string, r Rememberer, note func()) {
	since := remembered.ended.Load()
	if remembered.begun.Load() != since || !straight(ctx, root(), name) {
		return
	}
	remembered.mu.Lock()
	defer remembered.mu.Unlock()
	if remembered.begun.Load() != since {
		return
	}
	if remembered.by == nil {
		remembered.by = make(map[Rememberer]struct{})
	}
	remembered.by[r] = struct{}{}
	note()
}

// Forget has r forget what it remembers: it is another for whom other paths may lead there.
func Forget(r Rememberer) {
	remembered.mu.Lock()
	delete(remembered.by, r)
	r.ForgetNames()
	remembered.mu.Unlock()
}

// straight says whether name leads to something that is no symlink as Remember wants it.
func straight(ctx Context, at Path, name string) bool {
	if c := ctx.Creds(); c.Effective&searchCaps == 0 || c.UserNS != nil || !strings.HasPrefix(name, "/") {
		return false
	}
	for comp := range strings.SplitSeq(name[1:], "/") {
		d := at.Dentry.dir
		if d == nil || d.revalidator != nil || d.permitter != nil {
			return false
		}
		if comp == "" || comp == "." || comp == ".." || len(comp) > linux.NAME_MAX {
			return false
		}
		c := at.Dentry.cached(comp)
		if c == nil || c.node == nil || c.link != nil {
			return false
		}
		if at.Dentry = c; c.mounted.Load() > 0 {
			at.down()
		}
	}
	return at.Dentry.link == nil
}
