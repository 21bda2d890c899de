package netfilter

import (
	"slices"

	"bulkhead/proto/linux"
)

// Batch is a list of changes that happen all or not at all: what nft(8) sends at
// once. The methods return errors of errno(3); after one, the changes so far stand
// until Abort.
type Batch struct {
	f    *Filter
	undo []func()
}

// Begin begins a batch. There is one at a time.
func (f *Filter) Begin() *Batch { return &Batch{f: f} }

// Abort takes everything back.
func (b *Batch) Abort() {
	for _, undo := range slices.Backward(b.undo) {
		undo()
	}
	b.undo = nil
}

// Commit checks the whole and makes it valid: ELOOP, EMLINK, EOPNOTSUPP for an
// expression that its chain's type or hook does not allow. After an error the
// batch is to be aborted.
func (b *Batch) Commit() error {
	if err := b.f.validate(); err != nil {
		return err
	}
	if len(b.undo) > 0 {
		b.f.Generation++
	}
	for _, t := range b.f.Tables {
		for _, c := range t.Chains {
			c.id = 0
			for _, r := range c.Rules {
				r.id = 0
			}
		}
		for _, s := range t.Sets {
			s.id = 0
		}
	}
	b.undo = nil
	b.f.compile()
	return nil
}

// validate follows every base chain.
func (f *Filter) validate() error {
	type place struct {
		kind string
		hook Hook
	}
	done := map[place]map[*Chain]int{}
	for _, t := range f.Tables {
		for _, c := range t.Chains {
			if c.Base == nil {
				continue
			}
			at := place{c.Base.Type, c.Base.Hook}
			if done[at] == nil {
				done[at] = map[*Chain]int{}
			}
			if err := c.follow(at.kind, at.hook, done[at], 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// follow looks at the rules of a chain and of those that they lead to: EMLINK for
// chains that call each other too deep, or for ever. done is how deep it was when a
// chain was followed before.
func (c *Chain) follow(kind string, h Hook, done map[*Chain]int, depth int) error {
	if depth >= maxDepth {
		return linux.EMLINK
	}
	if d, ok := done[c]; ok && d >= depth {
		return nil
	}
	done[c] = depth
	for _, r := range c.Rules {
		for _, e := range r.Exprs {
			if a, ok := e.(interface{ allowed(string, Hook) bool }); ok && !a.allowed(kind, h) {
				if _, ok := e.(*Extension); ok {
					return linux.EINVAL
				}
				return linux.EOPNOTSUPP
			}
			for _, next := range leads(e) {
				if err := next.follow(kind, h, done, depth+1); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// leads are the chains that an expression can jump to.
func leads(e Expr) (out []*Chain) {
	switch e := e.(type) {
	case *Immediate:
		if e.Verdict != nil && e.Verdict.Chain != nil {
			out = append(out, e.Verdict.Chain)
		}
	case *Lookup:
		if !e.ToVerdict {
			break
		}
		e.Set.each(func(el *Element) {
			if el.Verdict != nil && el.Verdict.Chain != nil {
				out = append(out, el.Verdict.Chain)
			}
		})
	}
	return out
}

// Limits of what a guest can pile up.
const (
	maxTables = 256
	maxChains = 8192
	maxRules  = 1 << 17
	maxSets   = 8192
	// maxHeld bounds the memory of all rules and elements of sets, in bytes.
	maxHeld = 64 << 20
)

// hold takes n bytes for what is added: ENOMEM.
func (b *Batch) hold(n int) error {
	f := b.f
	if f.held+n > maxHeld {
		return linux.ENOMEM
	}
	f.held += n
	b.undo = append(b.undo, func() { f.held -= n })
	return nil
}

// release gives the bytes of what is taken away back.
func (b *Batch) release(n int) {
	f := b.f
	f.held -= n
	b.undo = append(b.undo, func() { f.held += n })
}

// The memory that things take, roughly.
const thingSize = 512

func (r *Rule) size() int {
	n := 256 + len(r.UserData)
	for _, e := range r.Exprs {
		n += 192
		if x, ok := e.(*Extension); ok {
			n += 2*len(x.Info) + x.memory()
		}
		if _, ok := e.(*ConnLimit); ok {
			n += memorySize
		}
	}
	return n
}

func (e *Element) size() int { return 384 + len(e.UserData) + 192*len(e.Exprs) }

// size is the table's with all that is in it.
func (t *Table) size() int {
	n := thingSize * (1 + len(t.Chains) + len(t.Sets) + len(t.Objects))
	for _, c := range t.Chains {
		for _, r := range c.Rules {
			n += r.size()
		}
	}
	for _, s := range t.Sets {
		s.each(func(e *Element) { n += e.size() })
	}
	return n
}

// Table finds a table: ENOENT.
func (f *Filter) Table(family uint8, name string) (*Table, error) {
	for _, t := range f.Tables {
		if t.Family == family && t.Name == name {
			return t, nil
		}
	}
	return nil, linux.ENOENT
}

// NewTable makes a table, or changes the flags of one that is there: EEXIST with
// exclusive.
func (b *Batch) NewTable(family uint8, name string, flags uint32, user []byte, exclusive bool) (*Table, error) {
	f := b.f
	if t, err := f.Table(family, name); err == nil {
		if exclusive {
			return nil, linux.EEXIST
		}
		old := t.Flags
		t.Flags = flags
		b.undo = append(b.undo, func() { t.Flags = old })
		return t, nil
	}
	if len(f.Tables) >= maxTables {
		return nil, linux.ENFILE
	}
	if err := b.hold(thingSize); err != nil {
		return nil, err
	}
	f.handles++
	t := &Table{Family: family, Name: name, Flags: flags, Handle: f.handles, UserData: user, filter: f}
	f.Tables = append(f.Tables, t)
	b.undo = append(b.undo, func() { f.Tables = slices.DeleteFunc(f.Tables, func(o *Table) bool { return o == t }) })
	return t, nil
}

// DeleteTable takes a table away with all that is in it.
func (b *Batch) DeleteTable(t *Table) {
	f := b.f
	i := slices.Index(f.Tables, t)
	if i < 0 {
		return
	}
	b.release(t.size())
	f.Tables = slices.Delete(slices.Clone(f.Tables), i, i+1)
	b.undo = append(b.undo, func() { f.Tables = slices.Insert(f.Tables, i, t) })
}

// Chain finds a chain by its name: ENOENT.
func (t *Table) Chain(name string) (*Chain, error) {
	for _, c := range t.Chains {
		if c.Name == name {
			return c, nil
		}
	}
	return nil, linux.ENOENT
}

// ChainByHandle and ChainByID find it by its number, or the number that its batch
// gave it: ENOENT.
func (t *Table) ChainByHandle(handle uint64) (*Chain, error) {
	for _, c := range t.Chains {
		if c.Handle == handle {
			return c, nil
		}
	}
	return nil, linux.ENOENT
}

func (t *Table) ChainByID(id uint32) (*Chain, error) {
	for _, c := range t.Chains {
		if c.id == id && id != 0 {
			return c, nil
		}
	}
	return nil, linux.ENOENT
}

func (t *Table) handle() uint64 {
	t.handles++
	return t.handles
}

// AddChain adds a chain that has a name, or without one is named by its handle:
// EEXIST, EMFILE.
func (b *Batch) AddChain(t *Table, c *Chain, id uint32) error {
	if len(t.Chains) >= maxChains {
		return linux.EMFILE
	}
	if err := b.hold(thingSize); err != nil {
		return err
	}
	c.Table, c.Handle, c.id = t, t.handle(), id
	if c.Name == "" {
		c.Name = "__chain" + decimal(c.Handle)
	}
	if _, err := t.Chain(c.Name); err == nil {
		return linux.EEXIST
	}
	t.Chains = append(t.Chains, c)
	b.undo = append(b.undo, func() { t.Chains = slices.DeleteFunc(t.Chains, func(o *Chain) bool { return o == c }) })
	return nil
}

// ChangeChain sets what can be changed of a chain: its policy, its counters, its
// name. nil and "" leave it.
func (b *Batch) ChangeChain(c *Chain, policy *int32, counter *Counter, name string) error {
	if name != "" && name != c.Name {
		if _, err := c.Table.Chain(name); err == nil {
			return linux.EEXIST
		}
		old := c.Name
		c.Name = name
		b.undo = append(b.undo, func() { c.Name = old })
	}
	if policy == nil && counter == nil {
		return nil
	}
	if c.Base == nil {
		return linux.EOPNOTSUPP
	}
	old := *c.Base
	if policy != nil {
		c.Base.Policy = *policy
	}
	if counter != nil {
		c.Base.Counter = counter
	}
	b.undo = append(b.undo, func() { *c.Base = old })
	return nil
}

// DeleteChain takes a chain away with its rules: EBUSY while others jump to it.
func (b *Batch) DeleteChain(c *Chain) error {
	for len(c.Rules) > 0 {
		b.DeleteRule(c, c.Rules[len(c.Rules)-1])
	}
	if c.use > 0 {
		return linux.EBUSY
	}
	b.dropChain(c)
	return nil
}

func (b *Batch) dropChain(c *Chain) {
	t := c.Table
	i := slices.Index(t.Chains, c)
	if i < 0 {
		return
	}
	b.release(thingSize)
	t.Chains = slices.Delete(slices.Clone(t.Chains), i, i+1)
	b.undo = append(b.undo, func() { t.Chains = slices.Insert(t.Chains, i, c) })
}

// Rule finds a rule by its handle, RuleByID by the number that its batch gave it:
// ENOENT.
func (c *Chain) Rule(handle uint64) (*Rule, error) {
	for _, r := range c.Rules {
		if r.Handle == handle {
			return r, nil
		}
	}
	return nil, linux.ENOENT
}

func (c *Chain) RuleByID(id uint32) (*Rule, error) {
	for _, r := range c.Rules {
		if r.id == id && id != 0 {
			return r, nil
		}
	}
	return nil, linux.ENOENT
}

// AddRule adds a rule: before or behind another one, or without one at the
// beginning or the end. ENFILE.
func (b *Batch) AddRule(c *Chain, r *Rule, id uint32, near *Rule, behind bool) error {
	if len(c.Rules) >= maxRules {
		return linux.ENFILE
	}
	if err := b.hold(r.size()); err != nil {
		return err
	}
	r.Handle, r.id = c.Table.handle(), id
	at := 0
	switch {
	case near != nil:
		if at = slices.Index(c.Rules, near); behind {
			at++
		}
	case behind:
		at = len(c.Rules)
	}
	c.Rules = slices.Insert(c.Rules, at, r)
	r.link(1)
	b.undo = append(b.undo, func() {
		at := len(c.Rules) - 1 // where it mostly is
		if c.Rules[at] != r {
			at = slices.Index(c.Rules, r)
		}
		c.Rules = slices.Delete(c.Rules, at, at+1)
		r.link(-1)
	})
	return nil
}

// ReplaceRule puts a rule in the place of another one, whose handle it keeps.
func (b *Batch) ReplaceRule(c *Chain, old, r *Rule, id uint32) error {
	last := c.Table.handles
	if err := b.AddRule(c, r, id, old, true); err != nil {
		return err
	}
	c.Table.handles, r.Handle = last, old.Handle
	b.DeleteRule(c, old)
	return nil
}

// Before is the handle of the rule before another one; 0: that is the first.
func (c *Chain) Before(r *Rule) uint64 {
	if i := slices.Index(c.Rules, r); i > 0 {
		return c.Rules[i-1].Handle
	}
	return 0
}

func (r *Rule) link(n int) {
	for _, e := range r.Exprs {
		link(e, n)
	}
}

// DeleteRule takes a rule away, with the anonymous sets and chains that were its
// own.
func (b *Batch) DeleteRule(c *Chain, r *Rule) {
	i := len(c.Rules) - 1
	if i >= 0 && c.Rules[i] != r {
		i = slices.Index(c.Rules, r)
	}
	if i < 0 {
		return
	}
	b.release(r.size())
	c.Rules = slices.Delete(c.Rules, i, i+1)
	r.link(-1)
	b.undo = append(b.undo, func() {
		c.Rules = slices.Insert(c.Rules, i, r)
		r.link(1)
	})
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *Lookup:
			b.abandon(e.Set)
		case *ObjectRef:
			if e.Set != nil {
				b.abandon(e.Set)
			}
		case *Dynamic:
			b.abandon(e.Set)
		case *Immediate:
			if v := e.Verdict; v != nil && v.Chain != nil && v.Chain.Flags&ChainBinding != 0 && v.Chain.use == 0 {
				b.DeleteChain(v.Chain)
			}
		}
	}
}

// abandon takes an anonymous set away that no rule has any more.
func (b *Batch) abandon(s *Set) {
	if s.Flags&SetAnonymous != 0 && s.use == 0 {
		b.dropSet(s)
	}
}

// decimal writes a number.
func decimal(n uint64) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}

// Held is how many bytes rules, sets and elements take, roughly.
func (f *Filter) Held() int { return f.held }
