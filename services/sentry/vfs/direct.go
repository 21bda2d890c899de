package vfs

import (
	"errors"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

// DirectReader is a stream whose bytes lie in memory: put takes them from there, up
// to n, and says how many it took. One copy is saved to who has a long buffer.
// ErrIndirect says that it cannot be done now: ReadStream does it.
type DirectReader interface {
	ReadDirect(ctx Context, n int, put func(p []byte) (int, error)) (int, error)
}

// DirectWriter is the same the other way: get fills p and says how much of it.
type DirectWriter interface {
	WriteDirect(ctx Context, n int, get func(p []byte) (int, error)) (int, error)
}

// ErrIndirect is ReadDirect's and WriteDirect's way to decline.
var ErrIndirect = errors.New("not direct")

// ReadDirect is Read of a DirectReader.
func (f *File) ReadDirect(ctx Context, n int, put func(p []byte) (int, error)) (int, error) {
	d, ok := f.impl.(DirectReader)
	if !ok || !f.Readable() || f.reader == nil || n == 0 {
		return 0, ErrIndirect
	}
	got, err := d.ReadDirect(ctx, n, put)
	if f.enough(got, n, err) {
		return got, err
	}
	return f.readOn(ctx, got, n, func(done int) (int, error) { return d.ReadDirect(ctx, n-done, put) })
}

// WriteDirect is Write of a DirectWriter that writes a part if there is room for no
// more.
func (f *File) WriteDirect(ctx Context, n int, get func(p []byte) (int, error)) (int, error) {
	d, ok := f.impl.(DirectWriter)
	if !ok || !f.Writable() || f.writer == nil || n == 0 {
		return 0, ErrIndirect
	}
	got, err := d.WriteDirect(ctx, n, get)
	if err != linux.EAGAIN || f.Flags()&linux.O_NONBLOCK != 0 || f.Queue() == nil {
		return got, err
	}
	_, send := f.timeouts()
	err = wait.Until(ctx, f.Queue(), wait.Writable, send, func() (bool, error) {
		got, err = d.WriteDirect(ctx, n, get)
		return err != linux.EAGAIN, err
	})
	return got, timedOut(err, send)
}
