package mqueue

import (
	"fmt"
	"testing"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// TestMemoryIsBounded: also a guest that is root, with no limit of its own, finds an
// end, and what it gives back can be had again.
func TestMemoryIsBounded(t *testing.T) {
	fs := New()
	ctx := &Making{Context: vfs.KernelContext(), Attr: Attr{16, 1 << 20}, Limit: ^uint64(0)}
	n := 0
	var err error
	for ; n < 1000; n++ {
		if _, err = fs.make(ctx, fmt.Sprint(n), 0o600); err != nil {
			break
		}
	}
	if err != linux.EMFILE || n == 0 || fs.all > total {
		t.Fatalf("%d queues of 16 MiB, %v", n, err)
	}
	for i := range n {
		node, _ := fs.root.Lookup(ctx, fmt.Sprint(i))
		if err := fs.root.Unlink(ctx, fmt.Sprint(i), node); err != nil {
			t.Fatal(err)
		}
	}
	if fs.all != 0 || len(fs.used) != 0 || fs.count != 0 {
		t.Errorf("%d bytes and %d queues left", fs.all, fs.count)
	}
}

// TestOpenQueueStays: a queue without a name counts until its last descriptor goes.
func TestOpenQueueStays(t *testing.T) {
	fs := New()
	q, err := fs.make(vfs.KernelContext(), "q", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	d, _ := q.Open(vfs.KernelContext(), linux.O_RDWR)
	fs.root.Unlink(vfs.KernelContext(), "q", q)
	if err := q.Send(vfs.KernelContext(), []byte("x"), 0, true, time.Time{}); err != nil || fs.count != 1 {
		t.Errorf("send %v, %d queues", err, fs.count)
	}
	d.Release()
	if fs.count != 0 || fs.all != 0 {
		t.Errorf("%d queues, %d bytes left", fs.count, fs.all)
	}
}
