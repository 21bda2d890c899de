package cgroupfs

import (
	"slices"
	"strings"
	"sync"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// node is what directories and files have in common.
type node struct {
	h   *Hierarchy
	ino uint64

	nodeMu              sync.Mutex // of what follows
	mode, uid, gid      uint32
	atime, mtime, ctime linux.Timespec
	xattrs              map[string][]byte
	xattrBytes          int
}

// Limits of the extended attributes of one node, as kernfs has them: ENOSPC.
const (
	maxXattrs     = 128
	maxXattrBytes = 128 << 10
)

func (n *node) init(h *Hierarchy, mode, uid, gid uint32) {
	t := linux.TimespecAt(time.Now())
	n.h, n.ino, n.mode, n.uid, n.gid = h, h.ino.Add(1), mode, uid, gid
	n.atime, n.mtime, n.ctime = t, t, t
}

// Attr implements vfs.Node.
func (n *node) Attr(vfs.Context) (vfs.Attr, error) {
	n.nodeMu.Lock()
	defer n.nodeMu.Unlock()
	return vfs.Attr{
		Dev: n.h.dev, Ino: n.ino, Mode: n.mode, Nlink: 1, UID: n.uid, GID: n.gid, Blksize: 4096,
		Atime: n.atime, Mtime: n.mtime, Ctime: n.ctime,
	}, nil
}

// SetAttr implements vfs.Node. Truncating is what a shell's > does, and changes nothing.
func (n *node) SetAttr(_ vfs.Context, s vfs.SetAttr) error {
	t := linux.TimespecAt(time.Now())
	n.nodeMu.Lock()
	defer n.nodeMu.Unlock()
	if s.Mask&vfs.SetMode != 0 {
		n.mode = n.mode&linux.S_IFMT | s.Mode&linux.S_IALL
	}
	if s.Mask&vfs.SetUID != 0 {
		n.uid = s.UID
	}
	if s.Mask&vfs.SetGID != 0 {
		n.gid = s.GID
	}
	if s.Mask&vfs.SetAtimeNow != 0 {
		n.atime = t
	} else if s.Mask&vfs.SetAtime != 0 {
		n.atime = s.Atime
	}
	if s.Mask&vfs.SetMtimeNow != 0 {
		n.mtime = t
	} else if s.Mask&vfs.SetMtime != 0 {
		n.mtime = s.Mtime
	}
	if s.Mask&^vfs.SetSize != 0 {
		n.ctime = t
	}
	return nil
}

// Xattr implements vfs.Xattrer: xattr(7).
func (n *node) Xattr(_ vfs.Context, name string) ([]byte, error) {
	n.nodeMu.Lock()
	defer n.nodeMu.Unlock()
	v, ok := n.xattrs[name]
	if !ok {
		return nil, linux.ENODATA
	}
	return slices.Clone(v), nil
}

// SetXattr implements vfs.Xattrer.
func (n *node) SetXattr(_ vfs.Context, name string, value []byte, flags int) error {
	if strings.HasPrefix(name, "system.") {
		return linux.EOPNOTSUPP
	}
	n.nodeMu.Lock()
	defer n.nodeMu.Unlock()
	old, exists := n.xattrs[name]
	grow := len(value) - len(old)
	switch {
	case exists && flags&linux.XATTR_CREATE != 0:
		return linux.EEXIST
	case !exists && flags&linux.XATTR_REPLACE != 0:
		return linux.ENODATA
	case !exists && len(n.xattrs) >= maxXattrs, n.xattrBytes+grow > maxXattrBytes:
		return linux.ENOSPC
	}
	if !exists {
		grow += len(name)
	}
	if n.h.xattrBytes.Add(int64(grow)) > maxAllXattrBytes && grow > 0 {
		n.h.xattrBytes.Add(-int64(grow))
		return linux.ENOSPC
	}
	if n.xattrs == nil {
		n.xattrs = map[string][]byte{}
	}
	n.xattrs[name] = append([]byte{}, value...)
	n.xattrBytes += grow
	return nil
}

// RemoveXattr implements vfs.Xattrer.
func (n *node) RemoveXattr(_ vfs.Context, name string) error {
	n.nodeMu.Lock()
	defer n.nodeMu.Unlock()
	v, ok := n.xattrs[name]
	if !ok {
		return linux.ENODATA
	}
	n.xattrBytes -= len(v) + len(name)
	n.h.xattrBytes.Add(-int64(len(v) + len(name)))
	delete(n.xattrs, name)
	return nil
}

// forgetXattrs is for a node that is gone.
func (n *node) forgetXattrs() {
	n.nodeMu.Lock()
	defer n.nodeMu.Unlock()
	n.h.xattrBytes.Add(-int64(n.xattrBytes))
	n.xattrs, n.xattrBytes = nil, 0
}

// ListXattr implements vfs.Xattrer.
func (n *node) ListXattr(vfs.Context) ([]string, error) {
	n.nodeMu.Lock()
	defer n.nodeMu.Unlock()
	names := make([]string, 0, len(n.xattrs))
	for name := range n.xattrs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}
