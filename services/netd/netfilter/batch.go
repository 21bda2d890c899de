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
	for _, t := range f.Tables {
		for _, c := range t.Chains {
			if c.Base != nil {
				if err := c.follow(c.Base.Type, c.Base.Hook, map[*Chain]int{}, 0); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// follow looks at the rules of a chain and of those that they lead to. done is how
// deep it was when a chain was followed before; -1 while it is.
func (c *Chain) follow(kind string, h Hook, done map[*Chain]int, depth int) error {
	if depth >= maxDepth {
		return linux.EMLINK
	}
	if d, ok := done[c]; ok {
		if d < 0 {
			return linux.ELOOP
		}
		if d >= depth {
			return nil
		}
	}
	done[c] = -1
	for _, r := range c.Rules {
		for _, e := range r.Exprs {
			if a, ok := e.(interface{ allowed(string, Hook) bool }); ok && !a.allowed(kind, h) {
				return linux.EOPNOTSUPP
			}
			for _, next := range leads(e) {
				if err := next.follow(kind, h, done, depth+1); err != nil {
					return err
				}
			}
		}
	}
	done[c] = depth
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
		for _, el := range e.Set.Elements(0) {
			if el.Verdict != nil && el.Verdict.Chain != nil {
				out = append(out, el.Verdict.Chain)
			}
		}
	}
	return out
}

// Limits of what a guest can pile up.
const (
	maxTables = 256
	maxChains = 8192
	maxRules  = 1 << 17
	maxSets   = 8192
)

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
	f.handles++
	t := &Table{Family: family, Name: name, Flags: flags, Handle: f.handles, UserData: user}
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
	c.Rules = slices.Insert(slices.Clone(c.Rules), at, r)
	r.link(1)
	b.undo = append(b.undo, func() {
		c.Rules = slices.DeleteFunc(c.Rules, func(o *Rule) bool { return o == r })
		r.link(-1)
	})
	return nil
}

func (r *Rule) link(n int) {
	for _, e := range r.Exprs {
		link(e, n)
	}
}

// DeleteRule takes a rule away, with the anonymous sets and chains that were its
// own.
func (b *Batch) DeleteRule(c *Chain, r *Rule) {
	i := slices.Index(c.Rules, r)
	if i < 0 {
		return
	}
	c.Rules = slices.Delete(slices.Clone(c.Rules), i, i+1)
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

// Set finds a set by its name, SetByID by the number that its batch gave it:
// ENOENT.
func (t *Table) Set(name string) (*Set, error) {
	for _, s := range t.Sets {
		if s.Name == name {
			return s, nil
		}
	}
	return nil, linux.ENOENT
}

func (t *Table) SetByID(id uint32) (*Set, error) {
	for _, s := range t.Sets {
		if s.id == id && id != 0 {
			return s, nil
		}
	}
	return nil, linux.ENOENT
}

// SetByHandle finds it by its handle: ENOENT.
func (t *Table) SetByHandle(handle uint64) (*Set, error) {
	for _, s := range t.Sets {
		if s.Handle == handle {
			return s, nil
		}
	}
	return nil, linux.ENOENT
}

// AddSet adds a set. An anonymous one's name has "%d", for a number: ENFILE.
func (b *Batch) AddSet(t *Table, s *Set, id uint32) error {
	if len(t.Sets) >= maxSets {
		return linux.ENFILE
	}
	if n := len(s.Name); s.Flags&SetAnonymous != 0 && n > 2 && s.Name[n-2:] == "%d" {
		stem := s.Name[:n-2]
		for i := 0; ; i++ {
			s.Name = stem + decimal(uint64(i))
			if _, err := t.Set(s.Name); err != nil {
				break
			}
		}
	}
	s.Table, s.Handle, s.id = t, t.handle(), id
	t.Sets = append(t.Sets, s)
	b.undo = append(b.undo, func() { t.Sets = slices.DeleteFunc(t.Sets, func(o *Set) bool { return o == s }) })
	return nil
}

// DeleteSet takes a set away: EBUSY while rules use it.
func (b *Batch) DeleteSet(s *Set) error {
	if s.use > 0 {
		return linux.EBUSY
	}
	b.dropSet(s)
	return nil
}

func (b *Batch) dropSet(s *Set) {
	t := s.Table
	i := slices.Index(t.Sets, s)
	if i < 0 {
		return
	}
	for _, e := range s.Elements(0) {
		b.removeElement(s, e)
	}
	t.Sets = slices.Delete(slices.Clone(t.Sets), i, i+1)
	b.undo = append(b.undo, func() { t.Sets = slices.Insert(t.Sets, i, s) })
}

// AddElement adds an element: EEXIST with exclusive, EBUSY if it is there with
// another value, ENFILE.
func (b *Batch) AddElement(s *Set, e *Element, exclusive bool) error {
	if old := s.same(e); old != nil {
		if !old.expired(b.f.host.Now()) {
			switch {
			case exclusive:
				return linux.EEXIST
			case !old.equal(e):
				return linux.EBUSY
			}
			return nil
		}
		b.removeElement(s, old)
	}
	if !s.room() {
		return linux.ENFILE
	}
	s.insert(e)
	b.undo = append(b.undo, func() { s.remove(e) })
	return nil
}

// equal says whether two elements of one key stand for the same.
func (e *Element) equal(o *Element) bool {
	if (e.Verdict == nil) != (o.Verdict == nil) || e.Verdict != nil && *e.Verdict != *o.Verdict || e.Object != o.Object {
		return false
	}
	return slices.Equal(e.Data, o.Data)
}

// DeleteElement takes an element away: ENOENT.
func (b *Batch) DeleteElement(s *Set, e *Element) error {
	old := s.same(e)
	if old == nil {
		return linux.ENOENT
	}
	b.removeElement(s, old)
	return nil
}

// Flush takes all elements away.
func (b *Batch) Flush(s *Set) {
	for _, e := range s.Elements(0) {
		b.removeElement(s, e)
	}
}

func (b *Batch) removeElement(s *Set, e *Element) {
	s.remove(e)
	b.undo = append(b.undo, func() { s.insert(e) })
}

// Object finds an object of a type, 0 for any: ENOENT.
func (t *Table) Object(name string, kind uint32) (*Object, error) {
	for _, o := range t.Objects {
		if o.Name == name && (kind == 0 || o.Type == kind) {
			return o, nil
		}
	}
	return nil, linux.ENOENT
}

// ObjectByHandle finds it by its handle: ENOENT.
func (t *Table) ObjectByHandle(handle uint64) (*Object, error) {
	for _, o := range t.Objects {
		if o.Handle == handle {
			return o, nil
		}
	}
	return nil, linux.ENOENT
}

// AddObject adds an object: ENFILE.
func (b *Batch) AddObject(t *Table, o *Object) error {
	if len(t.Objects) >= maxSets {
		return linux.ENFILE
	}
	o.Table, o.Handle = t, t.handle()
	t.Objects = append(t.Objects, o)
	b.undo = append(b.undo, func() { t.Objects = slices.DeleteFunc(t.Objects, func(x *Object) bool { return x == o }) })
	return nil
}

// DeleteObject takes an object away: EBUSY while something refers to it.
func (b *Batch) DeleteObject(o *Object) error {
	if o.use > 0 {
		return linux.EBUSY
	}
	t := o.Table
	i := slices.Index(t.Objects, o)
	t.Objects = slices.Delete(slices.Clone(t.Objects), i, i+1)
	b.undo = append(b.undo, func() { t.Objects = slices.Insert(t.Objects, i, o) })
	return nil
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
