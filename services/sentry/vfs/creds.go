package vfs

import (
	"slices"

	"bulkhead/proto/linux"
)

// Caps is a set of capabilities, bit n for capability n: capabilities(7).
type Caps uint64

// AllCaps is every capability there is.
const AllCaps Caps = 1<<(linux.CAP_LAST_CAP+1) - 1

// CapsOf is the set of the given capabilities.
func CapsOf(list ...linux.Cap) Caps {
	var s Caps
	for _, c := range list {
		s |= 1 << c
	}
	return s
}

// Has says whether c is in the set.
func (s Caps) Has(c linux.Cap) bool { return s>>c&1 != 0 }

// Creds is who somebody is: credentials(7). Once others can see it, it does not
// change: Clone it, change the copy, publish that.
type Creds struct {
	UID, EUID, SUID, FSUID uint32
	GID, EGID, SGID, FSGID uint32
	Groups                 []uint32 // supplementary; they are replaced, not changed

	Effective, Permitted, Inheritable, Bounding, Ambient Caps

	// UserNS is the user namespace that the capabilities are of; nil is the first.
	UserNS *UserNamespace

	NoNewPrivs bool
	SecureBits uint32
}

// RootCreds is user 0 with every capability.
func RootCreds() *Creds {
	return &Creds{Effective: AllCaps, Permitted: AllCaps, Bounding: AllCaps}
}

// UserCreds is an ordinary user without capabilities.
func UserCreds(uid, gid uint32, groups ...uint32) *Creds {
	return &Creds{
		UID: uid, EUID: uid, SUID: uid, FSUID: uid,
		GID: gid, EGID: gid, SGID: gid, FSGID: gid,
		Groups: groups, Bounding: AllCaps,
	}
}

// Clone is a copy to change.
func (c *Creds) Clone() *Creds {
	d := *c
	return &d
}

// Has says whether the capability is effective, in the first user namespace: for what
// is the sandbox's, not of a namespace that a guest has made.
func (c *Creds) Has(cap linux.Cap) bool { return c.UserNS == nil && c.Effective.Has(cap) }

// InGroup says whether gid is the fsgid or a supplementary group.
func (c *Creds) InGroup(gid uint32) bool { return c.FSGID == gid || slices.Contains(c.Groups, gid) }

// InEffectiveGroup says whether gid is the effective gid or a supplementary group.
func (c *Creds) InEffectiveGroup(gid uint32) bool {
	return c.EGID == gid || slices.Contains(c.Groups, gid)
}

// ForAccess is what access(2) checks with: the real ids in place of those of
// file access; a real uid other than 0 has no capabilities, and 0 has all of its
// permitted ones.
func (c *Creds) ForAccess() *Creds {
	d := *c
	d.FSUID, d.FSGID = c.UID, c.GID
	if c.IsRoot(c.UID) {
		d.Effective = c.Permitted
	} else {
		d.Effective = 0
	}
	return &d
}
