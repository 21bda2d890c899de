package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// open opens the file at path: open(2).
func open(t *task.Task, path mm.Addr, flags linux.OpenFlags, mode uint32) (uint64, error) {
	return openat(t, linux.AtFDCWD, path, flags, mode)
}

// creat is open with O_CREAT, O_WRONLY and O_TRUNC.
func creat(t *task.Task, path mm.Addr, mode uint32) (uint64, error) {
	return openat(t, linux.AtFDCWD, path, linux.O_CREAT|linux.O_WRONLY|linux.O_TRUNC, mode)
}

// openat opens the file at path, from dirfd on. Flags that it does not know are
// ignored: open(2).
func openat(t *task.Task, dirfd linux.FD, path mm.Addr, flags linux.OpenFlags, mode uint32) (uint64, error) {
	flags &= linux.OpenValid
	if flags&linux.O_PATH != 0 {
		flags &= linux.OpenPathValid
	}
	if flags&(linux.O_CREAT|linux.O_TMPFILE_BIT) == 0 {
		mode = 0
	}
	return openHow(t, dirfd, path, flags, mode&linux.S_IALL, 0)
}

// openat2 opens as a struct open_how says, which may be longer than the one
// known here if the rest is zero: openat2(2).
func openat2(t *task.Task, dirfd linux.FD, path mm.Addr, how mm.Addr, size uint64) (uint64, error) {
	if size < linux.SizeofOpenHow {
		return 0, linux.EINVAL
	}
	h, err := copyInOpenHow(t, how, size)
	if err != nil {
		return 0, err
	}
	flags := linux.OpenFlags(h.Flags)
	creates := flags&(linux.O_CREAT|linux.O_TMPFILE_BIT) != 0
	switch {
	case h.Flags>>32 != 0 || !flags.Valid() || h.Resolve&^linux.RESOLVE_VALID != 0:
		return 0, linux.EINVAL
	case h.Mode&^linux.S_IALL != 0 || (!creates && h.Mode != 0):
		return 0, linux.EINVAL
	case flags&linux.O_PATH != 0 && flags&^linux.OpenPathValid != 0:
		return 0, linux.EINVAL
	case h.Resolve&linux.RESOLVE_BENEATH != 0 && h.Resolve&linux.RESOLVE_IN_ROOT != 0:
		return 0, linux.EINVAL
	case h.Resolve&linux.RESOLVE_CACHED != 0:
		return 0, linux.EAGAIN
	}
	return openHow(t, dirfd, path, flags, uint32(h.Mode), walkResolve(h.Resolve))
}

// copyInOpenHow reads a struct open_how of size bytes: E2BIG if it says more
// than is known.
func copyInOpenHow(t *task.Task, addr mm.Addr, size uint64) (linux.OpenHow, error) {
	if size > linux.PageSize {
		return linux.OpenHow{}, linux.E2BIG
	}
	b := make([]byte, size)
	if err := t.CopyIn(addr, b); err != nil {
		return linux.OpenHow{}, err
	}
	for _, x := range b[linux.SizeofOpenHow:] {
		if x != 0 {
			return linux.OpenHow{}, linux.E2BIG
		}
	}
	return linux.ReadOpenHow(b), nil
}

// walkResolve turns the RESOLVE_ bits into those of a walk.
func walkResolve(resolve uint64) vfs.WalkFlags {
	var how vfs.WalkFlags
	for _, r := range [...]struct {
		bit  uint64
		flag vfs.WalkFlags
	}{
		{linux.RESOLVE_NO_XDEV, vfs.NoXdev},
		{linux.RESOLVE_NO_MAGICLINKS, vfs.NoMagic},
		{linux.RESOLVE_NO_SYMLINKS, vfs.NoSymlinks | vfs.NoMagic},
		{linux.RESOLVE_BENEATH, vfs.Beneath},
		{linux.RESOLVE_IN_ROOT, vfs.InRoot},
	} {
		if resolve&r.bit != 0 {
			how |= r.flag
		}
	}
	return how
}

// openHow opens with flags that are in order one by one, and refuses the
// combinations that are not.
func openHow(t *task.Task, dirfd linux.FD, path mm.Addr, flags linux.OpenFlags, mode uint32, how vfs.WalkFlags) (uint64, error) {
	switch {
	case flags&linux.O_TMPFILE_BIT != 0 && (flags&linux.O_TMPFILE != linux.O_TMPFILE || !flags.Write() || flags&linux.O_CREAT != 0):
		return 0, linux.EINVAL
	case flags&linux.O_CREAT != 0 && flags&linux.O_DIRECTORY != 0:
		return 0, linux.EINVAL
	}
	copyPath := borrowPath
	if flags&linux.O_CREAT != 0 {
		copyPath = copyInPath // the name stays with what is made
	}
	name, err := copyPath(t, path)
	if err != nil {
		return 0, err
	}
	if name == "" {
		return 0, linux.ENOENT
	}
	from, err := start(t, dirfd, name, how)
	if err != nil {
		return 0, err
	}
	if flags&linux.O_PATH == 0 {
		flags |= linux.O_LARGEFILE // as every open of a 64-bit program has it
	}
	fs := t.FS()
	f, err := vfs.Open(t, fs.Root(), from, name, flags, mode, fs.Umask(), how)
	if err != nil {
		noteAbsent(t, name, err)
		return 0, err
	}
	fd, err := install(t, f, flags)
	if err == nil {
		switch {
		case t.MayTry():
			t.Try(linux.FD(fd))
		case flags&^plainOpen == 0:
			answerAhead(t, linux.FD(fd))
		}
	}
	return fd, err
}

// plainOpen are the flags of opening a file to read it.
const plainOpen = linux.O_RDONLY | linux.O_CLOEXEC | linux.O_NOCTTY | linux.O_NONBLOCK | linux.O_NOFOLLOW | linux.O_LARGEFILE

// linkerReads is how much of a library the dynamic linker reads, in bytes; it maps the rest.
const linkerReads = 1 << 10

// answerAhead says of a file that was just opened for reading what may be asked next.
func answerAhead(t *task.Task, fd linux.FD) {
	may, linker, contents := t.MayAskAhead()
	if !may {
		return
	}
	t.AnswerAhead(fd, func(f *vfs.File, stat *[linux.SizeofStat]byte) ([]byte, bool, bool) {
		a, err := f.Attr(t)
		// A file without a name may have a writer that was never counted: memfd_create(2).
		if err != nil || a.Mode&linux.S_IFMT != linux.S_IFREG || a.Nlink == 0 {
			return nil, false, false
		}
		putStat(t, stat[:], &a)
		begin := t.Thread().AheadRoom()
		switch {
		case linker:
			begin = begin[:min(linkerReads, len(begin))]
		case !contents || a.Size <= 0 || a.Size > int64(len(begin)), f.MarksRead():
			return nil, false, true
		}
		n, err := f.Pread(t, begin, 0)
		all := int64(n) == a.Size
		if err != nil || !all && !linker {
			return nil, false, err == nil
		}
		return begin[:n], all, true
	})
}

// install gives f, whose reference it takes in any case, the lowest free
// descriptor.
func install(t *task.Task, f *vfs.File, flags linux.OpenFlags) (uint64, error) {
	fd, err := t.Install(f, 0, flags&linux.O_CLOEXEC != 0)
	return uint64(fd), err
}

// name_to_handle_at is not supported: file handles would outlive the sandbox's
// idea of a file.
func name_to_handle_at(t *task.Task, dirfd linux.FD, path, handle, mountID mm.Addr, flags atFlags) (uint64, error) {
	return 0, linux.EOPNOTSUPP
}

// umask sets the file mode creation mask and gives the old one: umask(2).
func umask(t *task.Task, mask uint32) (uint64, error) {
	return uint64(t.FS().SwapUmask(mask & 0o777)), nil
}
