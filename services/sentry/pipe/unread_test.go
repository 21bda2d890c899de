package pipe_test

import (
	"testing"

	"bulkhead/services/sentry/pipe"
	"bulkhead/services/sentry/vfs/vfstest"
)

// TestUnread gives back what was read to who owns the pipe, and could open it for writing, and not
// to another who has its end only: the bytes may be others by then.
func TestUnread(t *testing.T) {
	owner, other := vfstest.User(1000), vfstest.User(1001)
	r, w := pipe.New(owner, 0)
	defer r.DecRef(owner)
	defer w.DecRef(owner)
	if _, err := w.Write(owner, []byte("abcdef")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 6)
	read := func(want string, n int) {
		t.Helper()
		if got, err := r.Read(owner, b[:n]); err != nil || string(b[:got]) != want {
			t.Fatalf("read %q, %v, want %q", b[:got], err, want)
		}
	}
	read("abc", 3)
	r.Unread(owner, b[:3])
	read("ab", 2)
	r.Unread(other, []byte("XX"))
	read("cdef", 6)
}
