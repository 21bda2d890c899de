// Package server answers the sentry's requests about files (data.proto). It
// trusts nothing that it is asked: each request is checked in full before
// anything is done, and nothing outside the attach points can be named.
//
// Layers below: tree (handles), hostfd (host calls).
package server

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead/proto/channel"
	pb "bulkhead/proto/gofer/v1"
	"bulkhead/services/gofer/hostfd"
	"bulkhead/services/gofer/tree"
)

// Attach is one tree that the sentry may use.
type Attach struct {
	// Dir is the root of the tree, a directory; or, with Name, the directory
	// that holds it. Opened O_PATH is enough. It stays the caller's.
	Dir *os.File
	// Name, if not empty, is the root's name in Dir. A root that is a file
	// needs one.
	Name string
	// ReadOnly refuses every change with EROFS.
	ReadOnly bool
}

// workers is how many requests can be under way when the host's file system is
// slow; as long as it is not, one goroutine serves.
const workers = 64

// Serve answers on conn, one end of a channel.Pair, until the peer is gone. It
// takes conn over. The attach points are used as they are numbered here.
//
// It sets the process's umask to 0.
func Serve(conn *os.File, attaches []Attach) error {
	s, err := newServer(attaches, tree.DefaultLimits)
	if err != nil {
		conn.Close()
		return err
	}
	defer s.close()
	c, err := channel.NewDirect(conn, nil)
	if err != nil {
		return err
	}
	unix.Umask(0)
	return channel.Serve(c, workers, s.answer)
}

// server is one connection.
type server struct {
	table *tree.Table
	roots []uint64 // handles, by attach point

	// listing is a directory that is being read in pieces: read again from the
	// start for each, a large one would cost its square.
	listing struct {
		sync.Mutex
		node *tree.Node
		fd   int
	}
}

func newServer(attaches []Attach, limits tree.Limits) (*server, error) {
	s := &server{table: tree.New(limits)}
	s.listing.fd = -1
	for i, a := range attaches {
		if err := s.addRoot(i, a); err != nil {
			s.close()
			return nil, fmt.Errorf("attach point %d: %w", i, err)
		}
	}
	return s, nil
}

func (s *server) addRoot(i int, a Attach) error {
	raw, err := a.Dir.SyscallConn()
	if err != nil {
		return err
	}
	dir, fd := -1, -1
	var st unix.Statx_t
	ctrlErr := raw.Control(func(d uintptr) {
		dir = int(d)
		if a.Name == "" {
			fd, err = unix.FcntlInt(d, unix.F_DUPFD_CLOEXEC, 3)
		} else if _, err = hostfd.Component([]byte(a.Name)); err == nil {
			fd, err = hostfd.OpenPath(dir, a.Name)
		}
		if err == nil {
			st, err = hostfd.StatFD(fd)
		}
	})
	if err = errors.Join(ctrlErr, err); err != nil {
		hostfd.Close(fd)
		return err
	}
	s.roots = append(s.roots, s.table.Root(i, a.ReadOnly, fd, &st, dir, a.Name))
	return nil
}

func (s *server) close() {
	s.stopListing()
	s.table.Close()
}

// request is one request under way, with what it holds until it is answered.
type request struct {
	*server
	resp   pb.Response
	pinned []*tree.Node
	fds    []int
	donate []int
}

// answer is the channel's handler.
func (s *server) answer(f *channel.Frame) channel.Answer {
	var q pb.Request
	if err := f.Unmarshal(&q); err != nil {
		return channel.Answer{Message: &pb.Response{Errno: int32(unix.EPROTO)}}
	}
	for _, id := range q.Forget {
		s.table.Forget(id)
	}
	r, err := s.carryOut(&q)
	if err == unix.EMFILE && s.table.Relieve() {
		r.dropDonations()
		if r.resp.Handle != 0 {
			s.table.Forget(r.resp.Handle)
		}
		r, err = s.carryOut(&q)
	}
	if err != nil {
		r.resp.Errno = int32(errno(err))
		r.dropDonations()
	}
	return channel.Answer{Message: &r.resp, FDs: r.donate, Done: r.dropDonations}
}

// carryOut does what q asks. What fails for want of descriptors has changed
// nothing.
func (s *server) carryOut(q *pb.Request) (*request, error) {
	r := &request{server: s}
	err := r.do(q)
	r.release()
	return r, err
}

// do carries out the operation. A row an operation.
func (r *request) do(q *pb.Request) error {
	switch op := q.Op.(type) {
	case nil:
		return nil
	case *pb.Request_Attach:
		return r.attach(op.Attach)
	case *pb.Request_Walk:
		return r.walk(op.Walk)
	case *pb.Request_Stat:
		return r.stat(op.Stat)
	case *pb.Request_Open:
		return r.open(op.Open)
	case *pb.Request_OpenFiles:
		return r.openFiles(op.OpenFiles)
	case *pb.Request_Create:
		return r.create(op.Create)
	case *pb.Request_List:
		return r.list(op.List)
	case *pb.Request_Readlink:
		return r.readlink(op.Readlink)
	case *pb.Request_Make:
		return r.make(op.Make)
	case *pb.Request_Link:
		return r.link(op.Link)
	case *pb.Request_Unlink:
		return r.unlink(op.Unlink)
	case *pb.Request_Rename:
		return r.rename(op.Rename)
	case *pb.Request_SetAttr:
		return r.setAttr(op.SetAttr)
	case *pb.Request_Xattr:
		return r.xattr(op.Xattr)
	case *pb.Request_Statfs:
		return r.statfs(op.Statfs)
	case *pb.Request_Sync:
		return r.sync(op.Sync)
	}
	return unix.EPROTO
}

// release gives back what was held to carry the request out.
func (r *request) release() {
	for _, fd := range r.fds {
		hostfd.Close(fd)
	}
	for _, n := range r.pinned {
		r.table.Unpin(n)
	}
	r.fds, r.pinned = nil, nil
}

// give sends fd beside the answer and then closes it.
func (r *request) give(fd int) { r.donate = append(r.donate, fd) }

func (r *request) dropDonations() {
	for _, fd := range r.donate {
		hostfd.Close(fd)
	}
	r.donate = nil
}

// errno is the error number to answer for err.
func errno(err error) unix.Errno {
	if e, ok := err.(unix.Errno); ok && e != 0 {
		return e
	}
	return unix.EIO
}
