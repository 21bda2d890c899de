package inet

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	netdv1 "bulkhead/proto/netd/v1"
)

// registry knows which of this sentry's sockets have which ports, so that those
// that talk to each other find each other without netd. netd remains the one who
// gives ports away: whatever is bound or listens is so there too. Only the ports
// of connections within the sentry (see duct) are the registry's own.
type registry struct {
	off      atomic.Bool  // everything goes through netd
	screened atomic.Bool  // so it does while packets can meet rules
	watchers atomic.Int64 // packet sockets, which see only what does

	mu        sync.Mutex
	listeners map[uint16][]*Stream
	grams     map[uint16][]*Dgram
	held      map[uint16][]*hold // of TCP

	own struct {
		prefixes []netip.Addr
		asked    time.Time
	}
}

// hold is one socket's use of a TCP port.
type hold struct {
	local, remote netip.AddrPort // unmapped; remote is not valid of one that netd bound
	reuse         func() (addr, port bool)
}

func (r *registry) init() {
	r.listeners = map[uint16][]*Stream{}
	r.grams = map[uint16][]*Dgram{}
	r.held = map[uint16][]*hold{}
}

func add[T any](m map[uint16][]T, port uint16, v T) { m[port] = append(m[port], v) }

func remove[T comparable](m map[uint16][]T, port uint16, v T) {
	list := m[port]
	for i, x := range list {
		if x == v {
			// A new slice: somebody may be looking at the old one.
			list = append(append([]T(nil), list[:i]...), list[i+1:]...)
			break
		}
	}
	if m[port] = list; len(list) == 0 {
		delete(m, port)
	}
}

// hold takes note of a port in use.
func (r *registry) hold(h *hold) {
	r.mu.Lock()
	defer r.mu.Unlock()
	add(r.held, h.local.Port(), h)
}

func (r *registry) unhold(h *hold) {
	r.mu.Lock()
	defer r.mu.Unlock()
	remove(r.held, h.local.Port(), h)
}

// taken says whether a connection within the sentry keeps others from binding a:
// netd does not know of it.
func (r *registry) taken(a netip.AddrPort, only6, reuse, reusePort bool) bool {
	if a.Port() == 0 {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	any := !a.Addr().IsValid() || a.Addr().IsUnspecified()
	for _, h := range r.held[a.Port()] {
		other := any && h.local.Addr().Is4() != a.Addr().Is4() && (a.Addr().Is4() || only6)
		if !h.remote.IsValid() || other || !any && h.local.Addr() != a.Addr() {
			continue
		}
		ra, rp := h.reuse()
		if !(reuse && ra) && !(reusePort && rp) {
			return true
		}
	}
	return false
}

// The ports that are chosen for connections at first: ip_local_port_range.
const (
	firstEphemeral = 32768
	lastEphemeral  = 60999
)

// choose takes a port for a connection from local to remote: one that nobody
// holds, or else one whose other connections lead elsewhere. It sets h.local.
func (r *registry) choose(h *hold, from netip.Addr, first, last int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := uint32(max(last-first+1, 1))
	start := rand.Uint32()
	for try := uint32(0); try < n; try++ {
		port := uint16(uint32(first) + (start+try)%n)
		a := netip.AddrPortFrom(from, port)
		if list := r.held[port]; len(list) > 0 && (try < 64 || !elsewhere(list, h.remote)) || len(r.listeners[port]) > 0 {
			continue
		}
		h.local = a
		add(r.held, port, h)
		return true
	}
	return false
}

func elsewhere(list []*hold, remote netip.AddrPort) bool {
	for _, h := range list {
		if !h.remote.IsValid() || h.remote == remote {
			return false
		}
	}
	return true
}

// listener finds who listens at an address, as Linux scores them: an address of
// its own counts for more than any, a socket of the family for more than one of
// both. SO_REUSEPORT spreads over those alike.
func (r *registry) listener(to netip.AddrPort, random uint32) *Stream {
	r.mu.Lock()
	defer r.mu.Unlock()
	var best []*Stream
	top := 0
	for _, s := range r.listeners[to.Port()] {
		switch n := score(s.v6, s.conf.only6(), s.listenAddr, to.Addr()); {
		case n == 0 || n < top:
		case n > top:
			top, best = n, append(best[:0], s)
		default:
			best = append(best, s)
		}
	}
	if len(best) == 0 {
		return nil
	}
	return best[random%uint32(len(best))]
}

// score says how well a socket bound to an address, of the family, suits one who
// wants to; 0 is not at all.
func score(v6, only bool, bound, to netip.Addr) int {
	switch {
	case bound.IsValid() && !bound.IsUnspecified():
		if bound.Unmap() == to {
			return 4
		}
		return 0
	case v6 == !to.Is4():
		return 2
	case v6 && !only:
		return 1
	}
	return 0
}

// lives says whether an address is this host's: whether what is sent there comes
// back. netd is asked for the addresses that are not the loopback's, seldom.
func (n *Network) lives(a netip.Addr) bool {
	if a.IsLoopback() && n.space == 0 {
		return true
	}
	r := &n.registry
	r.mu.Lock()
	fresh := time.Since(r.own.asked) < time.Second
	r.mu.Unlock()
	if !fresh {
		all, err := n.Interfaces()
		if err != nil {
			return false
		}
		r.learn(all)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.own.prefixes {
		if p == a || a.IsLoopback() && a.Is4() && p.IsLoopback() && p.Is4() {
			return true
		}
	}
	return false
}

// learn keeps the addresses of interfaces that are up, but those that are not known
// to be nobody else's.
func (r *registry) learn(all []*netdv1.Interface) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own.prefixes, r.own.asked = nil, time.Now()
	const tentative = 0x40 // IFA_F_TENTATIVE
	for _, i := range all {
		for _, p := range i.Addresses {
			if a, ok := netip.AddrFromSlice(p.Address); ok && i.Flags&1 != 0 && p.Flags&tentative == 0 {
				r.own.prefixes = append(r.own.prefixes, a)
			}
		}
	}
}

// destination is where a socket of the family, bound to an address or not, means
// by to: unmapped, with the unspecified address as this host; and the address
// that it sends from. false leaves the question to netd.
func (n *Network) destination(v6, only bool, bound netip.Addr, to netip.AddrPort, device string) (netip.AddrPort, netip.Addr, bool) {
	a := to.Addr().WithZone("")
	if a.Is4In6() {
		if only {
			return to, a, false
		}
		a = a.Unmap()
	}
	bound = bound.Unmap()
	if bound.IsValid() && bound.IsUnspecified() {
		bound = netip.Addr{}
	}
	if a.IsUnspecified() {
		switch {
		case bound.IsValid() && bound.Is4() == a.Is4():
			a = bound
		case a.Is4():
			a = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		default:
			a = netip.IPv6Loopback()
		}
	}
	switch {
	case n.registry.off.Load() || n.registry.screened.Load() || n.registry.watchers.Load() > 0 || n.dead.Load() || a.IsMulticast() || a.IsLinkLocalUnicast() || device != "" && device != "lo":
		return to, a, false
	case bound.IsValid() && bound.Is4() != a.Is4(), !n.lives(a):
		return to, a, false
	}
	from := a
	if a.IsLoopback() && a.Is4() {
		from = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if bound.IsValid() {
		from = bound
	}
	return netip.AddrPortFrom(a, to.Port()), from, true
}

// Direct says whether sockets of this sentry that talk to each other do so
// without netd. It is so at first.
func (n *Network) Direct(on bool) { n.registry.off.Store(!on) }
