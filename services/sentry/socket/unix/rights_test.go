package unix

import (
	"testing"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/eventfd"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

func sendFiles(t *testing.T, s *Socket, data string, files ...*vfs.File) {
	t.Helper()
	m := socket.Msg{Data: [][]byte{[]byte(data)}, Control: socket.Control{Files: files}}
	if _, err := s.SendMsg(kernel, &m); err != nil {
		t.Fatal(err)
	}
}

func recvFiles(t *testing.T, s *Socket, flags int) (string, []*vfs.File) {
	t.Helper()
	b := make([]byte, 100)
	m := socket.Msg{Data: [][]byte{b}, Flags: flags}
	n, err := s.RecvMsg(kernel, &m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n]), m.Control.Files
}

func TestRights(t *testing.T) {
	each(t, func(t *testing.T, fam *Family, typ int) {
		a, b := pair(t, fam, typ)
		f := eventfd.New(0, false, 0)
		sendFiles(t, a, "x", f, f)
		if f.Refs() != 3 {
			t.Errorf("%d references in flight", f.Refs())
		}
		_, files := recvFiles(t, b, linux.MSG_PEEK)
		if len(files) != 2 || f.Refs() != 5 {
			t.Errorf("peek: %d files, %d references", len(files), f.Refs())
		}
		_, more := recvFiles(t, b, 0)
		for _, g := range append(files, more...) {
			g.DecRef(kernel)
		}
		if f.Refs() != 1 {
			t.Errorf("%d references at the end", f.Refs())
		}
		sendFiles(t, a, "x", f)
		recv(t, b, "x", nil) // read(2) drops the file
		sendFiles(t, a, "x", f)
		b.Release() // and so does a close
		if f.Refs() != 1 {
			t.Errorf("%d references after closing", f.Refs())
		}
		if _, err := a.SendMsg(kernel, &socket.Msg{Control: socket.Control{Files: make([]*vfs.File, 254)}}); err != linux.EINVAL {
			t.Error(err)
		}
	}, stream, dgram, seqpacket)
}

func TestRights_boundStream(t *testing.T) {
	a, b := pair(t, NewFamily(nil), stream)
	f := eventfd.New(0, false, 0)
	send(t, a, "before ", nil)
	sendFiles(t, a, "with", f)
	send(t, a, " after", nil)
	data, files := recvFiles(t, b, 0)
	if data != "before with" || len(files) != 1 {
		t.Errorf("%q, %d files", data, len(files))
	}
	if data, files = recvFiles(t, b, 0); data != " after" || files != nil {
		t.Errorf("%q, %d files", data, len(files))
	}
}

func TestGarbage(t *testing.T) {
	fam := NewFamily(nil)
	a, b := pair(t, fam, dgram)
	fa, fb := socket.NewFile(a, linux.O_RDWR), socket.NewFile(b, linux.O_RDWR)
	sendFiles(t, a, "b to itself", fb)
	sendFiles(t, b, "a to itself", fa, fb)
	witness := eventfd.New(0, false, 0)
	sendFiles(t, a, "witness", witness)
	fa.DecRef(kernel)
	other := newSocket(t, fam, dgram)
	other.Release()
	if witness.Refs() != 2 {
		t.Error("collected what b's holder can reach")
	}
	fb.DecRef(kernel)
	newSocket(t, fam, dgram).Release()
	eventually(t, func() bool { return witness.Refs() == 1 && fa.Refs() == 0 && fb.Refs() == 0 })
	inFlight.mu.Lock()
	defer inFlight.mu.Unlock()
	if inFlight.total != 0 || len(inFlight.sockets) != 0 {
		t.Errorf("in flight: %d, %v", inFlight.total, inFlight.sockets)
	}
}

// A long look is followed by a rest, in which nothing is looked at, and after which it
// is.
func TestCollect_rests(t *testing.T) {
	a, b, _ := NewFamily(nil).Pair(kernel, stream, 0)
	f := socket.NewFile(a, linux.O_RDWR)
	if _, err := b.SendMsg(kernel, &socket.Msg{Data: [][]byte{{1}}, Control: socket.Control{Files: []*vfs.File{f}}}); err != nil {
		t.Fatal(err)
	}
	flying := func() int {
		inFlight.mu.Lock()
		defer inFlight.mu.Unlock()
		return len(inFlight.sockets)
	}
	inFlight.mu.Lock()
	inFlight.rest = time.Now().Add(200 * time.Millisecond)
	inFlight.mu.Unlock()
	f.DecRef(kernel) // now it is only in its own inbox
	for range 3 {
		collect()
	}
	inFlight.mu.Lock()
	due := inFlight.due || len(inFlight.sockets) == 0 // a slow machine
	inFlight.mu.Unlock()
	if !due {
		t.Error("nothing is to be collected after the rest")
	}
	eventually(t, func() bool { return flying() == 0 })
}

// Very many sockets in flight, which somebody can reach, are not looked at for each that
// is closed.
func TestCollect_many(t *testing.T) {
	fam := NewFamily(nil)
	in, out, _ := fam.Pair(kernel, stream, 0)
	out.(*Socket).sendLimit.Store(1 << 30)
	for range 4000 {
		s, _ := fam.Socket(kernel, stream, 0)
		f := socket.NewFile(s, linux.O_RDWR)
		if _, err := out.SendMsg(kernel, &socket.Msg{Data: [][]byte{{1}}, Control: socket.Control{Files: []*vfs.File{f}}}); err != nil {
			t.Fatal(err)
		}
		f.DecRef(kernel)
	}
	looks := 0
	for range 1000 {
		if mayCollect() {
			looks++
			collect()
		}
	}
	if looks > 500 {
		t.Errorf("%d looks for 1000 sockets closed", looks)
	}
	in.Release()
	out.Release()
}

// A read that ends where a message with files begins leaves them to who reads that.
func TestRights_behindBytes(t *testing.T) {
	for _, flags := range []int{0, linux.MSG_PEEK} {
		a, b := pair(t, NewFamily(nil), linux.SOCK_STREAM)
		f := eventfd.New(0, false, 0)
		if _, err := a.WriteStream(kernel, []byte("head")); err != nil {
			t.Fatal(err)
		}
		sendFiles(t, a, "x", f)
		p := make([]byte, 4)
		m := socket.Msg{Data: [][]byte{p}, Flags: flags}
		if n, err := b.RecvMsg(kernel, &m); n != 4 || err != nil || len(m.Control.Files) != 0 {
			t.Errorf("flags %#x: %d bytes, %v, %d files", flags, n, err, len(m.Control.Files))
		}
		if flags != 0 {
			if n, err := b.ReadStream(kernel, p); n != 4 || err != nil {
				t.Error(n, err)
			}
		}
		if got, files := recvFiles(t, b, 0); got != "x" || len(files) != 1 {
			t.Errorf("flags %#x: %q and %d files", flags, got, len(files))
		}
	}
}
