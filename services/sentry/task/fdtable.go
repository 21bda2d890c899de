package task

import (
	"slices"
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// FDTable maps a process's descriptors to open file descriptions. Threads made
// with CLONE_FILES share one.
//
// Looking up takes no lock: it reads a slot and takes a reference if the file
// still has one. A file loses the table's reference only after its slot was
// changed, so a reference that cannot be had means that the slot is worth
// another look.
type FDTable struct {
	slots atomic.Pointer[[]atomic.Pointer[vfs.File]] // by descriptor; replaced when it grows

	mu          sync.Mutex // of who changes slots
	closeOnExec []uint64   // a bit each
	next        int32      // no free descriptor is below
	users       int        // tasks
	trials      []*trial

	trying atomic.Int32 // how many trials there are
	poller atomic.Int32 // Refused; one more, so that 0 is none
}

// fdSlot is one descriptor as removeIf shows it.
type fdSlot struct {
	file        *vfs.File
	closeOnExec bool
}

// FDEntry is one descriptor, as /proc/PID/fd shows it.
type FDEntry struct {
	FD          linux.FD
	File        *vfs.File
	CloseOnExec bool
}

// maxFDs bounds a table whatever the rlimit: fs.nr_open.
const maxFDs = 1 << 20

// NewFDTable gives an empty table with one user.
func NewFDTable() *FDTable {
	ft := &FDTable{users: 1}
	ft.slots.Store(&[]atomic.Pointer[vfs.File]{})
	return ft
}

// at gives what is behind fd, or nil.
func (ft *FDTable) at(fd linux.FD) *vfs.File {
	slots := *ft.slots.Load()
	if uint(fd) >= uint(len(slots)) {
		return nil
	}
	return slots[fd].Load()
}

// Get gives the file behind fd with a reference of the caller's own; EBADF.
func (ft *FDTable) Get(fd linux.FD) (*vfs.File, error) {
	for {
		f := ft.at(fd)
		if f == nil {
			return nil, linux.EBADF
		}
		if f.TryIncRef() {
			if ft.trying.Load() != 0 { // with the reference, which who begins one looks for
				ft.settleFile(fd)
			}
			f.Recall()
			return f, nil
		}
	}
}

// putLocked sets a slot that grow has made.
func (ft *FDTable) putLocked(fd linux.FD, f *vfs.File, closeOnExec bool) {
	ft.settleLocked(fd)
	if old := ft.at(fd); old != nil {
		old.Recall()
	}
	word, bit := &ft.closeOnExec[fd/64], uint64(1)<<(fd%64)
	*word &^= bit
	if closeOnExec {
		*word |= bit
	}
	(*ft.slots.Load())[fd].Store(f)
}

// Install gives f the lowest free descriptor that is at least min and below
// limit, and takes over the caller's reference; EMFILE leaves it to the caller.
func (ft *FDTable) Install(f *vfs.File, min linux.FD, limit uint64, closeOnExec bool) (linux.FD, error) {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	fd := max(min, ft.next)
	for ft.at(fd) != nil {
		fd++
	}
	if uint64(fd) >= limit || fd >= maxFDs {
		return -1, linux.EMFILE
	}
	ft.growLocked(fd)
	ft.putLocked(fd, f, closeOnExec)
	if min <= ft.next {
		ft.next = fd + 1
	}
	return fd, nil
}

// Set makes fd refer to f, taking over the caller's reference, and gives what
// was there with its reference, or nil: dup2(2).
func (ft *FDTable) Set(fd linux.FD, f *vfs.File, closeOnExec bool) (old *vfs.File, err error) {
	if fd < 0 || fd >= maxFDs {
		return nil, linux.EBADF
	}
	ft.mu.Lock()
	defer ft.mu.Unlock()
	ft.growLocked(fd)
	old = ft.at(fd)
	ft.putLocked(fd, f, closeOnExec)
	return old, nil
}

// growLocked makes room for fd. Who still reads the shorter array began before.
func (ft *FDTable) growLocked(fd linux.FD) {
	old := *ft.slots.Load()
	if int(fd) < len(old) {
		return
	}
	n := max(64, len(old))
	for n <= int(fd) {
		n *= 2
	}
	slots := make([]atomic.Pointer[vfs.File], n)
	for i := range old {
		slots[i].Store(old[i].Load())
	}
	ft.closeOnExec = append(ft.closeOnExec, make([]uint64, n/64-len(ft.closeOnExec))...)
	ft.slots.Store(&slots)
}

// Remove takes fd out and gives its file with the table's reference; EBADF.
func (ft *FDTable) Remove(fd linux.FD) (*vfs.File, error) {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	f := ft.at(fd)
	if f == nil {
		return nil, linux.EBADF
	}
	ft.removeLocked(fd)
	return f, nil
}

func (ft *FDTable) removeLocked(fd linux.FD) {
	ft.putLocked(fd, nil, false)
	ft.next = min(ft.next, fd)
}

// RemoveRange takes every descriptor in [first, last] out: close_range(2).
func (ft *FDTable) RemoveRange(first, last linux.FD) []*vfs.File {
	return ft.removeIf(func(fd linux.FD, s fdSlot) bool { return fd >= first && fd <= last })
}

func (ft *FDTable) removeIf(pick func(linux.FD, fdSlot) bool) []*vfs.File {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	var out []*vfs.File
	slots := *ft.slots.Load()
	for i := range slots {
		fd, f := linux.FD(i), slots[i].Load()
		if f != nil && pick(fd, fdSlot{f, ft.closeOnExecLocked(fd)}) {
			out = append(out, f)
			ft.removeLocked(fd)
		}
	}
	return out
}

func (ft *FDTable) closeOnExecLocked(fd linux.FD) bool { return ft.closeOnExec[fd/64]>>(fd%64)&1 != 0 }

// CloseOnExec says whether fd has FD_CLOEXEC; EBADF.
func (ft *FDTable) CloseOnExec(fd linux.FD) (bool, error) {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	if ft.at(fd) == nil {
		return false, linux.EBADF
	}
	return ft.closeOnExecLocked(fd), nil
}

// SetCloseOnExec sets or clears FD_CLOEXEC; EBADF.
func (ft *FDTable) SetCloseOnExec(fd linux.FD, on bool) error {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	f := ft.at(fd)
	if f == nil {
		return linux.EBADF
	}
	ft.putLocked(fd, f, on)
	return nil
}

// All gives every descriptor in order. The files carry no reference: they are
// for showing, or for IncRef while the table cannot change.
func (ft *FDTable) All() []FDEntry {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	ft.settleAllLocked()
	var out []FDEntry
	slots := *ft.slots.Load()
	for i := range slots {
		if f := slots[i].Load(); f != nil {
			f.Recall()
			out = append(out, FDEntry{linux.FD(i), f, ft.closeOnExecLocked(linux.FD(i))})
		}
	}
	return out
}

// Fork gives a copy with references of its own.
func (ft *FDTable) Fork() *FDTable {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	ft.settleAllLocked()
	c := &FDTable{closeOnExec: slices.Clone(ft.closeOnExec), next: ft.next, users: 1}
	old := *ft.slots.Load()
	slots := make([]atomic.Pointer[vfs.File], len(old))
	for i := range old {
		if f := old[i].Load(); f != nil {
			f.IncRef()
			f.Recall()
			slots[i].Store(f)
		}
	}
	c.slots.Store(&slots)
	return c
}

func (ft *FDTable) share() *FDTable {
	ft.mu.Lock()
	ft.users++
	ft.mu.Unlock()
	return ft
}

// Shared says whether more than one task uses the table.
func (ft *FDTable) Shared() bool {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	return ft.users > 1
}

// release is called by a task that lets go; the last closes the files.
func (ft *FDTable) release(ctx vfs.Context) {
	ft.mu.Lock()
	ft.users--
	last := ft.users == 0
	ft.mu.Unlock()
	if last {
		closeAll(ctx, ft.RemoveRange(0, maxFDs))
	}
}

func closeAll(ctx vfs.Context, files []*vfs.File) {
	for _, f := range files {
		f.Flush(ctx)
		f.DecRef(ctx)
	}
}
