package vfs

import (
	"strings"

	"bulkhead/proto/linux"
)

// WalkFlags say how a path is resolved.
type WalkFlags uint32

const (
	// NoFollow leaves a symlink in the last component as it is.
	NoFollow WalkFlags = 1 << iota
	// MustDirectory gives ENOTDIR if the path leads to something else.
	MustDirectory
	// NoSymlinks to Cached are RESOLVE_* of openat2(2).
	NoSymlinks
	NoMagic
	Beneath
	InRoot
	NoXdev
	// Empty lets an empty path stand for the start: AT_EMPTY_PATH.
	Empty
	// Cached gives EAGAIN where the file system would have to be asked.
	Cached
)

// maxLinks is how many symlinks one walk follows: path_resolution(7).
const maxLinks = 40

// walk is a path being resolved. It is a value on its caller's stack.
type walk struct {
	ctx   Context
	root  Path
	cur   Path
	flags WalkFlags

	rest  string   // what is left of the path, or of the symlink being followed
	outer []string // what is left of the paths that led to it, innermost last
	links int
	slash bool   // the last component ended in a slash
	told  bool   // a Prefetcher has heard of the rest
	moves uint64 // at the start, for scoped walks
}

// Walk resolves a path: path_resolution(7). root is what "/" stands for and
// start where a relative path begins. Nothing keeps name.
func Walk(ctx Context, root, start Path, name string, flags WalkFlags) (Path, error) {
	w := walk{ctx: ctx, root: root, cur: start, flags: flags}
	done, err := w.begin(name)
	if err != nil || done {
		return w.cur, err
	}
	for {
		comp, last := w.next()
		if comp == "" {
			break
		}
		if err := w.enter(comp, !last || flags&NoFollow == 0 || w.slash); err != nil {
			return Path{}, err
		}
	}
	if (w.slash || flags&MustDirectory != 0) && !w.cur.Dentry.IsDir() {
		return Path{}, linux.ENOTDIR
	}
	return w.cur, nil
}

// WalkParent resolves a path but for its last component, for the calls that make
// and unmake names. last ends in "/" where the path did (mustDir), as those
// calls want it; it may be ".", ".." or, for the root, "/".
func WalkParent(ctx Context, root, start Path, name string, flags WalkFlags) (dir Path, last string, mustDir bool, err error) {
	w := walk{ctx: ctx, root: root, cur: start, flags: flags &^ Empty}
	if _, err := w.begin(name); err != nil {
		return Path{}, "", false, err
	}
	last, err = w.parent()
	if err != nil {
		return Path{}, "", false, err
	}
	if last == "" {
		return w.cur, "/", false, nil
	}
	if w.slash {
		last += "/"
	}
	return w.cur, last, w.slash, nil
}

// parent goes up to the last component and gives it, "" for the root. The
// directory may be searched.
func (w *walk) parent() (string, error) {
	for {
		comp, last := w.next()
		if last && comp != "" {
			if !w.cur.Dentry.IsDir() {
				return "", linux.ENOTDIR
			}
			return comp, w.cur.Dentry.search(w.ctx)
		}
		if comp == "" {
			return "", nil
		}
		if err := w.enter(comp, true); err != nil {
			return "", err
		}
	}
}

// begin sets out. done: the path is empty and may be.
func (w *walk) begin(name string) (done bool, err error) {
	if len(name) >= linux.PATH_MAX {
		return false, linux.ENAMETOOLONG
	}
	if name == "" {
		if w.flags&Empty == 0 {
			return false, linux.ENOENT
		}
		return true, nil
	}
	if w.flags&(Beneath|InRoot) != 0 {
		w.root = w.cur
		w.moves = moves.Load()
	}
	if name[0] == '/' {
		if err := w.toRoot(); err != nil {
			return false, err
		}
	}
	w.rest = name
	return false, nil
}

func (w *walk) toRoot() error {
	switch {
	case w.flags&Beneath != 0:
		return linux.EXDEV
	case w.flags&NoXdev != 0 && w.root.Mount != w.cur.Mount:
		return linux.EXDEV
	}
	w.cur = w.root
	return nil
}

// next takes a component off the path; "" at the end. last says that nothing but
// slashes follows.
func (w *walk) next() (comp string, last bool) {
	for {
		i := 0
		for i < len(w.rest) && w.rest[i] == '/' {
			i++
		}
		if i < len(w.rest) {
			w.rest = w.rest[i:]
			break
		}
		if len(w.outer) == 0 {
			return "", true
		}
		w.rest, w.told = w.outer[len(w.outer)-1], false
		w.outer = w.outer[:len(w.outer)-1]
	}
	end := strings.IndexByte(w.rest, '/')
	if end < 0 {
		comp, w.rest = w.rest, ""
		return comp, w.nothingLeft()
	}
	comp, w.rest = w.rest[:end], w.rest[end:]
	last = onlySlashes(w.rest) && w.nothingLeft()
	if last {
		w.slash = true
	}
	return comp, last
}

// nothingLeft says whether the paths that led here are done, too.
func (w *walk) nothingLeft() bool {
	for _, s := range w.outer {
		if !onlySlashes(s) {
			return false
		}
		w.slash = w.slash || s != ""
	}
	return true
}

func onlySlashes(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] != '/' {
			return false
		}
	}
	return true
}

// enter goes to a component of the directory where the walk is.
func (w *walk) enter(comp string, follow bool) error {
	d := w.cur.Dentry
	if d.dir == nil {
		return linux.ENOTDIR
	}
	if err := d.search(w.ctx); err != nil {
		return err
	}
	if comp[0] == '.' {
		if comp == "." {
			return nil
		}
		if comp == ".." {
			return w.up()
		}
	}
	if len(comp) > linux.NAME_MAX {
		return linux.ENAMETOOLONG
	}
	c, err := w.child(d, comp)
	if err != nil {
		return err
	}
	return w.step(c, follow)
}

func (w *walk) child(d *Dentry, comp string) (*Dentry, error) {
	if d.dir.revalidator == nil {
		if c := d.cached(comp); c != nil {
			return c, nil
		}
	}
	if w.flags&Cached != 0 {
		return nil, linux.EAGAIN
	}
	if d.dir.prefetcher != nil && !w.told && w.rest != "" {
		w.prefetch(d, comp)
	}
	return d.lookup(w.ctx, comp)
}

// prefetch tells a directory that is far away what will be looked up.
func (w *walk) prefetch(d *Dentry, comp string) {
	w.told = true
	names := []string{cloneName(comp)}
	for part := range strings.SplitSeq(cloneName(w.rest), "/") {
		if part == "" {
			continue
		}
		if part == "." || part == ".." || len(part) > linux.NAME_MAX {
			break
		}
		names = append(names, part)
	}
	if len(names) > 1 {
		d.dir.prefetcher.Prefetch(w.ctx, names)
	}
}

// step goes from a directory to its child c: across mounts, along symlinks.
func (w *walk) step(c *Dentry, follow bool) error {
	if c.node == nil {
		return linux.ENOENT
	}
	to := Path{w.cur.Mount, c}
	if c.mounted.Load() > 0 && to.down() && w.flags&NoXdev != 0 {
		return linux.EXDEV
	}
	if to.Dentry.link == nil || !follow {
		w.cur = to
		return nil
	}
	return w.follow(to)
}

// follow goes along a symlink: its text becomes what is walked next.
func (w *walk) follow(l Path) error {
	if w.flags&NoSymlinks != 0 || l.Mount.has(MountNoSymfollow) || w.links >= maxLinks {
		return linux.ELOOP
	}
	w.links++
	if w.rest == "" && len(w.outer) == 0 {
		if err := mayFollow(w.ctx, w.cur.Node(), l.Node()); err != nil {
			return err
		}
	}
	if j, ok := l.Dentry.link.(Jumper); ok {
		return w.jump(j)
	}
	text, err := l.Dentry.link.Readlink(w.ctx)
	if err != nil {
		return err
	}
	if text == "" {
		return linux.ENOENT
	}
	if text[0] == '/' {
		if err := w.toRoot(); err != nil {
			return err
		}
	}
	if w.rest != "" {
		w.outer = append(w.outer, w.rest)
	}
	w.rest, w.told = text, false
	return nil
}

func (w *walk) jump(j Jumper) error {
	if w.flags&NoMagic != 0 {
		return linux.ELOOP
	}
	if w.flags&(Beneath|InRoot) != 0 {
		return linux.EXDEV
	}
	to, err := j.Jump(w.ctx)
	if err != nil {
		return err
	}
	if to.IsZero() {
		return linux.ENOENT
	}
	if w.flags&NoXdev != 0 && to.Mount != w.cur.Mount {
		return linux.EXDEV
	}
	w.cur = to
	return nil
}

// up is "..": never above the root, across mounts.
func (w *walk) up() error {
	for {
		if w.cur == w.root {
			if w.flags&Beneath != 0 {
				return linux.EXDEV
			}
			break
		}
		if w.cur.Dentry == w.cur.Mount.root {
			at := w.cur.Mount.at.Load()
			if at == nil {
				break
			}
			if w.flags&NoXdev != 0 {
				return linux.EXDEV
			}
			w.cur = *at
			continue
		}
		p := w.cur.Dentry.parent()
		if p == nil {
			break
		}
		w.cur.Dentry = p
		break
	}
	if w.flags&(Beneath|InRoot) != 0 && moves.Load() != w.moves {
		return linux.EAGAIN // a rename may have led out: openat2(2)
	}
	if w.cur.down() && w.flags&NoXdev != 0 {
		return linux.EXDEV
	}
	return nil
}
