package procfs

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// fakeSocket is a socket that only has names.
type fakeSocket struct {
	socket.Socket
	domain, typ int
	name, peer  []byte
	listens     byte
	ino         uint64
	uid         uint32
}

func (s *fakeSocket) Release()    {}
func (s *fakeSocket) Domain() int { return s.domain }
func (s *fakeSocket) Type() int   { return s.typ }
func (s *fakeSocket) Protocol() int {
	if s.typ == linux.SOCK_DGRAM {
		return linux.IPPROTO_UDP
	}
	return linux.IPPROTO_TCP
}
func (s *fakeSocket) SockOpt(vfs.Context, int, int, int) ([]byte, error) {
	return []byte{s.listens, 0, 0, 0}, nil
}
func (s *fakeSocket) SockName(vfs.Context) ([]byte, error) { return s.name, nil }
func (s *fakeSocket) PeerName(vfs.Context) ([]byte, error) {
	if s.peer == nil {
		return nil, linux.ENOTCONN
	}
	return s.peer, nil
}
func (s *fakeSocket) FileAttr(vfs.Context) (vfs.Attr, error) {
	return vfs.Attr{Ino: s.ino, UID: s.uid}, nil
}

func (w *world) hold(s *fakeSocket) {
	w.k.processes[10].threads[0].fds.Install(vfs.NewAnonFile(s, "socket:[1]", linux.O_RDWR), 0, 100, false)
}

// references are the reference count and the pointer of a line.
var references = regexp.MustCompile(` \d [0-9a-f]{16} `)

// sockaddr is a struct sockaddr_in or sockaddr_in6.
func sockaddr(ip net.IP, port int) []byte {
	if v4 := ip.To4(); v4 != nil {
		return append([]byte{linux.AF_INET, 0, byte(port >> 8), byte(port)}, append(v4, make([]byte, 8)...)...)
	}
	sa := []byte{linux.AF_INET6, 0, byte(port >> 8), byte(port), 0, 0, 0, 0}
	return append(append(sa, ip...), 0, 0, 0, 0)
}

// TestSocketLinesAreTheHosts opens sockets on the host, reads how it shows
// them, and shows the same.
func TestSocketLinesAreTheHosts(t *testing.T) {
	for _, c := range []struct{ table, address string }{
		{"tcp", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}, {"udp", "127.0.0.1:0"}, {"udp6", "[::1]:0"},
	} {
		w := newWorld(t)
		s := &fakeSocket{domain: linux.AF_INET, typ: linux.SOCK_STREAM, listens: 1}
		var port int
		var ip net.IP
		if strings.HasPrefix(c.table, "tcp") {
			l, err := net.Listen(c.table[:3], c.address)
			if err != nil {
				t.Log(err)
				continue
			}
			defer l.Close()
			a := l.Addr().(*net.TCPAddr)
			ip, port = a.IP, a.Port
		} else {
			l, err := net.ListenPacket(c.table[:3], c.address)
			if err != nil {
				t.Log(err)
				continue
			}
			defer l.Close()
			a := l.LocalAddr().(*net.UDPAddr)
			ip, port = a.IP, a.Port
			s.typ, s.listens = linux.SOCK_DGRAM, 0
		}
		if strings.HasSuffix(c.table, "6") {
			s.domain = linux.AF_INET6
		}
		s.name = sockaddr(ip, port)
		heading, want := hostLine(t, c.table, fmt.Sprintf(":%04X ", port))
		fields := strings.Fields(want)
		fmt.Sscan(fields[7], &s.uid)
		fmt.Sscan(fields[9], &s.ino)
		w.hold(s)
		got := strings.SplitAfter(w.read(w.as(1), "/net/"+c.table), "\n")
		if got[0] != heading {
			t.Errorf("%s: heading\n%q, host\n%q", c.table, got[0], heading)
		}
		_, want, _ = strings.Cut(want, ": ") // past the number of the line
		_, line, _ := strings.Cut(got[1], ": ")
		if ours := references.ReplaceAllString(line, " REFS "); ours != references.ReplaceAllString(want, " REFS ") {
			t.Errorf("%s:\n%q, host\n%q", c.table, line, want)
		}
	}
}

// hostLine gives the heading of one of the host's tables and its line with part.
func hostLine(t *testing.T, table, part string) (heading, line string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/net/" + table)
	if err != nil {
		t.Skip(err)
	}
	for l := range strings.Lines(string(text)) {
		if heading == "" {
			heading = l
		}
		if strings.Contains(l, part) {
			return heading, l
		}
	}
	t.Fatalf("the host's %s has no %s", table, part)
	return "", ""
}

func TestSocketsThatAreNotShown(t *testing.T) {
	w := newWorld(t)
	any := sockaddr(net.IPv4zero, 0)
	w.hold(&fakeSocket{domain: linux.AF_INET, typ: linux.SOCK_STREAM, name: any})
	w.hold(&fakeSocket{domain: linux.AF_INET, typ: linux.SOCK_DGRAM, name: any})
	for _, table := range []string{"tcp", "udp"} {
		if got := w.read(w.as(1), "/net/"+table); strings.Count(got, "\n") != 1 {
			t.Errorf("%s: %q", table, got)
		}
	}
}

func TestUnixSockets(t *testing.T) {
	w := newWorld(t)
	w.hold(&fakeSocket{domain: linux.AF_UNIX, typ: linux.SOCK_STREAM, name: []byte("\x01\x00/run/x\x00"), listens: 1, ino: 7})
	w.hold(&fakeSocket{domain: linux.AF_UNIX, typ: linux.SOCK_DGRAM, name: []byte("\x01\x00\x00abstract"), peer: []byte{1, 0}, ino: 8})
	const want = "Num       RefCount Protocol Flags    Type St Inode Path\n" +
		"0000000000000000: 00000002 00000000 00010000 0001 01     7 /run/x\n" +
		"0000000000000000: 00000002 00000000 00000000 0002 03     8 @abstract\n"
	if got := w.read(w.as(1), "/net/unix"); got != want {
		t.Errorf("%q, want\n%q", got, want)
	}
}

func TestHeadingsAreTheHosts(t *testing.T) {
	for name, text := range netTexts {
		host, err := os.ReadFile("/proc/self/net/" + name)
		if err != nil || len(host) == 0 || strings.HasPrefix(name, "sockstat") || name == "if_inet6" || name == "ipv6_route" || text == "" {
			continue
		}
		want, _, _ := strings.Cut(string(host), "\n")
		if got, _, _ := strings.Cut(text, "\n"); got != want {
			t.Errorf("%s:\n%q, host\n%q", name, got, want)
		}
	}
}
