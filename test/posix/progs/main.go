// Progs is a program of many small programs, each of which uses system calls
// and prints what they answered. It asserts nothing: test/posix runs each one
// on the host and in the sandbox, and the two outputs must be equal.
//
//	progs list          names, one a line
//	progs NAME          runs one, in a fresh directory below $SCRATCH (or /tmp)
//	progs +CHILD ARG... a helper that a program starts as its child
//
// A program prints nothing that may differ between two correct kernels: no
// pids, times, inode numbers, addresses, or the order of a directory.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// T is what a program runs with.
type T struct {
	dir string // an empty directory, the working directory too
}

var (
	programs = map[string]func(*T){}
	children = map[string]func(args []string) int{}
)

// program adds a row to the list that "progs list" prints.
func program(name string, f func(*T)) { programs[name] = f }

// child adds a helper, run as "progs +name args".
func child(name string, f func([]string) int) { children["+"+name] = f }

// A program runs in the thread that the process began with, and stays there: masks,
// identities, policies of scheduling and much else are a thread's own, and Go moves a
// goroutine to another whenever a call of it is long.
func init() { runtime.LockOSThread() }

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: progs list | NAME")
		os.Exit(2)
	}
	name := os.Args[1]
	if name == "list" {
		var names []string
		for n := range programs {
			names = append(names, n)
		}
		sort.Strings(names)
		fmt.Println(strings.Join(names, "\n"))
		return
	}
	if f, ok := children[name]; ok {
		os.Exit(f(os.Args[2:]))
	}
	f, ok := programs[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "progs: no program %q\n", name)
		os.Exit(2)
	}
	os.Exit(run(f))
}

// run gives f its directory and takes it away again.
func run(f func(*T)) (code int) {
	dir, err := os.MkdirTemp(scratch(), "progs")
	if err != nil {
		fmt.Fprintln(os.Stderr, "progs:", err)
		return 2
	}
	defer os.RemoveAll(dir)
	defer os.Chdir("/")
	if err := os.Chdir(dir); err != nil {
		fmt.Fprintln(os.Stderr, "progs:", err)
		return 2
	}
	unix.Umask(0o022)
	defer func() {
		if r := recover(); r != nil {
			fmt.Printf("stopped: %v\n", r)
			if _, planned := r.(stop); !planned {
				os.Stderr.Write(debug.Stack())
			}
			code = 1
		}
	}()
	f(&T{dir: dir})
	return 0
}

func scratch() string {
	if d := os.Getenv("SCRATCH"); d != "" {
		return d
	}
	return "/tmp"
}

type stop string

// Say prints one line.
func (t *T) Say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// Err prints what was tried and its error's name, or ok.
func (t *T) Err(what string, err error) {
	fmt.Printf("%s: %s\n", what, errName(err))
}

// N prints what was tried with its number, or its error.
func (t *T) N(what string, n int, err error) {
	if err != nil {
		t.Err(what, err)
		return
	}
	fmt.Printf("%s: %d\n", what, n)
}

// Must stops the program, with the reason in its output, if err is not nil.
func (t *T) Must(what string, err error) {
	if err != nil {
		panic(stop(what + ": " + errName(err)))
	}
}

// Write makes a file with the given text.
func (t *T) Write(name, text string) { t.Must("write "+name, os.WriteFile(name, []byte(text), 0o644)) }

// Text prints a file's content, quoted.
func (t *T) Text(name string) {
	b, err := os.ReadFile(name)
	if err != nil {
		t.Err("text "+name, err)
		return
	}
	t.Say("text %s: %q", name, b)
}

// Open opens or stops.
func (t *T) Open(name string, flags int, mode uint32) int {
	fd, err := unix.Open(name, flags, mode)
	t.Must("open "+name, err)
	return fd
}

func errName(err error) string {
	if err == nil {
		return "ok"
	}
	var e unix.Errno
	if asErrno(err, &e) {
		if n := unix.ErrnoName(e); n != "" {
			return n
		}
		return fmt.Sprintf("errno %d", int(e))
	}
	return err.Error()
}

func asErrno(err error, e *unix.Errno) bool {
	for err != nil {
		if n, ok := err.(unix.Errno); ok {
			*e = n
			return true
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return false
		}
		err = u.Unwrap()
	}
	return false
}

func errnoErr(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// poll is unix.Poll, again after a signal of Go's run-time.
func poll(fds []unix.PollFd, timeout int) (n int, err error) {
	for {
		if n, err = unix.Poll(fds, timeout); err != unix.EINTR {
			return n, err
		}
	}
}
