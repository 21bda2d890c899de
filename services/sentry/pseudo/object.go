package pseudo

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Object is a regular file that is opened in its own way.
type Object struct {
	node
	open func(ctx vfs.Context, flags linux.OpenFlags) (vfs.Impl, error)
}

// Object makes one. open gives what stands behind each open file.
func (fs *FS) Object(mode uint32, owner Owner, open func(ctx vfs.Context, flags linux.OpenFlags) (vfs.Impl, error)) *Object {
	return &Object{fs.node(linux.S_IFREG|mode, owner), open}
}

// Open implements vfs.Opener.
func (o *Object) Open(ctx vfs.Context, flags linux.OpenFlags) (vfs.Impl, error) {
	return o.open(ctx, flags)
}

// watched is an open File whose changes q tells of: poll(2) of it waits for
// them, with POLLERR and POLLPRI. It can always be read.
type watched struct {
	open
	q *wait.Queue
}

// Poll implements vfs.Poller.
func (w *watched) Poll() wait.Events { return wait.In | wait.Out }

// Queue implements vfs.Poller.
func (w *watched) Queue() *wait.Queue { return w.q }
