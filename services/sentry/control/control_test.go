package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	controlv1 "bulkhead/proto/control/v1"
	"bulkhead/proto/rpc"
	sentryv1 "bulkhead/proto/sentry/v1"
)

// fakeKernel notes what it is told, and answers what the test says.
type fakeKernel struct {
	Kernel
	err     error
	order   []string
	stdio   []*os.File
	console *os.File
	exit    chan *sentryv1.ExitStatus
	killed  chan int32
}

func newFake() *fakeKernel {
	return &fakeKernel{exit: make(chan *sentryv1.ExitStatus), killed: make(chan int32, 1)}
}

func (k *fakeKernel) Boot(*sentryv1.BootRequest, Descriptors) error {
	k.order = append(k.order, "boot")
	return k.err
}

func (k *fakeKernel) Sealed() { k.order = append(k.order, "sealed") }

func (k *fakeKernel) Create(_ *sentryv1.ContainerSpec, stdio []*os.File, console *os.File) error {
	k.stdio, k.console = stdio, console
	return k.err
}

func (k *fakeKernel) Signal(_ string, _, sig int32, _, _ bool) error {
	k.killed <- sig
	return nil
}

func (k *fakeKernel) Wait(context.Context, string, int32) (*sentryv1.ExitStatus, error) {
	st, ok := <-k.exit
	if !ok {
		return nil, errors.New("the kernel is gone")
	}
	return st, nil
}

// server serves k, and gives the path of its donation socket.
func server(t *testing.T, k Kernel) (*Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "donate")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 8)); err != nil {
		t.Fatal(err)
	}
	return NewServer(k, Descriptors{}, os.NewFile(uintptr(fd), "donations"), func() error { return nil }, func() error { return nil }), path
}

func donate(t *testing.T, path string, d *sentryv1.Donation, files ...*os.File) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	packet, err := proto.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	if err := unix.Sendmsg(fd, packet, unix.UnixRights(fds...), nil, 0); err != nil {
		t.Fatal(err)
	}
}

var token = bytes.Repeat([]byte{7}, 16)

func createRequest() *sentryv1.CreateRequest {
	return &sentryv1.CreateRequest{
		Spec:     &sentryv1.ContainerSpec{Id: "box", Root: &sentryv1.Root{}, Process: &sentryv1.ProcessSpec{}},
		Donation: token,
	}
}

func TestBoot_order(t *testing.T) {
	k := newFake()
	step := func(name string) func() error {
		return func() error { k.order = append(k.order, name); return nil }
	}
	s := NewServer(k, Descriptors{}, nil, step("prepare"), step("seal"))
	if _, err := s.Boot(context.Background(), &sentryv1.BootRequest{}); err != nil {
		t.Fatal(err)
	}
	want := []string{"prepare", "boot", "seal", "sealed"}
	for i := range want {
		if i >= len(k.order) || k.order[i] != want[i] {
			t.Fatalf("order %v, want %v", k.order, want)
		}
	}
}

func TestCreate_takesDonation(t *testing.T) {
	k := newFake()
	s, path := server(t, k)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	// The request may come before its donation does.
	given := make(chan struct{})
	go func() {
		defer close(given)
		time.Sleep(10 * time.Millisecond)
		donate(t, path, &sentryv1.Donation{Token: token, Roles: []sentryv1.Role{sentryv1.Role_ROLE_STDIN, sentryv1.Role_ROLE_STDOUT}}, r, w)
		w.Close()
	}()
	_, err = s.Create(context.Background(), createRequest())
	<-given
	if err != nil {
		t.Fatal(err)
	}
	if len(k.stdio) != 3 || k.stdio[0] == nil || k.stdio[1] == nil || k.stdio[2] != nil || k.console != nil {
		t.Fatalf("stdio %v, console %v", k.stdio, k.console)
	}
	k.stdio[1].WriteString("through")
	k.stdio[1].Close()
	if text, err := io.ReadAll(r); string(text) != "through" {
		t.Errorf("read %q, %v", text, err)
	}
	// It is taken once.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Create(ctx, createRequest()); rpc.CodeOf(err) != rpc.DeadlineExceeded {
		t.Errorf("took it twice: %v", err)
	}
}

func keeper(t *testing.T, k *fakeKernel) *os.File {
	t.Helper()
	s, path := server(t, k)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := os.NewFile(uintptr(fds[0]), "keeper"), os.NewFile(uintptr(fds[1]), "keeper")
	donate(t, path, &sentryv1.Donation{Token: token, Roles: []sentryv1.Role{sentryv1.Role_ROLE_KEEPER}}, theirs)
	theirs.Close()
	if _, err := s.Create(context.Background(), createRequest()); err != nil {
		t.Fatal(err)
	}
	return mine
}

func TestKeeper_isToldTheStatus(t *testing.T) {
	for _, tt := range []struct {
		st   *sentryv1.ExitStatus
		want string
	}{{&sentryv1.ExitStatus{Code: 200}, "\xc8\x00"}, {&sentryv1.ExitStatus{Signal: 9}, "\x00\x09"}} {
		k := newFake()
		f := keeper(t, k)
		k.exit <- tt.st
		if text, err := io.ReadAll(f); string(text) != tt.want {
			t.Errorf("%v: told %q, %v", tt.st, text, err)
		}
	}
}

func TestKeeper_killedKillsTheProcess(t *testing.T) {
	k := newFake()
	keeper(t, k).Close()
	select {
	case sig := <-k.killed:
		if sig != 9 {
			t.Errorf("signal %d", sig)
		}
	case <-time.After(20 * time.Second):
		t.Error("the process lives on")
	}
	close(k.exit)
}

func TestFail_codes(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code rpc.Code
		text string
	}{
		{&ProgramError{Program: "x", NotFound: true, Cause: unix.ENOENT}, rpc.NotFound, "run x: no such file or directory"},
		{&ProgramError{Program: "x", Cause: unix.EACCES}, rpc.PermissionDenied, "run x: permission denied"},
		{&NotFoundError{What: "container y"}, rpc.NotFound, "create container: container y: there is none"},
		{errors.New("other"), rpc.Internal, "create container: other"},
	} {
		k := newFake()
		k.err = tt.err
		s := NewServer(k, Descriptors{}, nil, nil, nil)
		q := createRequest()
		q.Donation = nil
		_, err := s.Create(context.Background(), q)
		if rpc.CodeOf(err) != tt.code || err.Error() != tt.text {
			t.Errorf("%v: %v %q, want %v %q", tt.err, rpc.CodeOf(err), err, tt.code, tt.text)
		}
	}
}

func TestCreate_refusesHalfASpec(t *testing.T) {
	s := NewServer(newFake(), Descriptors{}, nil, nil, nil)
	for _, q := range []*sentryv1.CreateRequest{{}, {Spec: &sentryv1.ContainerSpec{}}, {Spec: &sentryv1.ContainerSpec{Root: &sentryv1.Root{}}}} {
		if _, err := s.Create(context.Background(), q); rpc.CodeOf(err) != rpc.InvalidArgument {
			t.Errorf("%v: %v", q, err)
		}
	}
}

func FuzzParseDonation(f *testing.F) {
	good, _ := proto.Marshal(&sentryv1.Donation{Token: token})
	f.Add(good, []byte{})
	f.Add([]byte("x"), make([]byte, 16))
	f.Fuzz(func(t *testing.T, packet, oob []byte) {
		// Only the kernel makes control messages; descriptors in one are real.
		if messages, err := unix.ParseSocketControlMessage(oob); err == nil && len(messages) > 0 {
			return
		}
		if _, g, err := parseDonation(packet, oob); err == nil {
			g.close()
		}
	})
}

// TestMethods: what is served is what the schema has.
func TestMethods(t *testing.T) {
	served := NewServer(nil, Descriptors{}, nil, nil, nil).Methods()
	for _, m := range controlv1.SentryService_ServiceDesc.Methods {
		path := "/" + controlv1.SentryService_ServiceDesc.ServiceName + "/" + m.MethodName
		if served[path] == nil {
			t.Errorf("%s is not served", path)
		}
		delete(served, path)
	}
	for path := range served {
		t.Errorf("%s is served, and not in the schema", path)
	}
}
