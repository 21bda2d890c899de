// Package socket is what the socket system calls speak to: the Socket interface
// that each address family implements, the table of families, and the one place
// where a socket call blocks.
//
// A Socket never blocks in SendMsg, RecvMsg or Accept: with nothing to do it
// gives EAGAIN, and Send, Recv and Accept of this package wait and try again
// (SO_RCVTIMEO, SO_SNDTIMEO, MSG_DONTWAIT, MSG_WAITALL are theirs). Connect is
// the exception: it is told whether it may block and calls AwaitConnect or its
// like itself.
//
// Addresses are raw struct sockaddr bytes, as the guest gives and gets them.
package socket

import (
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Socket is one socket of any family: the vfs.Impl behind its file.
type Socket interface {
	vfs.Impl
	vfs.StreamReader
	vfs.StreamWriter
	vfs.Poller
	vfs.Ioctler
	vfs.Attrer

	// Domain, Type and Protocol are what socket(2) made it with.
	Domain() int
	Type() int
	Protocol() int

	Bind(ctx vfs.Context, addr []byte) error
	Listen(ctx vfs.Context, backlog int) error
	// Accept takes a finished connection off the queue, with its peer's
	// address; EAGAIN if there is none.
	Accept(ctx vfs.Context) (Socket, []byte, error)
	// Connect gives EINPROGRESS where it would have to wait and nonblock is set.
	Connect(ctx vfs.Context, addr []byte, nonblock bool) error
	// SendMsg sends m.Data to m.Addr (nil: the peer) and says how many bytes
	// went. A stream may take a part; with no room it gives EAGAIN. EPIPE asks
	// for SIGPIPE unless MSG_NOSIGNAL.
	SendMsg(ctx vfs.Context, m *Msg) (int, error)
	// RecvMsg fills m.Data and sets m.Addr, m.Control and the MSG_ flags that
	// come out, m.Out. With MSG_TRUNC among the flags in, a datagram's whole
	// length is returned, else the bytes stored. 0, nil is the end (or an empty
	// datagram).
	RecvMsg(ctx vfs.Context, m *Msg) (int, error)
	Shutdown(ctx vfs.Context, how int) error
	// SockOpt gives an option's value; the handler cuts it to the guest's
	// length. max is that length. ENOPROTOOPT if it does not know it.
	SockOpt(ctx vfs.Context, level, name, max int) ([]byte, error)
	SetSockOpt(ctx vfs.Context, level, name int, value []byte) error
	SockName(ctx vfs.Context) ([]byte, error)
	// PeerName is ENOTCONN without a peer.
	PeerName(ctx vfs.Context) ([]byte, error)
	// Timeouts are SO_RCVTIMEO and SO_SNDTIMEO; 0 is none.
	Timeouts() (recv, send time.Duration)
}

// Asker is a Socket with options whose answer depends on the value that getsockopt(2)
// is given. known is false for any other.
type Asker interface {
	Ask(ctx vfs.Context, level, name int, value []byte) (answer []byte, known bool, err error)
}

// Zerocopier is a Socket that tells when what was sent with MSG_ZEROCOPY is its
// sender's again.
type Zerocopier interface {
	// Zerocopied is called after each call that has sent something so.
	Zerocopied()
}

// Msg is one message to send or room for one to receive.
type Msg struct {
	// Data are the pieces of the message; they may be memory that the guest can
	// change during the call.
	Data [][]byte
	// Addr is a raw sockaddr: where to, or where from (nil where there is none).
	Addr    []byte
	Control Control
	// Flags are the MSG_ flags of the call, Out those of a received msghdr.
	Flags, Out int
}

// Control are the control messages of a Msg, parsed: cmsg(3).
type Control struct {
	// Files are those of SCM_RIGHTS. Sent: the handler holds references and
	// SendMsg takes its own. Received: the receiver owns a reference to each.
	Files []*vfs.File
	// Creds are those of SCM_CREDENTIALS; nil where not given. The handler has
	// checked that the sender may claim them.
	Creds *linux.Ucred
	// Sender is the process that SCM_PIDFD names; 0 where it is not asked for.
	Sender int32
	// Other holds the rest, of any level.
	Other []linux.Cmsg
}

// Len is the length of all pieces in bytes.
func (m *Msg) Len() int {
	n := 0
	for _, p := range m.Data {
		n += len(p)
	}
	return n
}

// Family makes sockets of one address family.
type Family interface {
	// Socket makes one: EPROTONOSUPPORT, ESOCKTNOSUPPORT, EPERM, ENETDOWN.
	Socket(ctx vfs.Context, typ, protocol int) (Socket, error)
}

// Pairer is a Family that has socketpair(2).
type Pairer interface {
	Pair(ctx vfs.Context, typ, protocol int) (Socket, Socket, error)
}

// Families is the table of address families that a kernel has. It is filled at
// start-up and only read after.
type Families map[int]Family

// Socket makes a socket; typ is without SOCK_CLOEXEC and SOCK_NONBLOCK.
func (t Families) Socket(ctx vfs.Context, domain, typ, protocol int) (Socket, error) {
	f, ok := t[domain]
	if !ok {
		return nil, linux.EAFNOSUPPORT
	}
	s, err := f.Socket(ctx, typ, protocol)
	if err != nil {
		return nil, err
	}
	c := ctx.Creds()
	own(c.FSUID, c.FSGID, s)
	return s, nil
}

// Pair makes two sockets that are each other's peers.
func (t Families) Pair(ctx vfs.Context, domain, typ, protocol int) (a, b Socket, err error) {
	f, ok := t[domain]
	if !ok {
		return nil, nil, linux.EAFNOSUPPORT
	}
	p, ok := f.(Pairer)
	if !ok {
		return nil, nil, linux.EOPNOTSUPP
	}
	if a, b, err = p.Pair(ctx, typ, protocol); err != nil {
		return nil, nil, err
	}
	c := ctx.Creds()
	own(c.FSUID, c.FSGID, a)
	own(c.FSUID, c.FSGID, b)
	return a, b, nil
}

// Of gives the socket behind f, or ENOTSOCK.
func Of(f *vfs.File) (Socket, error) {
	if s, ok := f.Impl().(Socket); ok {
		return s, nil
	}
	return nil, linux.ENOTSOCK
}

// Accept waits for a connection on s; nonblock is the file's O_NONBLOCK.
func Accept(ctx vfs.Context, s Socket, nonblock bool) (Socket, []byte, error) {
	recv, _ := s.Timeouts()
	var peer Socket
	var addr []byte
	err := block(ctx, s.Queue(), wait.Readable, nonblock, recv, func() (err error) {
		peer, addr, err = s.Accept(ctx)
		return err
	})
	if err == nil {
		c := ctx.Creds()
		own(c.FSUID, c.FSGID, peer)
	}
	return peer, addr, err
}

// Send sends m whole, unless an error or a signal comes after a part of a
// stream is gone; the part's length is the result then.
func Send(ctx vfs.Context, s Socket, m *Msg, nonblock bool) (int, error) {
	nonblock = nonblock || m.Flags&linux.MSG_DONTWAIT != 0
	_, send := s.Timeouts()
	total, want := 0, m.Len()
	rest := *m
	if m.Flags&linux.MSG_FASTOPEN != 0 && s.Type() == linux.SOCK_STREAM {
		if err := openFast(ctx, s, &rest, nonblock); err != nil {
			return 0, err
		}
	}
	if fast, ok := s.(FastOpener); ok && fast.Deferred() {
		n, err := sendFast(ctx, fast, &rest, nonblock)
		if err != nil || nonblock || n == want {
			zerocopied(s, m, n)
			return n, err
		}
		total, rest.Data = n, advance(rest.Data, n)
	}
	err := block(ctx, s.Queue(), wait.Writable, nonblock, send, func() error {
		for {
			n, err := s.SendMsg(ctx, &rest)
			total += n
			if err != nil || s.Type() != linux.SOCK_STREAM || total >= want {
				return err
			}
			if n == 0 {
				return linux.EAGAIN
			}
			rest.Data = advance(rest.Data, n)
			rest.Control = Control{}
		}
	})
	if total > 0 {
		zerocopied(s, m, total)
		return total, nil
	}
	return 0, err
}

// zerocopied tells s that n bytes of m are sent, if m says MSG_ZEROCOPY.
func zerocopied(s Socket, m *Msg, n int) {
	if z, ok := s.(Zerocopier); ok && n > 0 && m.Flags&linux.MSG_ZEROCOPY != 0 {
		z.Zerocopied()
	}
}

// FastOpener is a stream whose first bytes can go along with the beginning of its
// connection: TCP Fast Open, RFC 7413.
type FastOpener interface {
	Socket
	// ConnectFast is Connect for who has bytes at once. nil may mean that it has not
	// begun: then it is Deferred until there are some. EOPNOTSUPP where it is off.
	ConnectFast(ctx vfs.Context, addr []byte, nonblock bool) error
	Deferred() bool
	// AwaitConnect waits for the end of an attempt that has begun.
	AwaitConnect(ctx vfs.Context) error
}

// sendFast sends what goes along with the beginning of s's connection, and waits for that
// to stand unless nonblock: how it has failed is told here.
func sendFast(ctx vfs.Context, s FastOpener, m *Msg, nonblock bool) (int, error) {
	n, err := s.SendMsg(ctx, m)
	if err == nil && n > 0 && !nonblock {
		err = s.AwaitConnect(ctx)
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

// openFast connects s to where m goes, as MSG_FASTOPEN has it: tcp(7). The bytes go with
// the SYN if the peer's cookie is known, and follow the handshake otherwise: then
// EINPROGRESS for who does not wait.
func openFast(ctx vfs.Context, s Socket, m *Msg, nonblock bool) error {
	f, ok := s.(FastOpener)
	if !ok {
		return nil // it means nothing to other families
	}
	if len(m.Addr) >= 2 && linux.SockaddrFamily(m.Addr) == linux.AF_UNSPEC {
		return linux.EOPNOTSUPP
	}
	if _, err := s.PeerName(ctx); err == nil {
		return linux.EISCONN
	}
	addr := m.Addr
	m.Addr, m.Flags = nil, m.Flags&^linux.MSG_FASTOPEN
	if f.Deferred() {
		return nil
	}
	return f.ConnectFast(ctx, addr, nonblock)
}

// leastOf is how many bytes of m a receiver waits for: all, by MSG_WAITALL, or as
// many as SO_RCVLOWAT says, on a stream; 1 otherwise.
func leastOf(s Socket, m *Msg) int {
	if s.Type() != linux.SOCK_STREAM {
		return 1
	}
	least := 1
	if l, ok := s.(vfs.LowWaterer); ok {
		least = l.LowWater()
	}
	if m.Flags&linux.MSG_WAITALL != 0 {
		return m.Len()
	}
	if least > 1 {
		least = min(least, m.Len())
	}
	return least
}

// Recv receives into m. On a stream it goes on until there is as much as leastOf
// says, or the end, an error or a signal comes.
func Recv(ctx vfs.Context, s Socket, m *Msg, nonblock bool) (int, error) {
	nonblock = nonblock || m.Flags&linux.MSG_DONTWAIT != 0
	recv, _ := s.Timeouts()
	total, least := 0, leastOf(s, m)
	peek := m.Flags&linux.MSG_PEEK != 0 && !peeksOn(s)
	seen := 0 // what a peek has found that was not enough
	rest := *m
	mask := wait.Readable
	if m.Flags&linux.MSG_ERRQUEUE != 0 || m.Flags&linux.MSG_OOB != 0 && s.Type() == linux.SOCK_STREAM {
		nonblock = true
	}
	err := block(ctx, s.Queue(), mask, nonblock, recv, func() error {
		for {
			n, err := s.RecvMsg(ctx, &rest)
			if err != nil {
				return err
			}
			if peek && !nonblock && 0 < n && n < least && s.Poll()&(wait.RDHup|wait.Hup|wait.Err) == 0 {
				if seen == n {
					return linux.EAGAIN
				}
				seen = n
				continue // Poll has asked to be told of more, which may have come before
			}
			if total == 0 {
				m.Addr, m.Control, m.Out = rest.Addr, rest.Control, rest.Out
			}
			total += n
			if peek || n == 0 || total >= least || len(rest.Control.Files) > 0 || atMark(s) {
				return nil
			}
			rest.Data = advance(rest.Data, n)
		}
	})
	if total > 0 {
		return total, nil
	}
	if seen > 0 && err != nil { // the time is over: with what there is
		return s.RecvMsg(ctx, m)
	}
	return 0, err
}

// atMark says whether what follows in a stream is urgent, which no read runs into.
func atMark(s Socket) bool {
	u, ok := s.(interface{ AtMark() bool })
	return ok && u.AtMark()
}

// peeksOn says whether a peek goes on behind the last one: SO_PEEK_OFF.
func peeksOn(s Socket) bool {
	p, ok := s.(interface{ PeekOffset() int })
	return ok && p.PeekOffset() >= 0
}

// AwaitConnect is the blocking half of Connect: done says whether the attempt
// has ended and how. A signal or a timeout leaves the attempt going.
func AwaitConnect(ctx vfs.Context, s Socket, done func() (bool, error)) error {
	_, send := s.Timeouts()
	err := wait.Until(ctx, s.Queue(), wait.All, deadline(send), done)
	if err == linux.ETIMEDOUT && send > 0 {
		if ok, cause := done(); ok {
			return cause
		}
		return linux.EINPROGRESS
	}
	return err
}

// block calls try until it gives something other than EAGAIN.
func block(ctx vfs.Context, q *wait.Queue, mask wait.Events, nonblock bool, timeout time.Duration, try func() error) error {
	if nonblock {
		return try()
	}
	err := try()
	if err != linux.EAGAIN {
		return err
	}
	timed := false
	err = wait.Until(ctx, q, mask, deadline(timeout), func() (bool, error) {
		err := try()
		timed = err == linux.EAGAIN
		return err != linux.EAGAIN, err
	})
	switch {
	case err == linux.ETIMEDOUT && timed:
		return linux.EAGAIN
	case err == linux.ERESTARTSYS && timeout > 0:
		// socket(7) calls with a timeout are not restarted: signal(7).
		return linux.EINTR
	}
	return err
}

func deadline(timeout time.Duration) time.Time {
	if timeout <= 0 {
		return time.Time{}
	}
	return time.Now().Add(timeout)
}

// advance drops the first n bytes of data without touching the caller's slice.
func advance(data [][]byte, n int) [][]byte {
	for len(data) > 0 && n >= len(data[0]) {
		n -= len(data[0])
		data = data[1:]
	}
	if len(data) == 0 || n == 0 {
		return data
	}
	out := append([][]byte(nil), data...)
	out[0] = out[0][n:]
	return out
}
