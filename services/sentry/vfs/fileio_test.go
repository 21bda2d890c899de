package vfs_test

import (
	"sync"
	"testing"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/vfs/vfstest"
	"bulkhead/services/sentry/wait"
)

// tube is a stream that holds four bytes at most.
type tube struct {
	mu       sync.Mutex
	held     []byte
	closed   bool
	released int
	queue    wait.Queue
}

func (p *tube) ReadStream(_ vfs.Context, b []byte) (int, error) {
	p.mu.Lock()
	n := copy(b, p.held)
	p.held = p.held[n:]
	closed := p.closed
	p.mu.Unlock()
	if n == 0 && !closed {
		return 0, linux.EAGAIN
	}
	p.queue.Notify(wait.Out)
	return n, nil
}

func (p *tube) WriteStream(_ vfs.Context, b []byte) (int, error) {
	p.mu.Lock()
	n := min(len(b), 4-len(p.held))
	p.held = append(p.held[:len(p.held):len(p.held)], b[:n]...)
	closed := p.closed
	p.mu.Unlock()
	switch {
	case closed:
		return 0, linux.EPIPE
	case n == 0:
		return 0, linux.EAGAIN
	}
	p.queue.Notify(wait.In)
	return n, nil
}

func (p *tube) Poll() wait.Events  { return 0 }
func (p *tube) Queue() *wait.Queue { return &p.queue }
func (p *tube) Release()           { p.released++ }

func TestStream_blocks(t *testing.T) {
	ctx := vfstest.Root()
	p := &tube{}
	f := vfs.NewAnonFile(p, "tube:[1]", linux.O_RDWR)
	if f.Name() != "tube:[1]" {
		t.Errorf("name %q", f.Name())
	}
	done := make(chan string)
	go func() {
		var all []byte
		buf := make([]byte, 3)
		for len(all) < 10 {
			n, err := f.Read(vfstest.Root(), buf)
			if err != nil {
				t.Error(err)
				break
			}
			all = append(all, buf[:n]...)
		}
		done <- string(all)
	}()
	if n, err := f.Write(ctx, []byte("0123456789")); n != 10 || err != nil {
		t.Errorf("write %d %v", n, err)
	}
	if got := <-done; got != "0123456789" {
		t.Errorf("read %q", got)
	}
	f.DecRef(ctx)
	if p.released != 1 {
		t.Errorf("released %d times", p.released)
	}
}

func TestStream_errors(t *testing.T) {
	ctx := vfstest.Root()
	p := &tube{}
	f := vfs.NewAnonFile(p, "tube:[1]", linux.O_RDWR|linux.O_NONBLOCK)
	defer f.DecRef(ctx)
	buf := make([]byte, 10)
	is := func(what string, n, wantN int, err, want error) {
		t.Helper()
		if n != wantN || err != want {
			t.Errorf("%s: %d, %v; want %d, %v", what, n, err, wantN, want)
		}
	}
	n, err := f.Read(ctx, buf)
	is("empty", n, 0, err, linux.EAGAIN)
	n, err = f.Write(ctx, buf)
	is("short", n, 4, err, nil)
	n, err = f.Write(ctx, buf)
	is("full", n, 0, err, linux.EAGAIN)
	n, err = f.Pread(ctx, buf, 0)
	is("pread", n, 0, err, linux.ESPIPE)
	n, err = f.Pwrite(ctx, buf, 0)
	is("pwrite", n, 0, err, linux.ESPIPE)
	at, err := f.Seek(ctx, 0, linux.SEEK_CUR)
	is("seek", int(at), 0, err, linux.ESPIPE)

	copy(ctx.Mem, []byte{0, 0, 0, 0})
	if _, err := f.Ioctl(ctx, linux.FIONBIO, 0); err != nil || f.Flags()&linux.O_NONBLOCK != 0 {
		t.Errorf("FIONBIO: %v, %#o", err, f.Flags())
	}
	go func() { time.Sleep(time.Millisecond); ctx.Interrupt() }()
	n, err = f.Write(ctx, buf)
	is("interrupted", n, 0, err, linux.ERESTARTSYS)
	f.Read(ctx, buf[:2])
	go func() { time.Sleep(time.Millisecond); ctx.Interrupt() }()
	n, err = f.Write(ctx, buf)
	is("interrupted after a part", n, 2, err, nil)
	_, err = vfs.OpenPath(ctx, f.Path(), linux.O_RDONLY)
	is("reopened", 0, 0, err, linux.ENXIO)
}

// TestRead_positions: readers of one description never see a byte twice.
func TestRead_positions(t *testing.T) {
	e := newEnv(t)
	e.Write("/f", string(make([]byte, 10_000)))
	f := e.MustOpen("/f", linux.O_RDONLY, 0)
	defer f.DecRef(e.Ctx)
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for range 4 {
		wg.Go(func() {
			buf := make([]byte, 7)
			for {
				n, err := f.Read(e.Ctx, buf)
				if n == 0 || err != nil {
					return
				}
				mu.Lock()
				total += n
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if total != 10_000 {
		t.Errorf("read %d bytes", total)
	}
}

// doler takes one byte of a write, and tells nobody of room for the next.
type doler struct{ tube }

func (d *doler) WriteStream(_ vfs.Context, b []byte) (int, error) {
	return d.tube.WriteStream(nil, b[:min(1, len(b))])
}
func (d *doler) Queue() *wait.Queue { return &wait.Queue{} }

// Only EAGAIN is a promise to tell of room: what took some of a write is offered
// the rest before anybody sleeps.
func TestStream_partialWriteIsOfferedTheRest(t *testing.T) {
	ctx := vfstest.Root()
	f := vfs.NewAnonFile(&doler{}, "doler:[1]", linux.O_RDWR)
	defer f.DecRef(ctx)
	done := make(chan int, 1)
	go func() {
		n, _ := f.Write(ctx, []byte("four"))
		done <- n
	}()
	select {
	case n := <-done:
		if n != 4 {
			t.Errorf("wrote %d bytes", n)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the writer sleeps, and nobody will wake it")
	}
}
