// Package keeper makes the host process that stands for a guest process: the one
// whose pid an engine finds in the pid-file, and waits for.
//
// A keeper is a program of some hundred bytes, without a run-time, so that a pod
// can have hundreds. It reads two bytes from its standard input, a socket whose
// other end the sentry holds: an exit code and a signal number. It ends in the
// same way as the guest process did: by that signal, or with that code. If the
// socket ends without them, the sandbox has died, and it exits with 137.
package keeper

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/jail"
	"bulkhead/launcher/program"
)

// Lost is the exit status of a keeper whose sentry died: as if by SIGKILL.
const Lost = 128 + 9

// code is the program, position-independent.
var code = []byte{
	// prctl(PR_SET_NAME, name)
	0xb8, 157, 0, 0, 0, // mov eax, SYS_prctl
	0xbf, 15, 0, 0, 0, // mov edi, PR_SET_NAME
	0x48, 0x8d, 0x35, 0x5f, 0, 0, 0, // lea rsi, [rip+name]
	0x0f, 0x05, // syscall
	// prctl(PR_SET_DUMPABLE, 0): the guest's death by SIGSEGV dumps no keeper
	0xb8, 157, 0, 0, 0, // mov eax, SYS_prctl
	0xbf, 4, 0, 0, 0, // mov edi, PR_SET_DUMPABLE
	0x31, 0xf6, // xor esi, esi
	0x0f, 0x05, // syscall
	0x48, 0x83, 0xec, 0x10, // sub rsp, 16
	// again: n = read(0, rsp, 2)
	0x31, 0xc0, // xor eax, eax
	0x31, 0xff, // xor edi, edi
	0x48, 0x89, 0xe6, // mov rsi, rsp
	0xba, 2, 0, 0, 0, // mov edx, 2
	0x0f, 0x05, // syscall
	0x48, 0x83, 0xf8, 0xfc, // cmp rax, -EINTR
	0x74, 0xec, // je again
	0xbf, Lost, 0, 0, 0, // mov edi, Lost
	0x48, 0x83, 0xf8, 0x02, // cmp rax, 2
	0x75, 0x25, // jne end
	0x0f, 0xb6, 0x3c, 0x24, // movzx edi, byte [rsp]: the code
	0x0f, 0xb6, 0x5c, 0x24, 0x01, // movzx ebx, byte [rsp+1]: the signal
	0x85, 0xdb, // test ebx, ebx
	0x74, 0x18, // jz end
	// kill(getpid(), signal)
	0xb8, 39, 0, 0, 0, // mov eax, SYS_getpid
	0x0f, 0x05, // syscall
	0x89, 0xc7, // mov edi, eax
	0x89, 0xde, // mov esi, ebx
	0xb8, 62, 0, 0, 0, // mov eax, SYS_kill
	0x0f, 0x05, // syscall
	0x8d, 0xbb, 128, 0, 0, 0, // lea edi, [rbx+128]: it did not end us
	// end: exit_group(edi)
	0xb8, 231, 0, 0, 0, // mov eax, SYS_exit_group
	0x0f, 0x05, // syscall
	// name:
	'k', 'e', 'e', 'p', 'e', 'r', 0,
}

// Start starts a keeper, as a child of this process, and gives the other end of
// its socket, for the sentry.
func Start() (*os.Process, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("start keeper: make its socket: %w", err)
	}
	theirs, ours := os.NewFile(uintptr(fds[0]), "keeper"), os.NewFile(uintptr(fds[1]), "keeper")
	defer theirs.Close()
	p, err := run(theirs)
	if err != nil {
		ours.Close()
		return nil, nil, fmt.Errorf("start keeper: %w", err)
	}
	return p, ours, nil
}

func run(socket *os.File) (*os.Process, error) {
	image, err := program.File("keeper", code)
	if err != nil {
		return nil, fmt.Errorf("make its program: %w", err)
	}
	defer image.Close()
	cmd := &exec.Cmd{
		// Not through Path's name: only the descriptor leads there.
		Path: program.Path(image), Args: []string{"bulkhead-keeper"}, Env: []string{},
		Dir: "/", Stdin: socket,
		SysProcAttr: &syscall.SysProcAttr{
			Setsid: true,
			// Not the host's nobody, who could end it and so lie about the guest.
			Credential: &syscall.Credential{Uid: uint32(jail.Private()), Gid: uint32(jail.Private())},
		},
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return cmd.Process, nil
}
