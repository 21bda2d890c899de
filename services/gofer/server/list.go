package server

import (
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead/proto/channel"
	pb "bulkhead/proto/gofer/v1"
	"bulkhead/services/gofer/hostfd"
	"bulkhead/services/gofer/tree"
)

// Room for entries in an answer. What an entry costs beside its name is counted
// with the most that its fields can take.
const (
	listRoom  = channel.MaxBody - 4096
	entryCost = 32
	attrCost  = 150
)

var direntBufs = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// list answers with as many entries as there is room for, so that most
// directories take one round trip.
func (r *request) list(q *pb.ListRequest) error {
	if q.Position < 0 {
		return unix.EPROTO
	}
	dir, err := r.directory(q.Dir)
	if err != nil {
		return err
	}
	fd, err := r.takeListing(dir, q.Position)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if done {
			hostfd.Close(fd)
		} else {
			r.putListing(dir, fd)
		}
	}()
	if q.Position == 0 {
		st, err := hostfd.StatFD(fd)
		if err != nil {
			done = true
			return err
		}
		r.resp.Attr = attr(&st)
	}
	buf := direntBufs.Get().(*[]byte)
	defer direntBufs.Put(buf)
	room := listRoom
	for full := false; !full; {
		more, err := hostfd.ReadDir(fd, *buf, func(d hostfd.Dirent) bool {
			full = !r.emit(fd, d, q.Plus, &room)
			return !full
		})
		if err != nil {
			done = true
			return err
		}
		if !more {
			done, r.resp.End = true, true
			return nil
		}
	}
	return nil
}

// emit adds an entry if there is room for it.
func (r *request) emit(fd int, d hostfd.Dirent, plus bool, room *int) bool {
	cost := entryCost + len(d.Name)
	if plus {
		cost += attrCost
	}
	if *room < cost {
		return false
	}
	e := &pb.Entry{Name: append([]byte(nil), d.Name...), Ino: d.Ino, Type: uint32(d.Type), Next: d.Next}
	name := string(d.Name)
	if plus || d.Type == unix.DT_UNKNOWN {
		if st, err := hostfd.Stat(fd, name); err == nil {
			e.Type = uint32(st.Mode) >> 12 & 0xf
			if plus {
				e.Attr = attr(&st)
				if isType(&st, unix.S_IFLNK) {
					e.Symlink, _ = hostfd.Readlink(fd, name)
					cost += len(e.Symlink)
				} else {
					e.NoXattr = hostfd.HasNoXattr(fd, name)
				}
			}
		}
	}
	if *room < cost {
		return false
	}
	*room -= cost
	r.resp.Entries = append(r.resp.Entries, e)
	return true
}

// takeListing gives an open descriptor of dir at pos: that of an unfinished
// listing if it can.
func (s *server) takeListing(dir *tree.Node, pos int64) (int, error) {
	fd := -1
	if pos != 0 {
		s.listing.Lock()
		if s.listing.node == dir {
			fd = s.listing.fd
			s.listing.node, s.listing.fd = nil, -1
		}
		s.listing.Unlock()
	}
	if fd < 0 {
		var err error
		if fd, err = hostfd.OpenDir(dir.FD()); err != nil {
			return -1, err
		}
	}
	if pos != 0 {
		if err := hostfd.SeekDir(fd, pos); err != nil {
			hostfd.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

// putListing keeps the descriptor of an unfinished listing, in place of the
// last.
func (s *server) putListing(dir *tree.Node, fd int) {
	s.listing.Lock()
	old := s.listing.fd
	s.listing.node, s.listing.fd = dir, fd
	s.listing.Unlock()
	hostfd.Close(old)
}

func (s *server) stopListing() { s.putListing(nil, -1) }
