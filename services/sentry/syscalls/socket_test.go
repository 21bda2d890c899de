package syscalls

import (
	"encoding/binary"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/socket/unix"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

func init() {
	Families = socket.Families{linux.AF_UNIX: unix.NewFamily(func(ctx vfs.Context) (root, cwd vfs.Path, umask uint32) {
		fs := ctx.(*task.Task).FS()
		return fs.Root(), fs.Cwd(), fs.Umask()
	})}
}

// pair makes two connected sockets.
func (g *guest) pair(typ int32) (a, b linux.FD) {
	g.Helper()
	addr, m := g.room(8)
	g.must(socketpair(g.t, linux.AF_UNIX, typ, 0, addr))
	return linux.FD(binary.LittleEndian.Uint32(m)), linux.FD(binary.LittleEndian.Uint32(m[4:]))
}

func TestSocket_errors(t *testing.T) {
	g := newGuest(t)
	file := g.open("f", linux.O_CREAT|linux.O_RDWR)
	s := linux.FD(g.must(socket_(g.t, linux.AF_UNIX, linux.SOCK_STREAM|linux.SOCK_NONBLOCK, 0)))
	addr, b := g.room(8)
	g.fails2("type flags", linux.EINVAL)(socket_(g.t, linux.AF_UNIX, 1|1<<20, 0))
	g.fails2("family", linux.EAFNOSUPPORT)(socket_(g.t, 99, linux.SOCK_STREAM, 0))
	g.fails2("not a socket", linux.ENOTSOCK)(listen(g.t, file, 1))
	g.fails2("not open", linux.EBADF)(listen(g.t, 99, 1))
	g.fails2("address too long", linux.EINVAL)(bind(g.t, s, addr, 129))
	g.fails2("negative address", linux.EINVAL)(connect(g.t, s, addr, -1))
	g.fails2("bad address", linux.EFAULT)(bind(g.t, s, bad, 16))
	g.fails2("accept flags", linux.EINVAL)(accept4(g.t, 99, 0, 0, 1))
	g.fails2("accept unbound", linux.EINVAL)(accept(g.t, s, 0, 0))
	g.fails2("how", linux.EINVAL)(shutdown(g.t, s, 3))
	g.fails2("unconnected", linux.ENOTCONN)(getpeername(g.t, s, addr, addr))
	g.fails2("negative option", linux.EINVAL)(setsockopt(g.t, s, linux.SOL_SOCKET, linux.SO_SNDBUF, addr, -1))
	binary.LittleEndian.PutUint32(b, ^uint32(0))
	g.fails2("negative room", linux.EINVAL)(getsockopt(g.t, s, linux.SOL_SOCKET, linux.SO_TYPE, addr, addr))
	g.fails2("pread", linux.ESPIPE)(pread64(g.t, s, addr, 1, 0))
}

func TestSockets(t *testing.T) {
	g := newGuest(t)
	server := linux.FD(g.must(socket_(g.t, linux.AF_UNIX, linux.SOCK_STREAM, 0)))
	sa := linux.AppendSockaddrUnix(nil, "/sock")
	addr, b := g.room(len(sa))
	copy(b, sa)
	g.must(bind(g.t, server, addr, int32(len(sa))))
	g.must(listen(g.t, server, 1))
	client := linux.FD(g.must(socket_(g.t, linux.AF_UNIX, linux.SOCK_STREAM, 0)))
	g.must(connect(g.t, client, addr, int32(len(sa))))
	lenAddr, lb := g.room(4)
	peer, pb := g.room(110)
	binary.LittleEndian.PutUint32(lb, 110)
	conn := linux.FD(g.must(accept4(g.t, server, peer, lenAddr, linux.O_NONBLOCK)))
	if n := binary.LittleEndian.Uint32(lb); n != 2 {
		t.Errorf("the peer's address has %d bytes: %x", n, pb[:n])
	}
	binary.LittleEndian.PutUint32(lb, 4)
	g.must(getpeername(g.t, client, peer, lenAddr))
	if n := binary.LittleEndian.Uint32(lb); int(n) != len(sa) || string(pb[:4]) != string(sa[:4]) {
		t.Errorf("address %q of %d", pb[:4], n)
	}
	msg, mb := g.room(16)
	copy(mb, "hello")
	if n := g.must(sendto(g.t, client, msg, 5, 0, 0, 0)); n != 5 {
		t.Errorf("sent %d", n)
	}
	clear(mb)
	if n := g.must(recvfrom(g.t, conn, msg, 16, linux.MSG_PEEK, 0, 0)); string(mb[:n]) != "hello" {
		t.Errorf("peeked %q", mb[:n])
	}
	clear(mb)
	if n := g.must(read(g.t, conn, msg, 16)); string(mb[:n]) != "hello" {
		t.Errorf("read %q", mb[:n])
	}
	g.fails2("nothing there", linux.EAGAIN)(recvfrom(g.t, conn, msg, 16, 0, 0, 0))
	g.must(close_(g.t, client))
	if n := g.must(recvfrom(g.t, conn, msg, 16, 0, 0, 0)); n != 0 {
		t.Errorf("received %d at the end", n)
	}
	g.fails2("no signal", linux.EPIPE)(sendto(g.t, conn, msg, 1, linux.MSG_NOSIGNAL, 0, 0))
	if own, _ := g.t.PendingSignals(); own.Has(linux.SIGPIPE) {
		t.Error("SIGPIPE with MSG_NOSIGNAL")
	}
	g.fails2("signal", linux.EPIPE)(write(g.t, conn, msg, 1))
	if own, _ := g.t.PendingSignals(); !own.Has(linux.SIGPIPE) {
		t.Error("no SIGPIPE")
	}
}

// msg lays out a struct msghdr with one piece of data and control messages.
func (g *guest) msg(data, control piece) (uint64, []byte) {
	h := linux.Msghdr{Iov: g.words(data.addr, data.n), Iovlen: 1, Control: control.addr, Controllen: control.n}
	addr, b := g.room(linux.SizeofMsghdr)
	h.Put(b)
	return addr, b
}

// piece is a piece of memory.
type piece struct{ addr, n uint64 }

func TestSendmsg_files(t *testing.T) {
	g := newGuest(t)
	g.file("f", "passed")
	a, b := g.pair(linux.SOCK_STREAM)
	fd := g.open("f", linux.O_RDONLY)
	control := linux.AppendCmsg(nil, linux.SOL_SOCKET, linux.SCM_RIGHTS, binary.LittleEndian.AppendUint32(nil, uint32(fd)))
	caddr, cb := g.room(64)
	copy(cb, control)
	msg, _ := g.msg(piece{g.str("x"), 1}, piece{caddr, uint64(len(control))})
	g.must(sendmsg(g.t, a, msg, 0))
	g.must(sendmsg(g.t, a, msg, 0))
	g.must(close_(g.t, fd))

	data, db := g.room(8)
	clear(cb)
	in, ib := g.msg(piece{data, 8}, piece{caddr, 64})
	if n := g.must(recvmsg(g.t, b, in, linux.MSG_CMSG_CLOEXEC)); n != 1 || db[0] != 'x' {
		t.Errorf("received %d %q", n, db)
	}
	h := linux.ReadMsghdr(ib)
	m, _, err := linux.NextCmsg(cb[:h.Controllen])
	if err != nil || m.Type != linux.SCM_RIGHTS || len(m.Data) != 4 {
		t.Fatalf("control %+v %v", m, err)
	}
	got := linux.FD(binary.LittleEndian.Uint32(m.Data))
	if on, err := g.t.FDs().CloseOnExec(got); err != nil || !on {
		t.Errorf("descriptor %d: %v %v", got, on, err)
	}
	if n := g.must(read(g.t, got, data, 8)); string(db[:n]) != "passed" {
		t.Errorf("file holds %q", db[:n])
	}

	none, nb := g.msg(piece{data, 8}, piece{0, 0})
	g.must(recvmsg(g.t, b, none, 0))
	if h := linux.ReadMsghdr(nb); h.Flags&linux.MSG_CTRUNC == 0 || h.Controllen != 0 {
		t.Errorf("without room: %+v", h)
	}
}

func TestSendmsg_errors(t *testing.T) {
	g := newGuest(t)
	a, b := g.pair(linux.SOCK_DGRAM)
	data := piece{g.str("x"), 1}
	caddr, cb := g.room(64)
	bad99 := linux.AppendCmsg(nil, linux.SOL_SOCKET, linux.SCM_RIGHTS, []byte{99, 0, 0, 0})
	copy(cb, bad99)
	send := func(c piece) (uint64, error) {
		msg, _ := g.msg(data, c)
		return sendmsg(g.t, a, msg, 0)
	}
	g.fails2("no such descriptor", linux.EBADF)(send(piece{caddr, uint64(len(bad99))}))
	cb[0] = 4
	g.fails2("length below a header", linux.EINVAL)(send(piece{caddr, uint64(len(bad99))}))
	cb[0] = 200
	g.fails2("length beyond the end", linux.EINVAL)(send(piece{caddr, uint64(len(bad99))}))
	copy(cb, linux.AppendCmsg(nil, linux.SOL_SOCKET, 77, nil))
	g.fails2("unknown", linux.EINVAL)(send(piece{caddr, 16}))
	g.fails2("too much", linux.ENOBUFS)(send(piece{caddr, controlMax + 1}))
	g.fails2("bad address", linux.EFAULT)(sendmsg(g.t, a, bad, 0))
	msg, mb := g.msg(data, piece{})
	binary.LittleEndian.PutUint64(mb[24:], linux.IOV_MAX+1)
	g.fails2("too many pieces", linux.EMSGSIZE)(sendmsg(g.t, a, msg, 0))

	g.t.SetCreds(vfs.UserCreds(7, 7))
	var u [12]byte
	linux.Ucred{PID: 1, UID: 7, GID: 7}.Put(u[:])
	n := copy(cb, linux.AppendCmsg(nil, linux.SOL_SOCKET, linux.SCM_CREDENTIALS, u[:]))
	g.fails2("another's id", linux.EPERM)(send(piece{caddr, uint64(n)}))
	linux.Ucred{PID: g.t.TGID(), UID: 7, GID: 7}.Put(u[:])
	n = copy(cb, linux.AppendCmsg(nil, linux.SOL_SOCKET, linux.SCM_CREDENTIALS, u[:]))
	g.fails2("its own", nil)(send(piece{caddr, uint64(n)}))

	room, rb := g.room(2 * linux.SizeofMmsghdr)
	for i := range 2 {
		h := linux.Msghdr{Iov: g.words(caddr, 8), Iovlen: 1}
		h.Put(rb[i*linux.SizeofMmsghdr:])
	}
	if n := g.must(recvmmsg(g.t, b, room, 2, linux.MSG_WAITFORONE, 0)); n != 1 || binary.LittleEndian.Uint32(rb[linux.MmsghdrLen:]) != 1 {
		t.Errorf("recvmmsg gave %d", n)
	}
}
