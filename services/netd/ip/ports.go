package ip

import "net/netip"

// Families of a Binding.
const (
	V4 = 1 << iota
	V6
)

// Binding is one socket's hold on a port of one protocol.
type Binding struct {
	Families  uint8      // V4, V6, or both for :: of a dual-stack socket
	Addr      netip.Addr // unmapped; not valid for any address
	Port      uint16
	ReuseAddr bool
	ReusePort bool
	UID       uint32
	// Mapped says that an AF_INET6 socket holds an IPv4 address.
	Mapped bool
	// Listening is set once a TCP socket listens.
	Listening bool
	// Auto is the hold of a connection whose port was chosen for it: such ones
	// share a port as long as their peers differ.
	Auto bool
	// Datagram bindings share by SO_REUSEADDR also when they receive.
	Datagram bool
}

// overlaps says whether a packet could be for both.
func (b *Binding) overlaps(o *Binding) bool {
	if b.Families&o.Families == 0 {
		return false
	}
	for _, p := range [...][2]*Binding{{b, o}, {o, b}} {
		// A connection's, of a socket for both families that got its IPv6 address by
		// connecting: it keeps 0.0.0.0 away, as inet_rcv_saddr_equal has it.
		if d, x := p[0], p[1]; d.Families == V4|V6 && d.Addr.IsValid() && x.Families == V4 {
			return !x.Addr.IsValid() && !x.Mapped
		}
	}
	return !b.Addr.IsValid() || !o.Addr.IsValid() || b.Addr == o.Addr
}

// conflicts is the rule of socket(7), SO_REUSEADDR and SO_REUSEPORT.
func (b *Binding) conflicts(o *Binding) bool {
	switch {
	case !b.overlaps(o), b.Auto && o.Auto:
		return false
	case b.ReusePort && o.ReusePort && b.UID == o.UID:
		return false
	case b.ReuseAddr && o.ReuseAddr:
		return !b.Datagram && o.Listening
	}
	return true
}

// Ports are the ports in use of one protocol.
type Ports struct {
	held        map[uint16][]*Binding
	first, last uint16 // that are chosen; 0: FirstEphemeral and LastEphemeral
}

// Free says whether b could be held.
func (p *Ports) Free(b *Binding) bool {
	for _, o := range p.held[b.Port] {
		if o != b && b.conflicts(o) {
			return false
		}
	}
	return true
}

// Hold adds b, which is the caller's to change with care until Drop.
func (p *Ports) Hold(b *Binding) {
	if p.held == nil {
		p.held = map[uint16][]*Binding{}
	}
	p.held[b.Port] = append(p.held[b.Port], b)
}

// Drop gives b up.
func (p *Ports) Drop(b *Binding) {
	list := p.held[b.Port]
	for i, o := range list {
		if o == b {
			list[i] = list[len(list)-1]
			list = list[:len(list)-1]
			break
		}
	}
	if len(list) == 0 {
		delete(p.held, b.Port)
		return
	}
	p.held[b.Port] = list
}

// The ports that are chosen for sockets at first: ip_local_port_range.
const (
	FirstEphemeral = 32768
	LastEphemeral  = 60999
)

// SetRange sets which ports Ephemeral chooses from.
func (p *Ports) SetRange(first, last uint16) { p.first, p.last = first, last }

// Ephemeral chooses a free port for b at random and sets it. usable may refuse
// ports for further reasons. A port that nobody holds at all is preferred; a
// binding that can share does not look far for one.
func (p *Ports) Ephemeral(b *Binding, random uint32, usable func(port uint16) bool) bool {
	first, last := p.first, p.last
	if first == 0 {
		first, last = FirstEphemeral, LastEphemeral
	}
	n := uint32(last-first) + 1
	for pass := 0; pass < 2; pass++ {
		tries := uint32(n)
		if pass == 0 && b.Auto {
			tries = 64
		}
		for i := uint32(0); i < tries; i++ {
			b.Port = uint16(uint32(first) + (random%n+i)%n)
			if pass == 0 && len(p.held[b.Port]) > 0 || !p.Free(b) {
				continue
			}
			if usable == nil || usable(b.Port) {
				return true
			}
		}
	}
	b.Port = 0
	return false
}
