package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// datagramMax is the longest message that is sent in one piece, in bytes: no
// socket buffer is larger.
const datagramMax = 8 << 20

// sendto sends n bytes, to addr if there is one: send(2).
func sendto(t *task.Task, fd linux.FD, buf mm.Addr, n uint64, flags int32, addr mm.Addr, addrLen int32) (uint64, error) {
	s, f, err := socketOf(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	t.Used(fd, f)
	m := socket.Msg{Flags: int(flags)}
	if addr != 0 {
		if m.Addr, err = copyInSockaddr(t, addr, addrLen); err != nil {
			return 0, err
		}
	}
	n = min(n, linux.MAX_RW_COUNT)
	if n <= chunkSize {
		if b := t.CopiedIn(buf, int(n)); b != nil {
			m.Data = [][]byte{b}
			return sendMsg(t, s, f, &m)
		}
	}
	return sendVector(t, s, f, &m, vector{one: linux.Iovec{Base: buf, Len: n}})
}

// sendMsg sends m and raises SIGPIPE where send(2) does.
func sendMsg(t *task.Task, s socket.Socket, f *vfs.File, m *socket.Msg) (uint64, error) {
	n, err := socket.Send(t, s, m, nonblocking(f))
	if err != nil && m.Flags&linux.MSG_NOSIGNAL == 0 {
		err = signalled(t, err)
	}
	return uint64(n), err
}

// sendVector sends what is at v. A stream takes it in chunks; anything else
// whole, and EMSGSIZE says that it is too long.
func sendVector(t *task.Task, s socket.Socket, f *vfs.File, m *socket.Msg, v vector) (uint64, error) {
	if s.Type() != linux.SOCK_STREAM && v.total() > chunkSize {
		return sendLarge(t, s, f, m, v)
	}
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	total := uint64(0)
	for {
		n, err := v.gather(t, chunk[:min(v.total(), chunkSize)])
		if err != nil {
			return partial(total, err)
		}
		m.Data = [][]byte{chunk[:n]}
		sent, err := sendMsg(t, s, f, m)
		total += sent
		if err != nil || int(sent) < n || v.total() == 0 {
			return partial(total, err)
		}
		m.Control = socket.Control{}
	}
}

func sendLarge(t *task.Task, s socket.Socket, f *vfs.File, m *socket.Msg, v vector) (uint64, error) {
	if v.total() > datagramMax {
		return 0, linux.EMSGSIZE
	}
	b := make([]byte, v.total())
	if _, err := v.gather(t, b); err != nil {
		return 0, err
	}
	m.Data = [][]byte{b}
	return sendMsg(t, s, f, m)
}

// recvfrom receives up to n bytes and tells who sent them: recv(2).
func recvfrom(t *task.Task, fd linux.FD, buf mm.Addr, n uint64, flags int32, addr, addrLen mm.Addr) (uint64, error) {
	s, f, err := socketOf(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	t.Used(fd, f)
	m := socket.Msg{Flags: int(flags)}
	n = min(n, linux.MAX_RW_COUNT)
	got, err := recvVector(t, s, f, &m, vector{one: linux.Iovec{Base: buf, Len: n}}, nonblocking(f))
	m.Control.Drop(t)
	if err != nil {
		return 0, err
	}
	return got, copyOutSockaddr(t, addr, addrLen, m.Addr)
}

// recvVector receives into v. What is longer than a chunk is received in pieces
// only where MSG_WAITALL asks for that.
func recvVector(t *task.Task, s socket.Socket, f *vfs.File, m *socket.Msg, v vector, nonblock bool) (uint64, error) {
	if len(v.rest) == 0 {
		if w := window(t, v.one.Len); w != nil {
			m.Data = [][]byte{w}
			n, err := socket.Recv(t, s, m, nonblock)
			if err != nil {
				return 0, err
			}
			return uint64(n), t.CommitWindow(v.one.Base, min(n, len(w)))
		}
	}
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	all := m.Flags&linux.MSG_WAITALL != 0 && s.Type() == linux.SOCK_STREAM
	total := uint64(0)
	for {
		room := int(min(v.total(), chunkSize))
		more := socket.Msg{Flags: m.Flags, Data: [][]byte{chunk[:room]}}
		n, err := socket.Recv(t, s, &more, nonblock)
		if err != nil {
			return partial(total, err)
		}
		if total == 0 {
			m.Addr, m.Control, m.Out = more.Addr, more.Control, more.Out
		} else {
			more.Control.Drop(t)
		}
		if _, err := v.scatter(t, chunk[:min(n, room)]); err != nil {
			return partial(total, err)
		}
		total += uint64(n)
		if !all || n < room || v.total() == 0 {
			return total, nil
		}
	}
}

// msghdr is a struct msghdr with what it points to.
type msghdr struct {
	linux.Msghdr
	data vector
}

// copyInMsghdr reads a struct msghdr and its vector: EMSGSIZE if that is too
// long.
func copyInMsghdr(t *task.Task, addr mm.Addr) (msghdr, error) {
	var b [linux.SizeofMsghdr]byte
	if err := t.CopyIn(addr, b[:]); err != nil {
		return msghdr{}, err
	}
	h := msghdr{Msghdr: linux.ReadMsghdr(b[:])}
	switch {
	case int32(h.Namelen) < 0:
		return msghdr{}, linux.EINVAL
	case h.Name == 0:
		h.Namelen = 0
	case h.Namelen > linux.SizeofSockaddrStorage:
		h.Namelen = linux.SizeofSockaddrStorage
	}
	if h.Iovlen > linux.IOV_MAX {
		return msghdr{}, linux.EMSGSIZE
	}
	var err error
	h.data, err = copyInVector(t, h.Iov, h.Iovlen)
	return h, err
}

// sendmsg sends from several pieces of memory, with control messages: send(2).
func sendmsg(t *task.Task, fd linux.FD, msg mm.Addr, flags int32) (uint64, error) {
	s, f, err := socketOf(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	return sendOne(t, s, f, msg, flags)
}

func sendOne(t *task.Task, s socket.Socket, f *vfs.File, msg mm.Addr, flags int32) (uint64, error) {
	h, err := copyInMsghdr(t, msg)
	if err != nil {
		return 0, err
	}
	m := socket.Msg{Flags: int(flags)}
	if h.Namelen > 0 {
		if m.Addr, err = copyInSockaddr(t, h.Name, int32(h.Namelen)); err != nil {
			return 0, err
		}
	}
	if m.Control, err = copyInControl(t, h.Control, h.Controllen); err != nil {
		return 0, err
	}
	defer m.Control.Drop(t)
	sent := m // sendVector forgets the control messages once they are sent
	return sendVector(t, s, f, &sent, h.data)
}

// recvmsg receives into several pieces of memory, with control messages:
// recv(2).
func recvmsg(t *task.Task, fd linux.FD, msg mm.Addr, flags int32) (uint64, error) {
	s, f, err := socketOf(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	return recvOne(t, s, f, msg, flags, nonblocking(f))
}

func recvOne(t *task.Task, s socket.Socket, f *vfs.File, msg mm.Addr, flags int32, nonblock bool) (uint64, error) {
	h, err := copyInMsghdr(t, msg)
	if err != nil {
		return 0, err
	}
	m := socket.Msg{Flags: int(flags)}
	n, err := recvVector(t, s, f, &m, h.data, nonblock)
	if err != nil {
		m.Control.Drop(t) // received, but there was no memory for it
		return 0, err
	}
	if h.Name != 0 {
		if err := t.CopyOutLater(h.Name, m.Addr[:min(len(m.Addr), int(h.Namelen))]); err != nil {
			m.Control.Drop(t)
			return 0, err
		}
	}
	h.Namelen = uint32(len(m.Addr))
	h.Flags = uint32(m.Out) | uint32(flags)&linux.MSG_CMSG_CLOEXEC
	if err := copyOutControl(t, &h, m.Control, flags&linux.MSG_CMSG_CLOEXEC != 0); err != nil {
		return 0, err
	}
	return n, copyOutMsghdr(t, msg, &h.Msghdr)
}

// copyOutMsghdr writes what recvmsg changes.
func copyOutMsghdr(t *task.Task, addr mm.Addr, h *linux.Msghdr) error {
	var b [linux.SizeofMsghdr]byte
	h.Put(b[:])
	if h.Name != 0 {
		if err := t.CopyOutLater(addr+linux.MsghdrNamelen, b[linux.MsghdrNamelen:][:4]); err != nil {
			return err
		}
	}
	return t.CopyOutLater(addr+linux.MsghdrControllen, b[linux.MsghdrControllen:][:12])
}

// sendmmsg sends several messages and says how many went: sendmmsg(2).
func sendmmsg(t *task.Task, fd linux.FD, msgs mm.Addr, count uint32, flags int32) (uint64, error) {
	s, f, err := socketOf(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	for i := range uint64(min(count, linux.IOV_MAX)) {
		at := msgs + i*linux.SizeofMmsghdr
		n, err := sendOne(t, s, f, at, flags)
		if err == nil {
			err = copyOutInt32(t, at+linux.MmsghdrLen, int32(n))
		}
		if err != nil {
			return partial(i, err)
		}
	}
	return uint64(min(count, linux.IOV_MAX)), nil
}

// recvmmsg receives several messages and says how many came. The timeout is
// looked at after each of them only: recvmmsg(2), BUGS.
func recvmmsg(t *task.Task, fd linux.FD, msgs mm.Addr, count uint32, flags int32, timeout mm.Addr) (uint64, error) {
	deadline, err := copyInDeadline(t, timeout)
	if err != nil {
		return 0, err
	}
	s, f, err := socketOf(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	defer copyOutRemaining(t, timeout, deadline)
	count = min(count, linux.IOV_MAX)
	nonblock := nonblocking(f)
	for i := range uint64(count) {
		at := msgs + i*linux.SizeofMmsghdr
		n, err := recvOne(t, s, f, at, flags&^linux.MSG_WAITFORONE, nonblock)
		if err == nil {
			err = copyOutInt32(t, at+linux.MmsghdrLen, int32(n))
		}
		if err != nil {
			return partial(i, err)
		}
		if passed(deadline) {
			return i + 1, nil
		}
		nonblock = nonblock || flags&linux.MSG_WAITFORONE != 0
	}
	return uint64(count), nil
}
