// Package state keeps what later commands need to find a sandbox that an earlier
// one made: one directory a container below --root, with state.json in it.
//
// A command that changes a container holds the directory's lock, a flock(2), for
// as long as it works, so that two commands for one container take turns. The
// file is replaced whole: a reader sees the old or the new one.
package state

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/network"
	"bulkhead/launcher/spawn"
)

// State is what is kept of a container.
type State struct {
	OCIVersion  string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// Keeper is the process in the pid-file.
	Keeper spawn.Found `json:"keeper"`
	// Services are go-plugin's reattach data, by name: sentry, gofer, netd.
	Services map[string]spawn.Found `json:"services"`
	// Cgroup is where the sandbox's processes are, by controller; empty: nowhere.
	Cgroup map[string]string `json:"cgroup,omitempty"`
	// Taken is what the network namespace gets back in the end.
	Taken *network.Taken `json:"taken,omitempty"`
}

// ErrNotExist says that there is no such container.
var ErrNotExist = errors.New("container does not exist")

// ErrExist says that there is one already.
var ErrExist = errors.New("container with this id already exists")

const maxID = 1024

// CheckID tells whether id can name a container.
func CheckID(id string) error {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_+.-", r)
	}
	if id == "" || len(id) > maxID || id == "." || id == ".." || strings.ContainsFunc(id, func(r rune) bool { return !plain(r) }) {
		return fmt.Errorf("container id %q: want letters, digits, and _ + . -", id)
	}
	return nil
}

// Dir is a container's directory, locked.
type Dir struct {
	Path string
	// Handle leads to the directory whatever its path is: spawn's.
	Handle *os.File
	lock   *os.File
}

const (
	stateName = "state.json"
	lockName  = "lock"
)

// Token is who makes a container's directory. It is in the lock's file, and names
// the directory before and after it has the container's name.
type Token string

// NewToken gives one that nobody else has.
func NewToken() Token { return Token(rand.Text()) }

// nameless is the path of t's directory while it has no container's name, which
// is one that no container can have.
func (t Token) nameless(root string) string { return filepath.Join(root, ","+string(t)) }

// Create makes and locks a container's directory below root. ErrExist.
func Create(root, id string, t Token) (*Dir, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o711); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	if err := ours(root); err != nil {
		return nil, err
	}
	path := t.nameless(root)
	if err := os.Mkdir(path, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	d, err := open(path, unix.LOCK_EX)
	if err != nil {
		os.RemoveAll(path)
		return nil, err
	}
	if _, err = d.lock.WriteAt([]byte(t), 0); err == nil {
		d.Path = filepath.Join(root, id)
		err = unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, d.Path, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		os.RemoveAll(path)
		d.Close()
		if err == unix.EEXIST {
			return nil, fmt.Errorf("%s: %w", id, ErrExist)
		}
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	return d, nil
}

// OpenMade is Open, without sharing, of the directory that t's Create made; what
// such a Create left that died is removed. ErrNotExist.
func OpenMade(root, id string, t Token) (*Dir, error) {
	if err := os.RemoveAll(t.nameless(root)); err != nil {
		return nil, fmt.Errorf("remove state directory: %w", err)
	}
	d, err := Open(root, id, false)
	if err != nil {
		return nil, err
	}
	if d.token() != t {
		d.Close()
		return nil, fmt.Errorf("%s: %w", id, ErrNotExist) // another of that name
	}
	return d, nil
}

// token is who made the directory.
func (d *Dir) token() Token {
	text := make([]byte, len(NewToken()))
	n, _ := d.lock.ReadAt(text, 0)
	return Token(text[:n])
}

// Open locks a container's directory; shared locks stand beside each other.
// ErrNotExist.
func Open(root, id string, shared bool) (*Dir, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	how := unix.LOCK_EX
	if shared {
		how = unix.LOCK_SH
	}
	if err := ours(root); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	d, err := open(filepath.Join(root, id), how)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", id, ErrNotExist)
	}
	return d, err
}

// ours says whether only we, or the host's root, say what is in a directory. What
// lies in one names processes to end, cgroups to remove and interfaces to move.
func ours(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("state directory: %w", &os.PathError{Op: "lstat", Path: dir, Err: err})
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK { // its own directory's matter
		if err := unix.Stat(dir, &st); err != nil {
			return fmt.Errorf("state directory: %w", &os.PathError{Op: "stat", Path: dir, Err: err})
		}
	}
	// With the sticky bit others may add names, but not take ours.
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0 {
		return fmt.Errorf("state directory %s: belongs to others, or others may write to it", dir)
	}
	return nil
}

func open(path string, how int) (*Dir, error) {
	handle, err := spawn.OpenDir(path)
	if err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	if err := ours(path); err != nil {
		handle.Close()
		return nil, err
	}
	fd, err := unix.Openat(int(handle.Fd()), lockName, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		handle.Close()
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
	d := &Dir{Path: path, Handle: handle, lock: os.NewFile(uintptr(fd), lockName)}
	for {
		if err = unix.Flock(fd, how); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
	// Whoever held the lock before may have removed the directory.
	there, err := os.Stat(filepath.Join(path, lockName))
	if err != nil {
		d.Close()
		return nil, err
	}
	if mine, err := d.lock.Stat(); err != nil || !os.SameFile(mine, there) {
		d.Close()
		return nil, fmt.Errorf("lock state directory: %w", fs.ErrNotExist)
	}
	return d, nil
}

// Unlock lets other commands at the container; the handle stays.
func (d *Dir) Unlock() error {
	if err := unix.Flock(int(d.lock.Fd()), unix.LOCK_UN); err != nil {
		return fmt.Errorf("unlock state directory: %w", err)
	}
	return nil
}

// Close unlocks.
func (d *Dir) Close() {
	d.lock.Close()
	d.Handle.Close()
}

// Load reads the state. ErrNotExist if a create has not got so far, or died.
func (d *Dir) Load() (*State, error) {
	text, err := os.ReadFile(filepath.Join(d.Path, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: its creation did not finish: %w", filepath.Base(d.Path), ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	var s State
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("read state: %s: %w", stateName, err)
	}
	return &s, nil
}

// Save replaces the state.
func (d *Dir) Save(s *State) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return WriteFile(filepath.Join(d.Path, stateName), text, 0o600)
}

// Remove removes the directory and unlocks. After an error, which a service that
// is still ending can cause, it may be tried again.
func (d *Dir) Remove() error {
	root, t := filepath.Dir(d.Path), d.token()
	if _, err := os.Stat(t.nameless(root)); t == "" || err == nil && d.Path != t.nameless(root) {
		t = NewToken()
	}
	// All at once, as others see it; and what is left of it if we are killed is
	// the maker's, not a container's.
	if err := os.Rename(d.Path, t.nameless(root)); err == nil {
		d.Path = t.nameless(root)
	}
	if err := os.RemoveAll(d.Path); err != nil {
		return fmt.Errorf("remove state directory: %w", err)
	}
	d.Close()
	return nil
}

// WriteFile replaces the file at path as one step.
func WriteFile(path string, text []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
