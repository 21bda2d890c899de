package vfs

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
)

// MountFlags are the options of one mount: mount(8), "filesystem-independent
// mount options".
type MountFlags uint32

// The bits of MountFlags.
const (
	MountReadOnly MountFlags = 1 << iota
	MountNoSUID
	MountNoDev
	MountNoExec
	MountNoAtime
	MountNoDirAtime
	MountRelatime
	MountNoSymfollow

	// MountAtime is what of them says when files' times of access change.
	MountAtime = MountNoAtime | MountNoDirAtime | MountRelatime
)

// String is the options as /proc/self/mounts has them.
func (f MountFlags) String() string {
	s := "rw"
	if f&MountReadOnly != 0 {
		s = "ro"
	}
	for i, name := range [...]string{"", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "nosymfollow"} {
		if name != "" && f>>i&1 != 0 {
			s += "," + name
		}
	}
	return s
}

// Mount is a file system, or a part of one, at a place of a Namespace.
type Mount struct {
	id     int
	ns     *Namespace
	super  *super
	root   *Dentry
	source string
	flags  atomic.Uint32
	// What came from a namespace of a more powerful user namespace: locked is not
	// taken away alone, pinned does not lose its restrictions. mount_namespaces(7).
	locked, pinned bool
	at             atomic.Pointer[Path] // the mount point; nil: the root, or detached
	users          atomic.Int64         // open Files, and one while it is mounted
}

// Flags are the mount's options.
func (m *Mount) Flags() MountFlags { return MountFlags(m.flags.Load()) }

// ID is the mount's number in /proc/self/mountinfo.
func (m *Mount) ID() int { return m.id }

// Namespace is the mount table that it is in.
func (m *Mount) Namespace() *Namespace { return m.ns }

// FileSystem is what is mounted.
func (m *Mount) FileSystem() FileSystem { return m.super.fs }

func (m *Mount) has(f MountFlags) bool { return MountFlags(m.flags.Load())&f != 0 }

// hold and drop count the users. Nothing leads to a mount whose last is gone but
// Paths that keep it, and those only look.
func (m *Mount) hold() { m.users.Add(1) }

func (m *Mount) drop() {
	if m.users.Add(-1) == 0 && m.super != nil {
		m.super.drop()
	}
}

// Path is a place in the tree. The garbage collector keeps what it leads to.
type Path struct {
	Mount  *Mount
	Dentry *Dentry
}

// Node is the object at the place.
func (p Path) Node() Node { return p.Dentry.node }

// IsZero says whether it is no place.
func (p Path) IsZero() bool { return p.Dentry == nil }

// IsMountRoot says whether a mount begins there: STATX_ATTR_MOUNT_ROOT.
func (p Path) IsMountRoot() bool { return p.Mount != nil && p.Dentry == p.Mount.root }

// writable gives EROFS for a place on a read-only mount.
func (p Path) writable() error {
	if p.Mount.has(MountReadOnly) {
		return linux.EROFS
	}
	return nil
}

// mountsMost is how many mounts a namespace may have, as the sysctl fs.mount-max:
// bound recursively onto themselves, they would double with each call.
const mountsMost = 4096

// Namespace is a mount table: mount_namespaces(7). Reading it takes no lock.
type Namespace struct {
	// Inode is its number in /proc/PID/ns, Owner the user namespace whose
	// CAP_SYS_ADMIN counts for it.
	Inode uint32
	Owner *UserNamespace

	root *Mount

	mu    sync.Mutex                      // of who changes it
	table atomic.Pointer[map[Path]*Mount] // by mount point; replaced whole
	order []*Mount                        // as mounted; mu
}

var lastMountID atomic.Int32

func newMount(ns *Namespace, fs FileSystem, root *Dentry, source string, flags MountFlags) *Mount {
	s := holdSuper(fs)
	if root == nil {
		root = s.root
	}
	m := &Mount{id: int(lastMountID.Add(1)) + 20, ns: ns, super: s, root: root, source: source}
	m.flags.Store(uint32(flags))
	m.users.Store(1)
	return m
}

// NewNamespace is a mount table with root mounted at "/".
func NewNamespace(root FileSystem, flags MountFlags) *Namespace {
	ns := &Namespace{}
	ns.table.Store(&map[Path]*Mount{})
	ns.root = newMount(ns, root, nil, root.Type(), flags)
	ns.order = []*Mount{ns.root}
	return ns
}

// Len is how many mounts there are.
func (ns *Namespace) Len() int {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return len(ns.order)
}

// Root is the root directory of the root mount, or of what is mounted over it.
func (ns *Namespace) Root() Path {
	p := Path{ns.root, ns.root.root}
	p.down()
	return p
}

// down goes to the topmost of the mounts at p, and says whether it went.
func (p *Path) down() bool {
	went := false
	for p.Dentry.mounted.Load() > 0 {
		m := (*p.Mount.ns.table.Load())[*p]
		if m == nil {
			break
		}
		*p = Path{m, m.root}
		went = true
	}
	return went
}

// Mount mounts fs, or what subdir names in it, at a place. Both must be
// directories or both not (ENOTDIR). source is what /proc/self/mounts shows.
func (ns *Namespace) Mount(ctx Context, at Path, fs FileSystem, source string, flags MountFlags, subdir ...string) error {
	m := newMount(ns, fs, nil, source, flags)
	for _, path := range subdir {
		for _, name := range strings.FieldsFunc(path, func(r rune) bool { return r == '/' }) {
			if m.root.dir == nil {
				m.drop()
				return linux.ENOTDIR
			}
			d, err := m.root.lookup(ctx, name)
			if err == nil && d.node == nil {
				err = linux.ENOENT
			}
			if err != nil {
				m.drop()
				return err
			}
			m.root = d
		}
	}
	return ns.attach(at, m)
}

// BindMount makes what is at from appear at another place, with what is mounted
// below it if recursive. flags are the new mount's own, besides those of from. EINVAL
// for what another namespace has mounted, and for a copy without the mounts that hide a
// part of it from who may not take them away.
func (ns *Namespace) BindMount(ctx Context, from, at Path, recursive bool, flags MountFlags) error {
	if b, ok := from.Dentry.node.(Bindable); ok && from.Mount == anonMount {
		return ns.Mount(ctx, at, b.FileSystem(), b.FileSystem().Type(), flags)
	}
	if from.Mount.ns != ns || !recursive && ns.hides(from) {
		return linux.EINVAL
	}
	bind := func(p Path) *Mount {
		m := newMount(ns, p.Mount.super.fs, p.Dentry, p.Mount.source, p.Mount.Flags()|flags)
		m.pinned = p.Mount.pinned
		return m
	}
	copies := map[*Mount]*Mount{from.Mount: bind(from)}
	type copied struct {
		at Path // of the original
		m  *Mount
	}
	all := []copied{{m: copies[from.Mount]}}
	var err error
	if recursive {
		ns.mu.Lock()
		for _, m := range ns.order {
			p := m.at.Load()
			if p == nil || copies[p.Mount] == nil || p.Mount == from.Mount && !under(p.Dentry, from.Dentry) {
				continue
			}
			if len(ns.order)+len(all) >= mountsMost {
				err = linux.ENOSPC
				break
			}
			copies[m] = bind(Path{m, m.root})
			copies[m].locked = m.locked
			all = append(all, copied{*p, copies[m]})
		}
		ns.mu.Unlock()
	}
	for i, c := range all {
		if i > 0 {
			at = Path{copies[c.at.Mount], c.at.Dentry}
		}
		if err == nil {
			err = ns.attach(at, c.m)
		} else {
			c.m.drop()
		}
	}
	return err
}

// hides says whether a locked mount lies on what is at p or below.
func (ns *Namespace) hides(p Path) bool {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return slices.ContainsFunc(ns.order, func(m *Mount) bool {
		at := m.at.Load()
		return m.locked && at != nil && at.Mount == p.Mount && under(at.Dentry, p.Dentry)
	})
}

// under says whether d is top or lies below it in the same file system.
func under(d, top *Dentry) bool {
	for ; d != nil; d = d.parent() {
		if d == top {
			return true
		}
	}
	return false
}

// attach puts m on top of what is at the place; it takes m over.
func (ns *Namespace) attach(at Path, m *Mount) error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	beginUnnaming()
	defer endUnnaming()
	at.down()
	switch {
	case at.Mount.ns != ns:
		m.drop()
		return linux.EINVAL
	case at.Dentry.IsDir() != m.root.IsDir():
		m.drop()
		return linux.ENOTDIR
	case at.Dentry.gone.Load():
		m.drop()
		return linux.ENOENT
	case len(ns.order) >= mountsMost:
		m.drop()
		return linux.ENOSPC
	}
	table := maps.Clone(*ns.table.Load())
	table[at] = m
	m.at.Store(&at)
	at.Dentry.mounted.Add(1)
	ns.table.Store(&table)
	ns.order = append(ns.order, m)
	return nil
}

// Remount changes the options of the mount whose root is at p, or with whole those of
// the file system, which here are the mount's, too: EINVAL if it is none, EPERM if the
// restrictions of one that a more powerful user has mounted would go.
func (ns *Namespace) Remount(ctx Context, p Path, flags MountFlags, whole bool) error {
	if !p.IsMountRoot() || p.Mount.ns != ns {
		return linux.EINVAL
	}
	had := p.Mount.Flags()
	if p.Mount.pinned && (whole || had&^flags&(MountReadOnly|MountNoSUID|MountNoDev|MountNoExec) != 0 || (had^flags)&MountAtime != 0) {
		return linux.EPERM
	}
	Unnaming(func() { p.Mount.flags.Store(uint32(flags)) })
	return nil
}

// Unmount takes away the mount whose root is at p: umount2(2). EINVAL if there
// is none, EBUSY if something is mounted on it or open in it, unless MNT_DETACH.
func (ns *Namespace) Unmount(ctx Context, p Path, flags int) error {
	UnforeseeAll() // what is closed already is not in use
	ns.mu.Lock()
	defer ns.mu.Unlock()
	beginUnnaming()
	defer endUnnaming()
	m := p.Mount
	if p.Dentry != m.root || m.ns != ns || m.at.Load() == nil || m.locked {
		return linux.EINVAL
	}
	gone := map[*Mount]bool{m: true}
	for _, o := range ns.order { // a mount comes after what it is on
		if at := o.at.Load(); at != nil && gone[at.Mount] {
			gone[o] = true
		}
	}
	if flags&linux.MNT_DETACH == 0 && (len(gone) > 1 || m.users.Load() > 1) {
		return linux.EBUSY
	}
	table := maps.Clone(*ns.table.Load())
	for o := range gone {
		at := o.at.Swap(nil)
		delete(table, *at)
		at.Dentry.mounted.Add(-1)
	}
	ns.table.Store(&table)
	ns.order = slices.DeleteFunc(ns.order, func(o *Mount) bool { return gone[o] })
	for o := range gone {
		o.drop()
	}
	return nil
}

// Release takes everything away: the last task of the namespace is gone.
func (ns *Namespace) Release() {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	beginUnnaming()
	defer endUnnaming()
	ns.table.Store(&map[Path]*Mount{})
	for _, m := range ns.order {
		if at := m.at.Swap(nil); at != nil {
			at.Dentry.mounted.Add(-1)
		}
		m.drop()
	}
	ns.order = nil
}

// Copy is a namespace of its own with the same mounts, for CLONE_NEWNS. move
// turns a Path of the old one into the same place of the new one.
func (ns *Namespace) Copy(owner *UserNamespace, inode uint32) (copied *Namespace, move func(Path) Path) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	to := &Namespace{Owner: owner, Inode: inode}
	table := make(map[Path]*Mount)
	of := make(map[*Mount]*Mount)
	for _, m := range ns.order {
		c := newMount(to, m.super.fs, m.root, m.source, m.Flags())
		c.pinned = m.pinned || owner != ns.Owner
		c.locked = m.locked || owner != ns.Owner && m != ns.root
		of[m] = c
		to.order = append(to.order, c)
		if at := m.at.Load(); at != nil {
			p := Path{of[at.Mount], at.Dentry}
			c.at.Store(&p)
			p.Dentry.mounted.Add(1)
			table[p] = c
		}
	}
	to.root = of[ns.root]
	to.table.Store(&table)
	return to, func(p Path) Path {
		if c := of[p.Mount]; c != nil {
			p.Mount = c
		}
		return p
	}
}
