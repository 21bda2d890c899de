package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// FileSystems are the types that mount(2) knows, by name. Set at start-up.
var FileSystems = map[string]func(t *task.Task, source, options string) (vfs.FileSystem, error){}

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
	} {
		if f&o.ms != 0 {
			m |= o.flag
		}
	}
	if f&(linux.MS_NOATIME|linux.MS_STRICTATIME) == 0 {
		m |= vfs.MountRelatime
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
	if !t.Creds().Has(linux.CAP_SYS_ADMIN) {
		return 0, linux.EPERM
	}
	ns := at.Mount.Namespace()
	switch {
	case flags&linux.MS_REMOUNT != 0:
		return 0, ns.Remount(t, at, flags.options())
	case flags&linux.MS_BIND != 0:
		p, err := walk(t, linux.AtFDCWD, from, 0)
		if err != nil {
			return 0, err
		}
		return 0, ns.BindMount(t, p, at, flags&linux.MS_REC != 0, 0)
	case flags&propagation != 0:
		return 0, nil
	case flags&linux.MS_MOVE != 0:
		return 0, linux.EINVAL
	}
	return 0, mountNew(t, at, kind, from, options, flags)
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
	return at.Mount.Namespace().Mount(t, at, fs, source, flags.options())
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
	if !t.Creds().Has(linux.CAP_SYS_ADMIN) {
		return 0, linux.EPERM
	}
	return 0, p.Mount.Namespace().Unmount(t, p, int(flags))
}

// pivot_root exchanges the root mount, which cannot be done here: EINVAL, as on
// an initial ramdisk, pivot_root(2).
func pivot_root(t *task.Task, newRoot, putOld mm.Addr) (uint64, error) {
	if !t.Creds().Has(linux.CAP_SYS_ADMIN) {
		return 0, linux.EPERM
	}
	for _, path := range [...]mm.Addr{newRoot, putOld} {
		if _, err := resolve(t, linux.AtFDCWD, path, vfs.MustDirectory); err != nil {
			return 0, err
		}
	}
	return 0, linux.EINVAL
}
