package pipe

import (
	"testing"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

type node struct{ vfs.Node }

// interrupted is a thread for which a signal waits.
type interrupted struct{ vfs.Context }

func (interrupted) Sleep(<-chan struct{}, time.Time) error { return linux.ERESTARTSYS }

func openFIFO(t *testing.T, n vfs.Node, flags linux.OpenFlags) *End {
	t.Helper()
	e, err := OpenFIFO(kernel, n, flags)
	if err != nil {
		t.Fatal(err)
	}
	return e.(*End)
}

func TestOpenFIFO_nonblocking(t *testing.T) {
	n := &node{}
	if _, err := OpenFIFO(kernel, n, linux.O_WRONLY|linux.O_NONBLOCK); err != linux.ENXIO {
		t.Errorf("writer alone: %v", err)
	}
	r := openFIFO(t, n, linux.O_RDONLY|linux.O_NONBLOCK)
	read(t, r, 1, 0, nil)
	if ev := r.Poll(); ev != 0 {
		t.Errorf("before any writer: %#x", ev)
	}
	w := openFIFO(t, n, linux.O_WRONLY|linux.O_NONBLOCK)
	read(t, r, 1, 0, linux.EAGAIN)
	write(t, w, 3, 3, nil)
	w.Release()
	if ev := r.Poll(); ev != wait.In|wait.Hup {
		t.Errorf("after the writer: %#x", ev)
	}
	r.Release()
	if len(fifos.open) != 0 {
		t.Error("the pipe outlived its ends")
	}
	rw := openFIFO(t, n, linux.O_RDWR)
	if rw.Buffered() != 0 {
		t.Error("data outlived the pipe")
	}
	rw.Release()
}

func TestOpenFIFO_blocking(t *testing.T) {
	n := &node{}
	opened := make(chan *End)
	go func() {
		e, _ := OpenFIFO(kernel, n, linux.O_RDONLY)
		opened <- e.(*End)
	}()
	select {
	case <-opened:
		t.Fatal("open did not wait")
	case <-time.After(10 * time.Millisecond):
	}
	// A writer that is gone again at once still lets the reader through.
	w := openFIFO(t, n, linux.O_WRONLY)
	w.Release()
	r := <-opened
	read(t, r, 1, 0, nil)
	if ev := r.Poll(); ev != wait.Hup {
		t.Errorf("poll %#x", ev)
	}
	r.Release()
}

func TestOpenFIFO_interrupted(t *testing.T) {
	n := &node{}
	before := allPages.Load()
	if _, err := OpenFIFO(interrupted{kernel}, n, linux.O_WRONLY); err != linux.ERESTARTSYS {
		t.Error(err)
	}
	if _, err := OpenFIFO(kernel, n, linux.O_WRONLY|linux.O_NONBLOCK); err != linux.ENXIO {
		t.Error(err)
	}
	if len(fifos.open) != 0 || allPages.Load() != before {
		t.Error("left behind")
	}
}

func TestReopen(t *testing.T) {
	r, w := NewEnds(nil, 0)
	impl, err := r.Reopen(kernel, linux.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	again := impl.(*End)
	r.Release()
	write(t, w, 3, 3, nil)
	read(t, again, 3, 3, nil)
	w.Release()
	read(t, again, 3, 0, nil)
	// With nobody at the other side either way opens at once.
	late, err := again.Reopen(kernel, linux.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	read(t, late.(*End), 3, 0, nil)
	late.Release()
	again.Release()
	if impl, err = again.Reopen(kernel, linux.O_WRONLY); err != nil {
		t.Fatal(err)
	}
	write(t, impl.(*End), 1, 0, linux.EPIPE)
}
