package egress

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"bulkhead/services/netd/policy"
	"bulkhead/services/netd/wire"
)

// Bounds of what is kept of names, and how long an answer counts at least: programs
// keep addresses for longer than they were told to.
const (
	maxQuestions = 1 << 12
	maxAddresses = 1 << 14
	maxNames     = 16 // of one address
	maxRecords   = 256
	leastAge     = 10 * time.Minute
	mostAge      = 24 * time.Hour
	questionAge  = 30 * time.Second
)

// domain is DNS's port.
const domain = 53

// names knows which addresses stand for which names, by the answers of resolvers to
// questions that the guest has asked them.
type names struct {
	resolvers []netip.Addr
	now       func() time.Time

	mu        sync.Mutex
	streams   streams
	questions map[asked]time.Time                 // when they were asked
	addresses map[netip.Addr]map[string]time.Time // until when
}

// question is what a message asks.
type question struct {
	id    uint16
	name  string // in lower case, without the last dot
	asked dnsmessage.Question
}

// asked names a question that is open.
type asked struct {
	resolver netip.Addr
	port, id uint16
	name     string
	kind     dnsmessage.Type
}

func newNames(p policy.Policy) *names {
	return &names{resolvers: p.Resolvers, now: time.Now, streams: streams{}, questions: map[asked]time.Time{}, addresses: map[netip.Addr]map[string]time.Time{}}
}

// of gives the names that an address stands for.
func (n *names) of(a netip.Addr) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []string
	now := n.now()
	for name, until := range n.addresses[a.Unmap()] {
		if now.Before(until) {
			list = append(list, name)
		}
	}
	return list
}

// asked says whether a packet goes to a resolver.
func (n *names) asked(h *head) bool {
	return h.protocol == wire.ProtoUDP && h.dstPort == domain && slices.Contains(n.resolvers, h.dst)
}

// payload is that of a datagram, in one piece.
func payload(h *head) []byte {
	u, err := wire.ParseUDP(h.body, len(h.body)+len(h.rest))
	if err != nil {
		return nil
	}
	b := h.body[wire.UDPSize:]
	if len(b) == 0 {
		b = h.rest
	} else if len(h.rest) > 0 {
		b = append(slices.Clone(b), h.rest...)
	}
	return b[:min(len(b), u.PayloadLen())]
}

// parseQuestion reads the one question of a datagram; several, or several datagrams
// that one packet stands for, are none.
func parseQuestion(h *head, several bool) (q question, ok bool) {
	if several {
		return q, false
	}
	var p dnsmessage.Parser
	header, err := p.Start(payload(h))
	if err != nil || header.Response || header.OpCode != 0 {
		return q, false
	}
	all, err := p.AllQuestions()
	if err != nil || len(all) != 1 || all[0].Class != dnsmessage.ClassINET {
		return q, false
	}
	return question{id: header.ID, name: lower(all[0].Name), asked: all[0]}, true
}

func lower(n dnsmessage.Name) string { return strings.ToLower(strings.TrimSuffix(n.String(), ".")) }

// expect takes note of a question, whose answer will be believed.
func (n *names) expect(h *head, q question) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.expectLocked(asked{h.dst, h.srcPort, q.id, q.name, q.asked.Type})
}

func (n *names) expectLocked(k asked) {
	now := n.now()
	if len(n.questions) >= maxQuestions {
		for k, at := range n.questions {
			if now.Sub(at) > questionAge {
				delete(n.questions, k)
			}
		}
		if len(n.questions) >= maxQuestions {
			return
		}
	}
	n.questions[k] = now
}

// learn takes what a resolver answers to a question that was asked; false if the
// packet is something else.
func (n *names) learn(h *head) bool {
	if h.protocol != wire.ProtoUDP || h.srcPort != domain || !slices.Contains(n.resolvers, h.src) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.learnLocked(h.src, h.dstPort, payload(h))
}

// learnLocked takes a resolver's message to a port of the guest's.
func (n *names) learnLocked(resolver netip.Addr, port uint16, b []byte) bool {
	var p dnsmessage.Parser
	header, err := p.Start(b)
	if err != nil || !header.Response {
		return false
	}
	all, err := p.AllQuestions()
	if err != nil || len(all) != 1 {
		return false
	}
	name := lower(all[0].Name)
	k := asked{resolver, port, header.ID, name, all[0].Type}
	if at, open := n.questions[k]; !open || n.now().Sub(at) > questionAge {
		return false
	}
	delete(n.questions, k)
	for _, r := range records(&p, name) {
		n.addLocked(r.addr, name, r.ttl)
	}
	return true
}

// record is an address that an answer gives.
type record struct {
	addr netip.Addr
	ttl  time.Duration
}

// records reads the addresses of name, which other names may stand between.
func records(p *dnsmessage.Parser, name string) []record {
	owners := map[string][]record{}
	aliases := map[string]string{}
	for range maxRecords {
		h, err := p.AnswerHeader()
		if err != nil {
			break
		}
		owner, ttl := lower(h.Name), time.Duration(h.TTL)*time.Second
		switch h.Type {
		case dnsmessage.TypeA:
			r, err := p.AResource()
			if err != nil {
				return nil
			}
			owners[owner] = append(owners[owner], record{netip.AddrFrom4(r.A), ttl})
		case dnsmessage.TypeAAAA:
			r, err := p.AAAAResource()
			if err != nil {
				return nil
			}
			owners[owner] = append(owners[owner], record{netip.AddrFrom16(r.AAAA).Unmap(), ttl})
		case dnsmessage.TypeCNAME:
			r, err := p.CNAMEResource()
			if err != nil {
				return nil
			}
			aliases[owner] = lower(r.CNAME)
		default:
			if p.SkipAnswer() != nil {
				return nil
			}
		}
	}
	var out []record
	for range 16 {
		out = append(out, owners[name]...)
		next, ok := aliases[name]
		if !ok {
			break
		}
		delete(aliases, name)
		name = next
	}
	return out
}

func (n *names) addLocked(a netip.Addr, name string, ttl time.Duration) {
	now := n.now()
	if _, known := n.addresses[a]; !known && len(n.addresses) >= maxAddresses {
		for k, of := range n.addresses {
			for name, until := range of {
				if !now.Before(until) {
					delete(of, name)
				}
			}
			if len(of) == 0 {
				delete(n.addresses, k)
			}
		}
		if len(n.addresses) >= maxAddresses {
			return
		}
	}
	of := n.addresses[a]
	if of == nil {
		of = map[string]time.Time{}
		n.addresses[a] = of
	}
	if _, known := of[name]; known || len(of) < maxNames {
		of[name] = now.Add(min(max(ttl, leastAge), mostAge))
	}
}
