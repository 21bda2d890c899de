package eventfd

import (
	"encoding/binary"
	"math"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

var kernel = vfs.KernelContext()

func TestEventfd(t *testing.T) {
	const in, out = wait.In, wait.Out
	type step struct {
		op   string
		n    uint64 // to write, or what is read
		err  error
		poll wait.Events
	}
	for _, c := range []struct {
		name      string
		semaphore bool
		initial   uint32
		steps     []step
	}{
		{"counter", false, 3, []step{
			{"write", 4, nil, in | out}, {"read", 7, nil, out}, {"read", 0, linux.EAGAIN, out},
			{"write", math.MaxUint64, linux.EINVAL, out}, {"write", 0, nil, out},
			{"write", math.MaxUint64 - 1, nil, in}, {"write", 1, linux.EAGAIN, in}, {"read", math.MaxUint64 - 1, nil, out},
		}},
		{"semaphore", true, 2, []step{
			{"read", 1, nil, in | out}, {"read", 1, nil, out}, {"read", 0, linux.EAGAIN, out},
		}},
	} {
		e := NewImpl(c.initial, c.semaphore)
		for i, s := range c.steps {
			b := make([]byte, 8)
			var err error
			if s.op == "write" {
				binary.LittleEndian.PutUint64(b, s.n)
				_, err = e.WriteStream(kernel, b)
			} else {
				_, err = e.ReadStream(kernel, b)
			}
			if got := binary.LittleEndian.Uint64(b); err != s.err || got != s.n || e.Poll() != s.poll {
				t.Errorf("%s, step %d: %d, %v, %#x; want %d, %v, %#x", c.name, i, got, err, e.Poll(), s.n, s.err, s.poll)
			}
		}
	}
	e := NewImpl(0, false)
	if _, err := e.ReadStream(kernel, make([]byte, 7)); err != linux.EINVAL {
		t.Error(err)
	}
	if _, err := e.WriteStream(kernel, make([]byte, 7)); err != linux.EINVAL {
		t.Error(err)
	}
}

func TestAllocs(t *testing.T) {
	e := NewImpl(0, false)
	b := []byte{1, 0, 0, 0, 0, 0, 0, 0}
	if n := testing.AllocsPerRun(100, func() {
		e.WriteStream(kernel, b)
		e.ReadStream(kernel, b)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
