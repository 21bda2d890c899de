package netfilter

import (
	"bytes"
	"slices"
	"sort"
)

// Set is a named or anonymous set, or a map to values, verdicts or objects.
type Set struct {
	Table             *Table
	Name              string
	Handle            uint64
	Flags             uint32
	KeyType, DataType uint32
	KeyLen, DataLen   int
	ObjType           uint32
	Policy            uint32
	HasPolicy         bool
	Timeout           uint64 // ms; 0: none
	GC                uint32
	Size              uint32 // 0: no bound of its own
	Fields            []int  // lengths of a concatenation's parts
	UserData          []byte
	Exprs             []Stateful // that each element gets

	contents
	id    uint32
	use   int
	swept int64
}

// contents are a set's elements.
type contents struct {
	exact    map[string]*Element
	ranges   []*Element // intervals by their ends, or concatenations of them
	catchAll *Element
}

// each calls f for each element, in no order.
func (c *contents) each(f func(*Element)) {
	for _, e := range c.exact {
		f(e)
	}
	for _, e := range c.ranges {
		f(e)
	}
	if c.catchAll != nil {
		f(c.catchAll)
	}
}

// eachLinked counts all elements (or with -1 takes them back), and what they refer to.
func (s *Set) eachLinked(n int) {
	s.each(func(e *Element) {
		s.Table.filter.held += n * e.size()
		link(e, n)
	})
}

// Set flags of linux/netfilter/nf_tables.h.
const (
	SetAnonymous = 0x1
	SetConstant  = 0x2
	SetInterval  = 0x4
	SetMap       = 0x8
	SetTimeout   = 0x10
	SetEval      = 0x20
	SetObject    = 0x40
	SetConcat    = 0x80
	SetExpr      = 0x100
)

// maxElements bounds a set that says no size itself, maxRanges one of ranges in
// several fields, which are looked at one after the other.
const (
	maxElements = 1 << 20
	maxRanges   = 1 << 15
)

// Element is a set's.
type Element struct {
	Key, KeyEnd []byte
	Data        []byte
	Verdict     *Verdict
	Object      *Object
	Flags       uint32 // ElementEnd, ElementCatchAll
	Timeout     uint64 // ms; 0: none
	Expires     int64  // ns
	UserData    []byte
	Exprs       []Stateful
}

// Element flags.
const (
	ElementEnd      = 1 // it ends the interval before
	ElementCatchAll = 2
)

func (e *Element) refs() []*int {
	var out []*int
	if e.Verdict != nil {
		out = e.Verdict.refs()
	}
	if e.Object != nil {
		out = append(out, &e.Object.use)
	}
	return out
}

func (e *Element) expired(now int64) bool { return e.Expires != 0 && e.Expires <= now }

// Concatenated says whether the set's elements are ranges in several fields.
func (s *Set) Concatenated() bool { return s.Flags&SetInterval != 0 && len(s.Fields) > 1 }

// Len is how many elements there are.
func (s *Set) Len() int {
	n := len(s.exact) + len(s.ranges)
	if s.catchAll != nil {
		n++
	}
	return n
}

// InUse says whether rules refer to it.
func (s *Set) InUse() bool { return s.use > 0 }

// find looks a key up; nil without one.
func (s *Set) find(now int64, key []byte) *Element {
	var e *Element
	switch {
	case s.Concatenated():
		for _, r := range s.ranges {
			if !r.expired(now) && s.within(r, key) {
				return r
			}
		}
	case s.Flags&SetInterval != 0:
		i := sort.Search(len(s.ranges), func(i int) bool { return bytes.Compare(s.ranges[i].Key, key) > 0 })
		for i--; i >= 0; i-- {
			if r := s.ranges[i]; !r.expired(now) {
				if r.Flags&ElementEnd == 0 {
					e = r
				}
				break
			}
		}
	default:
		e = s.exact[string(key)]
	}
	if e == nil || e.expired(now) {
		e = s.catchAll
	}
	if e != nil && e.expired(now) {
		return nil
	}
	return e
}

// within says whether each of a key's fields is in the element's range.
func (s *Set) within(r *Element, key []byte) bool {
	at := 0
	end := r.KeyEnd
	if end == nil {
		end = r.Key
	}
	for _, n := range s.Fields {
		if at+n > len(key) || at+n > len(r.Key) || at+n > len(end) {
			return false
		}
		if k := key[at : at+n]; bytes.Compare(k, r.Key[at:at+n]) < 0 || bytes.Compare(k, end[at:at+n]) > 0 {
			return false
		}
		at += (n + 3) &^ 3
	}
	return true
}

// place is where an interval's end is, or would be: ends before beginnings.
func (s *Set) place(e *Element) (int, bool) {
	return slices.BinarySearchFunc(s.ranges, e, func(a, b *Element) int {
		if d := bytes.Compare(a.Key, b.Key); d != 0 {
			return d
		}
		return int(b.Flags&ElementEnd) - int(a.Flags&ElementEnd)
	})
}

// same finds the element that is named alike.
func (s *Set) same(e *Element) *Element {
	switch {
	case e.Flags&ElementCatchAll != 0:
		return s.catchAll
	case s.Concatenated():
		for _, r := range s.ranges {
			if bytes.Equal(r.Key, e.Key) && bytes.Equal(r.KeyEnd, e.KeyEnd) {
				return r
			}
		}
	case s.Flags&SetInterval != 0:
		if i, ok := s.place(e); ok {
			return s.ranges[i]
		}
	default:
		return s.exact[string(e.Key)]
	}
	return nil
}

// insert adds an element that is not there.
func (s *Set) insert(e *Element) {
	switch {
	case e.Flags&ElementCatchAll != 0:
		s.catchAll = e
	case s.Concatenated():
		s.ranges = append(s.ranges, e)
	case s.Flags&SetInterval != 0:
		i, _ := s.place(e)
		s.ranges = slices.Insert(s.ranges, i, e)
	default:
		if s.exact == nil {
			s.exact = map[string]*Element{}
		}
		s.exact[string(e.Key)] = e
	}
	s.Table.filter.held += e.size()
	link(e, 1)
}

// remove takes an element away that is there.
func (s *Set) remove(e *Element) {
	switch {
	case e.Flags&ElementCatchAll != 0:
		s.catchAll = nil
	case s.Flags&SetInterval != 0:
		if i := s.indexOf(e); i >= 0 {
			s.ranges = slices.Delete(s.ranges, i, i+1)
		}
	default:
		delete(s.exact, string(e.Key))
	}
	s.Table.filter.held -= e.size()
	link(e, -1)
}

// indexOf is where an element of ranges is; -1: it is not.
func (s *Set) indexOf(e *Element) int {
	if !s.Concatenated() {
		if i, ok := s.place(e); ok && s.ranges[i] == e {
			return i
		}
	}
	return slices.Index(s.ranges, e)
}

// Elements are the set's that have not expired, in order.
func (s *Set) Elements(now int64) []*Element {
	out := make([]*Element, 0, s.Len())
	for _, e := range s.exact {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *Element) int { return bytes.Compare(a.Key, b.Key) })
	out = append(out, s.ranges...)
	if s.catchAll != nil {
		out = append(out, s.catchAll)
	}
	return slices.DeleteFunc(out, func(e *Element) bool { return e.expired(now) })
}

// Find gives the element that holds a key, for who asks for one.
func (s *Set) Find(now int64, key []byte) *Element { return s.find(now, key) }

// sweep forgets what has expired.
func (s *Set) sweep(now int64) {
	if s.Flags&SetTimeout == 0 || now-s.swept < second {
		return
	}
	s.swept = now
	for _, e := range s.exact {
		if e.expired(now) {
			s.remove(e)
		}
	}
	for _, e := range slices.Clone(s.ranges) {
		if e.expired(now) {
			s.remove(e)
		}
	}
}

func (s *Set) room() bool {
	n := maxElements
	if s.Concatenated() {
		n = maxRanges
	}
	if s.Size != 0 {
		n = min(n, int(s.Size))
	}
	return s.Len() < n
}

// Lookup goes on if a set has (or with Not has not) the key in a register; a map's
// value goes into another.
type Lookup struct {
	Set   *Set
	Src   Reg
	Dst   Reg
	IsMap bool
	// ToVerdict says that the map's values are verdicts.
	ToVerdict bool
	Not       bool
}

func (e *Lookup) refs() []*int { return []*int{&e.Set.use} }

func (e *Lookup) eval(v *evaluation) {
	el := e.Set.find(v.now, v.load(e.Src, e.Set.KeyLen))
	if (el != nil) == e.Not {
		v.verdict = Break
		return
	}
	if el == nil {
		return
	}
	if !v.meet(el) {
		return
	}
	switch {
	case e.ToVerdict && el.Verdict != nil:
		el.Verdict.decide(v)
	case e.IsMap:
		v.put(e.Dst, el.Data)
	}
}

// meet has an element's own expressions see the packet; false if one ends the rule.
func (v *evaluation) meet(el *Element) bool {
	for _, x := range el.Exprs {
		if x.eval(v); v.verdict != Continue {
			return false
		}
	}
	return true
}

// Operations of Dynamic.
const (
	DynamicAdd    = 0
	DynamicUpdate = 1
	DynamicDelete = 2
)

// Dynamic adds the key in a register to a set, or takes it away.
type Dynamic struct {
	Set     *Set
	Op      uint32
	Key     Reg
	Data    Reg
	HasData bool
	Timeout uint64 // ms; 0: the set's
	Not     bool
	Exprs   []Stateful
	// Many says that the expressions came as a list.
	Many bool
}

func (e *Dynamic) refs() []*int { return []*int{&e.Set.use} }

func (e *Dynamic) eval(v *evaluation) {
	s := e.Set
	key := v.load(e.Key, s.KeyLen)
	el := s.exact[string(key)]
	if el != nil && el.expired(v.now) {
		s.remove(el)
		el = nil
	}
	if e.Op == DynamicDelete {
		if el != nil {
			s.remove(el)
		}
		return
	}
	if el == nil {
		if s.sweep(v.now); !s.room() {
			if !e.Not {
				v.verdict = Break
			}
			return
		}
		el = &Element{Key: bytes.Clone(key)}
		if e.HasData {
			el.Data = bytes.Clone(v.load(e.Data, s.DataLen))
		}
		exprs := e.Exprs
		if len(exprs) == 0 {
			exprs = s.Exprs
		}
		for _, x := range exprs {
			el.Exprs = append(el.Exprs, x.Fresh())
		}
		e.age(v.now, el)
		if v.f.held+el.size() > maxHeld {
			v.verdict = Break
			return
		}
		s.insert(el)
	} else if e.Op == DynamicUpdate {
		e.age(v.now, el)
	}
	if e.Not {
		v.verdict = Break
		return
	}
	v.meet(el)
}

func (e *Dynamic) age(now int64, el *Element) {
	el.Timeout = e.Timeout
	if el.Timeout == 0 {
		el.Timeout = e.Set.Timeout
	}
	if el.Timeout != 0 {
		el.Expires = now + int64(min(el.Timeout, 1<<40))*1e6
	}
}

// link counts (or with -1 takes back) what x refers to.
func link(x any, n int) {
	if r, ok := x.(interface{ refs() []*int }); ok {
		for _, use := range r.refs() {
			*use += n
		}
	}
}
