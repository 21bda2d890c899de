package server

import (
	"bytes"

	"golang.org/x/sys/unix"

	pb "bulkhead/proto/gofer/v1"
	"bulkhead/services/gofer/hostfd"
	"bulkhead/services/gofer/tree"
)

// make makes what is no regular file to write to: directories, links, fifos,
// sockets, and empty files.
func (r *request) make(q *pb.MakeRequest) error {
	typ := q.Mode & unix.S_IFMT
	if err := checkMake(typ, q.Symlink); err != nil {
		return err
	}
	name, err := hostfd.Component(q.Name)
	if err != nil {
		return err
	}
	dir, err := r.writable(q.Dir)
	if err != nil {
		return err
	}
	undo := hostfd.Unlink
	switch typ {
	case unix.S_IFDIR:
		undo = hostfd.Rmdir
		err = hostfd.Mkdir(dir.FD(), name, q.Mode)
	case unix.S_IFLNK:
		err = hostfd.Symlink(dir.FD(), name, string(q.Symlink))
	default:
		err = hostfd.Mknod(dir.FD(), name, typ|q.Mode&0o7777)
	}
	if err != nil {
		return err
	}
	st, err := r.settleNew(dir, name, typ, owner{q.Uid, q.Gid, q.Mode})
	if err != nil {
		undo(dir.FD(), name)
		return err
	}
	r.resp.Attr = attr(&st)
	return nil
}

func checkMake(typ uint32, target []byte) error {
	switch typ {
	case unix.S_IFLNK:
		if len(target) == 0 || bytes.IndexByte(target, 0) >= 0 {
			return unix.EPROTO
		}
		if len(target) >= unix.PathMax {
			return unix.ENAMETOOLONG
		}
		return nil
	case unix.S_IFDIR, unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK:
		return nil
	case unix.S_IFCHR, unix.S_IFBLK:
		return unix.EPERM
	}
	return unix.EPROTO
}

// settleNew is settle of a name that was just made, if it is still of that type.
func (r *request) settleNew(dir *tree.Node, name string, typ uint32, want owner) (unix.Statx_t, error) {
	fd, err := hostfd.OpenPath(dir.FD(), name)
	if err != nil {
		return unix.Statx_t{}, err
	}
	defer hostfd.Close(fd)
	st, err := hostfd.StatFD(fd)
	if err == nil && !isType(&st, typ) {
		err = unix.ESTALE
	}
	if err != nil {
		return st, err
	}
	return settle(fd, dir.FD(), name, want)
}

func (r *request) link(q *pb.LinkRequest) error {
	name, err := hostfd.Component(q.Name)
	if err != nil {
		return err
	}
	dir, err := r.writable(q.Dir)
	if err != nil {
		return err
	}
	p, err := r.locate(q.Target)
	if err != nil {
		return err
	}
	if p.node.Attach() != dir.Attach() {
		return unix.EXDEV
	}
	st, err := p.stat()
	if err != nil {
		return err
	}
	if isType(st, unix.S_IFDIR) {
		return unix.EPERM
	}
	fd, err := r.path(p)
	if err != nil {
		return err
	}
	if err := hostfd.Link(fd, dir.FD(), name); err != nil {
		return err
	}
	now, err := hostfd.StatFD(fd)
	r.resp.Attr = attr(&now)
	return err
}

func (r *request) unlink(q *pb.UnlinkRequest) error {
	name, err := hostfd.Component(q.Name)
	if err != nil {
		return err
	}
	dir, err := r.writable(q.Dir)
	if err != nil {
		return err
	}
	if q.Directory {
		return hostfd.Rmdir(dir.FD(), name)
	}
	fd := -1
	if q.Keep {
		fd = openToKeep(dir, name)
	}
	if err := hostfd.Unlink(dir.FD(), name); err != nil {
		hostfd.Close(fd)
		return err
	}
	r.keep(dir, fd)
	return nil
}

// openToKeep opens what is about to lose its name; -1 if that cannot be.
func openToKeep(dir *tree.Node, name string) int {
	fd, err := hostfd.OpenPath(dir.FD(), name)
	if err != nil {
		return -1
	}
	return fd
}

// keep gives fd a handle. It is not worth failing for: the sentry has then an
// open file whose mode can no longer be changed.
func (r *request) keep(dir *tree.Node, fd int) {
	if fd < 0 {
		return
	}
	st, err := hostfd.StatFD(fd)
	if err != nil || isType(&st, unix.S_IFDIR) {
		hostfd.Close(fd)
		return
	}
	if id, err := r.table.Keep(dir, fd, &st); err == nil {
		r.resp.Kept = id
	}
}

func (r *request) rename(q *pb.RenameRequest) error {
	if q.Flags != 0 && q.Flags != unix.RENAME_NOREPLACE && q.Flags != unix.RENAME_EXCHANGE {
		return unix.EPROTO
	}
	name, err := hostfd.Component(q.Name)
	if err != nil {
		return err
	}
	newName, err := hostfd.Component(q.NewName)
	if err != nil {
		return err
	}
	if q.Dir.GetBind() && q.NewDir.GetBind() && len(q.Dir.GetName())*len(q.NewDir.GetName()) != 0 {
		return unix.EPROTO // there is one handle in an answer
	}
	dir, err := r.writable(q.Dir)
	if err != nil {
		return err
	}
	newDir, err := r.writable(q.NewDir)
	if err != nil {
		return err
	}
	if dir.Attach() != newDir.Attach() {
		return unix.EXDEV
	}
	fd := -1
	if q.Keep && q.Flags == 0 {
		fd = openToKeep(newDir, newName)
	}
	if err := hostfd.Rename(dir.FD(), name, newDir.FD(), newName, q.Flags); err != nil {
		hostfd.Close(fd)
		return err
	}
	r.keep(newDir, fd)
	r.table.Moved(q.Child, dir, name, newDir, newName)
	if q.Flags == unix.RENAME_EXCHANGE {
		r.table.Moved(q.Replaced, newDir, newName, dir, name)
	}
	return nil
}
