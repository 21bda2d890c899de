// Package net_test has a sandbox talk to the host's own stack, over interfaces in
// network namespaces that the test makes and removes.
package net_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bulkhead/test/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// The ends' addresses.
const (
	insideV4, outsideV4 = "10.98.0.1", "10.98.0.2"
	insideV6, outsideV6 = "fd98::1", "fd98::2"
)

// wire is a pair of namespaces with an interface each, joined directly or by
// somebody in the middle.
type wire struct {
	t               *testing.T
	inside, outside string // names for ip-netns(8)
}

var wires atomic.Int32

// newWire joins inside and outside by a veth pair.
func newWire(t *testing.T) *wire {
	t.Helper()
	w := bare(t)
	w.ip("link", "add", "eth0", "netns", w.inside, "type", "veth", "peer", "name", "eth0", "netns", w.outside)
	w.address()
	return w
}

// bare makes the namespaces only.
func bare(t *testing.T) *wire {
	t.Helper()
	sandboxtest.Bin(t)
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("there is no ip(8)")
	}
	n := wires.Add(1)
	w := &wire{t: t, inside: fmt.Sprintf("bhi%d-%d", os.Getpid(), n), outside: fmt.Sprintf("bho%d-%d", os.Getpid(), n)}
	for _, ns := range []string{w.inside, w.outside} {
		if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
			t.Skipf("ip netns add: %v: %s", err, out)
		}
		t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
	}
	return w
}

// address brings eth0 up on both sides.
func (w *wire) address() {
	for _, end := range []struct{ ns, v4, v6 string }{{w.inside, insideV4, insideV6}, {w.outside, outsideV4, outsideV6}} {
		w.ip("-n", end.ns, "link", "set", "lo", "up")
		w.ip("-n", end.ns, "address", "add", end.v4+"/24", "dev", "eth0")
		w.ip("-n", end.ns, "address", "add", end.v6+"/64", "dev", "eth0", "nodad")
		w.ip("-n", end.ns, "link", "set", "eth0", "up")
	}
}

func (w *wire) ip(args ...string) string {
	w.t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// sandbox is a command line for a sandbox whose interfaces are those of inside.
func (w *wire) sandbox(flags []string, args ...string) []string {
	w.t.Helper()
	line := []string{"ip", "netns", "exec", w.inside, filepath.Join(sandboxtest.Bin(w.t), "sandbox-launch"), "run", "--network", "sandbox"}
	line = append(append(line, sandboxtest.Flags()...), flags...)
	return append(append(line, "--"), args...)
}

// peer is a command line for the host's own stack.
func (w *wire) peer(args ...string) []string {
	return append([]string{"ip", "netns", "exec", w.outside}, args...)
}

// run runs a command line to its end, and wants it to succeed.
func (w *wire) run(line []string) string {
	w.t.Helper()
	r := sandboxtest.Command{Args: line, Timeout: 3 * time.Minute}.Run()
	if r.Code != 0 {
		w.t.Fatalf("%s: status %d\n%s", strings.Join(line, " "), r.Code, r.Output)
	}
	return r.Output
}

// server is a command line that runs until the test ends it.
type server struct {
	cmd   *exec.Cmd
	stdin io.Closer
	ended chan struct{}
	said  chan string // all that it printed, once it has ended
}

// start runs a command line in the background and waits for it to print ready.
func (w *wire) start(line []string, ready string) *server {
	w.t.Helper()
	cmd := exec.Command(line[0], line[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	in.Close()
	s := &server{cmd: cmd, stdin: stdin, ended: make(chan struct{}), said: make(chan string, 1)}
	go func() { cmd.Wait(); close(s.ended) }()
	w.t.Cleanup(s.end)
	found := make(chan string, 1)
	go func() {
		defer out.Close()
		said, done := "", false
		for scan := bufio.NewScanner(out); scan.Scan(); {
			said += scan.Text() + "\n"
			if !done && strings.Contains(scan.Text(), ready) {
				done = true
				found <- ""
			}
		}
		s.said <- said
		if !done {
			found <- said
		}
	}()
	select {
	case said := <-found:
		if said != "" {
			w.t.Fatalf("%s: ended before it was ready:\n%s", strings.Join(line, " "), said)
		}
	case <-time.After(time.Minute):
		w.t.Fatalf("%s: is not ready after a minute", strings.Join(line, " "))
	}
	return s
}

// output ends it and gives what it printed.
func (s *server) output() string {
	s.end()
	return <-s.said
}

// end ends it, kindly first: some end with their input, some when they are interrupted.
func (s *server) end() {
	s.stdin.Close()
	for _, patience := range []time.Duration{300 * time.Millisecond, 20 * time.Second} {
		select {
		case <-s.ended:
			return
		case <-time.After(patience):
			s.cmd.Process.Signal(os.Interrupt) // ip has become the program
		}
	}
	syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.ended
}
