package vfstest

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// ModelOptions are what RunModel needs to know.
type ModelOptions struct {
	// Make makes a file system. seed, which may be left alone, fills another
	// with the contents that it is to have at the start: an overlay's lower.
	Make func(t *testing.T, seed func(vfs.FileSystem)) vfs.FileSystem
	// DirRenameEXDEV: a directory may refuse to be renamed.
	DirRenameEXDEV bool
	// Rounds is how many trees are tried, of 300 operations each; 0: 40.
	Rounds int
}

// RunModel runs random operations on a file system and on a slow and obvious
// model, and compares results and, from time to time, the whole trees.
func RunModel(t *testing.T, o ModelOptions) {
	rounds := o.Rounds
	if rounds == 0 {
		rounds = 40
	}
	for round := range rounds {
		rng := rand.New(rand.NewPCG(uint64(round), 1))
		m := &model{root: newObj(linux.S_IFDIR), rng: rng}
		fs := o.Make(t, func(lower vfs.FileSystem) {
			e := NewEnv(t, Root(), lower)
			for range 60 {
				m.step(e, false, false)
			}
		})
		e := NewEnv(t, Root(), fs)
		for i := range 300 {
			m.step(e, true, o.DirRenameEXDEV)
			if i%50 == 49 {
				m.compare(e, "/", m.root)
			}
			if t.Failed() {
				t.Fatalf("round %d, after:\n%s", round, strings.Join(m.log, "\n"))
			}
		}
	}
}

// obj is an object of the model.
type obj struct {
	kind     uint32
	data     []byte
	target   string
	children map[string]*obj
	nlink    int
}

func newObj(kind uint32) *obj {
	o := &obj{kind: kind, nlink: 1}
	if kind == linux.S_IFDIR {
		o.children = map[string]*obj{}
	}
	return o
}

type model struct {
	root *obj
	rng  *rand.Rand
	log  []string
}

// parent resolves all but the last component. A symlink leads nowhere.
func (m *model) parent(path string) (*obj, string, error) {
	parts := strings.Split(path[1:], "/")
	at := m.root
	for _, p := range parts[:len(parts)-1] {
		c := at.children[p]
		if c == nil || c.kind == linux.S_IFLNK {
			return nil, "", linux.ENOENT
		}
		if c.kind != linux.S_IFDIR {
			return nil, "", linux.ENOTDIR
		}
		at = c
	}
	return at, parts[len(parts)-1], nil
}

func (m *model) find(path string) (*obj, error) {
	d, name, err := m.parent(path)
	if err != nil {
		return nil, err
	}
	if c := d.children[name]; c != nil {
		return c, nil
	}
	return nil, linux.ENOENT
}

func (m *model) path() string {
	s := ""
	for range 1 + m.rng.IntN(3) {
		s += "/" + string("abc"[m.rng.IntN(3)])
	}
	return s
}

// step does one random operation on both and compares the errors.
func (m *model) step(e *Env, links, exdev bool) {
	p, q := m.path(), m.path()
	var got, want error
	what := ""
	switch m.rng.IntN(11) {
	case 0, 1:
		data := []byte(strings.Repeat("x", m.rng.IntN(9000)))
		off := int64(m.rng.IntN(10_000))
		flags := []linux.OpenFlags{0, linux.O_TRUNC, linux.O_APPEND, linux.O_EXCL}[m.rng.IntN(4)]
		what = fmt.Sprintf("write %s %#o %d at %d", p, flags, len(data), off)
		got, want = m.realWrite(e, p, flags, data, off), m.write(p, flags, data, off)
	case 2, 3:
		what = "mkdir " + p
		got, want = e.Mkdir(p, 0o755), m.add(p, newObj(linux.S_IFDIR))
	case 4:
		what = "symlink " + p
		o := newObj(linux.S_IFLNK)
		o.target = "nowhere-" + p[1:2]
		got, want = e.Symlink(o.target, p), m.add(p, o)
	case 5:
		what = "unlink " + p
		got, want = e.Unlink(p), m.unlink(p)
	case 6:
		what = "rmdir " + p
		got, want = e.Rmdir(p), m.rmdir(p)
	case 7, 8:
		flags := []linux.RenameFlags{0, 0, linux.RENAME_NOREPLACE, linux.RENAME_EXCHANGE}[m.rng.IntN(4)]
		what = fmt.Sprintf("rename %s %s %d", p, q, flags)
		got = e.Rename(p, q, flags)
		if exdev && got == linux.EXDEV {
			break
		}
		want = m.rename(p, q, flags)
	case 9:
		if !links {
			return
		}
		what = "link " + p + " " + q
		got, want = e.Link(p, q), m.link(p, q)
	case 10:
		size := int64(m.rng.IntN(12_000))
		what = fmt.Sprintf("truncate %s %d", p, size)
		got, want = m.realTruncate(e, p, size), m.truncate(p, size)
	}
	m.log = append(m.log, fmt.Sprintf("%s: %v", what, got))
	if got != want && !(exdev && got == linux.EXDEV) {
		e.T.Errorf("%s: %v, model %v", what, got, want)
	}
}

func (m *model) realWrite(e *Env, p string, flags linux.OpenFlags, data []byte, off int64) error {
	f, err := e.Open(p, flags|linux.O_CREAT|linux.O_NOFOLLOW|linux.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer f.DecRef(e.Ctx)
	if n, err := f.Pwrite(e.Ctx, data, off); n != len(data) || err != nil {
		return fmt.Errorf("wrote %d: %v", n, err)
	}
	return nil
}

func (m *model) write(p string, flags linux.OpenFlags, data []byte, off int64) error {
	d, name, err := m.parent(p)
	if err != nil {
		return err
	}
	o := d.children[name]
	switch {
	case o != nil && flags&linux.O_EXCL != 0:
		return linux.EEXIST
	case o == nil:
		o = newObj(linux.S_IFREG)
		d.children[name] = o
	case o.kind == linux.S_IFLNK:
		return linux.ELOOP
	case o.kind == linux.S_IFDIR:
		return linux.EISDIR
	}
	if flags&linux.O_TRUNC != 0 {
		o.data = nil
	}
	if flags&linux.O_APPEND != 0 {
		off = int64(len(o.data))
	}
	if len(data) == 0 {
		return nil
	}
	if need := int(off) + len(data); need > len(o.data) {
		o.data = append(o.data, make([]byte, need-len(o.data))...)
	}
	copy(o.data[off:], data)
	return nil
}

func (m *model) realTruncate(e *Env, p string, size int64) error {
	at, err := e.Walk(p, vfs.NoFollow)
	if err != nil {
		return err
	}
	return vfs.SetStat(e.Ctx, at, vfs.SetAttr{Mask: vfs.SetSize, Size: size})
}

func (m *model) truncate(p string, size int64) error {
	o, err := m.find(p)
	switch {
	case err != nil:
		return err
	case o.kind == linux.S_IFDIR:
		return linux.EISDIR
	case o.kind != linux.S_IFREG:
		return linux.EINVAL
	}
	data := make([]byte, size)
	copy(data, o.data)
	o.data = data
	return nil
}

func (m *model) add(p string, o *obj) error {
	d, name, err := m.parent(p)
	if err != nil {
		return err
	}
	if d.children[name] != nil {
		return linux.EEXIST
	}
	d.children[name] = o
	return nil
}

func (m *model) unlink(p string) error {
	d, name, err := m.parent(p)
	if err != nil {
		return err
	}
	o := d.children[name]
	switch {
	case o == nil:
		return linux.ENOENT
	case o.kind == linux.S_IFDIR:
		return linux.EISDIR
	}
	o.nlink--
	delete(d.children, name)
	return nil
}

func (m *model) rmdir(p string) error {
	d, name, err := m.parent(p)
	if err != nil {
		return err
	}
	o := d.children[name]
	switch {
	case o == nil:
		return linux.ENOENT
	case o.kind != linux.S_IFDIR:
		return linux.ENOTDIR
	case len(o.children) > 0:
		return linux.ENOTEMPTY
	}
	delete(d.children, name)
	return nil
}

func (m *model) link(p, q string) error {
	o, err := m.find(p)
	if err != nil {
		return err
	}
	d, name, err := m.parent(q)
	switch {
	case err != nil:
		return err
	case d.children[name] != nil:
		return linux.EEXIST
	case o.kind == linux.S_IFDIR:
		return linux.EPERM
	}
	o.nlink++
	d.children[name] = o
	return nil
}

// below says whether path lies below top.
func below(path, top string) bool { return strings.HasPrefix(path, top+"/") }

func (m *model) rename(p, q string, flags linux.RenameFlags) error {
	od, on, err := m.parent(p)
	if err != nil {
		return err
	}
	nd, nn, err := m.parent(q)
	if err != nil {
		return err
	}
	o, r := od.children[on], nd.children[nn]
	exchange := flags&linux.RENAME_EXCHANGE != 0
	switch {
	case o == nil:
		return linux.ENOENT
	case flags&linux.RENAME_NOREPLACE != 0 && r != nil:
		return linux.EEXIST
	case exchange && r == nil:
		return linux.ENOENT
	case below(q, p):
		return linux.EINVAL
	case below(p, q) && r != nil && r.kind == linux.S_IFDIR:
		if exchange {
			return linux.EINVAL
		}
		return linux.ENOTEMPTY
	case o == r:
		return nil
	case exchange:
		od.children[on], nd.children[nn] = r, o
		return nil
	case r != nil && o.kind == linux.S_IFDIR && r.kind != linux.S_IFDIR:
		return linux.ENOTDIR
	case r != nil && o.kind != linux.S_IFDIR && r.kind == linux.S_IFDIR:
		return linux.EISDIR
	case r != nil && len(r.children) > 0:
		return linux.ENOTEMPTY
	}
	if r != nil {
		r.nlink--
	}
	delete(od.children, on)
	nd.children[nn] = o
	return nil
}

// compare checks that the tree at path is that of o.
func (m *model) compare(e *Env, path string, o *obj) {
	a := e.MustStat(path)
	if a.Mode&linux.S_IFMT != o.kind {
		e.T.Errorf("%s: mode %o, model %o", path, a.Mode, o.kind)
		return
	}
	switch o.kind {
	case linux.S_IFREG:
		if got := e.Read(path); got != string(o.data) {
			e.T.Errorf("%s: contents differ: %d bytes, model %d", path, len(got), len(o.data))
		}
		if int(a.Nlink) != o.nlink || a.Size != int64(len(o.data)) {
			e.T.Errorf("%s: nlink %d size %d, model %d %d", path, a.Nlink, a.Size, o.nlink, len(o.data))
		}
	case linux.S_IFLNK:
		if got, err := vfs.Readlink(e.Ctx, e.Must(path)); got != o.target || err != nil {
			e.T.Errorf("%s: link to %q, model %q", path, got, o.target)
		}
	case linux.S_IFDIR:
		var names []string
		dirs := 0
		for n, c := range o.children {
			names = append(names, n)
			if c.kind == linux.S_IFDIR {
				dirs++
			}
		}
		sort.Strings(names)
		if got := e.List(path); got != strings.Join(names, " ") {
			e.T.Errorf("%s: %q, model %q", path, got, names)
			return
		}
		if a.Nlink != 1 && int(a.Nlink) != dirs+2 {
			e.T.Errorf("%s: nlink %d with %d directories", path, a.Nlink, dirs)
		}
		for _, n := range names {
			m.compare(e, strings.TrimSuffix(path, "/")+"/"+n, o.children[n])
		}
	}
}
