package netfilter

import (
	"slices"

	"bulkhead/proto/linux"
)

// This file changes sets, their elements, and objects.

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
	if err := b.hold(thingSize); err != nil {
		return err
	}
	s.Table, s.Handle, s.id = t, t.handle(), id
	t.Sets = append(t.Sets, s)
	b.undo = append(b.undo, func() { t.Sets = slices.DeleteFunc(t.Sets, func(o *Set) bool { return o == s }) })
	return nil
}

// LimitSet bounds a set that packets add to.
func (b *Batch) LimitSet(s *Set, n uint32) {
	old := s.Size
	s.Size = n
	b.undo = append(b.undo, func() { s.Size = old })
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
	b.Flush(s)
	b.release(thingSize)
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
	if b.f.held+e.size() > maxHeld {
		return linux.ENOMEM
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
	was := s.contents
	s.eachLinked(-1)
	s.contents = contents{}
	b.undo = append(b.undo, func() {
		s.contents = was
		s.eachLinked(1)
	})
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
	if err := b.hold(thingSize); err != nil {
		return err
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
	if i < 0 {
		return linux.ENOENT
	}
	b.release(thingSize)
	t.Objects = slices.Delete(slices.Clone(t.Objects), i, i+1)
	b.undo = append(b.undo, func() { t.Objects = slices.Insert(t.Objects, i, o) })
	return nil
}
