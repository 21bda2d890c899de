package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"bulkhead/launcher/program"
	"bulkhead/launcher/state"
)

// guardCommand is the hidden verb of a guard's process: its arguments are --root,
// the container's id, and the token that its directory is made with.
const guardCommand = "clean-up-after"

// guardPath is this program, as the guard's process has it: by descriptor 4.
const guardPath = "/proc/self/fd/4"

// waiter is what a guard is until it has something to do, which it mostly never has: it
// reads a byte of descriptor 3, and if that ends without one, executes its argument 0
// with all of its arguments.
var waiter = []byte{
	0x49, 0x89, 0xe4, // mov r12, rsp: argc, argv, 0, envp
	// prctl(PR_SET_NAME, name)
	0xb8, 157, 0, 0, 0, // mov eax, SYS_prctl
	0xbf, 15, 0, 0, 0, // mov edi, PR_SET_NAME
	0x48, 0x8d, 0x35, 0x4a, 0, 0, 0, // lea rsi, [rip+name]
	0x0f, 0x05, // syscall
	0x48, 0x83, 0xec, 0x10, // sub rsp, 16
	// again: n = read(3, rsp, 1)
	0x31, 0xc0, // xor eax, eax
	0xbf, 3, 0, 0, 0, // mov edi, 3
	0x48, 0x89, 0xe6, // mov rsi, rsp
	0xba, 1, 0, 0, 0, // mov edx, 1
	0x0f, 0x05, // syscall
	0x48, 0x83, 0xf8, 0xfc, // cmp rax, -EINTR
	0x74, 0xe9, // je again
	0x31, 0xff, // xor edi, edi
	0x48, 0x85, 0xc0, // test rax, rax
	0x75, 0x1f, // jnz end
	// execve(argv[0], argv, envp)
	0x49, 0x8b, 0x7c, 0x24, 0x08, // mov rdi, [r12+8]
	0x49, 0x8d, 0x74, 0x24, 0x08, // lea rsi, [r12+8]
	0x49, 0x8b, 0x04, 0x24, // mov rax, [r12]
	0x49, 0x8d, 0x54, 0xc4, 0x10, // lea rdx, [r12+rax*8+16]
	0xb8, 59, 0, 0, 0, // mov eax, SYS_execve
	0x0f, 0x05, // syscall
	0xbf, 1, 0, 0, 0, // mov edi, 1
	// end: exit_group(edi)
	0xb8, 231, 0, 0, 0, // mov eax, SYS_exit_group
	0x0f, 0x05, // syscall
	// name:
	'g', 'u', 'a', 'r', 'd', 0,
}

// guard is a process that takes away what we leave of a container if we are
// killed before it is whole, or while we wait for it in the foreground: its
// directory, its cgroup, and what was taken from its network.
type guard struct {
	cmd  *exec.Cmd
	hold *os.File
}

// startGuard starts a guard for the container id, whose directory is yet to be made.
func startGuard(root, id string, t state.Token) (*guard, error) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("start guard: %w", err)
	}
	defer self.Close()
	image, err := program.File("guard", waiter)
	if err != nil {
		return nil, fmt.Errorf("start guard: make its program: %w", err)
	}
	defer image.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start guard: %w", err)
	}
	defer r.Close()
	cmd := &exec.Cmd{
		Path: program.Path(image), Args: []string{guardPath, guardCommand, root, id, string(t)},
		Env: []string{"GOMAXPROCS=1"}, ExtraFiles: []*os.File{r, self},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}, // a key that ends us must not end it
	}
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

// runGuard is the guard's process, once the command that it watches has ended, and
// descriptor 3 with it; after a byte if there is nothing to do.
func runGuard(root, id string, t state.Token) error {
	syscall.Close(4) // guardPath
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
