package vfs

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
)

// OverflowID is the user and the group that an id is shown as which the viewer's
// namespace has no number for.
const OverflowID = 65534

// Limits of user namespaces: how deep they nest, and how many lines a map has.
const (
	maxUserDepth = 32
	maxExtents   = 340
)

// UserNamespace is a user namespace that a guest has made: user_namespaces(7). The
// first is nil, in which ids are what credentials and files hold, and every id has
// itself for a number.
type UserNamespace struct {
	Parent *UserNamespace
	Inode  uint32
	// OwnerUID and OwnerGID are the effective ids of who made it.
	OwnerUID, OwnerGID uint32
	depth              int

	mu            sync.Mutex // of who writes
	uids, gids    atomic.Pointer[[]extent]
	denySetgroups atomic.Bool
}

// extent is a line of uid_map: count ids from inside on are those from outside on.
type extent struct{ inside, outside, count uint32 }

// NewUserNamespace is one below that of c, whose owner c is: ENOSPC, EPERM.
func NewUserNamespace(c *Creds, inode uint32) (*UserNamespace, error) {
	ns := &UserNamespace{Parent: c.UserNS, Inode: inode, OwnerUID: c.EUID, OwnerGID: c.EGID, depth: 1}
	if c.UserNS != nil {
		if ns.depth = c.UserNS.depth + 1; ns.depth > maxUserDepth {
			return nil, linux.ENOSPC
		}
		ns.denySetgroups.Store(c.UserNS.denySetgroups.Load())
	}
	if _, ok := c.UserNS.UID(c.EUID); !ok {
		return nil, linux.EPERM
	}
	if _, ok := c.UserNS.GID(c.EGID); !ok {
		return nil, linux.EPERM
	}
	return ns, nil
}

func lookup(p *[]extent, id uint32, inward bool) (uint32, bool) {
	if p == nil {
		return 0, false
	}
	for _, e := range *p {
		from, to := e.inside, e.outside
		if inward {
			from, to = to, from
		}
		if id >= from && id-from < e.count {
			return to + (id - from), true
		}
	}
	return 0, false
}

// UID is the number that a user has in the namespace; false if it has none.
func (ns *UserNamespace) UID(id uint32) (uint32, bool) {
	if ns == nil {
		return id, true
	}
	return lookup(ns.uids.Load(), id, true)
}

// GID is UID of a group.
func (ns *UserNamespace) GID(id uint32) (uint32, bool) {
	if ns == nil {
		return id, true
	}
	return lookup(ns.gids.Load(), id, true)
}

// ShowUID is the number that a user is shown as.
func (ns *UserNamespace) ShowUID(id uint32) uint32 {
	if n, ok := ns.UID(id); ok {
		return n
	}
	return OverflowID
}

// ShowGID is the number that a group is shown as.
func (ns *UserNamespace) ShowGID(id uint32) uint32 {
	if n, ok := ns.GID(id); ok {
		return n
	}
	return OverflowID
}

// User is the user that has a number in the namespace; false if none has.
func (ns *UserNamespace) User(n uint32) (uint32, bool) {
	if ns == nil {
		return n, true
	}
	return lookup(ns.uids.Load(), n, false)
}

// Group is the group that has a number in the namespace.
func (ns *UserNamespace) Group(n uint32) (uint32, bool) {
	if ns == nil {
		return n, true
	}
	return lookup(ns.gids.Load(), n, false)
}

// MaySetgroups says whether setgroups(2) may be used at all.
func (ns *UserNamespace) MaySetgroups() bool {
	return ns == nil || !ns.denySetgroups.Load() && ns.gids.Load() != nil
}

// Setgroups is what /proc/PID/setgroups tells.
func (ns *UserNamespace) Setgroups() string {
	if ns != nil && ns.denySetgroups.Load() {
		return "deny"
	}
	return "allow"
}

// SetSetgroups is writing to it: EPERM once groups are mapped, or against an earlier
// refusal.
func (ns *UserNamespace) SetSetgroups(c *Creds, allow bool) error {
	if ns == nil || !c.HasIn(ns, linux.CAP_SYS_ADMIN) {
		return linux.EPERM
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	switch {
	case allow && ns.denySetgroups.Load():
		return linux.EPERM
	case !allow && ns.gids.Load() != nil:
		return linux.EPERM
	case !allow:
		ns.denySetgroups.Store(true)
	}
	return nil
}

// Map is the text of uid_map, or of gid_map, as a reader in the namespace from sees it.
func (ns *UserNamespace) Map(from *UserNamespace, groups bool) string {
	if ns == nil {
		return fmt.Sprintf("%10d %10d %10d\n", 0, 0, uint32(4294967295))
	}
	list, show := ns.uids.Load(), (*UserNamespace).UID
	if groups {
		list, show = ns.gids.Load(), (*UserNamespace).GID
	}
	if list == nil {
		return ""
	}
	if from == ns {
		from = ns.Parent
	}
	var b strings.Builder
	for _, e := range *list {
		outside, ok := show(from, e.outside)
		if !ok {
			outside = ^uint32(0)
		}
		fmt.Fprintf(&b, "%10d %10d %10d\n", e.inside, outside, e.count)
	}
	return b.String()
}

// SetMap is writing to uid_map, or to gid_map: once, by who has CAP_SYS_ADMIN in the
// namespace, ids that the namespace above it has. It goes by who opened the file, c:
// writer may be a program with power that was lent the descriptor. EPERM, EINVAL.
func (ns *UserNamespace) SetMap(c, writer *Creds, text string, groups bool) error {
	if ns == nil || c.UserNS != ns && c.UserNS != ns.Parent {
		return linux.EPERM
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	place := &ns.uids
	if groups {
		place = &ns.gids
	}
	if place.Load() != nil || !c.HasIn(ns, linux.CAP_SYS_ADMIN) {
		return linux.EPERM
	}
	list, err := parseMap(text)
	if err != nil {
		return err
	}
	outer := (*UserNamespace).User
	if groups {
		outer = (*UserNamespace).Group
	}
	for i, e := range list {
		first, ok := outer(ns.Parent, e.outside)
		last, ok2 := outer(ns.Parent, e.outside+e.count-1)
		if !ok || !ok2 || last-first != e.count-1 {
			return linux.EPERM
		}
		list[i].outside = first
	}
	if !ns.mayMap(c, writer, list, groups) {
		return linux.EPERM
	}
	place.Store(&list)
	return nil
}

// mayMap says whether c may give these ids to the namespace: its own alone, its group
// only where it cannot leave others behind, or any where both have the capability above.
func (ns *UserNamespace) mayMap(c, writer *Creds, list []extent, groups bool) bool {
	if len(list) == 1 && list[0].count == 1 && c.EUID == ns.OwnerUID {
		if !groups && list[0].outside == c.EUID {
			return true
		}
		if groups && list[0].outside == c.EGID && ns.denySetgroups.Load() {
			return true
		}
	}
	need := linux.CAP_SETUID
	if groups {
		need = linux.CAP_SETGID
	}
	return c.HasIn(ns.Parent, need) && writer.HasIn(ns.Parent, need)
}

// parseMap reads lines of three numbers: EINVAL also for those that overlap.
func parseMap(text string) ([]extent, error) {
	var list []extent
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 3 || len(list) == maxExtents {
			return nil, linux.EINVAL
		}
		var n [3]uint32
		for i, s := range f {
			v, err := strconv.ParseUint(s, 10, 32)
			if err != nil {
				return nil, linux.EINVAL
			}
			n[i] = uint32(v)
		}
		e := extent{n[0], n[1], n[2]}
		if e.count == 0 || e.inside+e.count-1 < e.inside || e.outside+e.count-1 < e.outside ||
			e.inside+e.count-1 == ^uint32(0) || e.outside+e.count-1 == ^uint32(0) {
			return nil, linux.EINVAL
		}
		for _, o := range list {
			if overlap(e.inside, e.count, o.inside, o.count) || overlap(e.outside, e.count, o.outside, o.count) {
				return nil, linux.EINVAL
			}
		}
		list = append(list, e)
	}
	if len(list) == 0 {
		return nil, linux.EINVAL
	}
	return list, nil
}

func overlap(a, n, b, m uint32) bool {
	return uint64(a) < uint64(b)+uint64(m) && uint64(b) < uint64(a)+uint64(n)
}

// Enter is c as the first in a namespace, with every capability there.
func (c *Creds) Enter(ns *UserNamespace) *Creds {
	d := c.Clone()
	d.UserNS = ns
	d.Effective, d.Permitted, d.Inheritable, d.Bounding, d.Ambient = AllCaps, AllCaps, 0, AllCaps, 0
	d.SecureBits = 0
	return d
}

// HasIn says whether the capability counts in a namespace: c's own, or one below it,
// where c has it or is the owner of the uppermost of those: user_namespaces(7).
func (c *Creds) HasIn(ns *UserNamespace, cap linux.Cap) bool {
	for {
		if ns == c.UserNS {
			return c.Effective.Has(cap)
		}
		if ns == nil {
			return false
		}
		if ns.Parent == c.UserNS && ns.OwnerUID == c.EUID {
			return true
		}
		ns = ns.Parent
	}
}

// Within says whether ns is other or below it.
func (ns *UserNamespace) Within(other *UserNamespace) bool {
	for ns != other {
		if ns == nil {
			return false
		}
		ns = ns.Parent
	}
	return true
}

// HasOwn is HasIn of c's own namespace.
func (c *Creds) HasOwn(cap linux.Cap) bool { return c.Effective.Has(cap) }

// HasOver says whether the capability counts for an object with those owners: they
// must have numbers in c's namespace.
func (c *Creds) HasOver(a *Attr, cap linux.Cap) bool {
	if !c.Effective.Has(cap) {
		return false
	}
	if c.UserNS == nil {
		return true
	}
	_, u := c.UserNS.UID(a.UID)
	_, g := c.UserNS.GID(a.GID)
	return u && g
}

// Root is the user that is 0 in c's namespace; false if none is.
func (c *Creds) Root() (uint32, bool) { return c.UserNS.User(0) }

// IsRoot says whether id is that user.
func (c *Creds) IsRoot(id uint32) bool {
	root, ok := c.Root()
	return ok && id == root
}
