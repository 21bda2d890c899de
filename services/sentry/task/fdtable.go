package task

import (
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// FDTable maps a process's descriptors to open file descriptions. Threads made
// with CLONE_FILES share one.
type FDTable struct {
	mu    sync.Mutex
	files []fdSlot // by descriptor
	next  int32    // no free descriptor is below
	users int      // tasks
}

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
func NewFDTable() *FDTable { return &FDTable{users: 1} }

// Get gives the file behind fd with a reference of the caller's own; EBADF.
func (ft *FDTable) Get(fd linux.FD) (*vfs.File, error) {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	if fd < 0 || int(fd) >= len(ft.files) || ft.files[fd].file == nil {
		return nil, linux.EBADF
	}
	f := ft.files[fd].file
	f.IncRef()
	return f, nil
}

// Install gives f the lowest free descriptor that is at least min and below
// limit, and takes over the caller's reference; EMFILE leaves it to the caller.
func (ft *FDTable) Install(f *vfs.File, min linux.FD, limit uint64, closeOnExec bool) (linux.FD, error) {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	fd := max(min, ft.next)
	for int(fd) < len(ft.files) && ft.files[fd].file != nil {
		fd++
	}
	if uint64(fd) >= limit || fd >= maxFDs {
		return -1, linux.EMFILE
	}
	ft.grow(fd)
	ft.files[fd] = fdSlot{f, closeOnExec}
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
	ft.grow(fd)
	old = ft.files[fd].file
	ft.files[fd] = fdSlot{f, closeOnExec}
	return old, nil
}

func (ft *FDTable) grow(fd linux.FD) {
	if n := int(fd) + 1 - len(ft.files); n > 0 {
		ft.files = append(ft.files, make([]fdSlot, n)...)
	}
}

// Remove takes fd out and gives its file with the table's reference; EBADF.
func (ft *FDTable) Remove(fd linux.FD) (*vfs.File, error) {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	if fd < 0 || int(fd) >= len(ft.files) || ft.files[fd].file == nil {
		return nil, linux.EBADF
	}
	f := ft.files[fd].file
	ft.files[fd] = fdSlot{}
	ft.next = min(ft.next, fd)
	return f, nil
}

// RemoveRange takes every descriptor in [first, last] out: close_range(2).
func (ft *FDTable) RemoveRange(first, last linux.FD) []*vfs.File {
	return ft.removeIf(func(fd linux.FD, s fdSlot) bool { return fd >= first && fd <= last })
}

func (ft *FDTable) removeIf(pick func(linux.FD, fdSlot) bool) []*vfs.File {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	var out []*vfs.File
	for fd := range ft.files {
		if s := ft.files[fd]; s.file != nil && pick(linux.FD(fd), s) {
			out = append(out, s.file)
			ft.files[fd] = fdSlot{}
			ft.next = min(ft.next, linux.FD(fd))
		}
	}
	return out
}

// CloseOnExec says whether fd has FD_CLOEXEC; EBADF.
func (ft *FDTable) CloseOnExec(fd linux.FD) (bool, error) {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	if fd < 0 || int(fd) >= len(ft.files) || ft.files[fd].file == nil {
		return false, linux.EBADF
	}
	return ft.files[fd].closeOnExec, nil
}

// SetCloseOnExec sets or clears FD_CLOEXEC; EBADF.
func (ft *FDTable) SetCloseOnExec(fd linux.FD, on bool) error {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	if fd < 0 || int(fd) >= len(ft.files) || ft.files[fd].file == nil {
		return linux.EBADF
	}
	ft.files[fd].closeOnExec = on
	return nil
}

// All gives every descriptor in order. The files carry no reference: they are
// for showing, or for IncRef while the table cannot change.
func (ft *FDTable) All() []FDEntry {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	var out []FDEntry
	for fd, s := range ft.files {
		if s.file != nil {
			out = append(out, FDEntry{linux.FD(fd), s.file, s.closeOnExec})
		}
	}
	return out
}

// Fork gives a copy with references of its own.
func (ft *FDTable) Fork() *FDTable {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	c := &FDTable{files: append([]fdSlot(nil), ft.files...), next: ft.next, users: 1}
	for _, s := range c.files {
		if s.file != nil {
			s.file.IncRef()
		}
	}
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
