package vfs

import (
	"slices"
	"strings"

	"bulkhead/proto/linux"
)

// MountInfo is one mount as /proc/self/mounts and /proc/self/mountinfo show it:
// proc(5).
type MountInfo struct {
	ID, ParentID int
	Dev          uint64 // st_dev of its files
	Root         string // what of the file system is mounted: "/"
	Point        string // where, as seen from the asked root
	Flags        MountFlags
	Options      string // Flags as text: "rw,nosuid"
	Type         string // "tmpfs"
	Source       string
	SuperOptions string // "rw", and what the file system says of itself
}

// Optioner is a FileSystem with options of its own to show: "size=1024k".
type Optioner interface {
	Options() string
}

// Mounts gives all mounts in the order they were made.
func (ns *Namespace) Mounts() []MountInfo { return ns.MountsUnder(ns.Root()) }

// MountsUnder gives the mounts that can be reached from root, named as seen
// from there: /proc/PID/mountinfo of a process in a chroot.
func (ns *Namespace) MountsUnder(root Path) []MountInfo {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	list := make([]MountInfo, 0, len(ns.order))
	for _, m := range ns.order {
		point, ok := PathName(root, Path{m, m.root})
		if !ok {
			continue
		}
		list = append(list, m.info(point))
	}
	return list
}

func (m *Mount) info(point string) MountInfo {
	i := MountInfo{
		ID: m.id, ParentID: 1, Point: point, Root: m.root.pathInFS(),
		Flags: m.Flags(), Options: m.Flags().String(),
		Type: m.super.fs.Type(), Source: m.source, SuperOptions: "rw",
	}
	if at := m.at.Load(); at != nil {
		i.ParentID = at.Mount.id
	}
	if a, err := m.root.node.Attr(KernelContext()); err == nil {
		i.Dev = a.Dev
	}
	if o, ok := m.super.fs.(Optioner); ok && o.Options() != "" {
		i.SuperOptions += "," + o.Options()
	}
	return i
}

// UniqueMountID is below every number of a mount that is never given to another:
// statx(2), STATX_MNT_ID_UNIQUE. It is where those of Linux begin, too.
const UniqueMountID = 1 << 31

// UniqueID is the mount's number for statmount(2), which no other mount ever gets.
func (i MountInfo) UniqueID() uint64 { return UniqueMountID + uint64(i.ID) }

// UniqueID is MountInfo's.
func (m *Mount) UniqueID() uint64 { return UniqueMountID + uint64(m.id) }

// find gives the mount with a unique number, or ENOENT.
func (ns *Namespace) find(id uint64) (*Mount, error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	for _, m := range ns.order {
		if m.UniqueID() == id {
			return m, nil
		}
	}
	return nil, linux.ENOENT
}

// MountsBelow gives the mounts below that with a unique number, without itself: ENOENT.
func (ns *Namespace) MountsBelow(id uint64) ([]MountInfo, error) {
	m, err := ns.find(id)
	if err != nil {
		return nil, err
	}
	all := ns.MountsUnder(Path{m, m.root})
	return slices.DeleteFunc(all, func(i MountInfo) bool { return i.ID == m.id }), nil
}

// StatfsOf is statfs(2) of the root of a mount of ns.
func (ns *Namespace) StatfsOf(ctx Context, i MountInfo) (linux.Statfs, error) {
	m, err := ns.find(i.UniqueID())
	if err != nil {
		return linux.Statfs{}, err
	}
	return Statfs(ctx, Path{m, m.root})
}

// pathInFS is the name of d from its file system's root.
func (d *Dentry) pathInFS() string {
	var names []string
	for at := d.where.Load(); at.parent != nil; at = at.parent.where.Load() {
		names = append(names, at.name)
	}
	slices.Reverse(names)
	return "/" + strings.Join(names, "/")
}

// PathName is the name of p as seen from root: getcwd(2), /proc/PID/exe. It ends
// in " (deleted)" if the name has been removed, and begins with "(unreachable)"
// if root does not lead there; ok is false only then. What has no place has its
// own name: "pipe:[12]".
func PathName(root, p Path) (name string, ok bool) {
	for try := 0; ; try++ {
		seen := moves.Load()
		name, ok = pathName(root, p)
		if moves.Load() == seen || try == 100 {
			return name, ok
		}
	}
}

func pathName(root, p Path) (string, bool) {
	if p.Dentry.super == anonSuper {
		return p.Dentry.Name(), true
	}
	var buf [256]byte
	b, at := buf[:], len(buf)
	prepend := func(s string) {
		for len(s) > at {
			b = append(make([]byte, len(b)), b...)
			at += len(b) / 2
		}
		at -= copy(b[at-len(s):], s)
	}
	if p.Dentry.gone.Load() {
		prepend(" (deleted)")
	}
	tail := at
	reached := true
	for p != root {
		if p.Mount != nil && p.Dentry == p.Mount.root {
			point := p.Mount.at.Load()
			if point == nil {
				reached = p.Mount == root.Mount && p.Dentry == root.Dentry
				break
			}
			p = *point
			continue
		}
		w := p.Dentry.where.Load()
		if w.parent == nil {
			reached = false
			break
		}
		prepend(w.name)
		prepend("/")
		p.Dentry = w.parent
	}
	if at == tail {
		prepend("/")
	}
	if !reached {
		prepend("(unreachable)")
	}
	return string(b[at:]), reached
}
