package syscalls

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/procfs"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// FileSystems are the types that mount(2) knows, by name. Set at start-up.
var FileSystems = map[string]func(t *task.Task, source, options string) (vfs.FileSystem, error){}

// Part is what a maker of FileSystems gives to have only a directory of a file system
// mounted.
type Part struct {
	vfs.FileSystem
	Directory string // from its root
}

// mountFlags are the MS_ flags of mount(2).
type mountFlags uint64

const (
	propagation = linux.MS_SHARED | linux.MS_PRIVATE | linux.MS_SLAVE | linux.MS_UNBINDABLE
	mountMagic  = mountFlags(0xc0ed0000)
)

// options are those that a mount keeps.
func (f mountFlags) options() vfs.MountFlags {
	var m vfs.MountFlags
	for _, o := range [...]struct {
		ms   mountFlags
		flag vfs.MountFlags
	}{
		{linux.MS_RDONLY, vfs.MountReadOnly},
		{linux.MS_NOSUID, vfs.MountNoSUID},
		{linux.MS_NODEV, vfs.MountNoDev},
		{linux.MS_NOEXEC, vfs.MountNoExec},
		{linux.MS_NOATIME, vfs.MountNoAtime},
		{linux.MS_NODIRATIME, vfs.MountNoDirAtime},
		{linux.MS_NOSYMFOLLOW, vfs.MountNoSymfollow},
	} {
		if f&o.ms != 0 {
			m |= o.flag
		}
	}
	switch {
	case f&linux.MS_STRICTATIME != 0:
		m &^= vfs.MountNoAtime
	case f&linux.MS_NOATIME == 0:
		m |= vfs.MountRelatime
	}
	return m
}

// again are the options of a mount that is remounted: which times of access it keeps
// stays if nothing is said of it.
func (f mountFlags) again(had vfs.MountFlags) vfs.MountFlags {
	m := f.options()
	if f&(linux.MS_NOATIME|linux.MS_NODIRATIME|linux.MS_RELATIME|linux.MS_STRICTATIME) == 0 {
		m = m&^vfs.MountAtime | had&vfs.MountAtime
	}
	return m
}

// MountOptions are the options that MS_ flags of mount(2) give a mount.
func MountOptions(flags uint64) vfs.MountFlags { return mountFlags(flags).options() }

// mount attaches a file system or a part of the tree to a place, or changes a
// mount: mount(2). Propagation is taken and has no effect, as there are no
// peers.
func mount(t *task.Task, source, target, fstype mm.Addr, flags mountFlags, data mm.Addr) (uint64, error) {
	if flags&0xffff0000 == mountMagic {
		flags &^= 0xffff0000
	}
	kind, err := optionalString(t, fstype)
	if err != nil {
		return 0, err
	}
	from, err := optionalString(t, source)
	if err != nil {
		return 0, err
	}
	options, err := optionalString(t, data)
	if err != nil {
		return 0, err
	}
	at, err := resolve(t, linux.AtFDCWD, target, 0)
	if err != nil {
		return 0, err
	}
	if !mayMount(t) {
		return 0, linux.EPERM
	}
	ns := ownMounts(t)
	if at.Mount.Namespace() != ns {
		return 0, linux.EINVAL // a descriptor leads to where it was opened
	}
	switch {
	case flags&linux.MS_REMOUNT != 0:
		return 0, ns.Remount(t, at, flags.again(at.Mount.Flags()), flags&linux.MS_BIND == 0)
	case flags&linux.MS_BIND != 0:
		p, err := walk(t, linux.AtFDCWD, from, 0)
		if err != nil {
			return 0, err
		}
		return 0, ns.BindMount(t, p, at, flags&linux.MS_REC != 0, 0)
	case flags&propagation != 0:
		return 0, nil
	case flags&linux.MS_MOVE != 0:
		p, err := walk(t, linux.AtFDCWD, from, 0)
		if err != nil {
			return 0, err
		}
		return 0, ns.Move(p, at)
	}
	return 0, mountNew(t, at, kind, from, options, flags)
}

// ownMounts is the namespace that the caller may change, if any.
func ownMounts(t *task.Task) *vfs.Namespace { return t.FS().Root().Mount.Namespace() }

// mayMount says whether the caller may change what is mounted where, in its own
// namespace: that one's owner counts.
func mayMount(t *task.Task) bool {
	return t.FS().Root().Mount != nil && t.Creds().HasIn(ownMounts(t).Owner, linux.CAP_SYS_ADMIN)
}

func mountNew(t *task.Task, at vfs.Path, kind, source, options string, flags mountFlags) error {
	if kind == "" {
		return linux.EINVAL
	}
	make, ok := FileSystems[kind]
	if !ok {
		return linux.ENODEV
	}
	fs, err := make(t, source, options)
	if err != nil {
		return err
	}
	if source == "" {
		source = "none"
	}
	directory := ""
	if p, ok := fs.(Part); ok {
		fs, directory = p.FileSystem, p.Directory
	}
	return at.Mount.Namespace().Mount(t, at, fs, source, flags.options(), directory)
}

// optionalString reads a string of a page at most; "" if there is none.
func optionalString(t *task.Task, addr mm.Addr) (string, error) {
	if addr == 0 {
		return "", nil
	}
	s, err := t.CopyInString(addr, linux.PageSize)
	if err == linux.ENAMETOOLONG {
		err = linux.EINVAL
	}
	return s, err
}

// umount2 takes a mount away: umount(2).
func umount2(t *task.Task, target mm.Addr, flags int32) (uint64, error) {
	const known = linux.MNT_FORCE | linux.MNT_DETACH | linux.MNT_EXPIRE | linux.UMOUNT_NOFOLLOW
	if flags&^known != 0 {
		return 0, linux.EINVAL
	}
	var how vfs.WalkFlags
	if flags&linux.UMOUNT_NOFOLLOW != 0 {
		how = vfs.NoFollow
	}
	p, err := resolve(t, linux.AtFDCWD, target, how)
	if err != nil {
		return 0, err
	}
	if !mayMount(t) {
		return 0, linux.EPERM
	}
	p = p.Top()                                                    // of ".", what is mounted over it
	if err := ownMounts(t).Unmount(t, p, int(flags)); err != nil { // EINVAL for one of another namespace
		return 0, err
	}
	procfs.NamespaceLeft(p.Node())
	return 0, nil
}

// pivot_root makes the mount at newRoot the root, and puts the old one at putOld:
// pivot_root(2).
func pivot_root(t *task.Task, newRoot, putOld mm.Addr) (uint64, error) {
	if !mayMount(t) {
		return 0, linux.EPERM
	}
	to, err := resolve(t, linux.AtFDCWD, newRoot, vfs.MustDirectory)
	if err != nil {
		return 0, err
	}
	old, err := resolve(t, linux.AtFDCWD, putOld, vfs.MustDirectory)
	if err != nil {
		return 0, err
	}
	return 0, t.Pivot(to, old)
}

// setns moves the caller to the namespace that fd, a link of /proc/PID/ns, stands for,
// or to those of a process, of which kinds says which: setns(2).
func setns(t *task.Task, fd linux.FD, kinds uint32) (uint64, error) {
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	if p, ok := f.Impl().(*pidfd); ok {
		return 0, setnsOf(t, p.group, kinds)
	}
	ns, kind := procfs.NamespaceOf(f.Impl())
	if kind == 0 || kinds != 0 && uint64(kinds) != kind {
		return 0, linux.EINVAL
	}
	return 0, t.Setns(ns)
}

// setnsOf is setns to a process's namespaces.
func setnsOf(t *task.Task, g *task.Group, kinds uint32) error {
	const known = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID |
		unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP
	if kinds == 0 || kinds&^known != 0 {
		return linux.EINVAL
	}
	o := g.Leader()
	net := o.Net()
	if g.Zombie() || o.FS() == nil || o.MM() == nil { // who has ended has left its network
		return linux.ESRCH
	}
	if err := t.MayInspect(o); err != nil {
		return err
	}
	for _, k := range []struct {
		kind uint32
		ns   any
	}{
		{unix.CLONE_NEWUSER, o.Creds().UserNS}, {unix.CLONE_NEWUTS, o.UTS()}, {unix.CLONE_NEWIPC, o.IPC()},
		{unix.CLONE_NEWNET, net}, {unix.CLONE_NEWCGROUP, o.CgroupNamespace()},
		{unix.CLONE_NEWPID, o.PIDNamespace()}, {unix.CLONE_NEWNS, o.FS().Root().Mount.Namespace()},
	} {
		if kinds&k.kind != 0 {
			if err := t.Setns(k.ns); err != nil {
				return err
			}
		}
	}
	return nil
}
