package gofs

import (
	"slices"
	"strings"

	pb "bulkhead/proto/gofer/v1"
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// Extended attributes are asked for. In an exclusive tree their names are
// remembered, since programs ask every file for ACLs and labels that few have.

func (n *inode) xattrCall(op pb.XattrRequest_Op, name string, value []byte, flags int) (*pb.Response, error) {
	resp, fds, err := n.on(func(t *pb.Target) *pb.Request {
		t.Bind = false
		return &pb.Request{Op: &pb.Request_Xattr{Xattr: &pb.XattrRequest{
			Target: t, Op: op, Name: []byte(name), Value: value, Flags: uint32(flags),
		}}}
	})
	closeAll(fds)
	return resp, err
}

// Xattr gives a value.
func (n *inode) Xattr(ctx vfs.Context, name string) ([]byte, error) {
	if !n.fs.shared {
		names, err := n.ListXattr(ctx)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(names, name) {
			return nil, linux.ENODATA
		}
	}
	resp, err := n.xattrCall(pb.XattrRequest_OP_GET, name, nil, 0)
	if err != nil {
		return nil, err
	}
	return resp.Value, nil
}

// ListXattr gives the names.
func (n *inode) ListXattr(vfs.Context) ([]string, error) {
	n.xattr.Lock()
	defer n.xattr.Unlock()
	if n.xattr.known {
		return n.xattr.names, n.xattr.err
	}
	resp, err := n.xattrCall(pb.XattrRequest_OP_LIST, "", nil, 0)
	if err != nil && err != linux.EOPNOTSUPP {
		return nil, err
	}
	var names []string
	if err == nil {
		for _, b := range resp.Names {
			if s := string(b); s != "" && len(s) <= linux.NAME_MAX && !strings.Contains(s, "\x00") {
				names = append(names, s)
			}
		}
	}
	n.xattr.known, n.xattr.names, n.xattr.err = !n.fs.shared, names, err
	return names, err
}

// SetXattr sets a value.
func (n *inode) SetXattr(ctx vfs.Context, name string, value []byte, flags int) error {
	if n.fs.readOnly {
		return linux.EROFS
	}
	return n.changeXattr(pb.XattrRequest_OP_SET, name, value, flags)
}

// RemoveXattr removes an attribute.
func (n *inode) RemoveXattr(ctx vfs.Context, name string) error {
	if n.fs.readOnly {
		return linux.EROFS
	}
	return n.changeXattr(pb.XattrRequest_OP_REMOVE, name, nil, 0)
}

func (n *inode) changeXattr(op pb.XattrRequest_Op, name string, value []byte, flags int) error {
	n.xattr.Lock()
	defer n.xattr.Unlock()
	n.xattr.known = false
	_, err := n.xattrCall(op, name, value, flags)
	n.outdate() // ctime, and with an ACL the mode
	return err
}
