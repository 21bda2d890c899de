package tmpfs

import (
	"slices"
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// inode is what all nodes have in common.
type inode struct {
	fs  *FileSystem
	ino uint64

	// mu is held when using these.
	mu                         sync.Mutex
	mode, uid, gid, nlink      uint32
	atime, mtime, ctime, btime linux.Timespec
	xattrs                     map[string][]byte
	xattrBytes                 int
}

func (i *inode) init(fs *FileSystem, mode, uid, gid uint32) {
	t := now()
	i.fs, i.ino = fs, fs.ino.Add(1)
	i.mode, i.uid, i.gid, i.nlink = mode, uid, gid, 1
	i.atime, i.mtime, i.ctime, i.btime = t, t, t, t
}

func (i *inode) base() *inode { return i }

// based is any node of this file system.
type based interface {
	vfs.Node
	base() *inode
}

func (i *inode) attr() vfs.Attr {
	i.mu.Lock()
	defer i.mu.Unlock()
	return vfs.Attr{
		Dev: i.fs.dev, Ino: i.ino, Mode: i.mode, Nlink: i.nlink, UID: i.uid, GID: i.gid, Blksize: pageSize,
		Atime: i.atime, Mtime: i.mtime, Ctime: i.ctime, Btime: i.btime,
	}
}

// Attr is stat(2).
func (i *inode) Attr(vfs.Context) (vfs.Attr, error) { return i.attr(), nil }

// SetAttr changes all but the size, which only a file has.
func (i *inode) SetAttr(_ vfs.Context, s vfs.SetAttr) error {
	t := now()
	i.mu.Lock()
	defer i.mu.Unlock()
	if s.Mask&vfs.SetMode != 0 {
		i.mode = i.mode&linux.S_IFMT | s.Mode&linux.S_IALL
	}
	if s.Mask&vfs.SetUID != 0 {
		i.uid = s.UID
	}
	if s.Mask&vfs.SetGID != 0 {
		i.gid = s.GID
	}
	switch {
	case s.Mask&vfs.SetAtimeNow != 0:
		i.atime = t
	case s.Mask&vfs.SetAtime != 0:
		i.atime = s.Atime
	}
	switch {
	case s.Mask&vfs.SetMtimeNow != 0:
		i.mtime = t
	case s.Mask&vfs.SetMtime != 0:
		i.mtime = s.Mtime
	}
	i.ctime = t
	return nil
}

// changed marks the contents as changed now.
func (i *inode) changed() {
	t := now()
	i.mu.Lock()
	i.mtime, i.ctime = t, t
	i.mu.Unlock()
}

// accessed marks the contents as read.
func (i *inode) accessed() {
	i.mu.Lock()
	if i.unreadLocked() {
		i.atime = now()
	}
	i.mu.Unlock()
}

// unreadLocked says whether nothing has been read since the last change.
func (i *inode) unreadLocked() bool { return !after(i.atime, i.mtime) || !after(i.atime, i.ctime) }

func after(a, b linux.Timespec) bool { return a.Sec > b.Sec || a.Sec == b.Sec && a.Nsec > b.Nsec }

// link changes the number of names and gives the new one.
func (i *inode) link(by int32) uint32 {
	t := now()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.nlink += uint32(by)
	i.ctime = t
	return i.nlink
}

// maxXattrBytes is how much the extended attributes of one inode may hold.
const maxXattrBytes = 1 << 20

// Xattr is getxattr(2).
func (i *inode) Xattr(_ vfs.Context, name string) ([]byte, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	v, ok := i.xattrs[name]
	if !ok {
		return nil, linux.ENODATA
	}
	return slices.Clone(v), nil
}

// SetXattr is setxattr(2); names beginning with "system." are refused.
func (i *inode) SetXattr(_ vfs.Context, name string, value []byte, flags int) error {
	if len(name) > 7 && name[:7] == "system." {
		return linux.EOPNOTSUPP
	}
	t := now()
	i.mu.Lock()
	defer i.mu.Unlock()
	old, exists := i.xattrs[name]
	switch {
	case exists && flags&linux.XATTR_CREATE != 0:
		return linux.EEXIST
	case !exists && flags&linux.XATTR_REPLACE != 0:
		return linux.ENODATA
	}
	grow := len(value) - len(old)
	if !exists {
		grow += len(name)
	}
	if i.xattrBytes+grow > maxXattrBytes {
		return linux.ENOSPC
	}
	if i.xattrs == nil {
		i.xattrs = make(map[string][]byte)
	}
	i.xattrs[name] = append([]byte{}, value...)
	i.xattrBytes += grow
	i.ctime = t
	return nil
}

// RemoveXattr is removexattr(2).
func (i *inode) RemoveXattr(_ vfs.Context, name string) error {
	t := now()
	i.mu.Lock()
	defer i.mu.Unlock()
	v, ok := i.xattrs[name]
	if !ok {
		return linux.ENODATA
	}
	i.xattrBytes -= len(v) + len(name)
	delete(i.xattrs, name)
	i.ctime = t
	return nil
}

// ListXattr is listxattr(2).
func (i *inode) ListXattr(vfs.Context) ([]string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	names := make([]string, 0, len(i.xattrs))
	for n := range i.xattrs {
		names = append(names, n)
	}
	slices.Sort(names)
	return names, nil
}

// symlink is a symbolic link.
type symlink struct {
	inode
	target string
}

// Readlink is readlink(2).
func (l *symlink) Readlink(vfs.Context) (string, error) {
	l.accessed()
	return l.target, nil
}

// Attr is lstat(2).
func (l *symlink) Attr(vfs.Context) (vfs.Attr, error) {
	a := l.attr()
	a.Size = int64(len(l.target))
	return a, nil
}

// special is a device, FIFO or socket: only a name for what others open.
type special struct {
	inode
	rdev uint64
}

// Attr is stat(2).
func (s *special) Attr(vfs.Context) (vfs.Attr, error) {
	a := s.attr()
	a.Rdev = s.rdev
	return a, nil
}
