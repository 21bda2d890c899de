package socket

import "bulkhead/services/sentry/vfs"

// Drop gives back the references to the files that c holds.
func (c *Control) Drop(ctx vfs.Context) {
	for _, f := range c.Files {
		f.DecRef(ctx)
	}
	c.Files = nil
}
