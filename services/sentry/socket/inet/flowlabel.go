package inet

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/vfs"
)

// This file has the flow labels of IPv6: RFC 6437, and Linux's <linux/in6.h>.

const (
	labelMask   = 0xfffff
	maxLabels   = 32 // that one socket may hold, as in Linux
	sizeofLabel = 32 // struct in6_flowlabel_req
)

// Actions and flags of IPV6_FLOWLABEL_MGR.
const (
	labelGet    = 0
	labelPut    = 1
	labelRenew  = 2
	labelCreate = 1
	labelOnly   = 2 // IPV6_FL_F_EXCL

	labelExclusive = 1 // IPV6_FL_S_EXCL: how it is shared
)

// setLabelLocked is IPV6_FLOWLABEL_MGR with a struct in6_flowlabel_req. A label is held for the
// socket alone: there is nobody else that it could be kept from. One that the kernel is to
// choose is EINVAL. It is called with mu held.
func (c *settings) setLabelLocked(v []byte) error {
	if len(v) < sizeofLabel {
		return linux.EINVAL
	}
	label, flags := binary.BigEndian.Uint32(v[16:]), binary.LittleEndian.Uint16(v[22:])
	alone, held := c.labels[label]
	switch v[20] {
	case labelPut:
		if !held {
			return linux.ESRCH
		}
		delete(c.labels, label)
		return nil
	case labelRenew:
		if !held {
			return linux.ESRCH
		}
		return nil
	case labelGet:
	default:
		return linux.EINVAL
	}
	switch {
	case label == 0 || label&^labelMask != 0:
		return linux.EINVAL
	case held && flags&labelOnly != 0:
		return linux.EEXIST
	case held && (alone || v[21] == labelExclusive):
		return linux.EPERM
	case held:
		return nil
	case flags&labelCreate == 0:
		return linux.ENOENT
	case len(c.labels) >= maxLabels:
		return linux.ENOBUFS
	}
	if c.labels == nil {
		c.labels = map[uint32]bool{}
	}
	c.labels[label] = v[21] == labelExclusive
	return nil
}

// label takes the flow label of an address that is sent to, if IPV6_FLOWINFO_SEND has it sent.
// It says whether that is another one than before: EINVAL for one that a socket with labels does
// not hold.
func (c *settings) label(sa []byte) (bool, error) {
	if !c.v6 || len(sa) < 8 || linux.SockaddrFamily(sa) != linux.AF_INET6 {
		return false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) == 0 || c.kept[optionKey{linux.IPPROTO_IPV6, linux.IPV6_FLOWINFO_SEND}] == 0 {
		return false, nil
	}
	was, label := c.o.FlowLabel, binary.BigEndian.Uint32(sa[4:])&labelMask
	if _, held := c.labels[label]; c.labels != nil && label != 0 && !held {
		return false, linux.EINVAL
	}
	c.o.FlowLabel = label
	return label != was, nil
}

// labelLocked has what is sent from now on carry the flow label of an address. It is called
// with mu held.
func (d *Dgram) labelLocked(ctx vfs.Context, sa []byte) error {
	changed, err := d.conf.label(sa)
	if err != nil || !changed || d.end.Load() == nil {
		return err
	}
	_, err = d.askLocked(ctx, &netdv1.Request{Op: &netdv1.Request_Options{Options: d.conf.message()}})
	return err
}

// autoLabel is IPV6_AUTOFLOWLABEL for netd: 0 for what nobody has set. It is called with mu
// held.
func (c *settings) autoLabel() uint32 {
	v, set := c.kept[optionKey{linux.IPPROTO_IPV6, linux.IPV6_AUTOFLOWLABEL}]
	if !set {
		return 0
	}
	return uint32(v) + 1
}

// label has a connection carry the flow label of the address that it is to.
func (s *Stream) label(ctx vfs.Context, sa []byte) error {
	changed, err := s.conf.label(sa)
	if err != nil || !changed || s.end.Load() == nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err = s.askLocked(ctx, &netdv1.Request{Op: &netdv1.Request_Options{Options: s.conf.message()}})
	return err
}
