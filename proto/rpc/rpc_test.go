package rpc

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// methods are what the tests' clients call.
var methods = Methods{
	"/test.Test/Echo": Unary(func(_ context.Context, q *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) { return q, nil }),
	"/test.Test/Fail": Unary(func(context.Context, *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
		return nil, Errorf(NotFound, "run 100%%: \x01 größer")
	}),
	"/test.Test/Other": Unary(func(context.Context, *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
		return nil, fmt.Errorf("another error")
	}),
	"/test.Test/Wait": Unary(func(ctx context.Context, q *durationpb.Duration) (*durationpb.Duration, error) {
		begun.Add(1)
		<-ctx.Done()
		ended.Add(1)
		return nil, ctx.Err()
	}),
}

// begun and ended count the calls to Wait.
var begun, ended atomic.Int32

// until waits for what another goroutine brings about.
func until(t *testing.T, holds func() bool, what string) {
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Error(what)
			return
		}
	}
}

// dial gives grpc-go's client of a server of methods.
func dial(t testing.TB) *grpc.ClientConn {
	t.Helper()
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go methods.ServeConn(c)
		}
	}()
	conn, err := grpc.NewClient("unix:"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func echo(conn *grpc.ClientConn, data []byte) error {
	a := new(wrapperspb.BytesValue)
	err := conn.Invoke(context.Background(), "/test.Test/Echo", &wrapperspb.BytesValue{Value: data}, a)
	if err == nil && !bytes.Equal(a.Value, data) {
		return fmt.Errorf("%d bytes came back as %d others", len(data), len(a.Value))
	}
	return err
}

// Sizes on both sides of a frame, of the windows that grpc-go begins with, and of the
// longest message that either takes.
func TestEcho(t *testing.T) {
	conn := dial(t)
	for _, n := range []int{0, 1, maxFrame - 9, maxFrame, 65535, 65536, 1 << 20, maxMessage - 16} {
		if err := echo(conn, bytes.Repeat([]byte("abc"), n/3+1)[:n]); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestEcho_many(t *testing.T) {
	conn := dial(t)
	var all sync.WaitGroup
	for i := range 200 { // more than may run at once: grpc-go waits with the others
		all.Go(func() {
			if err := echo(conn, bytes.Repeat([]byte{byte(i)}, i*500)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestFailures(t *testing.T) {
	conn := dial(t)
	large := &wrapperspb.BytesValue{Value: make([]byte, maxMessage+1)}
	for _, tt := range []struct {
		method  string
		request any
		code    codes.Code
		text    string
	}{
		{"/test.Test/Fail", &wrapperspb.BytesValue{}, codes.NotFound, "run 100%: \x01 größer"},
		{"/test.Test/Other", &wrapperspb.BytesValue{}, codes.Internal, "another error"},
		{"/test.Test/None", &wrapperspb.BytesValue{}, codes.Unimplemented, "there is no method /test.Test/None"},
		{"/test.Test/Echo", large, codes.ResourceExhausted, fmt.Sprintf("the request is longer than %d bytes", maxMessage)},
	} {
		err := conn.Invoke(context.Background(), tt.method, tt.request, new(wrapperspb.BytesValue))
		if st := status.Convert(err); st.Code() != tt.code || st.Message() != tt.text {
			t.Errorf("%s: %v %q, want %v %q", tt.method, st.Code(), st.Message(), tt.code, tt.text)
		}
	}
	if err := echo(conn, []byte("still there")); err != nil {
		t.Error(err)
	}
	if _, err := methods["/test.Test/Echo"](context.Background(), []byte{0xff}); CodeOf(err) != InvalidArgument {
		t.Errorf("a request that is no message: %v", err)
	}
}

// A call ends when its client gives it up, when its time is over, and with the
// connection; and with it ends what the server does for it.
func TestCancel(t *testing.T) {
	conn := dial(t)
	wait := func(ctx context.Context) error {
		return conn.Invoke(ctx, "/test.Test/Wait", &durationpb.Duration{}, new(durationpb.Duration))
	}
	// whenBegun does something once one more call than now has reached the server.
	whenBegun := func(do func()) {
		before := begun.Load()
		go func() {
			until(t, func() bool { return begun.Load() > before }, "the call does not reach the server")
			do()
		}()
	}
	ctx, cancel := context.WithCancel(context.Background())
	whenBegun(cancel)
	if err := wait(ctx); status.Code(err) != codes.Canceled {
		t.Error(err)
	}
	// A short time can be over before the call gets there.
	for before, d := begun.Load(), 20*time.Millisecond; begun.Load() == before && d < time.Minute; d *= 2 {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		if err := wait(ctx); status.Code(err) != codes.DeadlineExceeded {
			t.Error(err)
		}
		cancel()
	}
	if err := echo(conn, []byte("between")); err != nil {
		t.Error(err)
	}
	whenBegun(func() { conn.Close() })
	if err := wait(context.Background()); status.Code(err) != codes.Canceled {
		t.Error(err)
	}
	until(t, func() bool { return ended.Load() == begun.Load() }, "the server still works for calls that have ended")
}

// raw sends what no grpc-go would, and gives all that comes back until the server ends
// the connection, or has answered a ping.
func raw(t testing.TB, bytes []byte) []frame {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() { methods.ServeConn(theirs); close(done) }()
	go func() {
		ours.Write([]byte(preface))
		ours.Write(bytes)
	}()
	defer time.AfterFunc(20*time.Second, func() { ours.Close() }).Stop()
	var all []frame
	for {
		f, err := readFrame(ours, make([]byte, maxFrame))
		if err != nil {
			break
		}
		all = append(all, f)
		if f.kind == framePing && f.has(flagAck) {
			ours.Close()
		}
	}
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the server does not end with its connection")
	}
	return all
}

func TestMalformed(t *testing.T) {
	long := appendFrame(nil, frameHeaders, 0, 1, nil)
	for range 3 {
		long = appendFrame(long, frameContinuation, 0, 1, make([]byte, maxFrame))
	}
	for _, tt := range []struct {
		name string
		sent []byte
		code h2Error
	}{
		{"frame too long", []byte{0, 0x40, 1, 0, 0, 0, 0, 0, 1}, errFrameSize},
		{"data before headers", appendFrame(nil, frameData, 0, 1, []byte("x")), errProtocol},
		{"data of no stream", appendFrame(nil, frameData, 0, 0, []byte("x")), errProtocol},
		{"even stream", appendFrame(nil, frameHeaders, flagEndHeaders, 2, nil), errProtocol},
		{"stream 0", appendFrame(nil, frameHeaders, flagEndHeaders, 0, nil), errProtocol},
		{"padding longer than the frame", appendFrame(nil, frameHeaders, flagEndHeaders|flagPadded, 1, []byte{9}), errProtocol},
		{"padding of nothing", appendFrame(nil, frameHeaders, flagEndHeaders|flagPadded, 1, nil), errFrameSize},
		{"priority cut short", appendFrame(nil, frameHeaders, flagEndHeaders|flagPriority, 1, []byte{0}), errFrameSize},
		{"bad header block", appendFrame(nil, frameHeaders, flagEndHeaders, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), errCompression},
		{"block cut short", appendFrame(nil, frameHeaders, flagEndHeaders, 1, []byte{0x40, 5, 'a'}), errCompression},
		{"endless header block", long, errCalm},
		{"something else in a header block", appendFrame(appendFrame(nil, frameHeaders, 0, 1, nil), framePing, 0, 0, make([]byte, 8)), errProtocol},
		{"continuation of nothing", appendFrame(nil, frameContinuation, 0, 1, nil), errProtocol},
		{"settings of a stream", appendFrame(nil, frameSettings, 0, 1, nil), errProtocol},
		{"settings cut short", appendFrame(nil, frameSettings, 0, 0, []byte{0}), errFrameSize},
		{"window too large", appendFrame(nil, frameSettings, 0, 0, []byte{0, settingInitialWindow, 0x80, 0, 0, 0}), errFlowControl},
		{"window of 0", appendWord(nil, frameWindowUpdate, 0, 0), errProtocol},
		{"window overflows", appendWord(nil, frameWindowUpdate, 0, maxWindow), errFlowControl},
		{"ping too long", appendFrame(nil, framePing, 0, 0, make([]byte, 9)), errFrameSize},
		{"reset of no stream", appendWord(nil, frameReset, 7, 0), errProtocol},
		{"push", appendFrame(nil, framePushPromise, 0, 1, nil), errProtocol},
	} {
		got := raw(t, tt.sent)
		if len(got) == 0 || got[len(got)-1].kind != frameGoAway {
			t.Errorf("%s: the connection is not ended: %d frames", tt.name, len(got))
		} else if p := got[len(got)-1].payload; h2Error(p[7]) != tt.code {
			t.Errorf("%s: %v, want %v", tt.name, h2Error(p[7]), tt.code)
		}
	}
}

// What must be ignored, or is answered, does not end a connection.
func TestTolerated(t *testing.T) {
	for name, sent := range map[string][]byte{
		"unknown frame":      appendFrame(nil, 0x42, 0xff, 5, []byte("x")),
		"priority":           appendFrame(nil, framePriority, 0, 1, make([]byte, 5)),
		"unknown setting":    appendFrame(nil, frameSettings, 0, 0, []byte{0, 99, 0, 0, 0, 1}),
		"settings agreed to": appendFrame(nil, frameSettings, flagAck, 0, nil),
		"window of a dead":   appendWord(nil, frameWindowUpdate, 9, 1),
	} {
		got := raw(t, appendFrame(sent, framePing, 0, 0, []byte("12345678")))
		f := got[len(got)-1]
		if f.kind != framePing || !f.has(flagAck) || string(f.payload) != "12345678" {
			t.Errorf("%s: the ping after it got frame %d %q", name, f.kind, f.payload)
		}
	}
}

func TestTimeout(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"1S": time.Second, "20m": 20 * time.Millisecond, "3H": 3 * time.Hour, "7u": 7 * time.Microsecond, "1n": 1, "2M": 2 * time.Minute,
		"": 0, "S": 0, "1": 0, "-1S": 0, "1x": 0, "123456789S": 0,
	} {
		if got, ok := timeout(s); got != want || ok != (want != 0) {
			t.Errorf("%q: %v %v", s, got, ok)
		}
	}
	if got, ok := timeout("99999999H"); !ok || got <= 0 {
		t.Errorf("the longest: %v", got)
	}
}

// FuzzServer: a client that sends anything ends, and leaves nothing that runs.
func FuzzServer(f *testing.F) {
	f.Add(appendFrame(nil, frameSettings, 0, 0, nil))
	f.Add(appendFrame(nil, frameHeaders, flagEndHeaders|flagEndStream, 1, []byte{0x83, 0x86, 0x44, 1, '/'}))
	f.Add(appendWord(nil, frameWindowUpdate, 0, 5))
	// A whole call, as grpc-go would send it but for its compression.
	h := []byte{0x83, 0x44, byte(len("/test.Test/Echo"))}
	h = append(append(h, "/test.Test/Echo"...), 0x5f, byte(len("application/grpc")))
	h = append(h, "application/grpc"...)
	call := appendFrame(nil, frameHeaders, flagEndHeaders, 1, h)
	f.Add(appendFrame(call, frameData, flagEndStream, 1, []byte{0, 0, 0, 0, 3, 10, 1, 'x'}))
	f.Fuzz(func(t *testing.T, sent []byte) {
		if strings.Contains(string(sent), "Wait") {
			return // which counts
		}
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() { methods.ServeConn(theirs); close(done) }()
		go func() {
			ours.Write(append([]byte(preface), sent...))
			ours.Close()
		}()
		for buf := make([]byte, maxFrame); ; {
			if _, err := readFrame(ours, buf); err != nil {
				break
			}
		}
		<-done
	})
}
