package gofs

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	pb "bulkhead/proto/gofer/v1"
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// inode is what nodes of all types have. It is the first field of each, so that
// both live equally long.
type inode struct {
	fs   *FS
	self vfs.Node
	key  key
	typ  uint32 // S_IFMT

	// Guarded by fs.place.
	parent  *dir
	name    string
	aliases []alias // further names that were seen
	handle  uint64  // 0: none
	gone    bool    // has lost its last name

	mu    sync.Mutex
	attr  vfs.Attr
	stale bool      // attr must be asked for
	fresh time.Time // shared: until then, attr need not be, once
	files [3]*hostFile

	appending sync.Mutex // held while appending, to know where that ended

	// dirty: written to since attr was read, so that a descriptor knows
	// better. mapped: for as long as there is a descriptor.
	dirty  atomic.Bool
	mapped atomic.Bool

	// xattr are the names of extended attributes, where they are cached.
	xattr struct {
		sync.Mutex
		known bool
		names []string
		err   error // EOPNOTSUPP: the host's file system has none
	}
}

// alias is a name of a file besides inode.name.
type alias struct {
	parent *dir
	name   string
}

// maxAliases bounds what is remembered of a file with many names.
const maxAliases = 8

type (
	// file is a regular file.
	file struct{ inode }
	// symlink is a symbolic link. What it says never changes.
	symlink struct {
		inode
		text string
	}
	// special is a fifo, a socket or a device. Opening is vfs's business: the
	// host's own is never opened.
	special struct{ inode }
)

var (
	_ vfs.Opener  = (*file)(nil)
	_ vfs.Symlink = (*symlink)(nil)
	_ vfs.Xattrer = (*inode)(nil)
)

func (n *inode) base() *inode { return n }

// nodeOf gives the inode of one of our nodes, nil of another file system's.
func nodeOf(n vfs.Node) *inode {
	if b, ok := n.(interface{ base() *inode }); ok {
		return b.base()
	}
	return nil
}

func (fs *FS) newNode(a vfs.Attr, text string) *inode {
	var n *inode
	switch a.Mode & linux.S_IFMT {
	case linux.S_IFDIR:
		n = fs.newDir()
	case linux.S_IFREG:
		f := new(file)
		f.self, n = f, &f.inode
	case linux.S_IFLNK:
		l := &symlink{text: text}
		l.self, n = l, &l.inode
	default:
		s := new(special)
		s.self, n = s, &s.inode
	}
	n.fs, n.key, n.typ, n.attr = fs, key{a.Dev, a.Ino}, a.Mode&linux.S_IFMT, a
	return n
}

// Readlink gives what the link says.
func (l *symlink) Readlink(vfs.Context) (string, error) { return l.text, nil }

// seenAt notes that n was found as name in d.
func (fs *FS) seenAt(n *inode, d *dir, name string) {
	fs.place.RLock()
	same := n.parent == d && n.name == name
	fs.place.RUnlock()
	if same {
		return
	}
	fs.place.Lock()
	defer fs.place.Unlock()
	switch {
	case n.parent == nil && !n.gone: // the root
	case fs.shared || n.gone || n.isDir():
		n.parent, n.name, n.gone = d, name, false
	default:
		n.addAliasLocked(d, name)
	}
}

func (n *inode) addAliasLocked(d *dir, name string) {
	for _, a := range n.aliases {
		if a.parent == d && a.name == name {
			return
		}
	}
	if len(n.aliases) < maxAliases {
		n.aliases = append(n.aliases, alias{d, name})
	}
}

// dropNameLocked notes that name in d is not n's any more, and says whether
// another name is known.
func (n *inode) dropNameLocked(d *dir, name string) bool {
	for i, a := range n.aliases {
		if a.parent == d && a.name == name {
			n.aliases = append(n.aliases[:i], n.aliases[i+1:]...)
			break
		}
	}
	if n.parent != d || n.name != name {
		return true
	}
	if len(n.aliases) == 0 {
		return false
	}
	last := n.aliases[len(n.aliases)-1]
	n.parent, n.name, n.aliases = last.parent, last.name, n.aliases[:len(n.aliases)-1]
	return true
}

// target names n to the gofer. moves is what FS.moves was.
func (fs *FS) target(n *inode) (t *pb.Target, moves uint64) {
	fs.place.RLock()
	defer fs.place.RUnlock()
	moves = fs.moves.Load()
	switch {
	case n.handle != 0:
		return &pb.Target{Handle: n.handle}, moves
	case n.parent == nil || n.gone:
		return nil, moves
	}
	t = &pb.Target{Handle: n.parent.handle, Name: []byte(n.name), Dev: n.key.dev, Ino: n.key.ino}
	t.Bind = n.isDir()
	return t, moves
}

func (n *inode) isDir() bool { _, ok := n.self.(vfs.Directory); return ok }

// on asks the gofer about n. fill makes the request of n's target; it is asked
// again when n was moved meanwhile. ENOENT: n is a directory that is gone;
// ESTALE: something else that is gone, so that vfs looks the name up anew.
func (n *inode) on(fill func(*pb.Target) *pb.Request) (*pb.Response, []int, error) {
	for try := 0; ; try++ {
		t, moves := n.fs.target(n)
		if t == nil {
			return nil, nil, n.absent()
		}
		if t.Handle == 0 {
			// Its directory has no handle, which is no more than having
			// been prefetched.
			if err := n.bindParent(); err != nil {
				return nil, nil, err
			}
			continue
		}
		resp, fds, err := n.fs.call(fill(t))
		if resp != nil && resp.Handle != 0 && t.Bind {
			n.adopt(resp.Handle)
		}
		if (err == linux.ESTALE || err == linux.ENOENT) && try < 4 && n.fs.moves.Load() != moves {
			continue
		}
		if err == linux.ENOENT && len(t.Name) > 0 {
			err = n.absent()
		}
		return resp, fds, err
	}
}

func (n *inode) absent() error {
	if n.isDir() {
		return linux.ENOENT
	}
	return linux.ESTALE
}

// bindParent gets n's directory its handle, and those above it that have none theirs.
func (n *inode) bindParent() error {
	var chain []*dir
	n.fs.place.RLock()
	p := n.parent
	for ; p != nil && p.handle == 0 && len(chain) < maxDepth; p = p.parent {
		chain = append(chain, p)
	}
	n.fs.place.RUnlock()
	if p == nil || len(chain) == maxDepth {
		return linux.ESTALE
	}
	for _, d := range slices.Backward(chain) {
		if err := d.bind(); err != nil {
			return err
		}
	}
	return nil
}

// maxDepth is how many directories without a handle there are one below the other at
// most: a hostile gofer can say that they are in a circle.
const maxDepth = 1 << 12

// adopt makes id n's handle.
func (n *inode) adopt(id uint64) {
	n.fs.place.Lock()
	had := n.handle
	if had == 0 {
		n.handle = id
	}
	n.fs.place.Unlock()
	if had == 0 {
		runtime.AddCleanup(n, n.fs.forgetLater, id)
	} else if had != id {
		n.fs.forgetLater(id)
	}
}

// Attr tells what is known, from a descriptor or the gofer where need be.
func (n *inode) Attr(vfs.Context) (vfs.Attr, error) {
	n.mu.Lock()
	if a, ok := n.knownLocked(); ok {
		n.mu.Unlock()
		return a, nil
	}
	n.mu.Unlock()
	resp, fds, err := n.on(func(t *pb.Target) *pb.Request {
		t.Bind = false
		return &pb.Request{Op: &pb.Request_Stat{Stat: &pb.StatRequest{Target: t}}}
	})
	closeAll(fds)
	if err == linux.ESTALE || err == linux.ENOENT {
		if a, ok := n.lost(); ok {
			return a, nil
		}
	}
	if err != nil {
		return vfs.Attr{}, err
	}
	a, ok := attrOf(resp.Attr)
	if !ok || !n.sameAs(&a) {
		return vfs.Attr{}, linux.EIO
	}
	n.learn(a)
	return a, nil
}

// knownLocked gives the attributes if they need no asking.
func (n *inode) knownLocked() (vfs.Attr, bool) {
	if n.dirty.Load() || n.mapped.Load() || n.fs.shared || n.stale {
		if !n.readFDLocked() && (n.stale || n.fs.shared && !n.freshLocked()) {
			return n.attr, false
		}
	}
	return n.attr, true
}

func (n *inode) freshLocked() bool {
	until := n.fresh
	n.fresh = time.Time{}
	return !until.IsZero() && time.Now().Before(until)
}

// readFDLocked takes the attributes from a descriptor, if there is one in use.
func (n *inode) readFDLocked() bool {
	for _, h := range n.files {
		if h == nil || n.fs.shared && h.idle() {
			continue
		}
		n.dirty.Store(false)
		var st unix.Stat_t
		if unix.Fstat(h.fd, &st) != nil {
			return false
		}
		n.attr = attrOfStat(&st, n.attr.Btime)
		n.stale = false
		return true
	}
	return false
}

// lost gives the last known attributes of something that has no name any more.
func (n *inode) lost() (vfs.Attr, bool) {
	n.fs.place.RLock()
	gone := n.gone
	n.fs.place.RUnlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.attr, gone
}

// learn takes attributes that the gofer has just given.
func (n *inode) learn(a vfs.Attr) {
	n.mu.Lock()
	n.attr, n.stale = a, false
	n.mu.Unlock()
}

// outdate makes the next Attr ask.
func (n *inode) outdate() {
	n.mu.Lock()
	n.stale = true
	n.mu.Unlock()
}

// SetAttr changes attributes. A size alone is set through a descriptor, if there
// is one that can.
func (n *inode) SetAttr(ctx vfs.Context, s vfs.SetAttr) error {
	if n.fs.readOnly {
		return linux.EROFS
	}
	if s.Mask == vfs.SetSize {
		if done, err := n.truncateFD(s.Size); done {
			return err
		}
	}
	resp, fds, err := n.on(func(t *pb.Target) *pb.Request {
		t.Bind = false
		q := &pb.SetAttrRequest{Target: t}
		if s.Mask&vfs.SetSize != 0 {
			q.Size = &s.Size
		}
		if s.Mask&vfs.SetUID != 0 {
			q.Uid = &s.UID
		}
		if s.Mask&vfs.SetGID != 0 {
			q.Gid = &s.GID
		}
		if s.Mask&vfs.SetMode != 0 {
			mode := s.Mode & 0o7777
			q.Mode = &mode
		}
		q.Atime = setTime(s.Mask, vfs.SetAtime, vfs.SetAtimeNow, s.Atime)
		q.Mtime = setTime(s.Mask, vfs.SetMtime, vfs.SetMtimeNow, s.Mtime)
		return &pb.Request{Op: &pb.Request_SetAttr{SetAttr: q}}
	})
	closeAll(fds)
	if err != nil {
		n.outdate()
		return err
	}
	a, ok := attrOf(resp.Attr)
	if !ok || !n.sameAs(&a) {
		n.outdate()
		return linux.EIO
	}
	n.learn(a)
	return nil
}

func setTime(mask, set, now vfs.SetMask, ts linux.Timespec) *pb.Time {
	switch {
	case mask&now != 0:
		return &pb.Time{Now: true}
	case mask&set != 0:
		return &pb.Time{Sec: ts.Sec, Nsec: uint32(ts.Nsec)}
	}
	return nil
}

// attrOf checks what the gofer says of a file.
func attrOf(a *pb.Attr) (vfs.Attr, bool) {
	if a == nil || a.Size < 0 || a.Mode&^0o177777 != 0 {
		return vfs.Attr{}, false
	}
	for _, ns := range [...]uint32{a.AtimeNsec, a.MtimeNsec, a.CtimeNsec, a.BtimeNsec} {
		if ns >= 1e9 {
			return vfs.Attr{}, false
		}
	}
	switch a.Mode & linux.S_IFMT {
	case linux.S_IFREG, linux.S_IFDIR, linux.S_IFLNK, linux.S_IFIFO, linux.S_IFSOCK, linux.S_IFCHR, linux.S_IFBLK:
	default:
		return vfs.Attr{}, false
	}
	return vfs.Attr{
		Dev: a.Dev, Ino: a.Ino, Mode: a.Mode, Nlink: a.Nlink, UID: a.Uid, GID: a.Gid, Rdev: a.Rdev,
		Size: a.Size, Blksize: a.Blksize, Blocks: a.Blocks,
		Atime: linux.Timespec{Sec: a.Atime, Nsec: int64(a.AtimeNsec)},
		Mtime: linux.Timespec{Sec: a.Mtime, Nsec: int64(a.MtimeNsec)},
		Ctime: linux.Timespec{Sec: a.Ctime, Nsec: int64(a.CtimeNsec)},
		Btime: linux.Timespec{Sec: a.Btime, Nsec: int64(a.BtimeNsec)},
	}, true
}

func attrOfStat(st *unix.Stat_t, btime linux.Timespec) vfs.Attr {
	return vfs.Attr{
		Dev: st.Dev, Ino: st.Ino, Mode: st.Mode, Nlink: uint32(st.Nlink), UID: st.Uid, GID: st.Gid, Rdev: st.Rdev,
		Size: st.Size, Blksize: uint32(st.Blksize), Blocks: uint64(st.Blocks),
		Atime: linux.Timespec{Sec: st.Atim.Sec, Nsec: st.Atim.Nsec},
		Mtime: linux.Timespec{Sec: st.Mtim.Sec, Nsec: st.Mtim.Nsec},
		Ctime: linux.Timespec{Sec: st.Ctim.Sec, Nsec: st.Ctim.Nsec},
		Btime: btime,
	}
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
