package task

import (
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// TestCredsFor: capabilities(7) and cap_bprm_creds_from_file.
func TestCredsFor(t *testing.T) {
	const chown, kill = 1 << linux.CAP_CHOWN, 1 << 5
	user := func(change func(c *vfs.Creds)) *vfs.Creds {
		c := vfs.UserCreds(1000, 1000)
		if change != nil {
			change(c)
		}
		return c
	}
	root := func(change func(c *vfs.Creds)) *vfs.Creds {
		c := vfs.RootCreds()
		c.Permitted, c.Effective, c.Bounding = chown, chown, chown|kill
		if change != nil {
			change(c)
		}
		return c
	}
	setUID := rights{setUID: true}
	for _, c := range []struct {
		name      string
		r         rights
		old       *vfs.Creds
		bound     bool
		euid      uint32
		permitted vfs.Caps
		effective vfs.Caps
	}{
		{"a user's program", rights{}, user(nil), false, 1000, 0, 0},
		{"set-user-ID", setUID, user(nil), false, 0, vfs.AllCaps, vfs.AllCaps},
		{"set-user-ID, watched", setUID, user(nil), true, 1000, 0, 0},
		{"set-user-ID, promised", setUID, user(func(c *vfs.Creds) { c.NoNewPrivs = true }), false, 1000, 0, 0},
		{"set-user-ID without root's power", setUID, user(func(c *vfs.Creds) { c.SecureBits = linux.SECBIT_NOROOT }), false, 0, 0, 0},
		{"root regains what it may", rights{}, root(nil), false, 0, chown | kill, chown | kill},
		{"root, watched", rights{}, root(nil), true, 0, chown, chown},
		{"root, promised", rights{}, root(func(c *vfs.Creds) { c.NoNewPrivs = true }), false, 0, chown, chown},
		{"root without its power", rights{}, root(func(c *vfs.Creds) { c.SecureBits = linux.SECBIT_NOROOT }), false, 0, 0, 0},
		{"ambient stays", rights{}, user(func(c *vfs.Creds) { c.Ambient, c.Permitted, c.Inheritable = kill, kill, kill }), false, 1000, kill, kill},
		{"ambient goes", setUID, user(func(c *vfs.Creds) {
			c.Ambient, c.Permitted, c.Inheritable, c.Bounding = kill, kill, kill, chown
		}), false, 0, chown | kill, chown | kill},
		{"real root only", rights{}, root(func(c *vfs.Creds) { c.EUID, c.Effective = 1000, 0 }), false, 1000, chown | kill, 0},
	} {
		got := c.r.credsFor(c.old, c.bound)
		if got.EUID != c.euid || got.SUID != c.euid || got.FSUID != c.euid || got.Permitted != c.permitted || got.Effective != c.effective {
			t.Errorf("%s: euid %d permitted %#x effective %#x", c.name, got.EUID, got.Permitted, got.Effective)
		}
	}
}

// TestAssume: whoever has a hand in the process when the program takes over counts,
// also those who were not there when its files were looked at.
func TestAssume(t *testing.T) {
	k := NewKernel(nil)
	process := func(c *vfs.Creds) *Task {
		return k.NewDetached(nil, NewProcess{Creds: c, FS: &FSContext{}, FDs: NewFDTable()})
	}
	for _, c := range []struct {
		name  string
		hand  func(t, other *Task)
		gains bool
	}{
		{"nobody", func(*Task, *Task) {}, true},
		{"a tracer", func(t, other *Task) { t.linkLocked(other, true, 0) }, false},
		{"who shares the working directory", func(t, other *Task) { other.fs.Store(t.fs.Load()); other.mm.Store(t.MM()) }, false},
	} {
		me, other := process(vfs.UserCreds(1000, 1000)), process(vfs.UserCreds(1000, 1000))
		p := &program{rights: rights{setUID: true}}
		c.hand(me, other)
		if gains := me.assume(p); gains != c.gains || (me.Creds().EUID == 0) != c.gains || (me.group.Dumpable() == 0) != c.gains {
			t.Errorf("%s: gains %v, euid %d, dumpable %d", c.name, gains, me.Creds().EUID, me.group.Dumpable())
		}
		if err := other.MayInspect(me); (err == nil) == c.gains {
			t.Errorf("%s: may look into it: %v", c.name, err)
		}
	}
}
