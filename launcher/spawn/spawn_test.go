package spawn

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/hull"
	controlv1 "bulkhead/proto/control/v1"
	goferv1 "bulkhead/proto/gofer/v1"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/proto/rpc"
	sentryv1 "bulkhead/proto/sentry/v1"
)

// TestMain runs this binary again as a sentry without a kernel, or as a launcher
// that can be killed.
func TestMain(m *testing.M) {
	switch {
	case filepath.Base(os.Args[0]) == Program("sentry"):
		fakeSentry()
	case os.Getenv("SPAWN_TEST_LAUNCH") != "":
		fakeLauncher()
	default:
		code := m.Run()
		os.RemoveAll(built.dir)
		os.Exit(code)
	}
}

// fakeSentry does as a sentry does on its outside: it ends with its lifeline and
// with its gofer, and can be told to crash.
func fakeSentry() {
	fds, err := hull.Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sentry:", err)
		os.Exit(1)
	}
	hull.EndWith(fds.Take(hull.FDLifeline))
	gofer := fds.Take(hull.FDGofer)
	go func() {
		gofer.Read(make([]byte, 1))
		os.Exit(0)
	}()
	c := fakeControl{fds: fds}
	hull.Serve(rpc.Methods{
		"/control.v1.SentryService/Boot": rpc.Unary(c.Boot), "/control.v1.SentryService/Start": rpc.Unary(c.Start),
		"/control.v1.SentryService/Reconnect": rpc.Unary(c.Reconnect),
	})
}

type fakeControl struct {
	fds hull.Descriptors
}

func (fakeControl) Boot(context.Context, *sentryv1.BootRequest) (*sentryv1.BootResponse, error) {
	return &sentryv1.BootResponse{}, nil
}

func (fakeControl) Start(context.Context, *sentryv1.StartRequest) (*sentryv1.StartResponse, error) {
	panic("started")
}

// Reconnect takes only a token of Donate's.
func (fakeControl) Reconnect(_ context.Context, r *sentryv1.ReconnectRequest) (*sentryv1.ReconnectResponse, error) {
	if len(r.Donation) == 0 {
		return nil, rpc.Errorf(rpc.InvalidArgument, "nothing was donated")
	}
	return &sentryv1.ReconnectResponse{}, nil
}

// built are the real gofer and netd.
var built struct {
	sync.Once
	dir string
	err error
}

func build() {
	if built.dir, built.err = os.MkdirTemp("", "bulkhead-test-"); built.err != nil {
		return
	}
	for _, name := range []string{"gofer", "netd"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(built.dir, Program(name)), "bulkhead/services/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("build %s: %w\n%s", name, err, out)
			return
		}
	}
}

// services gives a directory with the real gofer and netd, and the fake sentry.
func services(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	built.Do(build)
	if built.err != nil {
		t.Fatal(built.err)
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"sentry": self, "gofer": filepath.Join(built.dir, Program("gofer")), "netd": filepath.Join(built.dir, Program("netd")),
	} {
		if err := os.Symlink(to, filepath.Join(dir, Program(name))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func boot(libexec, root string) (*Sandbox, error) {
	dir, err := PrivateDir()
	if err != nil {
		return nil, err
	}
	s, _, err := Start(context.Background(), Config{Libexec: libexec, Dir: dir}, boots(root))
	return s, err
}

func boots(root string) Boots {
	return Boots{
		Sentry: &sentryv1.BootRequest{}, Netd: &netdv1.BootRequest{},
		Gofer: &goferv1.BootRequest{Attaches: []*goferv1.Attach{{Source: root, ReadOnly: true}}},
	}
}

func (s *Sandbox) pids() map[string]int {
	return map[string]int{"sentry": s.Sentry.Pid, "gofer": s.Gofer.Pid, "netd": s.Netd.Pid}
}

func fakeLauncher() {
	s, err := boot(os.Getenv("SPAWN_TEST_LAUNCH"), "/")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.Sentry.Pid, s.Gofer.Pid, s.Netd.Pid)
	select {}
}

// gone fails unless process pid, and whatever belongs to it, ends soon.
func gone(t *testing.T, name string, pid int) {
	t.Helper()
	for range 2000 {
		if _, err := startTime(pid); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s, process %d, lives on", name, pid)
	unix.Kill(pid, unix.SIGKILL)
}

// TestSlack has the services' threads sleep with the slack that is meant for them.
func TestSlack(t *testing.T) {
	s, err := boot(services(t), "/")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Kill()
	for name, pid := range s.pids() {
		// The first thread's, as it takes part in all.
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/timerslack_ns", pid))
		if err != nil {
			t.Skipf("this host does not tell: %v", err)
		}
		got := strings.TrimSpace(string(b))
		if want := fmt.Sprint(hull.TimerSlack.Nanoseconds()); (name != "netd") != (got == want) {
			t.Errorf("%s: %s ns", name, got)
		}
	}
}

// TestSession has the services share the launcher's session, so that they yield to each
// other, but neither its terminal nor the keys that are typed there.
func TestSession(t *testing.T) {
	s, err := boot(services(t), "/")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Kill()
	own, err := unix.Getsid(0)
	if err != nil {
		t.Fatal(err)
	}
	for name, pid := range s.pids() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		var state string
		var parent, group, session, terminal int
		if _, err := fmt.Sscan(string(b[bytes.LastIndexByte(b, ')')+1:]), &state, &parent, &group, &session, &terminal); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if group != pid || session != own || terminal != 0 {
			t.Errorf("%s: group %d, session %d, terminal %d; want %d, %d, 0", name, group, session, terminal, pid, own)
		}
	}
}

func TestKill_ofOneEndsTheOthers(t *testing.T) {
	libexec := services(t)
	for _, victim := range []string{"sentry", "gofer"} {
		s, err := boot(libexec, "/")
		if err != nil {
			t.Fatal(err)
		}
		unix.Kill(s.pids()[victim], unix.SIGKILL)
		for name, pid := range s.pids() {
			gone(t, name+" after "+victim, pid)
		}
		s.Kill()
	}
}

func TestKill_ofNetdLeavesTheOthers(t *testing.T) {
	s, err := boot(services(t), "/")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Kill()
	unix.Kill(s.Netd.Pid, unix.SIGKILL)
	gone(t, "netd", s.Netd.Pid)
	time.Sleep(50 * time.Millisecond)
	for _, service := range []*Service{s.Sentry, s.Gofer} {
		if _, err := startTime(service.Pid); err != nil {
			t.Errorf("%s ended with netd", service.Name)
		}
	}
}

func TestKill_ofTheLauncherEndsAll(t *testing.T) {
	libexec := services(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"SPAWN_TEST_LAUNCH=" + libexec}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 256)
	n, _ := out.Read(line)
	var pids []int
	for _, word := range strings.Fields(string(line[:n])) {
		if pid, err := strconv.Atoi(word); err == nil {
			pids = append(pids, pid)
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	if len(pids) != 3 {
		t.Fatalf("the launcher said %s", line[:n])
	}
	for i, name := range names {
		gone(t, name, pids[i])
	}
}

func TestRelease_letsServicesOutliveTheLauncher(t *testing.T) {
	dir, err := os.MkdirTemp("", "bulkhead-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	libexec := services(t)
	handle, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := Start(context.Background(), Config{Libexec: libexec, Dir: handle}, boots("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Kill()
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	s.lifeline.Close()
	// Another launcher finds it by what is kept, through another descriptor.
	again, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	at, err := s.Sentry.Found()
	if err != nil {
		t.Fatal(err)
	}
	found, err := Reattach(again, "sentry", at)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := controlv1.NewSentryServiceClient(found.Conn).Boot(context.Background(), &sentryv1.BootRequest{}); err != nil {
		t.Errorf("call after reattaching: %v", err)
	}
	found.Kill()
	gone(t, "sentry", s.Sentry.Pid)
	if _, err := Reattach(again, "sentry", at); err == nil {
		t.Error("reattached to a process that has ended")
	}
}

func TestStart_leavesNothingWhenAServiceIsBroken(t *testing.T) {
	libexec := services(t)
	if err := os.Remove(filepath.Join(libexec, Program("netd"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(libexec, Program("netd")), []byte("#!/bin/sh\necho 'panic: broken' >&2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	before := children(t)
	if _, err := boot(libexec, "/"); err == nil || err.Error() != "start netd: netd ended: panic: broken" {
		t.Errorf("error %v", err)
	}
	if after := children(t); after != before {
		t.Errorf("children are %s, were %s", after, before)
	}
}

func children(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestFailed_tellsWhatTheServiceWroteLast(t *testing.T) {
	s, err := boot(services(t), "/")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Kill()
	_, err = s.Control().Start(context.Background(), &sentryv1.StartRequest{})
	if err = s.Sentry.Failed(err); err == nil || err.Error() != "sentry ended: panic: started" {
		t.Errorf("error %v", err)
	}
}

func TestBoot_saysWhatCannotBeAttached(t *testing.T) {
	before := children(t)
	if _, err := boot(services(t), "/nowhere"); err == nil || err.Error() != "attach /nowhere: open tree: no such file or directory" {
		t.Errorf("error %v", err)
	}
	if after := children(t); after != before {
		t.Errorf("children are %s, were %s", after, before)
	}
}

func TestSocketsHaveNoPath(t *testing.T) {
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	s, err := boot(services(t), "/")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Kill()
	address := hull.FDPath(int(s.Dir.Fd())) + "/" + s.Sentry.Address
	if c, err := net.Dial("unix", address); err != nil {
		t.Errorf("by descriptor: %v", err)
	} else {
		c.Close()
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, s.Sentry.Address) || strings.Contains(line, "bulkhead") && !strings.Contains(string(before), line) {
			t.Errorf("mounted on the host: %s", line)
		}
	}
	var ws syscall.Stat_t
	if err := syscall.Fstat(int(s.Dir.Fd()), &ws); err != nil || ws.Mode&0o777 != 0o700 {
		t.Errorf("the directory has mode %o, %v", ws.Mode, err)
	}
}

func TestLastWords(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"SIGSYS: bad system call\nPC=0x1\n\nrax    0x29\n", "x ended by forbidden system call 41 (socket)"},
		{"noise\nfatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1", "x ended: fatal error: all goroutines are asleep - deadlock!"},
		{"x: no descriptors\n", "x ended: x: no descriptors"},
		{"nothing of ours", ""},
	} {
		if got := lastWords("x", tt.text); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
}
