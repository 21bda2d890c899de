// Package mcast is the host's side of group management: IGMPv3 (RFC 3376) and
// MLDv2 (RFC 3810), with the older versions that routers may speak. It is pure:
// the present time, joins and queries go in, reports come out.
//
// A group is joined as a whole: a socket's choice of sources is kept to by the
// socket, and routers are told that all sources are wanted, which both RFCs
// allow a host.
package mcast

import "net/netip"

// Time is a point in time in nanoseconds.
type Time = int64

// Second in Time's unit.
const Second Time = 1e9

// Never is the deadline of nothing.
const Never Time = 1<<63 - 1

// Version of the routers' protocol: 1, 2 and 3 of IGMP; MLDv1 is 2 and MLDv2 is
// 3.
type Version uint8

// Report is what to tell the routers of a group.
type Report struct {
	Group netip.Addr
	Kind  Kind
	As    Version
}

// Kind of a Report: the record types of RFC 3376, section 4.2.12.
type Kind uint8

// The kinds. Present answers a query; Joined and Left tell of a change. Before
// version 3 Present and Joined are the same.
const (
	Present Kind = 2 // MODE_IS_EXCLUDE {}
	Left    Kind = 3 // CHANGE_TO_INCLUDE {}
	Joined  Kind = 4 // CHANGE_TO_EXCLUDE {}
)

// RFC 3376, section 8; RFC 3810, section 9.
const (
	robustness  = 2
	changeEvery = 1 * Second
	oldQuerier  = 400 * Second
)

// Host is the groups of one interface and one protocol.
type Host struct {
	// Random gives a number below n, for delays.
	Random func(n int64) int64

	groups  map[netip.Addr]*group
	version Version // of the oldest querier heard lately; 0: 3
	until   Time
	general Time // when a general query is to be answered; 0: none is
}

type group struct {
	changes int  // reports of a change still to be sent
	left    bool // the change is that it is left
	at      Time // when the next of them is due
	answer  Time // when a query is to be answered; 0: none is
}

func (h *Host) as(now Time) Version {
	if h.version == 0 || now >= h.until {
		return 3
	}
	return h.version
}

// Join tells of a group from now on.
func (h *Host) Join(now Time, addr netip.Addr) {
	if h.groups == nil {
		h.groups = map[netip.Addr]*group{}
	}
	h.groups[addr] = &group{changes: robustness, at: now}
}

// Leave ends it.
func (h *Host) Leave(now Time, addr netip.Addr) {
	if g := h.groups[addr]; g != nil && !g.left {
		*g = group{changes: robustness, left: true, at: now}
	}
}

// Query is a router's question. Group that is not valid asks for all; Response
// is within which time to answer, in ns.
type Query struct {
	Group    netip.Addr
	Response Time
	As       Version
}

// Heard takes a query: RFC 3376, section 5.2; the older ones' sections 7.2.1.
func (h *Host) Heard(now Time, q Query) {
	if q.As < 3 && (q.As <= h.version || now >= h.until || h.version == 0) {
		h.version, h.until = q.As, now+oldQuerier
	}
	wait := q.Response
	if q.As == 1 || wait <= 0 {
		wait = 10 * Second
	}
	at := now + h.Random(wait) + 1
	if !q.Group.IsValid() || q.Group.IsUnspecified() {
		if h.general == 0 || at < h.general {
			h.general = at
		}
		return
	}
	if g := h.groups[q.Group]; g != nil && !g.left && (g.answer == 0 || at < g.answer) {
		g.answer = at
	}
}

// Overheard takes another host's report of versions 1 and 2, which saves ours:
// RFC 2236, section 3.
func (h *Host) Overheard(now Time, addr netip.Addr) {
	if g := h.groups[addr]; g != nil && h.as(now) < 3 {
		g.answer = 0
	}
}

// Deadline is when Poll is to be called at the latest.
func (h *Host) Deadline() Time {
	at := Never
	if h.general != 0 {
		at = h.general
	}
	for _, g := range h.groups {
		if g.changes > 0 {
			at = min(at, g.at)
		}
		if g.answer != 0 {
			at = min(at, g.answer)
		}
	}
	return at
}

// Poll gives what is to be told at now.
func (h *Host) Poll(now Time) (out []Report) {
	as := h.as(now)
	all := h.general != 0 && h.general <= now
	if all {
		h.general = 0
	}
	for addr, g := range h.groups {
		switch {
		case g.changes > 0 && g.at <= now:
			out = append(out, h.change(now, addr, g, as)...)
		case !g.left && (all || g.answer != 0 && g.answer <= now):
			g.answer = 0
			out = append(out, Report{addr, Present, as})
		}
	}
	return out
}

func (h *Host) change(now Time, addr netip.Addr, g *group, as Version) []Report {
	g.changes--
	g.at = now + h.Random(changeEvery) + 1
	if !g.left {
		return []Report{{addr, Joined, as}}
	}
	if g.changes == 0 || as < 3 {
		delete(h.groups, addr) // older versions leave once: RFC 2236, section 3
	}
	if as == 1 {
		return nil // it has no such message
	}
	return []Report{{addr, Left, as}}
}
