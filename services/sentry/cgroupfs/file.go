package cgroupfs

import (
	"strings"
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// maxWrite is how much of one write counts, in bytes.
const maxWrite = 4096

// file is one file of a group.
type file struct {
	node
	of       *Cgroup
	kind     *kind
	notifier *notifier // nil: nobody waits for it
}

// Open implements vfs.Opener.
func (f *file) Open(ctx vfs.Context, _ linux.OpenFlags) (vfs.Impl, error) {
	if f.of.Dead() {
		return nil, linux.ENODEV
	}
	o := &opened{file: f, opener: ctx.Creds(), root: f.h.host.Root(ctx)}
	if f.notifier != nil {
		return &watched{o}, nil // which is news until it is read
	}
	return o, nil
}

// opened is an open file. What it may do goes by who has opened it, and in which
// namespace: the descriptor may be lent.
type opened struct {
	*file
	opener *vfs.Creds
	root   *Cgroup       // that the opener's namespace begins at
	seen   atomic.Uint32 // of notifier.changes

	mu   sync.Mutex
	text []byte // a snapshot; nil before the first read
}

// Release implements vfs.Impl.
func (o *opened) Release() {}

// ReadAt implements vfs.ReaderAt. The text is made without the lock.
func (o *opened) ReadAt(ctx vfs.Context, p []byte, off int64) (int, error) {
	if o.kind.read == nil {
		return 0, linux.EINVAL
	}
	o.mu.Lock()
	text := o.text
	o.mu.Unlock()
	if off == 0 || text == nil {
		if o.of.gone(o.kind) {
			return 0, linux.ENODEV
		}
		if o.notifier != nil {
			o.seen.Store(o.notifier.changes.Load())
		}
		s, err := o.kind.read(o.of, ctx)
		if err != nil {
			return 0, err
		}
		text = []byte(s)
		o.mu.Lock()
		o.text = text
		o.mu.Unlock()
	}
	if off >= int64(len(text)) {
		return 0, nil
	}
	return copy(p, text[off:]), nil
}

// gone says whether a file of the group has been taken away, with it or with a controller.
func (c *Cgroup) gone(k *kind) bool {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	return c.dead || !c.hasLocked(k)
}

// WriteAt implements vfs.WriterAt.
func (o *opened) WriteAt(ctx vfs.Context, p []byte, off int64) (int, int64, error) {
	p = p[:min(len(p), maxWrite)]
	if o.of.gone(o.kind) {
		return 0, 0, linux.ENODEV
	}
	if o.of == o.root && !o.kind.delegated {
		return 0, 0, linux.EPERM // only from above
	}
	text := strings.TrimSpace(string(p))
	var err error
	switch {
	case o.kind.act != nil:
		err = o.kind.act(o, ctx, text)
	case o.kind.set != nil:
		err = o.of.set(o.kind, text)
	default:
		err = linux.EINVAL
	}
	if err != nil {
		return 0, 0, err
	}
	return len(p), max(off, 0) + int64(len(p)), nil
}

// watched is an open file that changes by itself.
type watched struct{ *opened }

// Poll implements vfs.Poller. It can always be read.
func (w *watched) Poll() wait.Events {
	e := wait.In | wait.Out
	if w.seen.Load() != w.notifier.changes.Load() || w.of.Dead() {
		e |= wait.Pri | wait.Err
	}
	return e
}

// Queue implements vfs.Poller.
func (w *watched) Queue() *wait.Queue { return &w.notifier.queue }

// Of is the group that an open directory is, or nil.
func Of(n vfs.Node) *Cgroup {
	c, _ := n.(*Cgroup)
	return c
}
