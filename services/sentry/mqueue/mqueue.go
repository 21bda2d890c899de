// Package mqueue provides POSIX message queues and the file system that their names
// are in: mq_overview(7).
//
// A queue's memory is counted as RLIMIT_MSGQUEUE has it, by user, and for all
// users together, as a guest may be root.
//
// Lock order: FileSystem.mu < Queue.mu. Neither is held while somebody sleeps.
package mqueue

import (
	"sync"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// magic is statfs(2)'s number of the file system.
const magic = 0x19800202

// FileSystem is the queues of an IPC namespace.
type FileSystem struct {
	dev  uint64
	root *dir

	mu     sync.Mutex
	names  map[string]*Queue
	order  []string // as made
	count  int      // queues, also those without a name
	used   map[uint32]uint64
	all    uint64
	number uint64
	meta   vfs.Attr // the root's
}

// New is a file system without queues.
func New() *FileSystem {
	fs := &FileSystem{dev: vfs.NewDev(), names: map[string]*Queue{}, used: map[uint32]uint64{}, number: 1}
	now := linux.TimespecAt(time.Now())
	fs.meta = vfs.Attr{Dev: fs.dev, Ino: 1, Mode: linux.S_IFDIR | 0o1777, Nlink: 2, Blksize: 4096, Atime: now, Mtime: now, Ctime: now}
	fs.root = &dir{fs}
	return fs
}

// Type implements vfs.FileSystem.
func (fs *FileSystem) Type() string { return "mqueue" }

// Root implements vfs.FileSystem.
func (fs *FileSystem) Root() vfs.Node { return fs.root }

// Statfs implements vfs.FileSystem.
func (fs *FileSystem) Statfs(vfs.Context) (linux.Statfs, error) {
	return linux.Statfs{Type: magic, Bsize: 4096, Frsize: 4096, Namelen: linux.NAME_MAX, Flags: linux.ST_VALID}, nil
}

// Making is a Context in which a new queue gets other measures than the default, and
// counts against limit, in bytes.
type Making struct {
	vfs.Context
	Attr  Attr
	Limit uint64
}

// defaultLimit is RLIMIT_MSGQUEUE where no process says another.
const defaultLimit = 819200

// make makes a queue: EINVAL, ENOSPC, EMFILE.
func (fs *FileSystem) make(ctx vfs.Context, name string, mode uint32) (*Queue, error) {
	a, limit := Attr{DefaultMessages, DefaultSize}, uint64(defaultLimit)
	c := ctx.Creds()
	if m, ok := ctx.(*Making); ok {
		a, limit = m.Attr, m.Limit
		if err := a.check(c); err != nil {
			return nil, err
		}
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	switch {
	case fs.names[name] != nil:
		return nil, linux.EEXIST
	case fs.count >= MaxQueues && !c.Has(linux.CAP_SYS_RESOURCE), fs.count >= 16*MaxQueues:
		return nil, linux.ENOSPC
	case fs.used[c.UID]+a.cost() > limit, fs.all+a.cost() > total:
		return nil, linux.EMFILE
	}
	fs.used[c.UID] += a.cost()
	fs.all += a.cost()
	fs.count++
	fs.number++
	now := linux.TimespecAt(time.Now())
	q := &Queue{fs: fs, attr: a, owner: c.UID, meta: vfs.Attr{
		Dev: fs.dev, Ino: fs.number, Mode: linux.S_IFREG | mode&linux.S_IALL, Nlink: 1, UID: c.FSUID, GID: c.FSGID,
		Size: 80, Blksize: 4096, Atime: now, Mtime: now, Ctime: now,
	}}
	fs.names[name] = q
	fs.order = append(fs.order, name)
	fs.meta.Mtime, fs.meta.Ctime = now, now
	return q, nil
}

// settle gives back what a queue counted for, once nothing leads to it.
func (fs *FileSystem) settle(q *Queue) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.unlinked || q.opens > 0 || q.meta.Nlink == 0 {
		return
	}
	q.meta.Nlink = 0
	q.messages = nil
	fs.used[q.owner] -= q.attr.cost()
	fs.all -= q.attr.cost()
	fs.count--
	if fs.used[q.owner] == 0 {
		delete(fs.used, q.owner)
	}
}

// setAttr changes what can be: no size.
func setAttr(a *vfs.Attr, s vfs.SetAttr) {
	if s.Mask&vfs.SetMode != 0 {
		a.Mode = a.Mode&linux.S_IFMT | s.Mode&linux.S_IALL
	}
	if s.Mask&vfs.SetUID != 0 {
		a.UID = s.UID
	}
	if s.Mask&vfs.SetGID != 0 {
		a.GID = s.GID
	}
	a.Ctime = linux.TimespecAt(time.Now())
}
