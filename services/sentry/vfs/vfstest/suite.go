package vfstest

import (
	"testing"

	"bulkhead/services/sentry/vfs"
)

// Options say what a file system under test cannot do. The zero value is one
// that can do everything, with a fresh and empty root.
type Options struct {
	// NoChown: all files belong to one user, and permissions are not tested.
	NoChown bool
	// NoDevices: no device nodes can be made.
	NoDevices bool
	// NoXattr: no extended attributes.
	NoXattr bool
	// NoTmpfile: no O_TMPFILE.
	NoTmpfile bool
	// NoHoles: SEEK_HOLE finds none.
	NoHoles bool
	// NoPunch: no fallocate.
	NoPunch bool
	// DirRenameEXDEV: directories that came from elsewhere cannot be renamed.
	DirRenameEXDEV bool
}

type test struct {
	name string
	skip func(Options) bool
	run  func(e *Env)
}

// Run runs the suite on writable file systems that make makes, each fresh.
func Run(t *testing.T, make func(t *testing.T) vfs.FileSystem, opts Options) {
	for _, group := range [][]test{fileTests, nameTests, renameTests, dirTests, ownerTests, raceTests} {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) {
				if c.skip != nil && c.skip(opts) {
					t.Skip("not of this file system")
				}
				c.run(NewEnv(t, Root(), make(t)))
			})
		}
	}
}

// RunReadOnly runs the suite for file systems without writing. What make makes
// must hold
//
//	/file         "hello\n", mode 0644
//	/empty        mode 0600
//	/dir/sub/deep "deep\n"
//	/link         -> dir/sub/deep
//	/loop         -> loop
func RunReadOnly(t *testing.T, make func(t *testing.T) vfs.FileSystem) {
	for _, c := range readOnlyTests {
		t.Run(c.name, func(t *testing.T) { c.run(NewEnv(t, Root(), make(t))) })
	}
}
