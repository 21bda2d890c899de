package vfs

import (
	"testing"

	"bulkhead/proto/linux"
)

// allowed is the rule as path_resolution(7) and capabilities(7) tell it.
func allowed(c *Creds, a *Attr, mask uint32) bool {
	bits := a.Mode & 7
	if c.InGroup(a.GID) {
		bits = a.Mode >> 3 & 7
	}
	if c.FSUID == a.UID {
		bits = a.Mode >> 6 & 7
	}
	if bits&mask == mask {
		return true
	}
	isDir := a.Mode&linux.S_IFMT == linux.S_IFDIR
	if c.Has(linux.CAP_DAC_OVERRIDE) && (isDir || mask&MayExec == 0 || a.Mode&0o111 != 0) {
		return true
	}
	if c.Has(linux.CAP_DAC_READ_SEARCH) {
		return isDir && mask&MayWrite == 0 || !isDir && mask == MayRead
	}
	return false
}

// TestCheckMode goes through every mode, mask, kind of caller and type.
func TestCheckMode(t *testing.T) {
	callers := []*Creds{
		UserCreds(1, 1), UserCreds(2, 10), UserCreds(2, 2, 5, 10), UserCreds(2, 2),
		{FSUID: 2, Effective: CapsOf(linux.CAP_DAC_OVERRIDE)},
		{FSUID: 2, Effective: CapsOf(linux.CAP_DAC_READ_SEARCH)},
		{FSUID: 1, Effective: CapsOf(linux.CAP_DAC_READ_SEARCH)},
		RootCreds(),
	}
	for _, kind := range []uint32{linux.S_IFREG, linux.S_IFDIR} {
		for mode := range uint32(0o1000) {
			a := Attr{Mode: kind | mode, UID: 1, GID: 10}
			for mask := range uint32(8) {
				for i, c := range callers {
					if got := CheckMode(c, &a, mask) == nil; got != allowed(c, &a, mask) {
						t.Fatalf("caller %d, mode %o, mask %o: %v", i, a.Mode, mask, got)
					}
				}
			}
		}
	}
}

func TestForAccess(t *testing.T) {
	c := UserCreds(7, 8)
	c.UID = 9
	c.Effective, c.Permitted = AllCaps, AllCaps
	if d := c.ForAccess(); d.FSUID != 9 || d.Effective != 0 {
		t.Errorf("%+v", d)
	}
	c.UID, c.Effective = 0, 0
	if d := c.ForAccess(); d.FSUID != 0 || d.Effective != AllCaps {
		t.Errorf("%+v", d)
	}
}
