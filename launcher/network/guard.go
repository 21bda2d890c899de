package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// GuardCommand is the hidden command of a launcher that calls RunGuard.
const GuardCommand = "give-back"

// Guard is a process that gives back what was taken when we end, however that
// happens: a launcher in the foreground may be killed.
type Guard struct {
	cmd  *exec.Cmd
	hold *os.File
}

// StartGuard starts a guard for what o has taken; nil if that is nothing.
func (o *Outside) StartGuard() (*Guard, error) {
	if o == nil || o.Taken == nil || len(o.Taken.Interfaces) == 0 {
		return nil, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start the network's guard: %w", err)
	}
	defer r.Close()
	cmd := exec.Command("/proc/self/exe", GuardCommand)
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.ExtraFiles = []*os.File{r, o.ns.file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("start the network's guard: %w", err)
	}
	g := &Guard{cmd: cmd, hold: w}
	text, err := json.Marshal(o.Taken)
	if err == nil {
		_, err = w.Write(append(text, '\n'))
	}
	if err != nil {
		g.End()
		return nil, fmt.Errorf("start the network's guard: %w", err)
	}
	return g, nil
}

// End has everything given back, and waits for it.
func (g *Guard) End() error {
	if g == nil {
		return nil
	}
	g.hold.Close()
	if err := g.cmd.Wait(); err != nil {
		return fmt.Errorf("give the network back: %w", err)
	}
	return nil
}

// RunGuard is the guard's process. Descriptor 3 says what was taken and ends with
// the launcher; 4 is the namespace.
func RunGuard() error {
	pipe, ns := os.NewFile(3, "pipe"), &Namespace{os.NewFile(4, "namespace")}
	text, err := io.ReadAll(pipe)
	if err != nil {
		return err
	}
	var t Taken
	if err := json.Unmarshal(text, &t); err != nil {
		return errors.New("the launcher ended before it said what it had taken")
	}
	return t.giveBackIn(ns)
}
