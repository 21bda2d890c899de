package tmpfs

import (
	"testing"

	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/vfs/vfstest"
)

func TestConformance(t *testing.T) {
	vfstest.Run(t, func(*testing.T) vfs.FileSystem { return New(Options{}) }, vfstest.Options{})
}
