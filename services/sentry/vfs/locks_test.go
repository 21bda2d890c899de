package vfs_test

import (
	"testing"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs/vfstest"
)

func wrlck(start, length int64) linux.Flock {
	return linux.Flock{Type: linux.F_WRLCK, Start: start, Len: length}
}

func TestRecordLocks(t *testing.T) {
	e := newEnv(t)
	e.Write("/f", "0123456789")
	a, b := vfstest.Root(), vfstest.Root()
	f := e.MustOpen("/f", linux.O_RDWR, 0)
	g := e.MustOpen("/f", linux.O_RDWR, 0)
	e.OK(f.SetLock(a, wrlck(0, 5), false, false))
	e.OK(f.SetLock(a, wrlck(3, 4), false, false)) // one's own are no hindrance
	e.Is(g.SetLock(b, wrlck(6, 1), false, false), linux.EAGAIN)
	e.OK(g.SetLock(b, wrlck(7, 0), false, false))
	if l, err := g.GetLock(b, wrlck(0, 0), false); err != nil || l.Type != linux.F_WRLCK || l.PID != a.PID || l.Start != 0 || l.Len != 7 {
		t.Errorf("%+v %v", l, err)
	}
	// Closing any descriptor of the file gives up all of the process's locks.
	h := e.MustOpen("/f", linux.O_RDONLY, 0)
	e.Is(h.SetLock(a, wrlck(0, 1), false, false), linux.EBADF)
	h.Flush(a)
	h.DecRef(a)
	e.OK(g.SetLock(b, wrlck(0, 0), false, false))
	// Open file description locks are another owner's, even in one process.
	e.Is(f.SetLock(b, wrlck(0, 1), true, false), linux.EAGAIN)
	g.Flush(b)
	e.OK(f.SetLock(b, wrlck(0, 1), true, false))
	e.Is(g.SetLock(b, wrlck(0, 1), true, false), linux.EAGAIN)
	f.DecRef(a)
	e.OK(g.SetLock(b, wrlck(0, 1), true, false))
	g.DecRef(b)
}

func TestLocks_block(t *testing.T) {
	e := newEnv(t)
	e.Write("/f", "")
	a, b := vfstest.Root(), vfstest.Root()
	f := e.MustOpen("/f", linux.O_RDWR, 0)
	defer f.DecRef(a)
	e.OK(f.SetLock(a, wrlck(0, 1), false, false))
	done := make(chan error, 1)
	go func() { done <- f.SetLock(b, wrlck(0, 1), false, true) }()
	time.Sleep(5 * time.Millisecond)
	e.OK(f.SetLock(a, linux.Flock{Type: linux.F_UNLCK}, false, false))
	e.Is(<-done, nil)

	go func() { done <- f.SetLock(a, wrlck(0, 1), false, true) }()
	a.Interrupt()
	e.Is(<-done, linux.ERESTARTSYS)

	// a waits for b's byte 0; b must not wait for a's byte 1, if it comes second.
	e.OK(f.SetLock(a, wrlck(1, 1), false, false))
	second := make(chan error, 1)
	go func() { done <- f.SetLock(a, wrlck(0, 1), false, true) }()
	time.Sleep(5 * time.Millisecond)
	go func() { second <- f.SetLock(b, wrlck(1, 1), false, true) }()
	select {
	case err := <-second:
		e.Is(err, linux.EDEADLK)
		f.Flush(b)
		e.Is(<-done, nil)
	case err := <-done:
		e.Is(err, linux.EDEADLK)
		f.Flush(a)
		e.Is(<-second, nil)
	}
}

func TestFlock(t *testing.T) {
	e := newEnv(t)
	e.Write("/f", "")
	f := e.MustOpen("/f", linux.O_RDONLY, 0)
	g := e.MustOpen("/f", linux.O_RDONLY, 0)
	e.OK(f.Flock(e.Ctx, linux.LOCK_SH))
	e.OK(g.Flock(e.Ctx, linux.LOCK_SH|linux.LOCK_NB))
	e.Is(f.Flock(e.Ctx, linux.LOCK_EX|linux.LOCK_NB), linux.EAGAIN)
	e.OK(g.Flock(e.Ctx, linux.LOCK_UN))
	e.OK(f.Flock(e.Ctx, linux.LOCK_EX|linux.LOCK_NB))
	done := make(chan error, 1)
	go func() { done <- g.Flock(vfstest.Root(), linux.LOCK_EX) }()
	time.Sleep(5 * time.Millisecond)
	f.IncRef()
	f.DecRef(e.Ctx)
	select {
	case <-done:
		t.Error("a lock went before its file")
	default:
	}
	f.DecRef(e.Ctx)
	e.Is(<-done, nil)
	g.DecRef(e.Ctx)
}
