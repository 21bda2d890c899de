package spawn

import (
	"crypto/rand"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	sentryv1 "bulkhead/proto/sentry/v1"
)

// Gift is a descriptor for the sentry.
type Gift struct {
	Role sentryv1.Role
	File *os.File
}

// Donate sends descriptors to the sentry, and gives the token that names them in
// a later request. The files stay the caller's.
func (s *Sandbox) Donate(gifts ...Gift) ([]byte, error) {
	d := &sentryv1.Donation{Token: make([]byte, 16)}
	rand.Read(d.Token)
	var fds []int
	for _, g := range gifts {
		d.Roles = append(d.Roles, g.Role)
		fds = append(fds, int(g.File.Fd()))
	}
	packet, err := proto.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("donate descriptors: %w", err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("donate descriptors: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, donateAddress(s.Dir)); err != nil {
		return nil, fmt.Errorf("donate descriptors: connect to the sentry: %w", err)
	}
	if err := unix.Sendmsg(fd, packet, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL); err != nil {
		return nil, fmt.Errorf("donate descriptors: %w", err)
	}
	return d.Token, nil
}
