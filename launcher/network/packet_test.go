package network

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A launcher that keeps the socket for another netd is not woken by its frames.
func TestPacketIsNotPolled(t *testing.T) {
	type result struct {
		f   *os.File
		err error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- result{err: err}
			return
		}
		f, err := openPacket(1)
		made <- result{f, err}
	}()
	r := <-made
	if errors.Is(r.err, unix.EPERM) {
		t.Skip("no network namespace of its own without root")
	}
	if r.err != nil {
		t.Fatal(r.err)
	}
	defer r.f.Close()
	if err := r.f.SetReadDeadline(time.Now()); !errors.Is(err, os.ErrNoDeadline) {
		t.Errorf("the netpoller knows the socket: %v", err)
	}
}
