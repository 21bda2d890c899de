package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/inotify"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// setLease is F_SETLEASE: fcntl(2), "Leases". EAGAIN, EINVAL, EACCES.
func setLease(t *task.Task, f *vfs.File, fd linux.FD, kind uint64) error {
	switch kind {
	case linux.F_UNLCK:
		if err := f.EndLease(); err != nil {
			return err
		}
		f.SetOwner(&ioOwner{k: t.Kernel()}) // whom it would tell goes with it
		return nil
	case linux.F_RDLCK, linux.F_WRLCK:
	default:
		return linux.EINVAL
	}
	if err := f.SetLease(t, int(kind), func() bool { return openAlone(t.Kernel(), f) }); err != nil {
		return err
	}
	return ownByDefault(t, f, fd)
}

// openAlone says whether no other open file of any process is of f's node.
func openAlone(k *task.Kernel, f *vfs.File) bool {
	node := f.Path().Node()
	for _, t := range k.Tasks() {
		fds := t.FDs()
		if fds == nil {
			continue
		}
		for _, e := range fds.All() {
			if e.File != f && e.File.Path().Node() == node && e.File.Flags()&linux.O_PATH == 0 {
				return false
			}
		}
	}
	return true
}

// ownByDefault has the caller told of what happens to f, unless somebody is.
func ownByDefault(t *task.Task, f *vfs.File, fd linux.FD) error {
	if o := ioOwnerOf(t, f); o.id != 0 {
		return nil
	}
	return setOwner(t, f, fd, ownerPID, t.TGID())
}

// notifyDirectory is F_NOTIFY: fcntl(2), "File and directory change notification".
// What is asked for comes to what was, until that has been told of once. ENOTDIR.
func notifyDirectory(t *task.Task, f *vfs.File, fd linux.FD, events uint32) error {
	if events&inotify.DNEvents == 0 {
		f.SetNotices(0)
		f.OnEnd(nil)
		return nil
	}
	if !isDirectory(f.Path()) {
		return linux.ENOTDIR
	}
	if err := ownByDefault(t, f, fd); err != nil {
		return err
	}
	events |= f.Notices()
	f.SetNotices(events)
	f.OnEnd(inotify.WatchDir(f.Path().Node(), events, func() {
		if events&inotify.DNMultishot == 0 {
			f.SetNotices(0)
		}
		if o := f.Owner(); o != nil {
			o.Signal(vfs.LeaseBroken)
		}
	}))
	return nil
}
