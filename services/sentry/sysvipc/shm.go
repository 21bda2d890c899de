package sysvipc

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/vfs"
)

// Flags of shmat(2) and shmget(2).
const (
	SHM_RDONLY  = 0o10000
	SHM_RND     = 0o20000
	SHM_REMAP   = 0o40000
	SHM_EXEC    = 0o100000
	SHM_HUGETLB = 0o4000
)

// What shmctl(2) does besides.
const (
	SHM_LOCK     = 11
	SHM_UNLOCK   = 12
	SHM_STAT     = 13
	SHM_INFO     = 14
	SHM_STAT_ANY = 15

	shmLocked = 0o2000 // of the mode that STAT tells
	shmDest   = 0o1000 // removed, and still attached
)

// ShmMax is the largest segment in bytes, ShmAll the most pages of all together;
// shmMost is the most segments, each of which costs the sentry a descriptor.
const (
	ShmMax  = 1<<63 - 1<<24
	ShmAll  = 1<<63 - 1<<24
	shmMost = 4096
)

type shmTable struct {
	mu sync.Mutex
	table[*Segment]
	doomed atomic.Int32 // segments that are removed and still attached
	ino    uint64
}

// Segment is a piece of shared memory: a memfd, which guests map. How often it is
// attached is for who knows the address spaces to say, by the Backing that their
// regions then have.
type Segment struct {
	mode    Perm
	size    uint64
	fd      int
	backing *mm.Backing
	removed bool
	locked  bool
	taken   struct { // what is counted of its pages
		sync.Mutex
		pages int64
		freed bool
	}

	creator, last      int32 // process ids
	atime, dtime, ctim int64 // seconds since 1970
}

func (s *Segment) perm() *Perm { return &s.mode }

// Backing is what regions of an attached segment have as their file.
func (s *Segment) Backing() *mm.Backing { return s.backing }

// Size is the segment's size in bytes.
func (s *Segment) Size() uint64 { return s.size }

// Shmget finds or makes a segment and gives its id: shmget(2).
func (n *Namespace) Shmget(ctx vfs.Context, key int32, size uint64, flags int32) (int32, error) {
	t := &n.shm
	t.mu.Lock()
	defer t.mu.Unlock()
	return get(&t.table, ctx.Creds(), key, flags, shmMost, func(s *Segment) error {
		if size > s.size {
			return linux.EINVAL
		}
		return nil
	}, func() (*Segment, error) { return t.create(ctx, key, size, flags) })
}

func (t *shmTable) create(ctx vfs.Context, key int32, size uint64, flags int32) (*Segment, error) {
	if size == 0 || size > ShmMax {
		return nil, linux.EINVAL
	}
	if flags&SHM_HUGETLB != 0 {
		return nil, linux.ENOMEM // there is no pool of them
	}
	fd, err := unix.MemfdCreate("sysv", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, linux.ENOSPC
	}
	if unix.Ftruncate(fd, int64(mm.PageUp(size))) != nil {
		unix.Close(fd)
		return nil, linux.ENOMEM
	}
	t.ino++
	return &Segment{
		mode: newPerm(ctx.Creds(), key, flags), size: size, fd: fd,
		backing: &mm.Backing{Name: fmt.Sprintf("/SYSV%08x (deleted)", uint32(key)), Dev: 1, Ino: t.ino, InMemory: true},
		creator: ctx.TGID(), ctim: seconds(),
	}, nil
}

// Attach gives the segment that shmat(2) is to map, and a descriptor of it that is
// the caller's. flags hold SHM_RDONLY and SHM_EXEC.
func (n *Namespace) Attach(ctx vfs.Context, id int32, flags int32) (*Segment, int, error) {
	t := &n.shm
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(id)
	if err != nil {
		return nil, -1, err
	}
	asked := int32(toRead)
	if flags&SHM_RDONLY == 0 {
		asked |= toWrite
	}
	if flags&SHM_EXEC != 0 {
		asked |= 0o111
	}
	if err := s.mode.check(ctx.Creds(), asked); err != nil {
		return nil, -1, err
	}
	fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, -1, linux.ENFILE
	}
	s.atime, s.last = seconds(), ctx.TGID()
	s.Recount()
	return s, fd, nil
}

// Recount implements budget.Mapped.
func (s *Segment) Recount() {
	s.taken.Lock()
	defer s.taken.Unlock()
	var st unix.Stat_t
	if s.taken.freed || unix.Fstat(s.fd, &st) != nil {
		return
	}
	n := st.Blocks * 512 / mm.PageSize
	budget.AddFilePages(n - s.taken.pages)
	s.taken.pages = n
	budget.Watch(s, max(0, int64(mm.PageUp(s.size)/mm.PageSize)-n))
}

// Detached notes that a process has let go of what has that Backing; false if it
// is no segment's.
func (n *Namespace) Detached(b *mm.Backing, pid int32) bool {
	s := n.segmentOf(b)
	if s == nil {
		return false
	}
	n.shm.mu.Lock()
	s.dtime, s.last = seconds(), pid
	n.shm.mu.Unlock()
	return true
}

// segmentOf is the segment that is behind a region, or nil.
func (n *Namespace) segmentOf(b *mm.Backing) *Segment {
	t := &n.shm
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, s := range t.slots {
		if t.used[i] && s.backing == b {
			return s
		}
	}
	return nil
}

// IsSegment says whether a region's file is a segment.
func (n *Namespace) IsSegment(b *mm.Backing) bool { return b != nil && n.segmentOf(b) != nil }

// Sweep frees the removed segments that nobody has attached any more. It is cheap
// when there are none.
func (n *Namespace) Sweep(attached func(*mm.Backing) int) {
	t := &n.shm
	if t.doomed.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, s := range t.slots {
		if t.used[i] && s.removed && attached(s.backing) == 0 {
			t.doomed.Add(-1)
			t.free(s)
		}
	}
}

func (t *shmTable) free(s *Segment) {
	t.remove(s)
	s.taken.Lock()
	budget.AddFilePages(-s.taken.pages)
	s.taken.pages, s.taken.freed = 0, true
	unix.Close(s.fd)
	budget.Watch(s, 0)
	s.taken.Unlock()
}

// RemoveShm is IPC_RMID: the segment goes when nobody has it attached.
func (n *Namespace) RemoveShm(ctx vfs.Context, id int32, attached func(*mm.Backing) int) error {
	t := &n.shm
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(id)
	if err != nil {
		return err
	}
	if err := s.mode.owned(ctx.Creds()); err != nil {
		return err
	}
	if attached(s.backing) == 0 {
		if s.removed {
			t.doomed.Add(-1)
		}
		t.free(s)
		return nil
	}
	if !s.removed {
		s.removed, s.mode.Key = true, IPC_PRIVATE
		t.doomed.Add(1)
	}
	return nil
}

// SetShm is IPC_SET.
func (n *Namespace) SetShm(ctx vfs.Context, id int32, to Perm) error {
	t := &n.shm
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(id)
	if err != nil {
		return err
	}
	if err := s.mode.owned(ctx.Creds()); err != nil {
		return err
	}
	s.mode.set(to)
	s.ctim = seconds()
	return nil
}

// LockShm is SHM_LOCK and SHM_UNLOCK, which change what STAT tells only.
func (n *Namespace) LockShm(ctx vfs.Context, id int32, lock bool) error {
	t := &n.shm
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(id)
	if err != nil {
		return err
	}
	if c := ctx.Creds(); !c.Has(linux.CAP_IPC_LOCK) && c.EUID != s.mode.UID && c.EUID != s.mode.CUID {
		return linux.EPERM
	}
	s.locked = lock
	return nil
}

// ShmStatus is what IPC_STAT tells of a segment: struct shmid_ds.
type ShmStatus struct {
	ID                  int32
	Perm                Perm
	Size                uint64
	Atime, Dtime, Ctime int64 // seconds since 1970
	Creator, Last       int32
	Attached            int
}

func (s *Segment) status(id int32, attached func(*mm.Backing) int) ShmStatus {
	st := ShmStatus{
		ID: id, Perm: s.mode, Size: s.size, Atime: s.atime, Dtime: s.dtime, Ctime: s.ctim,
		Creator: s.creator, Last: s.last, Attached: attached(s.backing),
	}
	if s.locked {
		st.Perm.Mode |= shmLocked
	}
	if s.removed {
		st.Perm.Mode |= shmDest
	}
	return st
}

// StatShm is IPC_STAT, SHM_STAT (byIndex) and SHM_STAT_ANY (and anybody).
func (n *Namespace) StatShm(ctx vfs.Context, id int32, byIndex, anybody bool, attached func(*mm.Backing) int) (ShmStatus, error) {
	t := &n.shm
	t.mu.Lock()
	defer t.mu.Unlock()
	s, found, err := t.stat(ctx.Creds(), id, byIndex, anybody)
	if err != nil {
		return ShmStatus{}, err
	}
	return s.status(found, attached), nil
}

// AllShm gives every segment: /proc/sysvipc/shm.
func (n *Namespace) AllShm(attached func(*mm.Backing) int) []ShmStatus {
	t := &n.shm
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []ShmStatus
	for i, s := range t.slots {
		if t.used[i] {
			all = append(all, s.status(t.idOf(i), attached))
		}
	}
	return all
}

// ShmUse is how many segments and pages there are, and the highest index in use:
// SHM_INFO.
func (n *Namespace) ShmUse() (highest, count int, pages, resident uint64) {
	t := &n.shm
	t.mu.Lock()
	defer t.mu.Unlock()
	highest, count = t.highest()
	for i, s := range t.slots {
		if !t.used[i] {
			continue
		}
		pages += mm.PageUp(s.size) / mm.PageSize
		var st unix.Stat_t
		if unix.Fstat(s.fd, &st) == nil {
			resident += uint64(st.Blocks) * 512 / mm.PageSize
		}
	}
	return highest, count, pages, resident
}
