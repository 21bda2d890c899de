package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/inotify"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// inotify_init makes an instance that is told of changes to files: inotify(7).
func inotify_init(t *task.Task) (uint64, error) { return inotify_init1(t, 0) }

// inotify_init1 is inotify_init with flags.
func inotify_init1(t *task.Task, flags linux.OpenFlags) (uint64, error) {
	if flags&^fdFlags != 0 {
		return 0, linux.EINVAL
	}
	return install(t, inotify.New(flags), flags)
}

// inotify_add_watch watches the file at path, or changes its watch:
// inotify_add_watch(2).
func inotify_add_watch(t *task.Task, fd linux.FD, path mm.Addr, mask uint32) (uint64, error) {
	const both = linux.IN_MASK_ADD | linux.IN_MASK_CREATE
	if mask == 0 || mask&both == both {
		return 0, linux.EINVAL
	}
	f, in, err := inotifyOf(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	var how vfs.WalkFlags
	if mask&linux.IN_DONT_FOLLOW != 0 {
		how |= vfs.NoFollow
	}
	if mask&linux.IN_ONLYDIR != 0 {
		how |= vfs.MustDirectory
	}
	p, err := resolve(t, linux.AtFDCWD, path, how)
	if err != nil {
		return 0, err
	}
	wd, err := in.Add(t, p, mask)
	return uint64(wd), err
}

// inotify_rm_watch ends a watch: inotify_rm_watch(2).
func inotify_rm_watch(t *task.Task, fd linux.FD, wd int32) (uint64, error) {
	f, in, err := inotifyOf(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	return 0, in.Remove(wd)
}

// inotifyOf is the instance behind fd and its file, which the caller releases:
// EBADF, EINVAL.
func inotifyOf(t *task.Task, fd linux.FD) (*vfs.File, *inotify.Inotify, error) {
	f, err := t.File(fd)
	if err != nil {
		return nil, nil, err
	}
	in, ok := f.Impl().(*inotify.Inotify)
	if !ok {
		f.DecRef(t)
		return nil, nil, linux.EINVAL
	}
	return f, in, nil
}
