package task

import (
	"bytes"
	"unsafe"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
)

// CopyIn copies guest memory at addr to p, or fails with EFAULT.
func (t *Task) CopyIn(addr uint64, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	return t.th.CopyIn(addr, p)
}

// CopyOut copies p to guest memory at addr, or fails with EFAULT. It has been
// done when it returns: see CopyOutLater for what is cheaper.
func (t *Task) CopyOut(addr uint64, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	return t.th.Process().CopyOut(addr, p)
}

// CopyOutLater copies p to guest memory by the guest's own thread, before it
// goes on: no host call of ours. A bad address turns the result to EFAULT. For
// the output of a call that succeeds, where nobody else may look before.
func (t *Task) CopyOutLater(addr uint64, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if addr >= mm.GuestTop {
		return linux.EFAULT
	}
	if t.th.CopyOut(addr, p) {
		return nil
	}
	return t.CopyOut(addr, p)
}

// Window gives n bytes of staging memory, for CommitWindow, or nil if n is more
// than it has. The guest can change what is in it at any time.
func (t *Task) Window(n int) []byte { return t.th.Window(n) }

// CommitWindow copies the first n bytes of the last Window to addr, as
// CopyOutLater does.
func (t *Task) CommitWindow(addr uint64, n int) error {
	if n == 0 || t.th.CopyWindow(addr, n) {
		return nil
	}
	return linux.EFAULT
}

// CopiedIn gives n bytes of guest memory at addr without a copy if the stub has
// sent them along with the call, and nil otherwise. The guest can change them at
// any time: only for handing to the host as they are.
func (t *Task) CopiedIn(addr uint64, n int) []byte { return t.th.Copied(addr, n) }

// CopyInString copies the NUL-terminated string at addr, without the NUL.
// ENAMETOOLONG if there is no NUL in max bytes, EFAULT.
func (t *Task) CopyInString(addr mm.Addr, max int) (string, error) {
	var small [256]byte
	p := t.th.CopiedPrefix(addr)
	n := copy(small[:min(max, len(small))], p)
	if i := bytes.IndexByte(small[:n], 0); i >= 0 {
		return string(small[:i]), nil
	}
	buf := append(make([]byte, 0, 512), small[:n]...)
	for len(buf) < max {
		at := addr + uint64(len(buf))
		chunk := min(max-len(buf), int(mm.PageSize-at%mm.PageSize))
		start := len(buf)
		buf = append(buf, make([]byte, chunk)...)
		got := t.th.Process().CopyInPartial(at, buf[start:])
		if i := bytes.IndexByte(buf[start:start+got], 0); i >= 0 {
			return string(buf[:start+i]), nil
		}
		if got < chunk {
			return "", linux.EFAULT
		}
	}
	return "", linux.ENAMETOOLONG
}

// StringReader copies strings that lie close together, as those of execve(2): a page of
// guest memory at a time.
type StringReader struct {
	T    *Task
	page mm.Addr // what buf holds; 0: nothing
	buf  [mm.PageSize]byte
}

// CopyIn is Task.CopyInString.
func (r *StringReader) CopyIn(addr mm.Addr, max int) (string, error) {
	if page := addr &^ (mm.PageSize - 1); page != r.page {
		r.page = 0
		if r.T.th.Process().CopyIn(page, r.buf[:]) != nil {
			return r.T.CopyInString(addr, max)
		}
		r.page = page
	}
	rest := r.buf[addr%mm.PageSize:]
	switch i := bytes.IndexByte(rest, 0); {
	case i < 0:
		return r.T.CopyInString(addr, max)
	case i >= max:
		return "", linux.ENAMETOOLONG
	default:
		return string(rest[:i]), nil
	}
}

// BorrowPath is CopyInPath for who does not keep the path: it is good until the
// next BorrowPath. A short one that the stub has sent along is not allocated.
func (t *Task) BorrowPath(addr mm.Addr) (string, error) {
	n := copy(t.path[:], t.th.CopiedPrefix(addr))
	if i := bytes.IndexByte(t.path[:n], 0); i > 0 {
		return unsafe.String(&t.path[0], i), nil
	}
	return t.CopyInPath(addr)
}

// CopyInPath copies a path: ENOENT if empty is not allowed, ENAMETOOLONG past
// PATH_MAX.
func (t *Task) CopyInPath(addr mm.Addr) (string, error) { return t.CopyInString(addr, 4096) }
