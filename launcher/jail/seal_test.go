package jail

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain runs this binary again as the process that is to be sealed.
func TestMain(m *testing.M) {
	if what := os.Getenv("JAIL_TEST"); what != "" {
		if err := sealed(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// goRuntime is what the Go runtime needs to run and to end.
var goRuntime = Filter{
	Allow(unix.SYS_WRITE, ""), Allow(unix.SYS_READ, ""), Allow(unix.SYS_FUTEX, ""), Allow(unix.SYS_MMAP, "", Without(2, unix.PROT_EXEC)),
	Allow(unix.SYS_MUNMAP, ""), Allow(unix.SYS_MADVISE, ""), Allow(unix.SYS_RT_SIGPROCMASK, ""), Allow(unix.SYS_RT_SIGACTION, ""),
	Allow(unix.SYS_RT_SIGRETURN, ""), Allow(unix.SYS_SIGALTSTACK, ""), Allow(unix.SYS_CLONE, ""), Allow(unix.SYS_EXIT_GROUP, ""),
	Allow(unix.SYS_EXIT, ""), Allow(unix.SYS_GETPID, ""), Allow(unix.SYS_GETTID, ""), Allow(unix.SYS_TGKILL, ""), Allow(unix.SYS_NANOSLEEP, ""),
	Allow(unix.SYS_SCHED_YIELD, ""), Allow(unix.SYS_EPOLL_PWAIT, ""), Allow(unix.SYS_EPOLL_CTL, ""), Allow(unix.SYS_FCNTL, ""),
	Allow(unix.SYS_CLOSE, ""), Allow(unix.SYS_SCHED_GETAFFINITY, ""), Allow(unix.SYS_GETRANDOM, ""), Allow(unix.SYS_RESTART_SYSCALL, ""),
}

func sealed(what string) error {
	threads := make(chan bool)
	for range 4 {
		go func() { <-threads }()
	}
	switch what {
	case "socket":
		if err := goRuntime.Install(); err != nil {
			return err
		}
		_, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		return fmt.Errorf("survived: %w", err)
	case "power":
		if err := EnterEmptyRoot(); err != nil {
			return err
		}
		if err := Become(Nobody, Nobody, 0); err != nil {
			return err
		}
		names, err := os.ReadDir("/")
		if err != nil || len(names) != 0 {
			return fmt.Errorf("the root holds %v, %v", names, err)
		}
		if err := os.Mkdir("/x", 0o700); err == nil {
			return errors.New("made a directory in the empty root")
		}
		if err := syscall.Setuid(0); err == nil {
			return errors.New("became root again")
		}
		return nil
	case "keep":
		if err := Become(0, 0, CapsOf(unix.CAP_CHOWN)); err != nil {
			return err
		}
		status, err := os.ReadFile("/proc/thread-self/status")
		if err != nil {
			return err
		}
		for _, line := range []string{"CapPrm:\t0000000000000001", "CapEff:\t0000000000000001", "CapBnd:\t0000000000000000", "CapInh:\t0000000000000000"} {
			if !strings.Contains(string(status), line) {
				return fmt.Errorf("status lacks %q:\n%s", line, status)
			}
		}
		return nil
	}
	return fmt.Errorf("unknown test %q", what)
}

func sealedRun(t *testing.T, what string, flags uintptr) (string, error) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"JAIL_TEST=" + what}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestForbiddenCall_endsProcessAndIsNamed(t *testing.T) {
	out, err := sealedRun(t, "socket", 0)
	if err == nil || strings.Contains(out, "survived") {
		t.Fatalf("the process went on: %v\n%s", err, out)
	}
	call, ok := Forbidden(out)
	if !ok || CallName(call) != "socket" {
		t.Errorf("found call %d, %v in:\n%s", call, ok, out)
	}
}

func TestPower_isGone(t *testing.T) {
	if out, err := sealedRun(t, "power", syscall.CLONE_NEWNS); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := sealedRun(t, "keep", 0); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestForbidden_ofOtherText(t *testing.T) {
	for _, text := range []string{"", "panic: x\nrax    0x29", "SIGSYS: bad system call", "SIGSYS: bad system call\nrax    0x"} {
		if call, ok := Forbidden(text); ok {
			t.Errorf("found call %d in %q", call, text)
		}
	}
}
