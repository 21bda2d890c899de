package server

import (
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead/proto/channel"
	pb "bulkhead/proto/gofer/v1"
	"bulkhead/services/gofer/hostfd"
	"bulkhead/services/gofer/tree"
)

// Room for entries in an answer. What an entry costs beside its name, and a listing
// beside its entries, is counted with the most that its fields can take.
const (
	listRoom    = channel.MaxBody - 4096
	entryCost   = 32
	attrCost    = 150
	listingCost = 16
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
	if r.resp.Entries, done, err = readEntries(fd, *buf, q.Plus, &room); err != nil {
		done = true
		return err
	}
	r.resp.End = done
	if len(q.Also) > 0 && q.Position == 0 && done {
		return r.listAlso(q, *buf, room)
	}
	return nil
}

// maxAlso is the most directories that are listed besides another.
const maxAlso = 64

// listAlso lists the directories that are to be listed as well.
func (r *request) listAlso(q *pb.ListRequest, buf []byte, room int) error {
	if len(q.Also) > maxAlso || q.Parent == nil || q.Parent.Bind {
		return unix.EPROTO
	}
	parent, err := r.directory(q.Parent)
	if err != nil {
		return nil // of the wanted one all is told
	}
	for i, f := range q.Also {
		name, err := hostfd.Component(f.GetName())
		if err != nil {
			return err
		}
		if room -= listingCost; room < 0 {
			return nil
		}
		entries, end, err := readNamed(parent.FD(), name, f, q.Plus, buf, &room)
		if err != nil {
			continue
		}
		if !end {
			return nil
		}
		r.resp.Also = append(r.resp.Also, &pb.Listing{Index: uint32(i), Entries: entries})
	}
	return nil
}

// readNamed reads the directory name, of which f says more.
func readNamed(parent int, name string, f *pb.FileName, plus bool, buf []byte, room *int) (entries []*pb.Entry, end bool, err error) {
	dir, err := hostfd.OpenDirAt(parent, name)
	if err != nil {
		return nil, false, err
	}
	defer hostfd.Close(dir)
	st, err := hostfd.StatFD(dir)
	if err != nil {
		return nil, false, err
	}
	if f.Ino != 0 && (f.Ino != st.Ino || f.Dev != hostfd.Dev(&st)) {
		return nil, false, unix.ESTALE
	}
	return readEntries(dir, buf, plus, room)
}

// readEntries reads as many entries as there is room for. end: there are no more.
func readEntries(fd int, buf []byte, plus bool, room *int) (entries []*pb.Entry, end bool, err error) {
	for full := false; !full; {
		more, err := hostfd.ReadDir(fd, buf, func(d hostfd.Dirent) bool {
			e := entry(fd, d, plus, room)
			if full = e == nil; !full {
				entries = append(entries, e)
			}
			return !full
		})
		if err != nil || !more {
			return entries, err == nil, err
		}
	}
	return entries, false, nil
}

// entry gives what there is to say of a name, nil if there is no room for it.
func entry(fd int, d hostfd.Dirent, plus bool, room *int) *pb.Entry {
	cost := entryCost + len(d.Name)
	if plus {
		cost += attrCost
	}
	if *room < cost {
		return nil
	}
	e := &pb.Entry{Name: append([]byte(nil), d.Name...), Ino: d.Ino, Type: uint32(d.Type), Next: d.Next}
	name := string(d.Name)
	if plus || d.Type == unix.DT_UNKNOWN {
		if st, err := hostfd.Stat(fd, name); err == nil {
			e.Type = uint32(st.Mode) >> 12 & 0xf
			if plus {
				e.Attr, e.NoXattr = attr(&st), hostfd.HasNoXattr(fd, name)
				if isType(&st, unix.S_IFLNK) {
					e.Symlink, _ = hostfd.Readlink(fd, name)
					cost += len(e.Symlink)
				}
			}
		}
	}
	if *room < cost {
		return nil
	}
	*room -= cost
	return e
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
