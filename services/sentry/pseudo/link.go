package pseudo

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// Link is a symlink.
type Link struct {
	node
	target func(ctx vfs.Context) (string, error)
}

// Link makes a symlink whose path is what target gives.
func (fs *FS) Link(owner Owner, target func(ctx vfs.Context) (string, error)) *Link {
	return &Link{node: fs.node(linux.S_IFLNK|0o777, owner), target: target}
}

// LinkTo makes a symlink that does not change.
func (fs *FS) LinkTo(path string) *Link {
	return fs.Link(nil, func(vfs.Context) (string, error) { return path, nil })
}

// Readlink implements vfs.Symlink.
func (l *Link) Readlink(ctx vfs.Context) (string, error) { return l.target(ctx) }

// Jump is a link that leads straight to an object: /proc/PID/cwd.
type Jump struct {
	Link
	jump func(ctx vfs.Context) (vfs.Path, error)
	mode func() uint32
}

// Jump makes one: text is what readlink(2) tells of it.
func (fs *FS) Jump(owner Owner, text func(ctx vfs.Context) (string, error), jump func(ctx vfs.Context) (vfs.Path, error)) *Jump {
	return &Jump{Link: *fs.Link(owner, text), jump: jump}
}

// WithMode has the permission bits come from mode: /proc/PID/fd/N's tell how it
// was opened. Such a link's size is 64.
func (j *Jump) WithMode(mode func() uint32) *Jump {
	j.mode = mode
	return j
}

// Attr implements vfs.Node.
func (j *Jump) Attr(ctx vfs.Context) (vfs.Attr, error) {
	a, err := j.Link.Attr(ctx)
	if j.mode != nil {
		a.Mode = linux.S_IFLNK | j.mode()
		a.Size = 64
	}
	return a, err
}

// Jump implements vfs.Jumper.
func (j *Jump) Jump(ctx vfs.Context) (vfs.Path, error) { return j.jump(ctx) }
