// Package sysvipc provides System V IPC: shared memory, semaphores and message
// queues, which have ids and keys in place of descriptors and names: sysvipc(7).
//
// A Namespace has a lock for each of the three kinds; none is held while somebody
// sleeps. Numbers and limits are Linux's own, but for what a sandbox may hold in
// all, which keeps its guests from filling the sentry's memory.
package sysvipc

import (
	"slices"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// Flags of the get calls, and of those that may block.
const (
	IPC_CREAT  = 0o1000
	IPC_EXCL   = 0o2000
	IPC_NOWAIT = 0o4000

	IPC_PRIVATE = 0 // a key that no other object has
)

// What the three ctl calls do, of all kinds.
const (
	IPC_RMID = 0
	IPC_SET  = 1
	IPC_STAT = 2
	IPC_INFO = 3
)

// Limits of all kinds: an id is an index below idCount, and how often that was
// taken before.
const (
	idCount = 32768
	seqMax  = 1<<31/idCount - 1
)

// Namespace holds the objects of a sandbox. The zero value is empty.
type Namespace struct {
	shm shmTable
	sem semTable
	msg msgTable
}

// Perm is an object's owner and permissions: struct ipc_perm.
type Perm struct {
	Key                  int32
	UID, GID, CUID, CGID uint32
	Mode                 uint32 // the nine bits of chmod(2)
	Seq                  uint16
}

func newPerm(c *vfs.Creds, key, flags int32) Perm {
	return Perm{Key: key, UID: c.EUID, GID: c.EGID, CUID: c.EUID, CGID: c.EGID, Mode: uint32(flags) & 0o777}
}

// check says whether c may do what flags ask for in any of their three groups of
// bits: EACCES.
func (p *Perm) check(c *vfs.Creds, flags int32) error {
	asked := uint32(flags)>>6 | uint32(flags)>>3 | uint32(flags)
	granted := p.Mode
	switch {
	case c.EUID == p.CUID || c.EUID == p.UID:
		granted >>= 6
	case c.InEffectiveGroup(p.CGID) || c.InEffectiveGroup(p.GID):
		granted >>= 3
	}
	if asked&^granted&7 != 0 && !c.Has(linux.CAP_IPC_OWNER) {
		return linux.EACCES
	}
	return nil
}

// owned says whether c may change or remove the object: EPERM.
func (p *Perm) owned(c *vfs.Creds) error {
	if c.EUID != p.CUID && c.EUID != p.UID && !c.Has(linux.CAP_SYS_ADMIN) {
		return linux.EPERM
	}
	return nil
}

// set is IPC_SET of who may do what.
func (p *Perm) set(to Perm) {
	p.UID, p.GID, p.Mode = to.UID, to.GID, to.Mode&0o777
}

// Permission bits for check.
const (
	toRead  = 0o444
	toWrite = 0o222
)

// object is what a table holds.
type object interface{ perm() *Perm }

// table holds the objects of one kind by index. It has no lock of its own.
type table[T object] struct {
	slots []T // the zero T where there is none
	used  []bool
	count int
	next  int    // behind the index that was taken last
	seq   uint32 // goes on each time that an index is taken which is not above
}

// find gives the object with that id: EINVAL, or EIDRM if another one is there.
func (t *table[T]) find(id int32) (T, error) {
	var none T
	if id < 0 {
		return none, linux.EINVAL
	}
	o, err := t.at(id % idCount)
	if err != nil {
		return none, err
	}
	if int32(o.perm().Seq) != id/idCount {
		return none, linux.EIDRM
	}
	return o, nil
}

// at gives the object with that index, which the STAT calls of ipcs(1) ask for.
func (t *table[T]) at(index int32) (T, error) {
	var none T
	if index < 0 || int(index) >= len(t.slots) || !t.used[index] {
		return none, linux.EINVAL
	}
	return t.slots[index], nil
}

// byKey gives the object with a key, and its id.
func (t *table[T]) byKey(key int32) (o T, id int32, ok bool) {
	if key == IPC_PRIVATE {
		return o, 0, false
	}
	for i, o := range t.slots {
		if t.used[i] && o.perm().Key == key {
			return o, t.idOf(i), true
		}
	}
	return o, 0, false
}

func (t *table[T]) idOf(index int) int32 {
	return int32(t.slots[index].perm().Seq)*idCount + int32(index)
}

// add gives o an id; ENOSPC if there are most already.
func (t *table[T]) add(o T, most int) (int32, error) {
	if t.count >= most {
		return 0, linux.ENOSPC
	}
	i := slices.Index(t.used, false)
	if i < 0 {
		i = len(t.slots)
		t.slots, t.used = append(t.slots, o), append(t.used, true)
	}
	if i < t.next {
		t.seq = (t.seq + 1) % (seqMax + 1)
	}
	t.slots[i], t.used[i], t.next = o, true, i+1
	t.count++
	o.perm().Seq = uint16(t.seq)
	return t.idOf(i), nil
}

// remove takes o out, if it is in.
func (t *table[T]) remove(o T) {
	for i := range t.slots {
		if t.used[i] && t.slots[i].perm() == o.perm() {
			var none T
			t.slots[i], t.used[i] = none, false
			t.count--
			return
		}
	}
}

// get is what the three get calls have in common: the object with that key, which
// check accepts, or a new one.
func get[T object](t *table[T], c *vfs.Creds, key, flags int32, most int, check func(T) error, create func() (T, error)) (int32, error) {
	if o, id, ok := t.byKey(key); ok {
		if flags&IPC_CREAT != 0 && flags&IPC_EXCL != 0 {
			return 0, linux.EEXIST
		}
		if err := check(o); err != nil {
			return 0, err
		}
		return id, o.perm().check(c, flags)
	}
	if key != IPC_PRIVATE && flags&IPC_CREAT == 0 {
		return 0, linux.ENOENT
	}
	if t.count >= most {
		return 0, linux.ENOSPC
	}
	o, err := create()
	if err != nil {
		return 0, err
	}
	return t.add(o, most)
}

// highest is the largest index in use, or -1, and how many objects there are.
func (t *table[T]) highest() (index, count int) {
	for i := len(t.used) - 1; i >= 0; i-- {
		if t.used[i] {
			return i, t.count
		}
	}
	return -1, 0
}

// stat finds the object that one of the STAT calls means, and its id: by id, or by
// index, without a check of permissions if any may look.
func (t *table[T]) stat(c *vfs.Creds, id int32, byIndex, anybody bool) (o T, found int32, err error) {
	if byIndex {
		o, err = t.at(id)
	} else {
		o, err = t.find(id)
	}
	if err != nil {
		return o, 0, err
	}
	if !anybody {
		if err := o.perm().check(c, toRead); err != nil {
			return o, 0, err
		}
	}
	found = id
	if byIndex {
		found = t.idOf(int(id))
	}
	return o, found, nil
}

func seconds() int64 { return time.Now().Unix() }
