package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	sentryv1 "bulkhead/proto/sentry/v1"
)

const (
	maxGifts     = 16      // descriptors in one donation
	maxPacket    = 1 << 10 // bytes of one Donation
	maxWaiting   = 64      // donations that nobody has asked for yet
	giftPatience = 10 * time.Second
)

// gifts are the donations that have arrived and were not taken yet.
type gifts struct {
	mu      sync.Mutex
	waiting map[string]*gift
	arrived chan struct{} // closed and replaced at each arrival
}

// gift is one donation.
type gift struct {
	files map[sentryv1.Role]*os.File
}

// receiveGifts accepts donations on listener until the process ends.
func receiveGifts(listener *os.File) *gifts {
	g := &gifts{waiting: map[string]*gift{}, arrived: make(chan struct{})}
	if listener == nil {
		return g
	}
	// The file that we were given is blocking; a duplicate that is not goes to
	// the netpoller.
	fd, err := unix.FcntlInt(listener.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	listener.Close()
	if err != nil || unix.SetNonblock(fd, true) != nil {
		return g
	}
	go g.accept(os.NewFile(uintptr(fd), "donations"))
	return g
}

func (g *gifts) accept(listener *os.File) {
	raw, err := listener.SyscallConn()
	if err != nil {
		return
	}
	for {
		conn, acceptErr := -1, error(nil)
		if err := raw.Read(func(fd uintptr) bool {
			conn, _, acceptErr = unix.Accept4(int(fd), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			return acceptErr != unix.EAGAIN
		}); err != nil {
			return
		}
		if acceptErr != nil {
			continue
		}
		go g.receive(os.NewFile(uintptr(conn), "donation"))
	}
}

// receive takes the one packet of a connection.
func (g *gifts) receive(conn *os.File) {
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	packet, oob := make([]byte, maxPacket), make([]byte, unix.CmsgSpace(4*maxGifts))
	var n, oobn int
	var recvErr error
	if err := raw.Read(func(fd uintptr) bool {
		n, oobn, _, _, recvErr = unix.Recvmsg(int(fd), packet, oob, unix.MSG_CMSG_CLOEXEC)
		return recvErr != unix.EAGAIN
	}); err != nil || recvErr != nil {
		return
	}
	token, one, err := parseDonation(packet[:n], oob[:oobn])
	if err != nil {
		return // the launcher's request will say that its donation is not there
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) >= maxWaiting || g.waiting[token] != nil {
		one.close()
		return
	}
	g.waiting[token] = one
	close(g.arrived)
	g.arrived = make(chan struct{})
}

// parseDonation takes over every descriptor in oob.
func parseDonation(packet, oob []byte) (token string, one *gift, err error) {
	var fds []int
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return "", nil, err
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_RIGHTS {
			continue
		}
		more, err := unix.ParseUnixRights(&m)
		if err != nil {
			return "", nil, err
		}
		fds = append(fds, more...)
	}
	one = &gift{files: map[sentryv1.Role]*os.File{}}
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
		if err != nil {
			one.close()
		}
	}()
	var d sentryv1.Donation
	if err := proto.Unmarshal(packet, &d); err != nil {
		return "", nil, err
	}
	if len(d.Token) < 16 || len(d.Token) > 64 || len(d.Roles) != len(fds) {
		return "", nil, errors.New("malformed donation")
	}
	for _, role := range d.Roles {
		if one.files[role] != nil {
			return "", nil, fmt.Errorf("two descriptors are %v", role)
		}
		one.files[role] = os.NewFile(uintptr(fds[0]), role.String())
		fds = fds[1:]
	}
	return string(d.Token), one, nil
}

// take gives the donation with token, for which it waits a while.
func (g *gifts) take(ctx context.Context, token []byte) (*gift, error) {
	if len(token) == 0 {
		return &gift{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, giftPatience)
	defer cancel()
	for {
		g.mu.Lock()
		one, arrived := g.waiting[string(token)], g.arrived
		delete(g.waiting, string(token))
		g.mu.Unlock()
		if one != nil {
			return one, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return nil, fmt.Errorf("take donated descriptors: %w", ctx.Err())
		}
	}
}

// take gives the descriptor of role to the caller, or nil.
func (g *gift) take(role sentryv1.Role) *os.File {
	f := g.files[role]
	delete(g.files, role)
	return f
}

// stdio gives the three standard streams to the caller; nil if there are none.
// One that is missing is nil.
func (g *gift) stdio() []*os.File {
	in, out, err := g.take(sentryv1.Role_ROLE_STDIN), g.take(sentryv1.Role_ROLE_STDOUT), g.take(sentryv1.Role_ROLE_STDERR)
	if in == nil && out == nil && err == nil {
		return nil
	}
	return []*os.File{in, out, err}
}

// close closes what nobody took.
func (g *gift) close() {
	for _, f := range g.files {
		f.Close()
	}
	g.files = nil
}
