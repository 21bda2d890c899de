package tmpfs

import (
	"testing"

	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/vfs/vfstest"
)

func TestConformance(t *testing.T) {
	vfstest.Run(t, func(*testing.T) vfs.FileSystem { return New(Options{}) }, vfstest.Options{})
}

func TestModel(t *testing.T) {
	vfstest.RunModel(t, vfstest.ModelOptions{
		Make: func(*testing.T, func(vfs.FileSystem)) vfs.FileSystem { return New(Options{}) },
	})
}
