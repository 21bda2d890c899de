package task

import (
	"sync"

	"bulkhead/services/sentry/vfs"
)

// FSContext is where a task stands in the file system: root, working directory,
// umask. Tasks made with CLONE_FS share one.
type FSContext struct {
	mu        sync.Mutex
	root, cwd vfs.Path
	umask     uint32
}

// NewFSContext stands at the given places with umask 022.
func NewFSContext(root, cwd vfs.Path) *FSContext {
	return &FSContext{root: root, cwd: cwd, umask: 0o22}
}

// Root is where absolute paths start.
func (c *FSContext) Root() vfs.Path {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.root
}

// Cwd is where relative paths start.
func (c *FSContext) Cwd() vfs.Path {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cwd
}

// SetRoot is chroot(2).
func (c *FSContext) SetRoot(p vfs.Path) {
	vfs.Unnaming(func() {
		c.mu.Lock()
		c.root = p
		c.mu.Unlock()
	})
}

// SetCwd is chdir(2).
func (c *FSContext) SetCwd(p vfs.Path) {
	c.mu.Lock()
	c.cwd = p
	c.mu.Unlock()
}

// Umask is the file mode creation mask.
func (c *FSContext) Umask() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.umask
}

// SwapUmask sets the mask and gives the one before: umask(2).
func (c *FSContext) SwapUmask(mask uint32) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.umask
	c.umask = mask & 0o777
	return old
}

// Fork is a copy.
func (c *FSContext) Fork() *FSContext {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &FSContext{root: c.root, cwd: c.cwd, umask: c.umask}
}

// replace is the change of a root, for who stands there.
func (c *FSContext) replace(old, now vfs.Path) {
	vfs.Unnaming(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.root == old {
			c.root = now
		}
		if c.cwd == old {
			c.cwd = now
		}
	})
}
