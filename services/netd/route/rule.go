package route

import (
	"net/netip"
	"slices"
)

// Rule sends those it matches to a table: ip-rule(8). Prefixes that are not
// valid match everything.
type Rule struct {
	V6       bool // it is about IPv6
	Priority uint32
	From, To netip.Prefix
	Table    uint32
	// Of a packet's mark the bits of Mask are to be those of Mark.
	Mark, Mask uint32
	In, Out    string // the interfaces' names; empty: any
	Invert     bool   // it matches what it would not
	// Longer is how many bits the prefix of a route has at least that is not passed over.
	Longer int
	// Kind is Blackhole, Unreachable or Prohibit of a rule that says so itself, Goto or Nop.
	Kind Kind
	// Target is the priority of the rules that a Goto goes on at.
	Target uint32
	// Protocol is IPPROTO_ of the packet, Sources and Targets are of its ports; 0: any.
	Protocol uint8
	Sources  Range
	Targets  Range
	Users    Range // whose socket it is, unless both are 0 and Whose is not set
	Whose    bool
	TOS      uint8
	Origin   uint8 // rtm_protocol: who made it
}

// Range is what lies between two numbers, both included; zero: all.
type Range struct{ First, Last uint32 }

func (r Range) has(n uint32) bool { return r == Range{} || r.First <= n && n <= r.Last }

// matches says whether a rule is about q.
func (r *Rule) matches(t *Table, q *Query) bool {
	if r.V6 == q.Dst.Is4() {
		return false
	}
	in := q.In
	if in == "" {
		in = "lo" // as Linux takes what this host sends itself
	}
	is := (!r.From.IsValid() || q.Source.IsValid() && r.From.Contains(q.Source)) && (!r.To.IsValid() || r.To.Contains(q.Dst)) &&
		(r.Mark^q.Mark)&r.Mask == 0 && (r.In == "" || r.In == in) && (r.TOS == 0 || r.TOS == q.TOS&^3) &&
		(r.Protocol == 0 || r.Protocol == q.Protocol) && r.Sources.has(uint32(q.SourcePort)) && r.Targets.has(uint32(q.DstPort)) &&
		(!r.Whose || r.Users.First <= q.UID && q.UID <= r.Users.Last)
	if is && r.Out != "" {
		out := t.Interface(q.Out)
		is = out != nil && out.Name == r.Out
	}
	return is != r.Invert
}

// MainPriority is that of the rule that looks at Main; only Default's comes behind.
const MainPriority = 32766

// byRules goes through the rules.
func (t *Table) byRules(q *Query) (Path, *Route, Verdict) {
	from := uint32(0)
	for i := range t.rules {
		r := &t.rules[i]
		if r.Priority < from || !r.matches(t, q) {
			continue
		}
		switch r.Kind {
		case Nop:
			continue
		case Goto:
			if t.leads(r) {
				from = r.Target
			}
			continue
		}
		if v, ok := verdicts[r.Kind]; ok {
			if v == Refused {
				v = NoRoute // a rule says so otherwise than a route
			}
			return Path{}, nil, v
		}
		if p, found, v := t.in(r.Table, q, r.Longer); v != NoRoute {
			return p, found, v
		}
	}
	if from <= MainPriority {
		if p, found, v := t.in(Main, q, 0); v != NoRoute {
			return p, found, v
		}
	}
	return t.in(Default, q, 0)
}

// leads says whether there are rules where a Goto goes on at.
func (t *Table) leads(r *Rule) bool {
	return r.Target == MainPriority || !r.V6 && r.Target == MainPriority+1 ||
		slices.ContainsFunc(t.rules, func(o Rule) bool { return o.V6 == r.V6 && o.Priority == r.Target })
}

// maxRules bounds how many rules there can be.
const maxRules = 1024

// AddRule adds a rule; without a priority it comes before all others. ErrExists, ErrFull.
func (t *Table) AddRule(r Rule) error {
	if len(t.rules) >= maxRules {
		return ErrFull
	}
	if r.Priority == 0 {
		r.Priority = MainPriority
		for _, o := range t.rules {
			if o.V6 == r.V6 {
				r.Priority = min(r.Priority, o.Priority)
			}
		}
		r.Priority = max(r.Priority, 1) - 1
	}
	if slices.ContainsFunc(t.rules, func(o Rule) bool { o.Origin = r.Origin; return o == r }) {
		return ErrExists
	}
	t.SetRules(append(t.rules, r))
	return nil
}

// DeleteRule takes away the first rule that is like r, whose zero fields stand for any;
// ErrNone.
func (t *Table) DeleteRule(r Rule) error {
	at := slices.IndexFunc(t.rules, func(o Rule) bool {
		return o.V6 == r.V6 && (r.Priority == 0 || o.Priority == r.Priority) && (r.Table == 0 || o.Table == r.Table) &&
			(!r.From.IsValid() || o.From == r.From) && (!r.To.IsValid() || o.To == r.To) && (r.Mask == 0 || o.Mark == r.Mark && o.Mask == r.Mask) &&
			(r.In == "" || o.In == r.In) && (r.Out == "" || o.Out == r.Out) && (!r.Invert || o.Invert) &&
			(r.Longer == 0 || o.Longer == r.Longer) && (r.Kind == 0 || o.Kind == r.Kind) && (r.Target == 0 || o.Target == r.Target) &&
			(r.Protocol == 0 || o.Protocol == r.Protocol) && (r.Sources == Range{} || o.Sources == r.Sources) &&
			(r.Targets == Range{} || o.Targets == r.Targets) && (!r.Whose || o.Whose && o.Users == r.Users) && (r.TOS == 0 || o.TOS == r.TOS) &&
			(r.Origin == 0 || o.Origin == r.Origin)
	})
	if at < 0 {
		return ErrNone
	}
	t.SetRules(slices.Delete(t.Rules(), at, at+1))
	return nil
}

// SetRules sets the rules besides the ones that look at Main and then Default.
func (t *Table) SetRules(rules []Rule) {
	t.rules = slices.Clone(rules)
	slices.SortStableFunc(t.rules, func(a, b Rule) int { return int(int64(a.Priority) - int64(b.Priority)) })
	t.Changed()
}

// Rules are those that SetRules was given.
func (t *Table) Rules() []Rule { return slices.Clone(t.rules) }
