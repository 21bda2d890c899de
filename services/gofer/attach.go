package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/jail"
	goferv1 "bulkhead/proto/gofer/v1"
	"bulkhead/services/gofer/server"
)

// Room in the empty root: more attach points than any spec has mounts.
const maxAttaches = 4096

// attach makes the attach points /0, /1, ... of a new root and enters it.
// Nothing else of the host stays in sight. It notes which of them are files.
func attach(attaches []*goferv1.Attach) ([]server.Attach, error) {
	if err := enter(attaches); err != nil {
		return nil, err
	}
	roots := make([]server.Attach, len(attaches))
	for i, a := range attaches {
		at, name := "/"+strconv.Itoa(i), ""
		if a.File {
			at, name = "/", strconv.Itoa(i)
		}
		fd, err := unix.Open(at, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("attach %s: open: %w", a.Source, err)
		}
		roots[i] = server.Attach{Dir: os.NewFile(uintptr(fd), at), Name: name, ReadOnly: a.ReadOnly}
	}
	return roots, nil
}

func enter(attaches []*goferv1.Attach) error {
	if len(attaches) > maxAttaches {
		return fmt.Errorf("attach: %d attach points, at most %d", len(attaches), maxAttaches)
	}
	if err := jail.PrivateMounts(); err != nil {
		return err
	}
	// The trees are taken before the new root covers any of them.
	trees := make([]tree, len(attaches))
	defer func() {
		for i := range trees {
			trees[i].close()
		}
	}()
	for i, a := range attaches {
		if err := trees[i].open(a); err != nil {
			return fmt.Errorf("attach %s: %w", a.Source, err)
		}
	}
	const place = "/proc" // any directory that every host has
	if err := jail.MountEmpty(place, len(attaches)+2); err != nil {
		return err
	}
	for i, a := range attaches {
		if err := trees[i].mount(filepath.Join(place, strconv.Itoa(i)), a.File); err != nil {
			return fmt.Errorf("attach %s: %w", a.Source, err)
		}
	}
	return jail.EnterRoot(place)
}

// tree is a copy of a host mount, mounted nowhere yet, and what goes into it.
type tree struct {
	fd   int // 0: none
	subs []submount
}

type submount struct {
	at string // relative to the tree
	fd int
}

// open copies a's mounts. What the gofer opens there never acts as a device or
// with another user's rights; code may be mapped, by the guest.
func (t *tree) open(a *goferv1.Attach) error {
	fd, err := cloneMount(a.Source, a.Recursive, a.ReadOnly)
	if err != nil {
		return err
	}
	t.fd = fd
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	a.File = st.Mode&unix.S_IFMT != unix.S_IFDIR
	for _, path := range a.Submounts {
		at, err := filepath.Rel(a.Source, path)
		if err != nil || at == "." || at == ".." || strings.HasPrefix(at, "../") {
			return fmt.Errorf("submount %s: it is not below", path)
		}
		fd, err := cloneMount(path, false, a.ReadOnly)
		if err != nil {
			return fmt.Errorf("submount %s: %w", path, err)
		}
		t.subs = append(t.subs, submount{at, fd})
	}
	return nil
}

func cloneMount(path string, recursive, readOnly bool) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	set := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
		set |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, flags)
	if err != nil {
		return -1, fmt.Errorf("open tree: %w", err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV, Attr_clr: unix.MOUNT_ATTR_NOEXEC}
	if readOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	err = unix.MountSetattr(fd, "", set, &attr)
	if errors.Is(err, unix.EPERM) { // noexec may be locked
		attr.Attr_clr = 0
		err = unix.MountSetattr(fd, "", set, &attr)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("restrict: %w", err)
	}
	return fd, nil
}

// mount puts the tree at path, where nothing is yet.
func (t *tree) mount(path string, file bool) error {
	if file {
		fd, err := unix.Open(path, unix.O_CREAT|unix.O_EXCL|unix.O_RDONLY|unix.O_CLOEXEC, 0o400)
		if err != nil {
			return fmt.Errorf("make mount point: %w", err)
		}
		unix.Close(fd)
	} else if err := unix.Mkdir(path, 0o500); err != nil {
		return fmt.Errorf("make mount point: %w", err)
	}
	if err := unix.MoveMount(t.fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	for _, s := range t.subs {
		// Resolved in the tree: a link in it must not lead out.
		how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
		at, err := unix.Openat2(t.fd, s.at, &how)
		if err != nil {
			return fmt.Errorf("submount %s: %w", s.at, err)
		}
		err = unix.MoveMount(s.fd, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
		unix.Close(at)
		if err != nil {
			return fmt.Errorf("submount %s: %w", s.at, err)
		}
	}
	return nil
}

func (t *tree) close() {
	if t.fd > 0 {
		unix.Close(t.fd)
	}
	for _, s := range t.subs {
		unix.Close(s.fd)
	}
}
