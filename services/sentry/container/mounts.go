package container

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"bulkhead/proto/linux"
	sentryv1 "bulkhead/proto/sentry/v1"
	"bulkhead/services/sentry/devfs"
	"bulkhead/services/sentry/devpts"
	"bulkhead/services/sentry/gofs"
	"bulkhead/services/sentry/overlay"
	"bulkhead/services/sentry/procfs"
	"bulkhead/services/sentry/syscalls"
	"bulkhead/services/sentry/sysfs"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/tmpfs"
	"bulkhead/services/sentry/vfs"
)

var noDeadline time.Time

// mount builds the container's tree of files.
func (c *Container) mount() error {
	root, err := c.root()
	if err != nil {
		return fmt.Errorf("mount /: %w", err)
	}
	flags := vfs.MountRelatime
	if c.spec.Root.ReadOnly {
		flags |= vfs.MountReadOnly
	}
	c.ns = vfs.NewNamespace(root, flags&^vfs.MountReadOnly)
	for _, m := range c.spec.Mounts {
		if err := c.mountOne(m); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.Type, m.Destination, err)
		}
	}
	for _, d := range c.spec.Devices {
		if err := c.device(d); err != nil {
			return fmt.Errorf("make device %s: %w", d.Path, err)
		}
	}
	for _, p := range c.spec.MaskedPaths {
		if err := c.mask(p); err != nil {
			return fmt.Errorf("mask %s: %w", p, err)
		}
	}
	for _, p := range c.spec.ReadonlyPaths {
		if err := c.protect(p); err != nil {
			return fmt.Errorf("make %s read-only: %w", p, err)
		}
	}
	if flags&vfs.MountReadOnly != 0 {
		return c.ns.Remount(vfs.KernelContext(), c.ns.Root(), flags, false)
	}
	return nil
}

func (c *Container) root() (vfs.FileSystem, error) {
	r := c.spec.Root
	if c.sandbox.gofer == nil {
		return nil, fmt.Errorf("there is no gofer")
	}
	fs, err := gofs.New(c.sandbox.gofer, r.Attach, gofs.Options{Shared: r.Shared, ReadOnly: r.Overlay})
	if err != nil || !r.Overlay {
		return fs, err
	}
	return overlay.New(fs, tmpfs.New(tmpfs.Options{Mode: 0o755}))
}

// mountOne mounts one file system of the specification.
func (c *Container) mountOne(m *sentryv1.Mount) error {
	fs, err := c.fileSystem(m)
	if err != nil {
		return err
	}
	at, err := c.mountPoint(m.Destination, m.File)
	if err != nil {
		return err
	}
	if m.CopyUp {
		if err := copyUp(at, fs); err != nil {
			return err
		}
	}
	source := m.Source
	if source == "" {
		source = m.Type
	}
	return c.ns.Mount(vfs.KernelContext(), at, fs, source, syscalls.MountOptions(m.Flags))
}

// fileSystem makes an instance of what m asks for.
func (c *Container) fileSystem(m *sentryv1.Mount) (vfs.FileSystem, error) {
	s := c.sandbox
	switch m.Type {
	case "gofer":
		if s.gofer == nil {
			return nil, fmt.Errorf("there is no gofer")
		}
		return gofs.New(s.gofer, m.Attach, gofs.Options{Shared: m.Shared, ReadOnly: m.Flags&linux.MS_RDONLY != 0})
	case "dev":
		fs := tmpfs.New(tmpfs.Options{Mode: 0o755})
		return fs, devfs.Populate(fs, c.spec.Process.Terminal)
	case "devpts":
		return s.pts, nil
	}
	return s.simple(vfs.KernelContext(), m.Type, strings.Join(m.Options, ","))
}

// simple makes the file systems that a guest can mount itself as well.
func (s *Sandbox) simple(mounter vfs.Context, kind, options string) (vfs.FileSystem, error) {
	switch kind {
	case "tmpfs", "shm":
		o, err := tmpfsOptions(options)
		if err != nil {
			return nil, err
		}
		return tmpfs.New(o), nil
	case "mqueue":
		return s.kernel.IPC().Queues, nil
	case "proc":
		return s.proc(vfs.KernelContext(), nil), nil
	case "sysfs":
		return sysfs.New(sysfs.Config{CPUs: s.host.CPUs, Memory: s.host.Memory["MemTotal"] << 10, Interfaces: s.interfacesFor(mounter)}), nil
	case "cgroup", "cgroup2":
		return s.kernel.Cgroups.FS(), nil
	case "devpts":
		return devpts.New(s.jobs, devpts.DefaultOptions()), nil
	}
	return nil, fmt.Errorf("the kernel has no such file system: %w", linux.ENODEV)
}

// proc is a /proc that shows the processes of a namespace, nil being the first.
func (s *Sandbox) proc(mounter vfs.Context, ns *task.PIDNamespace) *procfs.FS {
	c := procfs.Config{Kernel: procfs.NewKernel(s.kernel, ns), Host: s.host}
	s.showNetwork(&c, mounter)
	return procfs.New(c)
}

// fileSystems tells mount(2) what there is.
func (s *Sandbox) fileSystems() {
	for _, kind := range []string{"tmpfs", "ramfs"} {
		syscalls.FileSystems[kind] = func(t *task.Task, _, options string) (vfs.FileSystem, error) {
			return inMemory(kind == "ramfs", options, t.Creds())
		}
	}
	for _, kind := range []string{"sysfs", "devpts", "mqueue"} {
		syscalls.FileSystems[kind] = func(t *task.Task, _, options string) (vfs.FileSystem, error) {
			fs, err := s.simple(t, kind, options)
			if err != nil {
				return nil, linux.EINVAL
			}
			return fs, nil
		}
	}
	syscalls.FileSystems["cgroup2"] = s.cgroups
	syscalls.FileSystems["proc"] = func(t *task.Task, _, _ string) (vfs.FileSystem, error) {
		return s.proc(t, t.PIDNamespace()), nil
	}
}

// cgroups is cgroup2 as the mounter's namespace of control groups sees it: EPERM, EINVAL.
func (s *Sandbox) cgroups(t *task.Task, _, options string) (vfs.FileSystem, error) {
	ns := t.CgroupNamespace()
	if !t.Creds().HasIn(ns.Owner, linux.CAP_SYS_ADMIN) {
		return nil, linux.EPERM
	}
	for word := range strings.SplitSeq(options, ",") {
		switch word {
		case "", "nsdelegate", "favordynmods", "memory_localevents", "memory_recursiveprot", "memory_hugetlb_accounting", "pids_localevents":
		default:
			return nil, linux.EINVAL
		}
	}
	return syscalls.Part{FileSystem: s.kernel.Cgroups.FS(), Directory: ns.Root.Path()}, nil
}

// inMemory is a file system of its own for who mounts it, whose its root is unless the
// options name another by the ids that the mounter knows: EINVAL.
func inMemory(ram bool, options string, mounter *vfs.Creds) (vfs.FileSystem, error) {
	const nobody = ^uint32(0)
	o, err := tmpfs.ParseOptions(options, tmpfs.Options{RAM: ram, UID: nobody, GID: nobody})
	if err != nil {
		return nil, err
	}
	known := true
	if o.UID == nobody {
		o.UID = mounter.FSUID
	} else if o.UID, known = mounter.UserNS.User(o.UID); !known {
		return nil, linux.EINVAL
	}
	if o.GID == nobody {
		o.GID = mounter.FSGID
	} else if o.GID, known = mounter.UserNS.Group(o.GID); !known {
		return nil, linux.EINVAL
	}
	return tmpfs.New(o), nil
}

// tmpfsOptions reads "size=64m,mode=1777,uid=0": tmpfs(5).
func tmpfsOptions(text string) (tmpfs.Options, error) {
	var o tmpfs.Options
	for word := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(word, "=")
		var err error
		var n uint64
		switch key {
		case "size":
			o.Size, err = parseSize(value)
		case "nr_inodes":
			o.Inodes, err = parseSize(value)
		case "mode":
			n, err = strconv.ParseUint(value, 8, 12)
			o.Mode = uint32(n)
		case "uid":
			n, err = strconv.ParseUint(value, 10, 32)
			o.UID = uint32(n)
		case "gid":
			n, err = strconv.ParseUint(value, 10, 32)
			o.GID = uint32(n)
		}
		if err != nil {
			return o, fmt.Errorf("option %s: %w", word, linux.EINVAL)
		}
	}
	return o, nil
}

func parseSize(s string) (uint64, error) {
	shift := 0
	if n := len(s); n > 0 {
		if i := strings.IndexByte("kmg", s[n-1]|0x20); i >= 0 {
			shift, s = 10*(i+1), s[:n-1]
		} else if s[n-1] == '%' {
			return 0, nil // of the machine's memory: no limit of our own
		}
	}
	v, err := strconv.ParseUint(s, 10, 44)
	return v << shift, err
}

// mountPoint finds a place in the tree, and makes it if it is not there.
func (c *Container) mountPoint(name string, file bool) (vfs.Path, error) {
	ctx := vfs.KernelContext()
	root := c.ns.Root()
	name = path.Clean("/" + name)
	p, err := vfs.Walk(ctx, root, root, name, vfs.InRoot)
	if err != linux.ENOENT {
		return p, err
	}
	dir, err := c.directory(path.Dir(name))
	if err != nil {
		return vfs.Path{}, err
	}
	if file {
		err = vfs.Mknod(ctx, dir, path.Base(name), linux.S_IFREG|0o644, 0)
	} else {
		err = vfs.Mkdir(ctx, dir, path.Base(name), 0o755)
	}
	if err != nil && err != linux.EEXIST {
		return vfs.Path{}, err
	}
	return vfs.Walk(ctx, root, root, name, vfs.InRoot)
}

// directory finds a directory, and makes what of it is not there.
func (c *Container) directory(name string) (vfs.Path, error) {
	ctx := vfs.KernelContext()
	root := c.ns.Root()
	name = path.Clean("/" + name)
	p, err := vfs.Walk(ctx, root, root, name, vfs.InRoot|vfs.MustDirectory)
	if err != linux.ENOENT || name == "/" {
		return p, err
	}
	dir, err := c.directory(path.Dir(name))
	if err != nil {
		return vfs.Path{}, err
	}
	if err := vfs.Mkdir(ctx, dir, path.Base(name), 0o755); err != nil && err != linux.EEXIST {
		return vfs.Path{}, err
	}
	return vfs.Walk(ctx, root, root, name, vfs.InRoot|vfs.MustDirectory)
}

func (c *Container) device(d *sentryv1.Device) error {
	dir, err := c.directory(path.Dir(d.Path))
	if err != nil {
		return err
	}
	ctx := vfs.KernelContext()
	err = vfs.Mknod(ctx, dir, path.Base(d.Path), d.Mode, linux.Mkdev(d.Major, d.Minor))
	if err != nil {
		if err == linux.EEXIST {
			return nil
		}
		return err
	}
	p, err := vfs.Walk(ctx, c.ns.Root(), dir, path.Base(d.Path), vfs.NoFollow)
	if err != nil {
		return err
	}
	return vfs.SetStat(ctx, p, vfs.SetAttr{Mask: vfs.SetUID | vfs.SetGID, UID: d.Uid, GID: d.Gid})
}

// mask hides what is at a path: an empty directory or /dev/null over it.
func (c *Container) mask(name string) error {
	ctx := vfs.KernelContext()
	root := c.ns.Root()
	p, err := vfs.Walk(ctx, root, root, name, vfs.InRoot)
	if err != nil {
		return ignoreMissing(err)
	}
	if p.Dentry.IsDir() {
		return c.ns.Mount(ctx, p, tmpfs.New(tmpfs.Options{Mode: 0o755}), "tmpfs", vfs.MountReadOnly)
	}
	null, err := vfs.Walk(ctx, root, root, "/dev/null", vfs.InRoot)
	if err != nil {
		return ignoreMissing(err)
	}
	return c.ns.BindMount(ctx, null, p, false, 0)
}

// protect makes a path read-only.
func (c *Container) protect(name string) error {
	ctx := vfs.KernelContext()
	root := c.ns.Root()
	p, err := vfs.Walk(ctx, root, root, name, vfs.InRoot)
	if err != nil {
		return ignoreMissing(err)
	}
	if err := c.ns.BindMount(ctx, p, p, true, 0); err != nil {
		return err
	}
	if p, err = vfs.Walk(ctx, root, root, name, vfs.InRoot); err != nil {
		return err
	}
	return c.ns.Remount(ctx, p, p.Mount.Flags()|vfs.MountReadOnly, false)
}

func ignoreMissing(err error) error {
	if err == linux.ENOENT || err == linux.ENOTDIR {
		return nil
	}
	return err
}
