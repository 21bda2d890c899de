package server

import (
	"golang.org/x/sys/unix"

	pb "bulkhead/proto/gofer/v1"
	"bulkhead/services/gofer/hostfd"
	"bulkhead/services/gofer/tree"
)

// place is where a target was found: a name in a directory, or the object of a
// handle itself (name is empty).
type place struct {
	node *tree.Node // pinned until the request is answered
	name string
	st   unix.Statx_t // of the target, if it is a name; see stat
}

// pin gives the node of a handle until the request is answered.
func (r *request) pin(id uint64) (*tree.Node, error) {
	n, err := r.table.Pin(id)
	if err != nil {
		return nil, err
	}
	r.pinned = append(r.pinned, n)
	return n, nil
}

// hold closes fd when the request is answered.
func (r *request) hold(fd int) int {
	r.fds = append(r.fds, fd)
	return fd
}

// locate finds a target and checks that it is what the sentry takes it for. It
// costs one host call for a name and none for a handle.
func (r *request) locate(t *pb.Target) (*place, error) {
	if t == nil {
		return nil, unix.EPROTO
	}
	n, err := r.pin(t.Handle)
	if err != nil {
		return nil, err
	}
	if len(t.Name) == 0 {
		return &place{node: n}, nil
	}
	p := &place{node: n}
	if p.name, err = hostfd.Component(t.Name); err != nil {
		return nil, err
	}
	if !n.Directory() {
		return nil, unix.ENOTDIR
	}
	if p.st, err = hostfd.Stat(n.FD(), p.name); err != nil {
		return nil, err
	}
	if t.Ino != 0 && (t.Ino != p.st.Ino || t.Dev != hostfd.Dev(&p.st)) {
		return nil, unix.ESTALE
	}
	return p, nil
}

// directory finds a target that must be a directory, and binds it if it was
// asked to be.
func (r *request) directory(t *pb.Target) (*tree.Node, error) {
	if t == nil {
		return nil, unix.EPROTO
	}
	n, err := r.pin(t.Handle)
	if err != nil {
		return nil, err
	}
	if !n.Directory() {
		return nil, unix.ENOTDIR
	}
	if len(t.Name) == 0 {
		return n, nil
	}
	name, err := hostfd.Component(t.Name)
	if err != nil {
		return nil, err
	}
	child, id, err := r.bind(n, name, t)
	if err != nil {
		return nil, err
	}
	if t.Bind {
		r.resp.Handle = id
	} else {
		r.table.Forget(id)
	}
	return child, nil
}

// bind makes a node of a directory. t may say which it should be.
func (r *request) bind(dir *tree.Node, name string, t *pb.Target) (*tree.Node, uint64, error) {
	fd, err := hostfd.OpenPathDir(dir.FD(), name)
	if err != nil {
		return nil, 0, err
	}
	st, err := hostfd.StatFD(fd)
	if err == nil && t != nil && t.Ino != 0 && (t.Ino != st.Ino || t.Dev != hostfd.Dev(&st)) {
		err = unix.ESTALE
	}
	if err != nil {
		hostfd.Close(fd)
		return nil, 0, err
	}
	n, id, err := r.table.Bind(dir, name, fd, &st)
	if err != nil {
		return nil, 0, err
	}
	r.pinned = append(r.pinned, n)
	return n, id, nil
}

// writable is directory of a tree that may change.
func (r *request) writable(t *pb.Target) (*tree.Node, error) {
	n, err := r.directory(t)
	if err == nil && n.ReadOnly() {
		return nil, unix.EROFS
	}
	return n, err
}

// stat gives the attributes of what p is.
func (p *place) stat() (*unix.Statx_t, error) {
	if p.name == "" {
		st, err := hostfd.StatFD(p.node.FD())
		return &st, err
	}
	return &p.st, nil
}

// path gives an O_PATH descriptor of exactly what p is.
func (r *request) path(p *place) (int, error) {
	if p.name == "" {
		return p.node.FD(), nil
	}
	fd, err := hostfd.OpenPath(p.node.FD(), p.name)
	if err != nil {
		return -1, err
	}
	r.hold(fd)
	st, err := hostfd.StatFD(fd)
	if err == nil && !hostfd.Same(&st, &p.st) {
		err = unix.ESTALE
	}
	return fd, err
}

// parent gives the directory and the name by which p can be opened; -1 if it has
// no name.
func (r *request) parent(p *place) (int, string, error) {
	if p.name != "" {
		return p.node.FD(), p.name, nil
	}
	dir, name, err := r.table.Place(p.node)
	if err != nil || dir == nil {
		return -1, "", err
	}
	r.pinned = append(r.pinned, dir)
	return dir.FD(), name, nil
}

func attr(st *unix.Statx_t) *pb.Attr {
	return &pb.Attr{
		Dev: hostfd.Dev(st), Ino: st.Ino,
		Mode: uint32(st.Mode), Nlink: st.Nlink, Uid: st.Uid, Gid: st.Gid,
		Rdev: unix.Mkdev(st.Rdev_major, st.Rdev_minor),
		Size: int64(st.Size), Blksize: st.Blksize, Blocks: st.Blocks,
		Atime: st.Atime.Sec, AtimeNsec: st.Atime.Nsec,
		Mtime: st.Mtime.Sec, MtimeNsec: st.Mtime.Nsec,
		Ctime: st.Ctime.Sec, CtimeNsec: st.Ctime.Nsec,
		Btime: st.Btime.Sec, BtimeNsec: st.Btime.Nsec,
	}
}

func isType(st *unix.Statx_t, typ uint32) bool { return uint32(st.Mode)&unix.S_IFMT == typ }
