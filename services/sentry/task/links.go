package task

import (
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/vfs"
)

// askedLinks are paths of which readlink(2) has said once that they lead to no symlink, or nowhere,
// parts of their hashes. Most paths are asked about once, and not worth a record.
type askedLinks [256]uint32

// NoLink notes that the absolute path name, which the caller may have borrowed, leads to no
// symlink, or to nothing: platform/links.go.
func (t *Task) NoLink(name string, kind vfs.Remembered) {
	if !t.th.Fast() || !t.th.MayAnswerAlone() || len(name) >= platform.LinkName {
		return
	}
	asked := t.links.Load()
	if asked == nil {
		asked = new(askedLinks)
		t.links.Store(asked)
	}
	hash := platform.LinkHash(name)
	if tag := &asked[hash%uint64(len(asked))]; *tag != uint32(hash>>32) {
		*tag = uint32(hash >> 32)
		return
	}
	vfs.Remember(t, t.FS().Root, name, kind, t, func() { t.th.NoLink(name, hash, kind == vfs.Absent) })
}

// ForgetNames implements vfs.Rememberer.
func (t *Task) ForgetNames(kind vfs.Remembered) {
	if th := t.host.Load(); th != nil {
		th.ForgetLinks(kind == vfs.Absent)
	}
}

// forgetLinks forgets what the stub knows of paths: they may lead elsewhere for the thread.
func (t *Task) forgetLinks() {
	if t.links.Load() != nil {
		vfs.Forget(t)
	}
}
