package inotify

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// Bits of F_NOTIFY's argument: fcntl(2), "File and directory change notification".
const (
	dnAccess    = 0x01
	dnModify    = 0x02
	dnCreate    = 0x04
	dnDelete    = 0x08
	dnRename    = 0x10
	dnAttrib    = 0x20
	DNMultishot = 0x80000000 // DN_MULTISHOT: not only the next time
	DNEvents    = 0x3f       // all that can be asked for
)

// WatchDir has tell called, by a goroutine of its own, when one of the events of an
// F_NOTIFY happens in a directory: once, but for DNMultishot. stop ends that.
func WatchDir(dir vfs.Node, events uint32, tell func()) (stop func()) {
	in := NewImpl()
	in.tell = tell
	w := &watch{in: in, wd: 1, node: dir}
	for _, b := range [...]struct{ dn, mask uint32 }{
		{dnAccess, linux.IN_ACCESS}, {dnModify, linux.IN_MODIFY}, {dnCreate, linux.IN_CREATE | linux.IN_MOVED_TO},
		{dnDelete, linux.IN_DELETE | linux.IN_MOVED_FROM}, {dnRename, linux.IN_MOVED_FROM}, {dnAttrib, linux.IN_ATTRIB},
	} {
		if events&b.dn != 0 {
			w.mask |= b.mask
		}
	}
	if events&DNMultishot == 0 {
		w.mask |= linux.IN_ONESHOT
	}
	vfs.UnforeseeAll()
	defer vfs.UnforeseeAll()
	table.mu.Lock()
	in.watches[w.wd], in.byNode[dir] = w, w
	table.watch[dir] = append(table.watch[dir], w)
	if table.count++; table.count == 1 {
		vfs.SetWatch(changed)
	}
	table.mu.Unlock()
	return in.Release
}
