// Package gofs is the file system whose files are the gofer's: one attach point
// of it, as a vfs.FileSystem.
//
// What the gofer says is a claim about files and is checked like one. Names and
// attributes are asked for; regular files are donated descriptors, which are
// then read, written and mapped without asking.
//
// A tree that only this sandbox changes (exclusive) is cached without asking
// again. In a shared one every name is asked for anew and every stat too, but an
// open file answers from its descriptor.
//
// Nodes are interned by device and inode number for as long as anyone holds
// them. Only directories have a handle at the gofer; everything else is named by
// its directory and name, so that a file that was merely looked at costs the
// gofer nothing. A file that is open and loses its name gets a handle then.
//
// Lock order: FS.place < dir.names < inode.mu; FS.nodes, FS.forget and FS.idle
// come last, and no two of these are held together. None is held across a
// call but those that say so: dir.fetching, inode.xattr, inode.appending.
package gofs

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"weak"

	"bulkhead/proto/channel"
	pb "bulkhead/proto/gofer/v1"
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// Options are how an attach point is used.
type Options struct {
	// Shared: others change the tree while the sandbox runs.
	Shared bool
	// ReadOnly offers no change, whatever the gofer would allow.
	ReadOnly bool
}

// FS is one attach point.
type FS struct {
	client   *channel.Client
	shared   bool
	readOnly bool
	root     vfs.Node

	// place guards where every inode is: inode.parent, name, aliases, handle,
	// gone. moves counts the changes.
	place sync.RWMutex
	moves atomic.Uint64

	nodes struct {
		sync.Mutex
		known map[key]weak.Pointer[inode]
	}
	// forget are handles that nobody needs any more; they ride on requests.
	forget struct {
		sync.Mutex
		ids []uint64
	}
	idle     idleFiles
	listings listings
	// plus is how much it has paid lately to ask for attributes when listing.
	plus atomic.Int32
	// guess is how much it has paid lately to open what is looked up.
	guess atomic.Int32
	// opening and listing are the same of neighbours: see together.go.
	opening, listing habit
	// changes counts the names that were made and unmade here.
	changes atomic.Uint64
}

// key is what makes two files the same.
type key struct{ dev, ino uint64 }

var (
	_ vfs.FileSystem = (*FS)(nil)
	_ vfs.Releaser   = (*FS)(nil)
)

// New attaches to attach point number attach of the gofer behind client, which
// several file systems may share. EIO if the gofer is gone.
func New(client *channel.Client, attach uint32, opts Options) (*FS, error) {
	fs := &FS{client: client, shared: opts.Shared, readOnly: opts.ReadOnly}
	fs.nodes.known = map[key]weak.Pointer[inode]{}
	resp, _, err := fs.call(&pb.Request{Op: &pb.Request_Attach{Attach: &pb.AttachRequest{Index: attach}}})
	if err != nil {
		return nil, err
	}
	a, ok := attrOf(resp.Attr)
	if !ok || resp.Handle == 0 {
		return nil, linux.EIO
	}
	fs.readOnly = fs.readOnly || resp.ReadOnly
	n := fs.newNode(a, "")
	n.handle = resp.Handle
	fs.root = n.self
	fs.nodes.known[n.key] = weak.Make(n)
	return fs, nil
}

// Type is "gofer": the host's own type is the host's business.
func (fs *FS) Type() string { return "gofer" }

// Root is a directory, or the file that is mounted on one.
func (fs *FS) Root() vfs.Node { return fs.root }

// ReadOnly says that the file system refuses changes.
func (fs *FS) ReadOnly() bool { return fs.readOnly }

// Statfs tells of the host's file system that holds the root.
func (fs *FS) Statfs(vfs.Context) (linux.Statfs, error) {
	t, _ := fs.target(nodeOf(fs.root))
	resp, _, err := fs.call(&pb.Request{Op: &pb.Request_Statfs{Statfs: &pb.StatfsRequest{Target: t}}})
	if err != nil {
		return linux.Statfs{}, err
	}
	s := resp.Statfs
	if s == nil {
		return linux.Statfs{}, linux.EIO
	}
	return linux.Statfs{
		Type: s.Type, Bsize: s.Bsize, Blocks: s.Blocks, Bfree: s.Bfree, Bavail: s.Bavail,
		Files: s.Files, Ffree: s.Ffree, FSID: [2]int32{int32(s.Fsid), int32(s.Fsid >> 32)},
		Namelen: s.Namelen, Frsize: s.Frsize, Flags: s.Flags,
	}, nil
}

// Release closes what descriptors are not in use.
func (fs *FS) Release() {
	fs.idle.shrink(0)
	fs.listings.shrink(0)
}

// maxErrno is the greatest error number that means something to a guest.
const maxErrno = int32(linux.EHWPOISON)

// call asks the gofer. fds are those that came; the caller has them. The error is a bare errno: EIO when the gofer is gone.
// resp is not nil if the gofer answered, also with an error.
func (fs *FS) call(q *pb.Request) (resp *pb.Response, fds []int, err error) {
	q.Forget = fs.takeForgotten()
	resp = new(pb.Response)
	fds, cerr := fs.client.Call(context.Background(), q, nil, resp)
	if cerr != nil {
		closeAll(fds)
		return nil, nil, linux.EIO
	}
	if resp.Errno != 0 {
		closeAll(fds)
		if resp.Errno < 0 || resp.Errno > maxErrno {
			return resp, nil, linux.EIO
		}
		return resp, nil, linux.Errno(resp.Errno)
	}
	return resp, fds, nil
}

// forgetBatch is the most handles that ride on one request.
const forgetBatch = 1024

func (fs *FS) takeForgotten() []uint64 {
	fs.forget.Lock()
	defer fs.forget.Unlock()
	ids := fs.forget.ids
	if len(ids) <= forgetBatch {
		fs.forget.ids = nil
		return ids
	}
	fs.forget.ids = ids[forgetBatch:]
	return ids[:forgetBatch:forgetBatch]
}

func (fs *FS) forgetLater(id uint64) {
	fs.forget.Lock()
	fs.forget.ids = append(fs.forget.ids, id)
	fs.forget.Unlock()
}

// intern gives the one node of the file that a tells of, found as name in d.
func (fs *FS) intern(d *dir, name string, a vfs.Attr, more ahead) *inode {
	k := key{a.Dev, a.Ino}
	fs.nodes.Lock()
	if n := fs.nodes.known[k].Value(); n != nil && n.sameAs(&a) {
		fs.nodes.Unlock()
		fs.seenAt(n, d, name)
		if fs.shared {
			n.learn(a)
		}
		return n
	}
	n := fs.newNode(a, more.symlink)
	n.parent, n.name = d, name
	if more.noXattr {
		n.xattr.known = true
	}
	nd := dirOf(n.self)
	if nd != nil && more.below != nil {
		nd.fillLocked(more.below) // nobody else knows it yet
	}
	fs.nodes.known[k] = weak.Make(n)
	fs.nodes.Unlock()
	runtime.AddCleanup(n, fs.dropNode, k)
	if nd != nil && more.below != nil {
		fs.listings.add(nd, len(more.below))
	}
	return n
}

// sameAs says that a tells of n and not of a later file with the same number.
func (n *inode) sameAs(a *vfs.Attr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.attr.Mode&linux.S_IFMT == a.Mode&linux.S_IFMT && n.attr.Btime == a.Btime
}

// dropNode is called when the last user of a node is gone.
func (fs *FS) dropNode(k key) {
	fs.nodes.Lock()
	if w, ok := fs.nodes.known[k]; ok && w.Value() == nil {
		delete(fs.nodes.known, k)
	}
	fs.nodes.Unlock()
}

// disown takes n out of the table: it has lost its last name, and the number may
// be given to another file.
func (fs *FS) disown(n *inode) {
	fs.nodes.Lock()
	if fs.nodes.known[n.key].Value() == n {
		delete(fs.nodes.known, n.key)
	}
	fs.nodes.Unlock()
}
