package server

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/channel"
	pb "bulkhead/proto/gofer/v1"
	"bulkhead/services/gofer/hostfd"
	"bulkhead/services/gofer/tree"
)

// accessMode gives the open flag of an access.
func accessMode(a pb.Access) (uint64, error) {
	switch a {
	case pb.Access_ACCESS_READ:
		return unix.O_RDONLY, nil
	case pb.Access_ACCESS_WRITE:
		return unix.O_WRONLY, nil
	case pb.Access_ACCESS_READ_WRITE:
		return unix.O_RDWR, nil
	}
	return 0, unix.EPROTO
}

func (r *request) open(q *pb.OpenRequest) error {
	mode, err := accessMode(q.Access)
	if err != nil {
		return err
	}
	p, err := r.locate(q.Target)
	if err != nil {
		return err
	}
	if p.node.ReadOnly() && mode != unix.O_RDONLY {
		return unix.EROFS
	}
	was, err := p.stat()
	if err != nil {
		return err
	}
	dir, name, err := r.parent(p)
	if err != nil {
		return err
	}
	if dir < 0 {
		if isType(was, unix.S_IFDIR) {
			return unix.EISDIR
		}
		return unix.ESTALE // has no name to open it by
	}
	fd, st, err := hostfd.OpenKnown(dir, name, mode, was)
	if err != nil {
		return err
	}
	r.resp.Attr = attr(&st)
	r.give(fd)
	return nil
}

// openFiles opens several files of a directory. Names that are none break the
// contract; what else is wrong with one is told of it alone.
func (r *request) openFiles(q *pb.OpenFilesRequest) error {
	if len(q.Files) == 0 || len(q.Files) > channel.MaxFDs {
		return unix.EPROTO
	}
	dir, err := r.directory(q.Dir)
	if err != nil {
		return err
	}
	for _, f := range q.Files {
		name, err := hostfd.Component(f.GetName())
		if err != nil {
			return err
		}
		o := new(pb.Opened)
		if err := r.openFile(dir, name, f, o); err == unix.EMFILE {
			return err
		} else if err != nil {
			o.Errno = int32(errno(err))
		}
		r.resp.Opened = append(r.resp.Opened, o)
	}
	return nil
}

func (r *request) openFile(dir *tree.Node, name string, f *pb.FileName, o *pb.Opened) error {
	was, err := hostfd.Stat(dir.FD(), name)
	if err != nil {
		return err
	}
	if f.Ino != 0 && (f.Ino != was.Ino || f.Dev != hostfd.Dev(&was)) {
		return unix.ESTALE
	}
	fd, st, err := hostfd.OpenKnown(dir.FD(), name, unix.O_RDONLY, &was)
	if err != nil {
		return err
	}
	o.Attr = attr(&st)
	r.give(fd)
	return nil
}

func (r *request) create(q *pb.CreateRequest) error {
	mode := uint64(unix.O_WRONLY)
	var err error
	if q.Access != pb.Access_ACCESS_UNSPECIFIED {
		if mode, err = accessMode(q.Access); err != nil {
			return err
		}
	}
	name, err := hostfd.Component(q.Name)
	if err != nil {
		return err
	}
	dir, err := r.writable(q.Dir)
	if err != nil {
		return err
	}
	fd, err := hostfd.Create(dir.FD(), name, mode, q.Mode)
	if err != nil {
		return err
	}
	st, err := settle(fd, -1, "", owner{q.Uid, q.Gid, q.Mode})
	if err != nil {
		hostfd.Close(fd)
		hostfd.Unlink(dir.FD(), name)
		return err
	}
	r.resp.Attr = attr(&st)
	if q.Access == pb.Access_ACCESS_UNSPECIFIED {
		hostfd.Close(fd)
	} else {
		r.give(fd)
	}
	return nil
}

// owner is what a new object shall have.
type owner struct{ uid, gid, mode uint32 }

// settle gives the new object of fd its owner, and gives back the bits that a
// change of owner takes away: chown(2). dir and name are as for hostfd.Chmod.
func settle(fd, dir int, name string, want owner) (unix.Statx_t, error) {
	st, err := hostfd.StatFD(fd)
	if err != nil {
		return st, err
	}
	changed := false
	if st.Uid != want.uid || st.Gid != want.gid {
		if err := hostfd.Chown(fd, int(want.uid), int(want.gid)); err != nil {
			return st, err
		}
		changed = true
	}
	const special = unix.S_ISUID | unix.S_ISGID
	if want.mode&special != 0 && !isType(&st, unix.S_IFLNK) && (changed || uint32(st.Mode)&special != want.mode&special) {
		if err := hostfd.Chmod(fd, dir, name, uint32(st.Mode)&0o1777|want.mode&special); err != nil {
			return st, err
		}
		changed = true
	}
	if changed {
		return hostfd.StatFD(fd)
	}
	return st, nil
}
