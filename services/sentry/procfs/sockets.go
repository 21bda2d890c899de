package procfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// This file is the tables of sockets in /proc/net. A socket is found through
// the descriptors that processes have of it; one that only a message in flight
// holds is not shown.

// States of a socket in the tables: net/tcp_states.h, linux/net.h.
const (
	tcpEstablished = 0x01
	tcpTimeWait    = 0x06
	tcpClose       = 0x07
	tcpListen      = 0x0a

	unixUnconnected = 1
	unixConnected   = 3
)

// spaced is what belongs to a network: a socket.
type spaced interface{ Space() uint32 }

// In are the sockets of a list that belong to the network with that number.
func In(space uint32, list []socket.Socket) []socket.Socket {
	return slices.DeleteFunc(list, func(s socket.Socket) bool {
		n, ok := s.(spaced)
		return ok && n.Space() != space
	})
}

// all gives every socket of the network that the caller sees.
func (fs *FS) all(ctx vfs.Context) []socket.Socket {
	return In(fs.kernel.Space(ctx), Sockets(fs.kernel.Whole()))
}

// sockets gives every one of a domain and type (0: any) once.
func (fs *FS) sockets(ctx vfs.Context, domain, typ int) (list []socket.Socket) {
	for _, s := range fs.all(ctx) {
		if s.Domain() == domain && (typ == 0 || s.Type() == typ) {
			list = append(list, s)
		}
	}
	return list
}

// Sockets gives every socket that a process of k has a descriptor of, once, and the
// connections that wait to be accepted.
func Sockets(k Kernel) (list []socket.Socket) {
	seen := make(map[socket.Socket]bool)
	for _, pid := range k.PIDs() {
		p := k.Process(pid)
		if p == nil {
			continue
		}
		for _, t := range p.Threads() {
			fds := t.FDs()
			if fds == nil {
				continue
			}
			for _, e := range fds.All() {
				s, err := socket.Of(e.File)
				if err == nil && !seen[s] {
					seen[s] = true
					list = append(list, s)
					if l, ok := s.(interface{ Queued() []socket.Socket }); ok {
						list = append(list, l.Queued()...)
					}
				}
			}
		}
	}
	return list
}

func listening(ctx vfs.Context, s socket.Socket) bool {
	v, err := s.SockOpt(ctx, linux.SOL_SOCKET, linux.SO_ACCEPTCONN, 4)
	return err == nil && len(v) > 0 && v[0] != 0
}

// end is one side of a connection: address in the host's order of 32-bit words,
// as the kernel prints it, and port.
type end struct {
	address string
	port    uint16
}

// endOf reads a struct sockaddr_in or sockaddr_in6. Anything else is nowhere.
func endOf(sa []byte, v6 bool) end {
	from, to, words := 4, 8, 1
	if v6 {
		from, to, words = 8, 24, 4
	}
	if len(sa) < to {
		return end{address: strings.Repeat("0", 8*words)}
	}
	var b strings.Builder
	for i := from; i < to; i += 4 {
		fmt.Fprintf(&b, "%08X", binary.LittleEndian.Uint32(sa[i:]))
	}
	return end{b.String(), binary.BigEndian.Uint16(sa[2:])}
}

func (e end) String() string { return fmt.Sprintf("%s:%04X", e.address, e.port) }

// tableOf is the name of the table, without a 6, that a socket stands in.
func tableOf(s socket.Socket) string {
	switch {
	case s.Type() == linux.SOCK_STREAM:
		return "tcp"
	case s.Type() == linux.SOCK_RAW:
		return "raw"
	case s.Protocol() == linux.IPPROTO_UDPLITE:
		return "udplite"
	case s.Protocol() == linux.IPPROTO_UDP:
		return "udp"
	}
	return "icmp"
}

// internet gives the generator of one of tcp, udp, udplite, raw and icmp, or of the
// one for IPv6.
func (fs *FS) internet(name string) func(vfs.Context) ([]byte, error) {
	v6 := strings.HasSuffix(name, "6")
	domain, tcp := linux.AF_INET, strings.HasPrefix(name, "tcp")
	if v6 {
		domain = linux.AF_INET6
	}
	return func(ctx vfs.Context) ([]byte, error) {
		b := bytes.NewBufferString(netTexts[name])
		n := 0
		for _, s := range fs.sockets(ctx, domain, 0) {
			if tableOf(s) == strings.TrimSuffix(name, "6") && internetLine(b, ctx, s, n, v6) {
				n++
			}
		}
		if orphans := fs.orphans; orphans != nil && tcp {
			for _, o := range orphans(ctx) {
				if o.Domain == domain {
					orphanLine(b, &o, n, v6)
					n++
				}
			}
		}
		return b.Bytes(), nil
	}
}

// orphanLine writes the line of a connection that no socket has.
func orphanLine(b *bytes.Buffer, o *socket.Orphan, n int, v6 bool) {
	start := b.Len()
	fmt.Fprintf(b, "%4d: %v %v %02X %08X:%08X %02X:%08X %08X %5d %8d %d %d %016x", n, endOf(o.Local, v6), endOf(o.Remote, v6), o.Report.State,
		o.Report.Send, o.Report.Receive, o.Timer.Kind, o.Timer.Due/10, o.Timer.Count, o.UID, 0, 0, 1, 0)
	if pad := 149 - (b.Len() - start); pad > 0 && !v6 {
		b.WriteString(strings.Repeat(" ", pad))
	}
	b.WriteByte('\n')
}

// internetLine writes the line of s, unless Linux shows none: a TCP socket that
// neither listens nor is connected, a UDP one without a port.
func internetLine(b *bytes.Buffer, ctx vfs.Context, s socket.Socket, n int, v6 bool) bool {
	name, err := s.SockName(ctx)
	if err != nil {
		return false
	}
	peer, err := s.PeerName(ctx)
	connected := err == nil
	local, remote := endOf(name, v6), endOf(peer, v6)
	stream, raw := s.Type() == linux.SOCK_STREAM, s.Type() == linux.SOCK_RAW
	if raw {
		local.port = uint16(s.Protocol())
	}
	state, tail := tcpClose, ""
	report, reports := s.(socket.Reporter)
	var r socket.Report
	if reports {
		r = report.Report()
	}
	switch {
	case stream && reports && r.State == tcpClose:
		return false
	case stream && reports && r.State != tcpListen:
		state, tail = r.State, " 20 4 30 10 -1"
	case connected:
		state, tail = tcpEstablished, " 20 4 30 10 -1"
	case stream && listening(ctx, s):
		state, tail = tcpListen, " 100 0 0 10 0"
	case stream, local.port == 0:
		return false
	}
	a, _ := s.FileAttr(ctx)
	start := b.Len()
	width := 149
	switch {
	case stream:
		fmt.Fprintf(b, "%4d: ", n)
	case raw:
		fmt.Fprintf(b, "%4d: ", n)
		tail, width = " 0", 0
	default:
		fmt.Fprintf(b, "%5d: ", n)
		tail, width = " 0", 127
	}
	refs := 1
	if !stream {
		refs = 2
	}
	if state == tcpListen {
		r.Send = 0 // only sock_diag(7) shows the backlog
	}
	fmt.Fprintf(b, "%v %v %02X %08X:%08X 00:%08X %08X %5d %8d %d %d %016x%s", local, remote, state, r.Send, r.Receive, 0, 0,
		a.UID, 0, a.Ino, refs, 0, tail)
	if pad := width - (b.Len() - start); pad > 0 && !v6 {
		b.WriteString(strings.Repeat(" ", pad))
	}
	b.WriteByte('\n')
	return true
}

// sockstat is /proc/net/sockstat: how many sockets there are. Their memory is not
// known.
func (fs *FS) sockstat(v6 bool) func(vfs.Context) ([]byte, error) {
	return func(ctx vfs.Context) ([]byte, error) {
		domain := linux.AF_INET
		if v6 {
			domain = linux.AF_INET6
		}
		all := fs.all(ctx)
		tcp, udp, lite, raw, streams := 0, 0, 0, 0, 0
		for _, s := range all {
			if s.Type() == linux.SOCK_STREAM && (s.Domain() == linux.AF_INET || s.Domain() == linux.AF_INET6) {
				streams++
			}
			if s.Domain() != domain {
				continue
			}
			switch r, ok := s.(socket.Reporter); {
			case s.Type() == linux.SOCK_RAW:
				raw++
			case s.Type() == linux.SOCK_STREAM && ok && r.Report().State != tcpClose:
				tcp++
			case s.Type() == linux.SOCK_DGRAM && (s.Protocol() == linux.IPPROTO_UDP || s.Protocol() == linux.IPPROTO_UDPLITE):
				if name, err := s.SockName(ctx); err != nil || endOf(name, v6).port == 0 {
					continue
				}
				if s.Protocol() == linux.IPPROTO_UDPLITE {
					lite++
				} else {
					udp++
				}
			}
		}
		if v6 {
			return fmt.Appendf(nil, "TCP6: inuse %d\nUDP6: inuse %d\nUDPLITE6: inuse %d\nRAW6: inuse %d\nFRAG6: inuse 0 memory 0\n", tcp, udp, lite, raw), nil
		}
		orphan, tw := 0, 0
		if fs.orphans != nil {
			for _, o := range fs.orphans(ctx) {
				if o.Report.State == tcpTimeWait {
					tw++
				} else {
					orphan++
				}
			}
		}
		return fmt.Appendf(nil, "sockets: used %d\nTCP: inuse %d orphan %d tw %d alloc %d mem 0\nUDP: inuse %d mem 0\nUDPLITE: inuse %d\nRAW: inuse %d\nFRAG: inuse 0 memory 0\n",
			len(all), tcp, orphan, tw, streams, udp, lite, raw), nil
	}
}

// unixSockets is /proc/net/unix: unix(7).
func (fs *FS) unixSockets(ctx vfs.Context) ([]byte, error) {
	b := bytes.NewBufferString(netTexts["unix"])
	for _, s := range fs.sockets(ctx, linux.AF_UNIX, 0) {
		flags, state := 0, unixUnconnected
		if listening(ctx, s) {
			flags = 1 << 16
		} else if _, err := s.PeerName(ctx); err == nil {
			state = unixConnected
		}
		a, _ := s.FileAttr(ctx)
		fmt.Fprintf(b, "%016x: %08X %08X %08X %04X %02X %5d", 0, 2, 0, flags, s.Type(), state, a.Ino)
		if name, err := s.SockName(ctx); err == nil {
			if path := unixPath(name); path != "" {
				b.WriteString(" " + path)
			}
		}
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}

// unixPath is the name in a struct sockaddr_un; @ stands for the NULs of an
// abstract one.
func unixPath(sa []byte) string {
	if len(sa) <= 2 {
		return ""
	}
	path := sa[2:]
	if path[0] == 0 {
		return strings.ReplaceAll(string(path), "\x00", "@")
	}
	if i := bytes.IndexByte(path, 0); i >= 0 {
		path = path[:i]
	}
	return escape(string(path), "\n")
}
