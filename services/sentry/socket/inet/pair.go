package inet

import (
	"math/rand/v2"
	"net/netip"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/wait"
)

// meetLocked connects s with a listening socket of this sentry, with s.mu held.
// false means that there is none, that its queue is full, or that the address is
// elsewhere: netd is to be asked, which answers as the network does.
func (s *Stream) meetLocked(a netip.AddrPort) (bool, error) {
	n := s.n
	to, from, ok := n.destination(s.v6, s.conf.only6(), s.mu.local.Addr(), a, s.conf.boundDevice())
	if !ok {
		return false, nil
	}
	l := n.registry.listener(to, rand.Uint32())
	if l == nil {
		return false, nil
	}
	place := &hold{remote: to, reuse: s.conf.reuse}
	if !s.mu.bound {
		if !n.registry.choose(place, from, n.tuning.firstPort.Load(), n.tuning.lastPort.Load()) {
			return true, linux.EADDRNOTAVAIL
		}
	} else if place.local = netip.AddrPortFrom(from, s.mu.local.Port()); !n.registry.join(place) {
		return true, linux.EADDRNOTAVAIL
	}
	c := newStream(n, l.v6)
	c.conf.copy(&l.conf)
	c.lowat.Store(l.lowat.Load())
	c.mu.phase, c.mu.bound = established, true
	c.mu.local, c.mu.remote = to, place.local
	c.mu.place = &hold{local: to, remote: place.local, reuse: c.conf.reuse}
	if l.conf.keptOn(linux.IPPROTO_TCP, linux.TCP_SAVE_SYN) {
		c.saveSyn(loopbackSyn(place.local, to))
	}
	d := newDuct(s, c)
	c.direct.Store(&d.halves[1])
	s.direct.Store(&d.halves[0])
	if !l.push(c) {
		s.direct.Store(nil)
		n.registry.unhold(place)
		return false, nil
	}
	if s.mu.bound && !s.mu.local.Addr().IsValid() || s.mu.local.Addr().IsUnspecified() {
		s.narrowLocked(place.local)
	}
	s.mu.met, s.mu.autoPort = place, !s.mu.bound
	s.mu.local, s.mu.remote, s.mu.bound = place.local, to, true
	n.within.opens.Add(1)
	l.Queue().Notify(wait.In)
	return true, nil
}

// narrowLocked tells netd at which address the port is held while the connection lasts.
func (s *Stream) narrowLocked(a netip.AddrPort) {
	if e := s.end.Load(); e != nil {
		s.n.post(&netdv1.Request{Socket: e.id, Op: &netdv1.Request_Bind{Bind: &netdv1.Bind{Address: message(true, a, 0)}}})
	}
}

// push puts a connection of this sentry into a listening socket's queue, unless
// that is full or gone.
func (l *Stream) push(c *Stream) bool {
	l.queue.Lock()
	defer l.queue.Unlock()
	e := l.end.Load()
	if !l.queue.listening || l.released.Load() || e == nil || len(l.queue.waiting) > l.queue.backlog {
		return false
	}
	c.n.registry.hold(c.mu.place)
	l.queue.waiting = append(l.queue.waiting, c)
	// netd counts what waits, so that the backlog is one for both ways:
	// what it announced less what was taken.
	e.head.Taken.Add(^uint32(0))
	return true
}

// partLocked ends a connection within the sentry, as its socket's owner wants it.
func (s *Stream) partLocked(abort bool) {
	h := s.direct.Load()
	if h == nil {
		return
	}
	h.close(abort)
	if s.mu.met != nil {
		s.n.registry.unhold(s.mu.met)
		s.mu.met = nil
	}
}

// join is choose for a port that the socket has already: false if there is such
// a connection.
func (r *registry) join(h *hold) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.held[h.local.Port()] {
		if o.local == h.local && o.remote == h.remote {
			return false
		}
	}
	add(r.held, h.local.Port(), h)
	return true
}

// heldLocked takes note of the port that netd gave, with s.mu held.
func (s *Stream) heldLocked() {
	if s.mu.place == nil && s.mu.local.Port() != 0 {
		s.mu.place = &hold{local: s.mu.local, reuse: s.conf.reuse}
		s.n.registry.hold(s.mu.place)
	}
}

// leaveLocked gives up what the registry knows of s.
func (s *Stream) leaveLocked() {
	r := &s.n.registry
	if s.mu.place != nil {
		r.unhold(s.mu.place)
		s.mu.place = nil
	}
	s.stopListening()
}

// stopListening takes s off the list of those who listen.
func (s *Stream) stopListening() {
	r := &s.n.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.listenPort != 0 {
		remove(r.listeners, s.listenPort, s)
		s.listenPort = 0
	}
}

// startListeningLocked puts s on that list, with s.mu held.
func (s *Stream) startListeningLocked() {
	r := &s.n.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.listenPort == 0 && s.mu.local.Port() != 0 {
		s.listenPort, s.listenAddr = s.mu.local.Port(), s.mu.local.Addr()
		add(r.listeners, s.listenPort, s)
	}
}
