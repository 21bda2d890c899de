package server

import (
	"bytes"
	"strings"

	"golang.org/x/sys/unix"

	pb "bulkhead/proto/gofer/v1"
	"bulkhead/services/gofer/hostfd"
)

func (r *request) setAttr(q *pb.SetAttrRequest) error {
	atime, mtime, err := times(q)
	if err != nil {
		return err
	}
	p, err := r.locate(q.Target)
	if err != nil {
		return err
	}
	if p.node.ReadOnly() {
		return unix.EROFS
	}
	fd, err := r.path(p)
	if err != nil {
		return err
	}
	dir, name, err := r.parent(p)
	if err != nil {
		return err
	}
	if err := r.setSize(q, fd, dir, name); err != nil {
		return err
	}
	if q.Uid != nil || q.Gid != nil {
		if err := hostfd.Chown(fd, idOr(q.Uid), idOr(q.Gid)); err != nil {
			return err
		}
	}
	if q.Mode != nil {
		if err := hostfd.Chmod(fd, dir, name, *q.Mode); err != nil {
			return err
		}
	}
	if atime.Nsec != unix.UTIME_OMIT || mtime.Nsec != unix.UTIME_OMIT {
		if err := hostfd.SetTimes(fd, atime, mtime); err != nil {
			return err
		}
	}
	st, err := hostfd.StatFD(fd)
	r.resp.Attr = attr(&st)
	return err
}

func (r *request) setSize(q *pb.SetAttrRequest, fd, dir int, name string) error {
	if q.Size == nil {
		return nil
	}
	if *q.Size < 0 {
		return unix.EINVAL
	}
	was, err := hostfd.StatFD(fd)
	if err != nil {
		return err
	}
	if isType(&was, unix.S_IFDIR) {
		return unix.EISDIR
	}
	if dir < 0 {
		return unix.ESTALE
	}
	return hostfd.Truncate(dir, name, *q.Size)
}

// idOr gives -1, which leaves an id as it is, for none.
func idOr(id *uint32) int {
	if id == nil {
		return -1
	}
	return int(*id)
}

// times gives both times as utimensat(2) takes them.
func times(q *pb.SetAttrRequest) (a, m unix.Timespec, err error) {
	if a, err = timespec(q.Atime); err == nil {
		m, err = timespec(q.Mtime)
	}
	return a, m, err
}

func timespec(t *pb.Time) (unix.Timespec, error) {
	switch {
	case t == nil:
		return unix.Timespec{Nsec: unix.UTIME_OMIT}, nil
	case t.Now:
		return unix.Timespec{Nsec: unix.UTIME_NOW}, nil
	case t.Nsec >= 1e9:
		return unix.Timespec{}, unix.EPROTO
	}
	return unix.Timespec{Sec: t.Sec, Nsec: int64(t.Nsec)}, nil
}

// xattrMax bounds values and lists of names so that they fit into a frame.
const xattrMax = 32 << 10

// xattrName checks a name: that it is one, and in a namespace that we serve.
// trusted. would be the host administrator's.
func xattrName(b []byte) (string, error) {
	if len(b) == 0 || len(b) > 255 {
		return "", unix.ERANGE
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return "", unix.EPROTO
	}
	name := string(b)
	for _, space := range [...]string{"user.", "security.", "system."} {
		if strings.HasPrefix(name, space) {
			return name, nil
		}
	}
	return "", unix.EOPNOTSUPP
}

func (r *request) xattr(q *pb.XattrRequest) error {
	name := ""
	var err error
	if q.Op != pb.XattrRequest_OP_LIST {
		if name, err = xattrName(q.Name); err != nil {
			return err
		}
	}
	p, err := r.locate(q.Target)
	if err != nil {
		return err
	}
	change := q.Op == pb.XattrRequest_OP_SET || q.Op == pb.XattrRequest_OP_REMOVE
	if change && p.node.ReadOnly() {
		return unix.EROFS
	}
	fd, err := r.path(p)
	if err != nil {
		return err
	}
	dir, last, err := r.parent(p)
	if err != nil {
		return err
	}
	x := hostfd.Xattrs{FD: fd, Dir: dir, Name: last}
	switch q.Op {
	case pb.XattrRequest_OP_GET:
		r.resp.Value, err = x.Get(name)
		if len(r.resp.Value) > xattrMax {
			r.resp.Value, err = nil, unix.E2BIG
		}
		return err
	case pb.XattrRequest_OP_SET:
		if len(q.Value) > xattrMax {
			return unix.E2BIG
		}
		if q.Flags&^(unix.XATTR_CREATE|unix.XATTR_REPLACE) != 0 {
			return unix.EPROTO
		}
		return x.Set(name, q.Value, int(q.Flags))
	case pb.XattrRequest_OP_REMOVE:
		return x.Remove(name)
	case pb.XattrRequest_OP_LIST:
		return r.listXattr(x)
	}
	return unix.EPROTO
}

func (r *request) listXattr(x hostfd.Xattrs) error {
	list, err := x.List()
	if err != nil {
		return err
	}
	if len(list) > xattrMax {
		return unix.E2BIG
	}
	for name := range bytes.SplitSeq(list, []byte{0}) {
		if _, err := xattrName(name); err == nil {
			r.resp.Names = append(r.resp.Names, name)
		}
	}
	return nil
}

func (r *request) statfs(q *pb.StatfsRequest) error {
	p, err := r.locate(q.Target)
	if err != nil {
		return err
	}
	fd, err := r.path(p)
	if err != nil {
		return err
	}
	st, err := hostfd.Statfs(fd)
	if err != nil {
		return err
	}
	r.resp.Statfs = &pb.Statfs{
		Type: st.Type, Bsize: st.Bsize, Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail,
		Files: st.Files, Ffree: st.Ffree,
		Fsid:    uint64(uint32(st.Fsid.Val[0])) | uint64(uint32(st.Fsid.Val[1]))<<32,
		Namelen: st.Namelen, Frsize: st.Frsize, Flags: st.Flags,
	}
	return nil
}

func (r *request) sync(q *pb.SyncRequest) error {
	dir, err := r.directory(q.Target)
	if err != nil {
		return err
	}
	return hostfd.SyncDir(dir.FD())
}
