package socket

// States of a socket as sock_diag(7) and /proc/net number them:
// net/tcp_states.h.
const (
	StateEstablished = 1
	StateSynSent     = 2
	StateFinWait2    = 5
	StateClose       = 7
	StateCloseWait   = 8
	StateLastAck     = 9
	StateListen      = 10
)

// Report is what sock_diag(7) and /proc/net tell of a socket beside its names
// and options.
type Report struct {
	State int
	// Receive and Send are the bytes that nobody has read and that the peer has
	// not taken; of a listening socket, the connections that wait and how many
	// may.
	Receive, Send int
	// Shut has 1 for shut for reading, 2 for writing.
	Shut uint8
	// Peer is the inode of the socket at the other end, 0 if it has none here.
	Peer uint64
	// Device is the index of the interface that it is bound to, 0 for none.
	Device uint32
}

// Timer is what struct inet_diag_msg tells of a connection's.
type Timer struct {
	// Kind: 0 off, 1 retransmission, 2 keepalive, 3 TIME-WAIT, 4 zero-window probe.
	Kind uint8
	// Count is how often it was due in a row.
	Count uint8
	// Due is when it is, in milliseconds from now.
	Due uint32
}

// Orphan is a TCP connection that no process has a socket of: one that ends, or is in
// the handshake.
type Orphan struct {
	Domain        int
	Local, Remote []byte // raw sockaddrs
	Report        Report
	UID           uint32
	Timer         Timer
}

// Reporter is a Socket that tells how it is. It asks no other process.
type Reporter interface {
	Report() Report
}

// Own says whose the socket is, before others can see it: who made or accepted
// it.
func (b *Base) Own(uid, gid uint32) { b.uid, b.gid = uid, gid }

// Owner is the user who made or accepted the socket.
func (b *Base) Owner() (uid uint32) { return b.uid }

// own makes the caller the owner of s.
func own(uid, gid uint32, s Socket) {
	if o, ok := s.(interface{ Own(uid, gid uint32) }); ok {
		o.Own(uid, gid)
	}
}
