package channel

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// directPair gives a client and serves its peer, both direct. leave says whether the
// client may sleep on its thread.
func directPair(t *testing.T, leave bool) (*Client, *atomic.Int32) {
	t.Helper()
	near, far, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	var held atomic.Int32
	a, err := NewDirect(near, &Hold{
		Take: func() bool { held.Add(1); return leave },
		Give: func() {},
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewDirect(far, nil)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- Serve(b, 4, echo) }()
	c := NewClient(a, nil)
	t.Cleanup(func() {
		c.Close()
		if err := <-served; err != nil {
			t.Error("serve:", err)
		}
	})
	return c, &held
}

// TestDirect has answers that come at once, and ones that come after the client's
// thread has given up, from several callers at once.
func TestDirect(t *testing.T) {
	for _, leave := range []bool{true, false} {
		c, held := directPair(t, leave)
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				for j := range 20 {
					text := "quick"
					if i == 0 && j%10 == 0 {
						text = "slow"
					}
					var got wrapperspb.StringValue
					if _, err := c.Call(context.Background(), wrapperspb.String(text), nil, &got); err != nil || got.Value != text {
						t.Errorf("leave %v: %q, %v", leave, got.Value, err)
						return
					}
				}
			})
		}
		all.Wait()
		if held.Load() == 0 {
			t.Error("nobody asked for leave to sleep")
		}
	}
}

// TestDirectClose ends a call that waits on its thread, and one in the netpoller.
func TestDirectClose(t *testing.T) {
	for _, after := range []time.Duration{0, directFor / 2, 10 * directFor} {
		c, _ := directPair(t, true)
		failed := make(chan error, 1)
		go func() {
			var got wrapperspb.StringValue
			_, err := c.Call(context.Background(), wrapperspb.String("slow"), nil, &got)
			failed <- err
		}()
		time.Sleep(after)
		c.Close()
		select {
		case err := <-failed:
			if !errors.Is(err, ErrClosed) {
				t.Errorf("closed after %v: %v", after, err)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("closed after %v: the call still waits", after)
		}
	}
}

// TestSendClosed: who sends on a connection that was closed here is told just that.
func TestSendClosed(t *testing.T) {
	for _, make := range []func(*os.File) (*Conn, error){
		New, NewUnpolled,
		func(f *os.File) (*Conn, error) { return NewDirect(f, &Hold{}) },
	} {
		near, far, err := Pair()
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		c, err := make(near)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if err := c.Send(1, nil); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
}
