package spawn

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/hull"
)

// DonateSocket is the name of the donation socket in the sandbox's directory.
const DonateSocket = "donate"

// ends are the descriptors of one service, in the order in which it gets them.
type ends []end

type end struct {
	name string
	file *os.File
	lent bool // belongs to the caller of Start
}

func (e ends) names() []string {
	names := make([]string, len(e))
	for i := range e {
		names[i] = e[i].name
	}
	return names
}

func (e ends) files() []*os.File {
	files := make([]*os.File, len(e))
	for i := range e {
		files[i] = e[i].file
	}
	return files
}

// allEnds are the descriptors of each service, by its name.
type allEnds map[string]ends

func (a allEnds) close() {
	for _, all := range a {
		for _, e := range all {
			if !e.lent {
				e.file.Close()
			}
		}
	}
}

func (a allEnds) give(service, name string, f *os.File) {
	a[service] = append(a[service], end{name: name, file: f})
}

func (a allEnds) lend(service, name string, f *os.File) {
	if f != nil {
		a[service] = append(a[service], end{name: name, file: f, lent: true})
	}
}

// join makes what lies between the services. Besides the services' ends it gives
// the launcher's end of the lifeline. The sentry hangs on that, gofer and netd
// hang on the sentry, and the sentry on its gofer.
func join(c Config) (a allEnds, lifeline *os.File, err error) {
	a = allEnds{}
	defer func() {
		if err != nil {
			a.close()
			if lifeline != nil {
				lifeline.Close()
			}
		}
	}()
	for _, name := range names {
		a.lend(name, hull.FDState, c.Dir) // first: a service knows it as descriptor 3
		a.lend(name, hull.FDLog, c.Logs[name])
	}
	for _, name := range []string{"gofer", "netd"} {
		mine, theirs, err := pair()
		if err != nil {
			return a, nil, fmt.Errorf("join sentry and %s: %w", name, err)
		}
		a.give("sentry", name, mine)
		a.give(name, hull.FDSentry, theirs)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return a, nil, fmt.Errorf("make the sentry's lifeline: %w", err)
	}
	a.give("sentry", hull.FDHold, w)
	a.give("gofer", hull.FDLifeline, r)
	a.lend("netd", hull.FDLifeline, r)
	// And the sentry on its gofer, without reading the data channel to find out.
	if r, w, err = os.Pipe(); err != nil {
		return a, nil, fmt.Errorf("make the gofer's lifeline: %w", err)
	}
	a.give("sentry", hull.FDPeer, r)
	a.give("gofer", hull.FDHold, w)
	r, lifeline, err = os.Pipe()
	if err != nil {
		return a, nil, fmt.Errorf("make the launcher's lifeline: %w", err)
	}
	a.give("sentry", hull.FDLifeline, r)
	donate, err := listen(c.Dir)
	if err != nil {
		return a, lifeline, fmt.Errorf("make the donation socket: %w", err)
	}
	a.give("sentry", hull.FDDonate, donate)
	a.lend("sentry", hull.FDStrace, c.Strace)
	a.lend("netd", hull.FDCapture, c.Capture)
	a.lend("netd", hull.FDRefused, c.Refused)
	for n, f := range c.Links {
		a.lend("netd", hull.FDLink(n), f)
	}
	return a, lifeline, nil
}

// pair makes a data channel.
func pair() (*os.File, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "channel"), os.NewFile(uintptr(fds[1]), "channel"), nil
}

func listen(dir *os.File) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "donate")
	if err := unix.Bind(fd, donateAddress(dir)); err != nil {
		f.Close()
		return nil, err
	}
	if err := unix.Listen(fd, 64); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func donateAddress(dir *os.File) unix.Sockaddr {
	return &unix.SockaddrUnix{Name: hull.FDPath(int(dir.Fd())) + "/" + DonateSocket}
}
