package pseudo

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// A Dir is a vfs.Creator that refuses, so that each kind of tree can do so as
// Linux does: proc has no such name, others forbid it. Taking a name away is
// always forbidden.

// Create implements vfs.Creator.
func (d *Dir) Create(vfs.Context, string, uint32) (vfs.Node, error) {
	if d.fs.noName == linux.EPERM {
		return nil, linux.EACCES // open(2) has its own idea
	}
	return nil, d.fs.noName
}

// Mkdir implements vfs.Creator.
func (d *Dir) Mkdir(vfs.Context, string, uint32) (vfs.Node, error) { return nil, d.fs.noName }

// Mknod implements vfs.Creator.
func (d *Dir) Mknod(vfs.Context, string, uint32, uint64) (vfs.Node, error) {
	return nil, d.fs.noName
}

// Symlink implements vfs.Creator.
func (d *Dir) Symlink(vfs.Context, string, string) (vfs.Node, error) { return nil, d.fs.noName }

// Link implements vfs.Creator.
func (d *Dir) Link(vfs.Context, string, vfs.Node) error { return d.fs.noName }

// Unlink implements vfs.Creator.
func (d *Dir) Unlink(vfs.Context, string, vfs.Node) error { return linux.EPERM }

// Rmdir implements vfs.Creator.
func (d *Dir) Rmdir(vfs.Context, string, vfs.Node) error { return linux.EPERM }

// Rename implements vfs.Creator.
func (d *Dir) Rename(_ vfs.Context, _ string, _ vfs.Node, _ vfs.Directory, _ string, replaced vfs.Node, _ uint32) error {
	if replaced == nil {
		return d.fs.noName
	}
	return linux.EPERM
}

var _ vfs.Creator = (*Dir)(nil)
