package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"bulkhead/launcher/state"
)

// guardCommand is the hidden verb of a guard's process: its arguments are --root,
// the container's id, and the token that its directory is made with.
const guardCommand = "clean-up-after"

// guard is a process that takes away what we leave of a container if we are
// killed before it is whole, or while we wait for it in the foreground: its
// directory, its cgroup, and what was taken from its network.
type guard struct {
	cmd  *exec.Cmd
	hold *os.File
}

// startGuard starts a guard for the container id, whose directory is yet to be made.
func startGuard(root, id string, t state.Token) (*guard, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start guard: %w", err)
	}
	defer r.Close()
	cmd := exec.Command("/proc/self/exe", guardCommand, root, id, string(t))
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.ExtraFiles = []*os.File{r}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a key that ends us must not end it
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("start guard: %w", err)
	}
	return &guard{cmd, w}, nil
}

// dismiss ends the guard: the container is another's care now, or gone.
func (g *guard) dismiss() {
	if g == nil {
		return
	}
	g.hold.Write([]byte{1})
	g.hold.Close()
	g.cmd.Wait()
}

// Why a container's rests may stay for a moment: its processes are still ending.
const (
	guardRetry = 20 * time.Millisecond
	guardTries = 500
)

// runGuard is the guard's process. Descriptor 3 ends with the command that it
// watches, after a byte if there is nothing to do.
func runGuard(root, id string, t state.Token) error {
	hold := os.NewFile(3, "hold")
	if said, err := io.ReadAll(io.LimitReader(hold, 1)); err != nil || len(said) > 0 {
		return err
	}
	dir, err := state.OpenMade(root, id, t)
	if errors.Is(err, state.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	remove := dir.Remove // for one that got no further than its directory
	if st, err := dir.Load(); err == nil {
		remove = (&box{dir: dir, state: st}).destroy
	}
	for try := 1; ; try++ {
		if err = remove(); err == nil || try == guardTries {
			return err
		}
		time.Sleep(guardRetry)
	}
}
