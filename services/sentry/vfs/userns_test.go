package vfs

import (
	"fmt"
	"testing"

	"bulkhead/proto/linux"
)

// TestUserNamespace: who may give which ids, and how they look from both sides.
func TestUserNamespace(t *testing.T) {
	user := UserCreds(1000, 1001)
	ns, err := NewUserNamespace(user, 1)
	if err != nil {
		t.Fatal(err)
	}
	in := user.Enter(ns)
	for _, c := range []struct {
		what   string
		by     *Creds
		text   string
		groups bool
		err    error
	}{
		{"another's", in, "0 0 1\n", false, linux.EPERM},
		{"two", in, "0 1000 2\n", false, linux.EPERM},
		{"a stranger", UserCreds(5, 5), "0 5 1\n", false, linux.EPERM},
		{"a group while setgroups is allowed", in, "0 1001 1\n", true, linux.EPERM},
		{"overlapping", RootCreds(), "0 0 10\n5 20 10\n", false, linux.EINVAL},
		{"its own", in, "0 1000 1\n", false, nil},
		{"twice", in, "0 1000 1\n", false, linux.EPERM},
		{"groups by root", RootCreds(), "0 1001 1\n1 100000 65536\n", true, nil},
	} {
		if err := ns.SetMap(c.by, c.by, c.text, c.groups); err != c.err {
			t.Errorf("%s: %v, not %v", c.what, err, c.err)
		}
	}
	if n := ns.ShowUID(1000); n != 0 {
		t.Errorf("1000 is shown as %d", n)
	}
	if n := ns.ShowUID(0); n != OverflowID {
		t.Errorf("0 is shown as %d", n)
	}
	if id, ok := ns.Group(65536); !ok || id != 165535 {
		t.Errorf("group 65536 is %d", id)
	}
	if in.Has(linux.CAP_CHOWN) || !in.HasOwn(linux.CAP_CHOWN) || in.HasIn(nil, linux.CAP_CHOWN) {
		t.Error("capabilities inside count outside")
	}
	if !in.HasOver(&Attr{UID: 1000, GID: 1001}, linux.CAP_CHOWN) || in.HasOver(&Attr{UID: 1000, GID: 0}, linux.CAP_CHOWN) {
		t.Error("capabilities over files go by both owners")
	}
	if !user.HasIn(ns, linux.CAP_SYS_ADMIN) || UserCreds(5, 5).HasIn(ns, linux.CAP_SYS_ADMIN) || !RootCreds().HasIn(ns, linux.CAP_KILL) {
		t.Error("who made a namespace has all capabilities in it, and root above it")
	}
}

// TestNesting: namespaces in namespaces have an end.
func TestNesting(t *testing.T) {
	c := RootCreds()
	for n := 0; ; n++ {
		ns, err := NewUserNamespace(c, 1)
		if err == linux.ENOSPC && n == maxUserDepth {
			return
		}
		if err != nil || n > maxUserDepth {
			t.Fatal(n, err)
		}
		if err := ns.SetMap(c, c, "0 0 1\n", false); err != nil {
			t.Fatal(err)
		}
		if err := ns.SetMap(c, c, "0 0 1\n", true); err != nil {
			t.Fatal(err)
		}
		c = c.Enter(ns)
	}
}

// FuzzMap: what is accepted maps each number to one id, and back.
func FuzzMap(f *testing.F) {
	f.Add("0 1000 1\n", uint32(0))
	f.Add("0 100000 65536\n65536 0 1\n", uint32(70000))
	f.Add("4294967294 1 1", uint32(1))
	f.Fuzz(func(t *testing.T, text string, n uint32) {
		ns, err := NewUserNamespace(RootCreds(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if ns.SetMap(RootCreds(), RootCreds(), text, false) != nil {
			return
		}
		if id, ok := ns.User(n); ok {
			if back, ok := ns.UID(id); !ok || back != n {
				t.Errorf("%q: %d is %d, which is %d", text, n, id, back)
			}
		}
		if fmt.Sprint(parseMap(ns.Map(nil, false))) != fmt.Sprint(parseMap(text)) {
			t.Errorf("%q reads as %q", text, ns.Map(nil, false))
		}
	})
}
