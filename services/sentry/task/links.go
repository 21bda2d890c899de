package task

import (
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/vfs"
)

// askedLinks are paths of which readlink(2) has said once that they lead to no symlink,
// parts of their hashes. Most paths are asked about once, and not worth a record.
type askedLinks [64]uint32

// NoLink notes that the absolute path name, which the caller may have borrowed, leads to no
// symlink: platform/links.go.
func (t *Task) NoLink(name string) {
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
	vfs.Remember(t, t.FS().Root, name, t, func() { t.th.NoLink(name, hash) })
}

// ForgetNames implements vfs.Rememberer.
func (t *Task) ForgetNames() {
	if th := t.host.Load(); th != nil {
		th.ForgetLinks()
	}
}

// forgetLinks forgets what the stub knows of paths: they may lead elsewhere for the thread.
func (t *Task) forgetLinks() {
	if t.links.Load() != nil {
		vfs.Forget(t)
	}
}
