package egress

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/net/dns/dnsmessage"

	"bulkhead/services/netd/wire"
)

// Bounds of what is kept of DNS over TCP: conversations, and bytes of one direction that
// are no whole message yet.
const (
	maxStreams = 64
	maxPending = 2 + 65535
)

// streams are the conversations with resolvers over TCP, by the guest's end. Such a
// conversation is only read along: whether it may be is the rules' matter, and what does
// not come in order is not waited for, so that nothing is learnt from there on.
type streams map[streamKey]*stream

type streamKey struct {
	resolver netip.Addr
	port     uint16
}

// stream is both directions of one.
type stream struct{ out, in direction }

// direction puts the bytes of one direction together.
type direction struct {
	known bool   // its SYN was seen
	next  uint32 // the sequence number of the next byte
	held  []byte // of the message under way, with its length before it
}

// take adds a segment, and gives the messages that are whole now; false if there is too
// much of one.
func (d *direction) take(t wire.TCP, p []byte) (messages [][]byte, ok bool) {
	if t.Flags()&wire.SYN != 0 {
		*d = direction{known: true, next: t.Seq() + 1}
		return nil, true
	}
	skip := int32(d.next - t.Seq())
	if !d.known || skip < 0 || int(skip) >= len(p) {
		return nil, true
	}
	p = p[skip:]
	d.next += uint32(len(p))
	if d.held = append(d.held, p...); len(d.held) > 4*maxPending {
		return nil, false
	}
	for len(d.held) >= 2 {
		n := 2 + int(binary.BigEndian.Uint16(d.held))
		if len(d.held) < n {
			break
		}
		messages = append(messages, slices.Clone(d.held[2:n]))
		d.held = d.held[n:]
	}
	return messages, true
}

// segment is the header and the payload of a packet of TCP.
func segment(h *head) (wire.TCP, []byte, bool) {
	t, err := wire.ParseTCP(h.body, len(h.body)+len(h.rest))
	if err != nil {
		return nil, nil, false
	}
	p := h.body[len(t):]
	if len(p) == 0 {
		p = h.rest
	} else if len(h.rest) > 0 {
		p = append(slices.Clone(p), h.rest...)
	}
	return t, p, true
}

// readAlong takes a packet of a conversation with a resolver over TCP: out is the guest's.
func (n *names) readAlong(h *head, out bool) {
	k, domainPort := streamKey{h.src, h.dstPort}, h.srcPort
	if out {
		k, domainPort = streamKey{h.dst, h.srcPort}, h.dstPort
	}
	if h.protocol != wire.ProtoTCP || domainPort != domain || !slices.Contains(n.resolvers, k.resolver) {
		return
	}
	t, p, ok := segment(h)
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.streams[k]
	switch {
	case t.Flags()&wire.RST != 0:
		delete(n.streams, k)
		return
	case s == nil && out && t.Flags()&wire.SYN != 0 && len(n.streams) < maxStreams:
		s = &stream{}
		n.streams[k] = s
	case s == nil:
		return
	}
	d := &s.in
	if out {
		d = &s.out
	}
	messages, ok := d.take(t, p)
	for _, m := range messages {
		n.readMessage(k, m, out)
	}
	if !ok || t.Flags()&wire.FIN != 0 && !out {
		delete(n.streams, k)
	}
}

// readMessage takes a whole message, with mu held.
func (n *names) readMessage(k streamKey, b []byte, out bool) {
	if !out {
		n.learnLocked(k.resolver, k.port, b)
		return
	}
	var p dnsmessage.Parser
	header, err := p.Start(b)
	if err != nil || header.Response || header.OpCode != 0 {
		return
	}
	if all, err := p.AllQuestions(); err == nil && len(all) == 1 && all[0].Class == dnsmessage.ClassINET {
		n.expectLocked(asked{k.resolver, k.port, header.ID, lower(all[0].Name), all[0].Type})
	}
}
