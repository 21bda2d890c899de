package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bulkhead/launcher/spawn"
)

func TestDir_lives(t *testing.T) {
	root := filepath.Join(t.TempDir(), "run")
	if _, err := Open(root, "box", true); !errors.Is(err, ErrNotExist) {
		t.Errorf("opened what is not there: %v", err)
	}
	token := NewToken()
	d, err := Create(root, "box", token)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Load(); !errors.Is(err, ErrNotExist) {
		t.Errorf("read an unfinished creation: %v", err)
	}
	want := &State{ID: "box", Keeper: spawn.Found{Pid: 7, StartTime: 8}, Services: map[string]spawn.Found{"sentry": {Pid: 1, Address: "a/b"}}}
	if err := d.Save(want); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(root, "box", NewToken()); !errors.Is(err, ErrExist) {
		t.Errorf("made it twice: %v", err)
	}
	got, err := d.Load()
	if err != nil || got.Keeper != want.Keeper || got.Services["sentry"] != want.Services["sentry"] {
		t.Errorf("read %v, %v", got, err)
	}
	d.Unlock()
	if d, err := OpenMade(root, "box", token); err != nil {
		t.Error(err)
	} else {
		d.Close()
	}
	if _, err := OpenMade(root, "box", NewToken()); !errors.Is(err, ErrNotExist) {
		t.Errorf("took another's for its own: %v", err)
	}
	if d, err = Open(root, "box", false); err != nil {
		t.Fatal(err)
	}
	half := NewToken()
	if err := os.Mkdir(half.nameless(root), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenMade(root, "other", half); !errors.Is(err, ErrNotExist) {
		t.Errorf("opened what had no name: %v", err)
	}
	opened := make(chan error)
	go func() { // waits for the lock, and then finds that the directory has gone
		_, err := Open(root, "box", false)
		opened <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := d.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; !errors.Is(err, ErrNotExist) {
		t.Errorf("opened what was removed meanwhile: %v", err)
	}
	if names, _ := os.ReadDir(root); len(names) != 0 {
		t.Errorf("left %v", names)
	}
}

// What somebody else could have written is not believed: state.json says whom to
// kill.
func TestDir_others(t *testing.T) {
	root := filepath.Join(t.TempDir(), "run")
	d, err := Create(root, "box", NewToken())
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	for _, c := range []struct {
		dir  string
		mode os.FileMode
		uid  int
		ok   bool
	}{
		{root, 0o711, 0, true},
		{root, 0o777 | os.ModeSticky, 0, true},
		{root, 0o777, 0, false},
		{root, 0o771, 0, false},
		{root, 0o711, 1000, false},
		{filepath.Join(root, "box"), 0o700, 1000, false},
		{filepath.Join(root, "box"), 0o722, 0, false},
	} {
		if c.uid != 0 && os.Geteuid() != 0 {
			continue // only root can give things away
		}
		err := errors.Join(os.Chown(c.dir, os.Geteuid()+c.uid, -1), os.Chmod(c.dir, c.mode))
		if err != nil {
			t.Fatal(err)
		}
		d, err := Open(root, "box", true)
		if d != nil {
			d.Close()
		}
		if (err == nil) != c.ok {
			t.Errorf("%s of %d with %v: %v", c.dir, c.uid, c.mode, err)
		}
		if c.dir == root {
			d, err := Create(root, "other", NewToken())
			if (err == nil) != c.ok {
				t.Errorf("made in a root of %d with %v: %v", c.uid, c.mode, err)
			}
			if d != nil {
				d.Remove()
			}
		}
		if err := errors.Join(os.Chown(c.dir, os.Geteuid(), -1), os.Chmod(c.dir, 0o700)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCheckID(t *testing.T) {
	for _, id := range []string{"a", "A_1+x.y-z", strings.Repeat("a", 64)} {
		if err := CheckID(id); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{"", ".", "..", "a/b", "a b", "ä"} {
		if CheckID(id) == nil {
			t.Errorf("took %q", id)
		}
	}
}
