// Package netfilter decides about packets by the rules of the sandbox's own
// administrator: tables, chains and rules as nft(8) and iptables(8) make them,
// with connection tracking and address translation.
//
// A Filter holds the rules and the flows. A Batch changes the rules, all of it or
// nothing; package nfnetlink reads and writes them. The stack calls Run at five
// places of a packet's way, and not at all while there are no base chains. The
// package does no I/O and has no lock: its caller's guards it.
//
// What decides is untrusted itself: rules are the guest's, as packets are the
// network's. Every load is checked against the packet's length and the registers'
// size, chains call each other to a bounded depth, tables are bounded.
package netfilter

import (
	"cmp"
	"net/netip"
	"slices"

	"bulkhead/services/netd/ip"
)

// Host is what a Filter needs of the stack that it filters for.
type Host interface {
	// Now is the present in nanoseconds, Wall the same since 1970.
	Now() int64
	Wall() int64
	Random() uint32
	// Reject answers a packet that is dropped.
	Reject(h Hook, p *Packet, how Rejection)
	// Local says whether an address is the host's own, Broadcast whether it is one
	// of a network's.
	Local(a netip.Addr) bool
	Broadcast(a netip.Addr) bool
	// Route finds the way to an address; ok is false without one.
	Route(dst, src netip.Addr) (out *ip.Interface, mtu int, next netip.Addr, ok bool)
}

// Rejection is how a packet is refused.
type Rejection struct {
	Reset bool // with a TCP reset; else with ICMP's:
	Code  uint8
}

// Families of tables: NFPROTO_* of linux/netfilter.h.
const (
	FamilyInet   = 1
	FamilyIPv4   = 2
	FamilyARP    = 3
	FamilyNetdev = 5
	FamilyBridge = 7
	FamilyIPv6   = 10
)

// Verdicts of linux/netfilter.h and linux/netfilter/nf_tables.h.
const (
	Drop     int32 = 0
	Accept   int32 = 1
	Queue    int32 = 3
	Continue int32 = -1
	Break    int32 = -2
	Jump     int32 = -3
	Goto     int32 = -4
	Return   int32 = -5
)

// maxDepth is how deep chains may call each other: NFT_JUMP_STACK_SIZE.
const maxDepth = 16

// Filter is a network's rules and flows.
type Filter struct {
	Tables []*Table
	// Generation counts the changes.
	Generation uint32

	host    Host
	tracker tracker

	// Tell is called with messages for those who have joined a group of NETLINK_NETFILTER,
	// unless it is nil.
	Tell    func(group int, messages []byte)
	handles uint64
	pipes   [2][hooks][]step // IPv4's and IPv6's
	nats    [2][hooks][]step // what runNAT runs
	legacy  [2]legacy
	recent  recents
	held    int  // bytes that the rules take, roughly
	counts  bool // a rule has asked how much flows have carried
}

// New makes a Filter without rules.
func New(h Host) *Filter { return &Filter{host: h, Generation: 1} }

// Active says whether a packet can meet any rule.
func (f *Filter) Active() bool {
	for _, family := range f.pipes {
		for _, pipe := range family {
			if len(pipe) > 0 {
				return true
			}
		}
	}
	return false
}

// Idle says that a packet of a family meets nothing at the hooks: neither rules nor
// connection tracking, so that it need not be shown.
func (f *Filter) Idle(v6 bool, at ...Hook) bool {
	for _, h := range at {
		if len(f.pipes[family(v6)][h]) > 0 {
			return false
		}
	}
	return !f.tracks(v6)
}

// tracks says whether packets of a family are tracked.
func (f *Filter) tracks(v6 bool) bool {
	for _, s := range f.pipes[family(v6)][Prerouting] {
		if s.what == track {
			return true
		}
	}
	return false
}

// Table is a table of one family.
type Table struct {
	Family   uint8
	Name     string
	Flags    uint32
	Handle   uint64
	UserData []byte
	Chains   []*Chain
	Sets     []*Set
	Objects  []*Object

	filter  *Filter
	handles uint64
}

// Dormant is the flag of a table that does nothing: NFT_TABLE_F_DORMANT.
const Dormant = 1

// Chain is a list of rules.
type Chain struct {
	Table    *Table
	Name     string
	Handle   uint64
	Flags    uint32
	UserData []byte
	Base     *Base // nil: only jumps lead to it
	Rules    []*Rule

	use int // jumps to it
	id  uint32
}

// Chain flags of linux/netfilter/nf_tables.h.
const (
	ChainBase    = 1
	ChainOffload = 2
	ChainBinding = 4
)

// Base is what makes a chain begin at a hook.
type Base struct {
	Type     string // filter, nat, route
	Hook     Hook
	Priority int32
	Policy   int32
	Counter  *Counter // nil unless asked for
}

// Use is how many rules the chain has and jumps lead to it.
func (c *Chain) Use() int { return len(c.Rules) + c.use }

// Rule is a list of expressions.
type Rule struct {
	Handle   uint64
	Exprs    []Expr
	UserData []byte

	id uint32
}

// Expr is one step of a rule. It sets v's verdict to end the rule.
type Expr interface{ eval(v *evaluation) }

// Priorities of linux/netfilter_ipv4.h.
const (
	priorityTrack  = -200
	priorityDstNAT = -100
	prioritySrcNAT = 100
)

// step is one thing that happens at a hook.
type step struct {
	priority int32
	what     action
	chain    *Chain
	table    *blob
}

type action uint8

const (
	runChain action = iota
	runBlob
	track
	runNAT // the chains between this step and the next that are of type nat
)

// compile lays out what happens at each hook, after a change of the rules.
func (f *Filter) compile() {
	tracking, nat := f.wants()
	if !f.remembers() {
		f.recent = recents{}
	}
	for fam := range 2 {
		for h := range hooks {
			f.pipes[fam][h] = f.pipe(fam == 1, h, tracking, nat)
			f.nats[fam][h] = f.natChains(fam == 1, h)
		}
	}
}

// wants says whether any rule needs flows, or rewrites addresses.
func (f *Filter) wants() (tracking, nat bool) {
	for _, t := range f.Tables {
		for _, c := range t.Chains {
			nat = nat || c.Base != nil && c.Base.Type == "nat"
			for _, r := range c.Rules {
				for _, e := range r.Exprs {
					if n, ok := e.(interface{ needsTracking() bool }); ok && n.needsTracking() {
						tracking = true
					}
					if c, ok := e.(*Flow); ok && c.counts() {
						f.counts = true
					}
				}
			}
		}
	}
	for _, l := range f.legacy {
		for _, b := range l.tables {
			nat = nat || b.name == "nat" && b.changed
			tracking = tracking || b.needsTracking()
		}
	}
	return tracking, nat && tracking // chains of type nat see new flows only
}

// remembers says whether a rule uses the lists of recent.
func (f *Filter) remembers() bool {
	found := false
	f.extensions(func(x *Extension) { found = found || x.Name == "recent" })
	return found
}

// extensions calls do for each match and target of iptables(8).
func (f *Filter) extensions(do func(*Extension)) {
	for _, t := range f.Tables {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				for _, e := range r.Exprs {
					if x, ok := e.(*Extension); ok {
						do(x)
					}
				}
			}
		}
	}
	for _, l := range f.legacy {
		for _, b := range l.tables {
			for i := range b.entries {
				for _, x := range b.entries[i].matches {
					do(x)
				}
			}
		}
	}
}

func (f *Filter) pipe(v6 bool, h Hook, tracking, nat bool) []step {
	var out []step
	for _, t := range f.Tables {
		if t.Flags&Dormant != 0 || t.Family != FamilyInet && (t.Family == FamilyIPv6) != v6 {
			continue
		}
		for _, c := range t.Chains {
			if b := c.Base; b != nil && b.Hook == h && b.Type != "nat" {
				out = append(out, step{priority: b.Priority, chain: c})
			}
		}
	}
	for _, b := range f.legacy[family(v6)].tables {
		if b.changed && b.name != "nat" && b.hooks&(1<<h) != 0 {
			out = append(out, step{priority: b.priority(h), what: runBlob, table: b})
		}
	}
	if tracking && (h == Prerouting || h == Output) {
		out = append(out, step{priority: priorityTrack, what: track})
	}
	if nat && h != Forward {
		p := int32(priorityDstNAT)
		if rewritesSource(h) {
			p = prioritySrcNAT
		}
		out = append(out, step{priority: p, what: runNAT})
	}
	return inOrder(out)
}

// inOrder sorts by priority; of equal ones the first made is the first.
func inOrder(steps []step) []step {
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.priority, b.priority) })
	return steps
}

func family(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}

// natChains are a hook's of type nat, in their order.
func (f *Filter) natChains(v6 bool, h Hook) (out []step) {
	for _, t := range f.Tables {
		if t.Flags&Dormant != 0 || t.Family != FamilyInet && (t.Family == FamilyIPv6) != v6 {
			continue
		}
		for _, c := range t.Chains {
			if b := c.Base; b != nil && b.Hook == h && b.Type == "nat" {
				out = append(out, step{priority: b.Priority, chain: c})
			}
		}
	}
	for _, b := range f.legacy[family(v6)].tables {
		if b.changed && b.name == "nat" && b.hooks&(1<<h) != 0 {
			out = append(out, step{priority: b.priority(h), what: runBlob, table: b})
		}
	}
	return inOrder(out)
}

// Run has the rules of a hook decide about a packet, and rewrites it as they want:
// false drops it.
func (f *Filter) Run(h Hook, p *Packet) bool {
	pipe := f.pipes[family(p.V6)][h]
	if len(pipe) == 0 {
		return f.leave(h, p)
	}
	if !p.whole() {
		return false
	}
	v := evaluation{f: f, p: p, hook: h, now: f.host.Now()}
	for i := range pipe {
		if !v.step(&pipe[i]) {
			return false
		}
	}
	return f.leave(h, p)
}

// leave ends a hook: what has come through all of them is a flow from now on.
func (f *Filter) leave(h Hook, p *Packet) bool {
	if (h == Input || h == Postrouting) && p.track.flow != nil {
		return f.tracker.confirm(f.host.Now(), p)
	}
	return true
}

func (v *evaluation) step(s *step) bool {
	switch s.what {
	case track:
		v.f.tracker.assign(v.now, v.p)
	case runNAT:
		return v.nat()
	case runBlob:
		return v.blob(s.table)
	default:
		return v.chain(s.chain)
	}
	return true
}

// nat is what address translation does at a hook.
func (v *evaluation) nat() bool {
	k := &v.p.track
	f := k.flow
	if f == nil || k.untracked {
		return true
	}
	src := rewritesSource(v.hook)
	if !k.reply && !k.related && !f.decided(src) {
		for _, s := range v.f.nats[family(v.p.V6)][v.hook] {
			if !v.step(&s) {
				return false
			}
			if f.decided(src) {
				break
			}
		}
		if !f.decided(src) && !v.bind(src, &Range{}) {
			return false
		}
	}
	translate(v.p, v.hook)
	return true
}

// evaluation is one packet's way through one hook.
type evaluation struct {
	f       *Filter
	p       *Packet
	hook    Hook
	now     int64
	regs    [64]byte
	verdict int32
	target  *Chain
	steps   int // rules so far
}

// maxSteps is how many rules a packet may meet at a hook: chains that call each
// other many times would keep the network busy for ever.
const maxSteps = 1 << 17

// frame is a place to return to.
type frame struct {
	rules []*Rule
	at    int
}

// chain runs a base chain; false drops the packet.
func (v *evaluation) chain(c *Chain) bool {
	var stack [maxDepth]frame
	depth := 0
	rules, at := c.Rules, 0
	clear(v.regs[:])
	for {
		if at >= len(rules) {
			if depth == 0 {
				break
			}
			depth--
			rules, at = stack[depth].rules, stack[depth].at
			continue
		}
		if v.steps++; v.steps > maxSteps {
			return false
		}
		r := rules[at]
		at++
		v.verdict = Continue
		for _, e := range r.Exprs {
			if e.eval(v); v.verdict != Continue {
				break
			}
		}
		switch v.verdict {
		case Continue, Break:
		case Accept:
			return true
		case Jump, Goto:
			if v.verdict == Jump {
				if depth == maxDepth {
					return false
				}
				stack[depth] = frame{rules, at}
				depth++
			}
			rules, at = v.target.Rules, 0
		case Return:
			at = len(rules)
		default:
			return false
		}
	}
	if n := c.Base.Counter; n != nil {
		n.count(v.p)
	}
	return c.Base.Policy == Accept
}

// reject drops the packet with an answer.
func (v *evaluation) reject(how Rejection) {
	v.f.host.Reject(v.hook, v.p, how)
	v.verdict = Drop
}
