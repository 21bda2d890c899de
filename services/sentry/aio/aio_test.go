package aio

import (
	"testing"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/eventfd"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// TestLimits: what a guest asks for is bounded, and given back.
func TestLimits(t *testing.T) {
	s := NewSet()
	if err := s.Add(1, MaxRequests-1); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(2, 2); err != linux.EAGAIN {
		t.Errorf("past the limit: %v", err)
	}
	if err := s.Add(1, 1); err != linux.EAGAIN {
		t.Errorf("an id twice: %v", err)
	}
	s.Release()
	if n := Reserved(); n != 0 {
		t.Errorf("%d reserved after the end", n)
	}
	if err := s.Add(3, 1); err != linux.EAGAIN {
		t.Errorf("after the end: %v", err)
	}
}

// TestFull: a context takes as many requests as it was made for until their ends
// have been taken.
func TestFull(t *testing.T) {
	s := NewSet()
	defer s.Release()
	s.Add(1, 2)
	c, _ := s.Context(1)
	for i := range 2 {
		if err := c.Take(); err != nil {
			t.Fatal(i, err)
		}
		c.Complete(Event{Data: uint64(i)}, nil)
	}
	if err := c.Take(); err != linux.EAGAIN {
		t.Errorf("a third: %v", err)
	}
	ends, err := c.Events(&poll{}, 1, 1, time.Time{})
	if err != nil || len(ends) != 1 || ends[0].Data != 0 {
		t.Errorf("ends %v %v", ends, err)
	}
	if err := c.Take(); err != nil {
		t.Errorf("once one is taken: %v", err)
	}
}

// TestFilesGo: who ends a context ends what it waits for, and the files go.
func TestFilesGo(t *testing.T) {
	s := NewSet()
	s.Add(1, 2)
	c, _ := s.Context(1)
	f, notify := eventfd.New(0, false, 0), eventfd.New(0, false, 0)
	for i := range 2 {
		c.Take()
		f.IncRef()
		notify.IncRef()
		c.Poll(Event{Object: uint64(i)}, f, wait.In, notify)
	}
	s.Remove(1)
	for deadline := time.Now().Add(20 * time.Second); f.Refs() > 1 || notify.Refs() > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d and %d references left", f.Refs(), notify.Refs())
		}
	}
	f.DecRef(vfs.KernelContext())
	notify.DecRef(vfs.KernelContext())
}
