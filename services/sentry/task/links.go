package task

import (
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/vfs"
)

// askedLinks are paths of which it was said once that they lead to no symlink, or nowhere,
// parts of their hashes. Most paths are asked about once, and not worth a record, but for what
// readlink(2) does not find, which a compiler then tries to open.
type askedLinks [256]uint32

// NoLink notes that the absolute path name, which the caller may have borrowed, leads to no
// symlink, or to nothing: platform/links.go; again, that it will be asked about again.
func (t *Task) NoLink(name string, kind vfs.Remembered, again bool) {
	if !t.answersAlone() || len(name) >= platform.LinkName {
		return
	}
	asked := t.links.Load()
	if asked == nil {
		asked = new(askedLinks)
		t.links.Store(asked)
	}
	hash := platform.LinkHash(name)
	if tag := &asked[hash%uint64(len(asked))]; !again && *tag != uint32(hash>>32) {
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
