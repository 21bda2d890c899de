package stack

import (
	"net/netip"

	"bulkhead/services/netd/tcp"
)

// fastPeer is what is known of a server for data in a SYN: RFC 7413, section 4.1.3.
type fastPeer struct {
	cookie []byte
	mss    int
	losses int // SYNs with data in a row that got lost where one without came through
	lostAt tcp.Time
}

// maxFastLosses is how long a server is left alone at most after losses: a minute, doubled
// as often.
const maxFastLosses = 6

// shunned says that SYNs with data do not reach the server.
func (p *fastPeer) shunned(now tcp.Time) bool {
	return p.losses > 1 && now-p.lostAt < 60*tcp.Second<<min(p.losses, maxFastLosses)
}

// ConnectFastLocked is ConnectLocked for who has data for the SYN. With a cookie of the
// server's nothing is sent until KickLocked finds the first bytes, which go along; without
// one the SYN asks for it.
func (e *TCP) ConnectFastLocked(to netip.AddrPort) error { return e.connect(to, true) }

// FastRoomLocked is how many bytes go with the SYN of a deferred attempt.
func (e *TCP) FastRoomLocked() int {
	if !e.awaitsData {
		return 0
	}
	return e.conn.FastOpenRoom()
}

// prepareFast readies an attempt: with a cookie it is deferred.
func (e *TCP) prepareFast(fast bool) {
	e.cfg.FastOpen, e.cfg.FastOpenMSS, e.awaitsData = nil, 0, false
	if !fast {
		return
	}
	p := e.s.cookies[e.remote.Addr()]
	if p.shunned(e.s.now) {
		return
	}
	e.cfg.FastOpen, e.cfg.FastOpenMSS = append([]byte{}, p.cookie...), p.mss
	e.awaitsData = len(p.cookie) > 0
}

// defers says whether a deferred attempt still waits for its first bytes.
func (e *TCP) defers() bool {
	if e.sendq.Len() == 0 && !e.sendq.Arm() && !e.sendq.Broken() {
		e.changed()
		return true
	}
	e.awaitsData = false
	return false
}

// learnFast keeps what an attempt has shown of a server.
func (s *Stack) learnFast(server netip.Addr, l tcp.FastOpenLearned) {
	p := s.cookies[server]
	if l.Dropped {
		p.losses, p.lostAt = p.losses+1, s.now
	} else {
		p.losses = 0
	}
	if len(l.Cookie) > 0 {
		p.cookie = l.Cookie
	}
	p.mss = l.MSS
	if s.cookies == nil {
		s.cookies = map[netip.Addr]fastPeer{}
	}
	if len(s.cookies) >= pathMTUs {
		clear(s.cookies)
	}
	s.cookies[server] = p
}
