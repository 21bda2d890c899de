package netlink

import (
	"sync"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/wait"
)

// Watcher is a Source that tells of changes.
type Watcher interface {
	// Watch has tell called for each from now on. It may be called once more, when
	// the first who told is gone.
	Watch(tell func(*netdv1.Changed)) error
}

// FilterWatcher is a Source whose packet filter tells of changes.
type FilterWatcher interface {
	// WatchFilter has tell called with messages of NETLINK_NETFILTER for a group, from now
	// on.
	WatchFilter(tell func(group int, messages []byte)) error
}

// Groups of rtnetlink(7): RTNLGRP_.
const (
	groupLink       = 1
	groupNeighbours = 3
	groupAddresses4 = 5
	groupRoutes4    = 7
	groupAddresses6 = 9
	groupRoutes6    = 11

	// maxGroup is the last of each family that there may be.
	maxGroup = 63
)

// groups are a socket's: bit n-1 is group n.
type groups uint64

func (g groups) has(n int) bool { return g&(1<<(n-1)) != 0 }

// hub gives notifications to the sockets of a protocol that have joined its groups.
type hub struct {
	source Source
	filter bool // NETLINK_NETFILTER's, else NETLINK_ROUTE's

	mu       sync.Mutex
	watching bool
	members  map[*Socket]bool
}

// join adds a socket that has groups. The first makes the source tell.
func (h *hub) join(s *Socket) {
	h.mu.Lock()
	if h.members == nil {
		h.members = map[*Socket]bool{}
	}
	h.members[s] = true
	first := !h.watching
	h.watching = true
	h.mu.Unlock()
	// Without the lock: the answer comes after changes that are told by then.
	if first && h.watch() != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.watching = false
	}
}

// watch makes the source tell.
func (h *hub) watch() error {
	if w, ok := h.source.(FilterWatcher); ok && h.filter {
		return w.WatchFilter(h.tell)
	}
	if w, ok := h.source.(Watcher); ok && !h.filter {
		return w.Watch(h.changed)
	}
	return nil
}

func (h *hub) leave(s *Socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.members, s)
}

// changed tells those who have joined.
func (h *hub) changed(c *netdv1.Changed) {
	group, b := notification(c)
	h.tell(group, b)
}

// tell gives messages to a group.
func (h *hub) tell(group int, b []byte) {
	if len(b) == 0 || group < 1 || group > maxGroup {
		return
	}
	h.mu.Lock()
	var all []*Socket
	for s := range h.members {
		all = append(all, s)
	}
	h.mu.Unlock()
	for _, s := range all {
		s.notify(group, b)
	}
}

// notification is the message of a change, and the group that it is for.
func notification(c *netdv1.Changed) (group int, b []byte) {
	r := request{removed: c.Removed}
	if c.Replaced {
		r.flags = flagReplace
	}
	switch w := c.What.(type) {
	case *netdv1.Changed_Link:
		return groupLink, r.link(nil, w.Link, nil, 0)
	case *netdv1.Changed_Address:
		if len(w.Address.Addresses) != 1 {
			return 0, nil
		}
		a := w.Address.Addresses[0]
		if group = groupAddresses4; len(a.Address) == 16 {
			group = groupAddresses6
		}
		return group, r.address(nil, w.Address, a, 0)
	case *netdv1.Changed_Route:
		if group = groupRoutes4; len(w.Route.Destination.GetAddress()) == 16 {
			group = groupRoutes6
		}
		return group, r.route(nil, w.Route, 0)
	case *netdv1.Changed_Neighbour:
		return groupNeighbours, r.neighbour(nil, w.Neighbour, 0)
	}
	return 0, nil
}

// datagram is what waits in a socket.
type datagram struct {
	b     []byte
	group int // 0: an answer to this socket alone
}

// defaultBuffer is SO_RCVBUF of a socket that nobody has tuned, and overhead what a
// datagram costs of it beside its bytes.
const (
	defaultBuffer = 212992
	overhead      = 768
)

// notify gives a member's socket a notification of a group. Without room the socket is
// told so (ENOBUFS), and gets nothing until it has read all that is there: netlink(7).
func (s *Socket) notify(group int, b []byte) {
	s.mu.Lock()
	told := s.mu.groups.has(group)
	cost := len(b) + overhead
	switch {
	case !told || s.mu.congested:
		told = false
	case s.mu.waiting+cost > s.mu.buffer:
		s.mu.congested = true
		if told = !s.mu.options[linux.NETLINK_NO_ENOBUFS]; told {
			s.mu.overrun = true
		}
	default:
		s.mu.answers = append(s.mu.answers, datagram{b, group})
		s.mu.waiting += cost
	}
	s.mu.Unlock()
	if told {
		s.Queue().Notify(wait.In | wait.Err)
	}
}

// takeLocked takes the first datagram off.
func (s *Socket) takeLocked() {
	if d := s.mu.answers[0]; d.group != 0 {
		s.mu.waiting -= len(d.b) + overhead
	}
	s.mu.answers[0] = datagram{}
	if s.mu.answers = s.mu.answers[1:]; len(s.mu.answers) == 0 {
		s.mu.congested = false
	}
}

// joinGroups sets the socket's groups.
func (s *Socket) joinGroups(g groups) {
	s.mu.Lock()
	s.mu.groups = g
	s.mu.Unlock()
	switch {
	case s.hub == nil || s.Protocol() != protoRoute && s.Protocol() != protoNetfilter:
	case g != 0:
		s.hub.join(s)
	default:
		s.hub.leave(s)
	}
}

// membership is NETLINK_ADD_MEMBERSHIP and NETLINK_DROP_MEMBERSHIP.
func (s *Socket) membership(group int, add bool) error {
	if group < 1 || group > maxGroup {
		return linux.EINVAL
	}
	s.mu.Lock()
	g := s.mu.groups
	s.portLocked()
	s.mu.Unlock()
	if add {
		g |= 1 << (group - 1)
	} else {
		g &^= 1 << (group - 1)
	}
	s.joinGroups(g)
	return nil
}
