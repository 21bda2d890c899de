package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func conns(t testing.TB) (a, b *Conn) {
	t.Helper()
	fa, fb, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	if a, err = New(fa); err != nil {
		t.Fatal(err)
	}
	if b, err = New(fb); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func openFDs(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(d)
}

// echo answers a string with itself, sleeping first when it says so, and hands
// the descriptors back. "held" is answered when somebody takes from its channel.
func echo(f *Frame) Answer {
	var s wrapperspb.StringValue
	if err := f.Unmarshal(&s); err != nil {
		return Answer{Message: wrapperspb.String("bad")}
	}
	switch s.Value {
	case "slow":
		time.Sleep(50 * time.Millisecond)
	case "held":
		held <- true
	}
	fds := f.FDs
	f.FDs = nil
	return Answer{Message: &s, FDs: fds, Done: func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}}
}

var held = make(chan bool)

func TestManyCallsInFlight(t *testing.T) {
	a, b := conns(t)
	done := make(chan error)
	go func() { done <- Serve(b, 8, echo) }()
	c := NewClient(a, nil)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 200 {
				want := fmt.Sprint(g, "/", i)
				ctx, cancel := context.Background(), func() {}
				if g&1 == 1 {
					ctx, cancel = context.WithCancel(ctx)
				}
				var got wrapperspb.StringValue
				_, err := c.Call(ctx, wrapperspb.String(want), nil, &got)
				cancel()
				if err != nil || got.Value != want {
					t.Errorf("got %q, %v; want %q", got.Value, err, want)
					return
				}
			}
		})
	}
	wg.Wait()
	c.Close()
	if err := <-done; err != nil {
		t.Error("serve:", err)
	}
}

func TestSlowCallHoldsUpNobody(t *testing.T) {
	a, b := conns(t)
	go Serve(b, 4, echo)
	c := NewClient(a, nil)
	slow := make(chan error)
	go func() {
		var got wrapperspb.StringValue
		_, err := c.Call(context.Background(), wrapperspb.String("held"), nil, &got)
		slow <- err
	}()
	time.Sleep(5 * time.Millisecond) // it comes first, most likely
	var got wrapperspb.StringValue
	if _, err := c.Call(context.Background(), wrapperspb.String("quick"), nil, &got); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-slow:
		t.Fatal("nobody let the slow call go:", err)
	default:
	}
	<-held
	if err := <-slow; err != nil {
		t.Error(err)
	}
}

func TestCancelledCallLeavesOthersAlone(t *testing.T) {
	a, b := conns(t)
	go Serve(b, 4, echo)
	c := NewClient(a, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	var got wrapperspb.StringValue
	if _, err := c.Call(ctx, wrapperspb.String("held"), nil, &got); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
	<-held
	if _, err := c.Call(context.Background(), wrapperspb.String("x"), nil, &got); err != nil || got.Value != "x" {
		t.Fatalf("%q, %v", got.Value, err)
	}
}

func TestDescriptorsCross(t *testing.T) {
	a, b := conns(t)
	go Serve(b, 4, echo)
	c := NewClient(a, nil)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got wrapperspb.StringValue
	fds, err := c.Call(context.Background(), wrapperspb.String("fd"), []int{int(w.Fd())}, &got)
	if err != nil || len(fds) != 1 {
		t.Fatalf("%v, %v", fds, err)
	}
	w.Close()
	w = os.NewFile(uintptr(fds[0]), "w")
	io.WriteString(w, "through")
	w.Close()
	if s, _ := io.ReadAll(r); string(s) != "through" {
		t.Errorf("read %q", s)
	}
}

func TestPeerDeathFailsCalls(t *testing.T) {
	a, b := conns(t)
	c := NewClient(a, nil)
	errs := make(chan error)
	for range 3 {
		go func() {
			_, err := c.Exchange(context.Background(), wrapperspb.String("x"), nil)
			errs <- err
		}()
	}
	time.Sleep(5 * time.Millisecond)
	b.Close()
	for range 3 {
		if err := <-errs; !errors.Is(err, ErrPeerGone) {
			t.Errorf("error %v", err)
		}
	}
	if _, err := c.Exchange(context.Background(), wrapperspb.String("x"), nil); !errors.Is(err, ErrPeerGone) {
		t.Errorf("later error %v", err)
	}
	select {
	case <-c.Dead():
	default:
		t.Error("not told dead")
	}
}

func TestNotices(t *testing.T) {
	a, b := conns(t)
	got := make(chan string, 1)
	c := NewClient(a, func(f *Frame) {
		var s wrapperspb.StringValue
		f.Unmarshal(&s)
		got <- s.Value
		f.Release()
	})
	go Serve(b, 1, echo)
	b.SendMessage(0, wrapperspb.String("news"))
	if s := <-got; s != "news" {
		t.Errorf("got %q", s)
	}
	var r wrapperspb.StringValue
	if _, err := c.Call(context.Background(), wrapperspb.String("y"), nil, &r); err != nil || r.Value != "y" {
		t.Errorf("%q, %v", r.Value, err)
	}
}

// TestHostilePackets sends what a broken peer might, and sees the connection
// end with no descriptor left.
func TestHostilePackets(t *testing.T) {
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fd := int(null.Fd())
	many := make([]int, MaxFDs+3)
	for i := range many {
		many[i] = fd
	}
	for _, c := range []struct {
		name string
		data []byte
		oob  []byte
		want error
	}{
		{"short", []byte("1234567"), unix.UnixRights(fd), errShort},
		{"empty with descriptor", nil, unix.UnixRights(fd), errShort},
		{"too long", bytes.Repeat([]byte("x"), headerSize+MaxBody+1), unix.UnixRights(fd), errTruncated},
		{"too many descriptors", make([]byte, 20), unix.UnixRights(many...), errCtrlCut},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b, err := Pair()
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			conn, err := New(b)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			before := openFDs(t)
			raw, _ := a.SyscallConn()
			raw.Control(func(s uintptr) { err = unix.Sendmsg(int(s), c.data, c.oob, nil, 0) })
			if err != nil {
				t.Fatal("send:", err)
			}
			if _, err := conn.Recv(); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if after := openFDs(t); after != before {
				t.Errorf("%d descriptors leaked", after-before)
			}
		})
	}
}

func TestTooLargeIsRefusedHere(t *testing.T) {
	a, _ := conns(t)
	if err := a.Send(1, make([]byte, MaxBody+1)); err != ErrTooLarge {
		t.Errorf("error %v", err)
	}
	if err := a.Send(1, nil, make([]int, MaxFDs+1)...); err != ErrTooLarge {
		t.Errorf("error %v", err)
	}
}
