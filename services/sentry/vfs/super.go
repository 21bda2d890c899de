package vfs

import (
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
)

// super is vfs's side of a mounted FileSystem: one, however often it is mounted.
type super struct {
	fs    FileSystem
	root  *Dentry
	cache cache

	// renames lets one rename between directories happen at a time, so that
	// the tree above two directories holds still while it is looked at.
	renames sync.Mutex

	holds int // mounts that live or are still used; supers.mu
}

var supers struct {
	mu sync.Mutex
	of map[FileSystem]*super
}

// moves counts renames everywhere: a walk upwards that saw it change may have
// seen a mixture.
var moves atomic.Uint64

// holdSuper gives the super of fs with one more hold.
func holdSuper(fs FileSystem) *super {
	supers.mu.Lock()
	defer supers.mu.Unlock()
	s := supers.of[fs]
	if s == nil {
		s = &super{fs: fs}
		s.root = newDentry(s, nil, "/", fs.Root())
		if supers.of == nil {
			supers.of = make(map[FileSystem]*super)
		}
		supers.of[fs] = s
	}
	s.holds++
	return s
}

func (s *super) drop() {
	supers.mu.Lock()
	s.holds--
	last := s.holds == 0
	if last {
		delete(supers.of, s.fs)
	}
	supers.mu.Unlock()
	if r, ok := s.fs.(Releaser); ok && last {
		r.Release()
	}
}

var nextDev atomic.Uint32

// NewDev is a device number that no file system has yet, for one without a
// device of its own (Attr.Dev). The major number is 0, as in Linux.
func NewDev() uint64 { return linux.Mkdev(0, nextDev.Add(1)+15) }
