package server

import (
	"golang.org/x/sys/unix"

	pb "bulkhead/proto/gofer/v1"
	"bulkhead/services/gofer/hostfd"
)

// maxWalk is the most names of one walk.
const maxWalk = 128

func (r *request) attach(q *pb.AttachRequest) error {
	if int64(q.Index) >= int64(len(r.roots)) {
		return unix.ENOENT
	}
	id := r.roots[q.Index]
	n, err := r.pin(id)
	if err != nil {
		return err
	}
	st, err := hostfd.StatFD(n.FD())
	if err != nil {
		return err
	}
	r.resp.Handle, r.resp.Attr, r.resp.ReadOnly = id, attr(&st), n.ReadOnly()
	return nil
}

func (r *request) walk(q *pb.WalkRequest) error {
	if len(q.Names) == 0 || len(q.Names) > maxWalk {
		return unix.EPROTO
	}
	names := make([]string, len(q.Names))
	for i, b := range q.Names {
		name, err := hostfd.Component(b)
		if err != nil {
			return err
		}
		names[i] = name
	}
	dir, err := r.directory(q.Dir)
	if err != nil {
		return err
	}
	for i, name := range names {
		st, err := hostfd.Stat(dir.FD(), name)
		if err != nil {
			return err
		}
		step := &pb.Step{Attr: attr(&st)}
		r.resp.Steps = append(r.resp.Steps, step)
		last := i == len(names)-1
		if last && q.Xattr {
			step.NoXattr = hostfd.HasNoXattr(dir.FD(), name)
		}
		switch {
		case isType(&st, unix.S_IFLNK):
			step.Symlink, err = hostfd.Readlink(dir.FD(), name)
			return err
		case isType(&st, unix.S_IFDIR) && !last:
			if dir, step.Handle, err = r.bind(dir, name, &pb.Target{Dev: step.Attr.Dev, Ino: step.Attr.Ino}); err != nil {
				return err
			}
		case isType(&st, unix.S_IFREG) && last && q.Open:
			if fd, _, err := hostfd.OpenKnown(dir.FD(), name, unix.O_RDONLY, &st); err == nil {
				r.give(fd)
			}
		case !last:
			return unix.ENOTDIR
		}
	}
	return nil
}

func (r *request) stat(q *pb.StatRequest) error {
	if q.Target.GetBind() {
		return r.statBound(q.Target)
	}
	p, err := r.locate(q.Target)
	if err != nil {
		return err
	}
	st, err := p.stat()
	if err != nil {
		return err
	}
	r.resp.Attr = attr(st)
	return nil
}

// statBound is stat that also gives the target, a directory, its handle.
func (r *request) statBound(t *pb.Target) error {
	dir, err := r.directory(t)
	if err != nil {
		return err
	}
	st, err := hostfd.StatFD(dir.FD())
	if err != nil {
		return err
	}
	r.resp.Attr = attr(&st)
	return nil
}

func (r *request) readlink(q *pb.ReadlinkRequest) error {
	p, err := r.locate(q.Target)
	if err != nil {
		return err
	}
	fd, err := r.path(p)
	if err == nil {
		r.resp.Value, err = hostfd.Readlink(fd, "")
	}
	return err
}
