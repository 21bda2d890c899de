// Package bridge says where a bridge's frames go: IEEE 802.1D as Linux carries it out with
// neither a spanning tree nor VLANs. It is pure: no clock, no I/O, no lock.
package bridge

import (
	"errors"
	"slices"
)

// MAC is an Ethernet address.
type MAC = [6]byte

// Port is one of a bridge's interfaces. What is not zero of it differs from Linux's defaults.
type Port struct {
	Interface int
	Closed    bool // it is down, or has no carrier: nothing passes
	Hairpin   bool // frames may leave by the port that they came by
	Isolated  bool // it hears of no other isolated port
	Deaf      bool // who sends there is not learned
	NoFlood   bool // no frame to a station that is not known
	NoGroups  bool // nor to a group
	NoAll     bool // nor to everybody
	Priority  int  // of a spanning tree, for those who list
	Cost      int
	Number    int // from 1
}

// Station is what is known of an address.
type Station struct {
	MAC   MAC
	Port  *Port // nil: the bridge's own address
	Local bool  // it is this host's
	Fixed bool  // somebody has said so
	Heard int64 // in ns; of what was learned
}

// What Set and Forget refuse.
var (
	ErrExists = errors.New("there is such a station")
	ErrNone   = errors.New("there is no such station")
	ErrFull   = errors.New("there are too many")
)

// Bounds of ports, and of stations that are known.
const (
	MaxPorts    = 256
	maxStations = 4096
	// sweepEvery is how often at most it is looked who has not been heard for long, in ns.
	sweepEvery = 1_000_000_000
)

// DefaultAgeing is how long a station is remembered that is not heard, in ns.
const DefaultAgeing = 300_000_000_000

// Bridge is a bridge's ports and what it has learned.
type Bridge struct {
	Ageing int64 // in ns
	MAC    MAC
	Ports  []*Port

	stations map[MAC]Station
	swept    int64 // when it was last looked who is old
}

// Verdict is where a frame goes.
type Verdict struct {
	Ports []*Port
	Up    bool // to this host itself
}

// AddPort adds one: ErrFull.
func (b *Bridge) AddPort(p *Port) error {
	if len(b.Ports) >= MaxPorts {
		return ErrFull
	}
	for p.Number = 1; slices.ContainsFunc(b.Ports, func(o *Port) bool { return o.Number == p.Number }); {
		p.Number++
	}
	b.Ports = append(b.Ports, p)
	return nil
}

// RemovePort removes one, with all that is known behind it.
func (b *Bridge) RemovePort(p *Port) {
	b.Ports = slices.DeleteFunc(b.Ports, func(o *Port) bool { return o == p })
	for mac, s := range b.stations {
		if s.Port == p {
			delete(b.stations, mac)
		}
	}
}

// Close has nothing pass a port, and forgets what was learned there; or has it pass again.
func (b *Bridge) Close(p *Port, closed bool) {
	if p.Closed = closed; !closed {
		return
	}
	for mac, s := range b.stations {
		if s.Port == p && !s.Local && !s.Fixed {
			delete(b.stations, mac)
		}
	}
}

// Own says that an address is a port's own, instead of the one before.
func (b *Bridge) Own(p *Port, was, mac MAC) {
	if s, ok := b.stations[was]; ok && s.Local && s.Port == p {
		delete(b.stations, was)
	}
	if s, ok := b.stations[mac]; ok && s.Local && s.Port != nil && p == nil {
		return // a port's already
	}
	b.put(Station{MAC: mac, Port: p, Local: true})
}

// put enters a station, in another's place if need be; it says whether there was room.
func (b *Bridge) put(s Station) bool {
	if b.stations == nil {
		b.stations = map[MAC]Station{}
	}
	if _, there := b.stations[s.MAC]; !there && len(b.stations) >= maxStations+MaxPorts {
		return false
	}
	b.stations[s.MAC] = s
	return true
}

// Set enters a station that somebody names: ErrExists, ErrFull.
func (b *Bridge) Set(s Station, replace bool) error {
	switch o, there := b.stations[s.MAC]; {
	case there && !replace && (o.Fixed || o.Local):
		return ErrExists
	case !there && len(b.stations) >= maxStations, !b.put(s):
		return ErrFull
	}
	return nil
}

// Forget removes a station behind a port: ErrNone.
func (b *Bridge) Forget(mac MAC, p *Port) error {
	if s, ok := b.stations[mac]; !ok || s.Port != p {
		return ErrNone
	}
	delete(b.stations, mac)
	return nil
}

// Stations are those that are known.
func (b *Bridge) Stations(now int64) []Station {
	var out []Station
	for _, s := range b.stations {
		if !b.old(now, &s) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(x, y Station) int { return slices.Compare(x.MAC[:], y.MAC[:]) })
	return out
}

func (b *Bridge) old(now int64, s *Station) bool {
	return !s.Local && !s.Fixed && now-s.Heard >= b.Ageing
}

// learn remembers who sends at a port.
func (b *Bridge) learn(now int64, p *Port, src MAC) {
	if p.Deaf || src[0]&1 != 0 || src == (MAC{}) {
		return
	}
	if s, there := b.stations[src]; there && (s.Local || s.Fixed) {
		return
	} else if !there && len(b.stations) >= maxStations {
		// Not for each frame: whoever sends makes up as many addresses as they like.
		if now-b.swept < sweepEvery {
			return
		}
		b.sweep(now)
		if len(b.stations) >= maxStations {
			return
		}
	}
	b.put(Station{MAC: src, Port: p, Heard: now})
}

// sweep forgets those that are old.
func (b *Bridge) sweep(now int64) {
	b.swept = now
	for mac, s := range b.stations {
		if b.old(now, &s) {
			delete(b.stations, mac)
		}
	}
}

// everybody is the broadcast address.
var everybody = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// reserved says whether a group is the link's own, which no bridge passes on: 802.1D, 7.12.6.
// The spanning tree's is not, without one.
func reserved(m MAC) bool {
	return m[0] == 1 && m[1] == 0x80 && m[2] == 0xc2 && m[3] == 0 && m[4] == 0 && m[5]&0xf0 == 0 && m[5] != 0
}

// Arrived says where a frame goes that has come at a port.
func (b *Bridge) Arrived(now int64, from *Port, src, dst MAC) Verdict {
	if from.Closed {
		return Verdict{}
	}
	b.learn(now, from, src)
	if reserved(dst) {
		return Verdict{}
	}
	return b.decide(now, from, dst)
}

// Leaving says where a frame goes that this host sends.
func (b *Bridge) Leaving(now int64, dst MAC) Verdict {
	v := b.decide(now, nil, dst)
	v.Up = false
	return v
}

func (b *Bridge) decide(now int64, from *Port, dst MAC) (v Verdict) {
	group := dst[0]&1 != 0
	if !group {
		if dst == b.MAC {
			return Verdict{Up: true}
		}
		if s, ok := b.stations[dst]; ok && !b.old(now, &s) {
			switch {
			case s.Local || s.Port == nil:
				v.Up = true
			case passes(from, s.Port):
				v.Ports = []*Port{s.Port}
			}
			return v
		}
	}
	for _, p := range b.Ports {
		if passes(from, p) && !(group && dst == everybody && p.NoAll) && !(group && dst != everybody && p.NoGroups) && !(!group && p.NoFlood) {
			v.Ports = append(v.Ports, p)
		}
	}
	v.Up = group
	return v
}

// passes says whether a frame may go from one port to another; from nil is this host.
func passes(from, to *Port) bool {
	return !to.Closed && (from == nil || (from != to || to.Hairpin) && !(from.Isolated && to.Isolated))
}
