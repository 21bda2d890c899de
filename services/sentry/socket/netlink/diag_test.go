package netlink

import (
	"syscall"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// fakeSocket is a socket that only tells of itself.
type fakeSocket struct {
	socket.Socket
	domain, typ, protocol int
	name, peer            []byte
	ino                   uint64
	report                socket.Report
}

func (s *fakeSocket) Domain() int           { return s.domain }
func (s *fakeSocket) Type() int             { return s.typ }
func (s *fakeSocket) Protocol() int         { return s.protocol }
func (s *fakeSocket) Ino() uint64           { return s.ino }
func (s *fakeSocket) Owner() uint32         { return 1000 }
func (s *fakeSocket) Report() socket.Report { return s.report }
func (s *fakeSocket) SockOpt(vfs.Context, int, int, int) ([]byte, error) {
	return []byte{1, 2, 3, 4}, nil
}
func (s *fakeSocket) SockName(vfs.Context) ([]byte, error) { return s.name, nil }
func (s *fakeSocket) PeerName(vfs.Context) ([]byte, error) {
	if s.peer == nil {
		return nil, linux.ENOTCONN
	}
	return s.peer, nil
}

func inetAddress(port byte) []byte {
	return append([]byte{linux.AF_INET, 0, 0, port, 127, 0, 0, 1}, make([]byte, 8)...)
}

func some() []socket.Socket {
	return []socket.Socket{
		&fakeSocket{domain: linux.AF_INET, typ: linux.SOCK_STREAM, protocol: linux.IPPROTO_TCP, name: inetAddress(80), ino: 1, report: socket.Report{State: socket.StateListen, Receive: 1, Send: 128}},
		&fakeSocket{domain: linux.AF_INET, typ: linux.SOCK_STREAM, protocol: linux.IPPROTO_TCP, name: inetAddress(80), peer: inetAddress(99), ino: 2, report: socket.Report{State: socket.StateEstablished, Receive: 7}},
		&fakeSocket{domain: linux.AF_INET, typ: linux.SOCK_STREAM, protocol: linux.IPPROTO_TCP, name: inetAddress(0), ino: 3, report: socket.Report{State: socket.StateClose}},
		&fakeSocket{domain: linux.AF_INET, typ: linux.SOCK_DGRAM, protocol: linux.IPPROTO_UDP, name: inetAddress(53), ino: 4, report: socket.Report{State: socket.StateClose}},
		&fakeSocket{domain: linux.AF_UNIX, typ: linux.SOCK_STREAM, name: []byte("\x01\x00\x00name"), ino: 5, report: socket.Report{State: socket.StateListen, Receive: 2, Send: 5}},
		&fakeSocket{domain: linux.AF_UNIX, typ: linux.SOCK_DGRAM, name: []byte{1, 0}, ino: 6, report: socket.Report{State: socket.StateEstablished, Peer: 7}},
	}
}

func inetAsk(family, protocol, extensions byte, states uint32, sport byte) []byte {
	b := append([]byte{family, protocol, extensions, 0}, le.AppendUint32(nil, states)...)
	b = append(b, 0, sport)
	return append(b, make([]byte, inetRequestSize-len(b))...)
}

func unixAsk(states, ino, show uint32) []byte {
	b := append([]byte{linux.AF_UNIX, 0, 0, 0}, le.AppendUint32(nil, states)...)
	b = le.AppendUint32(le.AppendUint32(b, ino), show)
	return append(b, make([]byte, 8)...)
}

// inodes are those of the sockets in an answer, whose place is at in each
// message; an error stands as its negative number.
func inodes(t *testing.T, out [][]byte, at int) (list []int) {
	t.Helper()
	for _, b := range out {
		msgs, err := syscall.ParseNetlinkMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range msgs {
			switch m.Header.Type {
			case byFamily:
				list = append(list, int(le.Uint32(m.Data[at:])))
			case msgError:
				list = append(list, int(int32(le.Uint32(m.Data))))
			}
		}
	}
	return list
}

func TestDiag(t *testing.T) {
	const all = ^uint32(0)
	for _, c := range []struct {
		name  string
		flags uint16
		body  []byte
		at    int
		want  []int
	}{
		{"tcp", flagDump, inetAsk(linux.AF_INET, linux.IPPROTO_TCP, 0xff, all, 0), 68, []int{1, 2}},
		{"tcp listening", flagDump, inetAsk(linux.AF_INET, linux.IPPROTO_TCP, 0, 1<<socket.StateListen, 0), 68, []int{1}},
		{"tcp port", flagDump, inetAsk(linux.AF_INET, linux.IPPROTO_TCP, 0, all, 81), 68, nil},
		{"tcp of v6", flagDump, inetAsk(linux.AF_INET6, linux.IPPROTO_TCP, 0, all, 0), 68, nil},
		{"udp", flagDump, inetAsk(linux.AF_INET, linux.IPPROTO_UDP, 0xff, all, 0), 68, []int{4}},
		{"one", 0, inetAsk(linux.AF_INET, linux.IPPROTO_TCP, 0, all, 80), 68, []int{1}},
		{"none", 0, inetAsk(linux.AF_INET, linux.IPPROTO_TCP, 0, all, 81), 68, []int{-int(linux.ENOENT)}},
		{"sctp", flagDump, inetAsk(linux.AF_INET, 132, 0, all, 0), 68, []int{-int(linux.ENOENT)}},
		{"short", flagDump, []byte{linux.AF_INET, 6}, 68, []int{-int(linux.EINVAL)}},
		{"netlink", flagDump, []byte{linux.AF_NETLINK, 0}, 68, []int{-int(linux.ENOENT)}},
		{"unix", flagDump, unixAsk(all, 0, 0xff), 4, []int{5, 6}},
		{"unix listening", flagDump, unixAsk(1<<socket.StateListen, 0, 0), 4, []int{5}},
		{"unix one", 0, unixAsk(0, 6, 0xff), 4, []int{6}},
	} {
		out := diagnose(vfs.KernelContext(), nil, some, 9, ask(byFamily, c.flags, c.body))
		got := inodes(t, out, c.at)
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
		}
	}
}

// A dump of many sockets comes in datagrams that fit a small buffer.
func TestDiagOfMany(t *testing.T) {
	many := func() (list []socket.Socket) {
		for range 500 {
			list = append(list, some()[0])
		}
		return list
	}
	out := diagnose(vfs.KernelContext(), nil, many, 9, ask(byFamily, flagDump, inetAsk(linux.AF_INET, linux.IPPROTO_TCP, 0xff, ^uint32(0), 0)))
	for _, b := range out {
		if len(b) > 8192 {
			t.Errorf("a datagram of %d bytes", len(b))
		}
	}
	if got := inodes(t, out, 68); len(got) != 500 {
		t.Errorf("%d sockets", len(got))
	}
}

func FuzzDiag(f *testing.F) {
	f.Add(ask(byFamily, flagDump, inetAsk(linux.AF_INET, linux.IPPROTO_TCP, 0xff, ^uint32(0), 0)))
	f.Add(ask(byFamily, flagDump, unixAsk(^uint32(0), 0, 0xff)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, a := range diagnose(vfs.KernelContext(), nil, some, 1, b) {
			if _, err := syscall.ParseNetlinkMessage(a); err != nil {
				t.Fatal(err)
			}
		}
	})
}
