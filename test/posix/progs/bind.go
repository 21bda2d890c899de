package main

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	program("inet.bind-tcp", func(t *T) { bindMatrix(t, unix.SOCK_STREAM) })
	program("inet.bind-udp", func(t *T) { bindMatrix(t, unix.SOCK_DGRAM) })
}

// bindPlace is an address that a socket is bound to.
type bindPlace struct {
	name   string
	family int
	only   bool // IPV6_V6ONLY
	addr   []byte
	peer   []byte // where it connects to
}

var (
	v4Lo     = []byte{127, 0, 0, 1}
	v6Lo     = []byte{15: 1}
	mappedLo = []byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}
)

var bindPlaces = []bindPlace{
	{"0.0.0.0", unix.AF_INET, false, make([]byte, 4), v4Lo},
	{"127.0.0.1", unix.AF_INET, false, v4Lo, v4Lo},
	{"127.0.0.2", unix.AF_INET, false, []byte{127, 0, 0, 2}, v4Lo},
	{"::", unix.AF_INET6, false, make([]byte, 16), v6Lo},
	{":: only", unix.AF_INET6, true, make([]byte, 16), v6Lo},
	{"::1", unix.AF_INET6, false, v6Lo, v6Lo},
	{"::ffff:127.0.0.1", unix.AF_INET6, false, mappedLo, mappedLo},
	{"::ffff:0.0.0.0", unix.AF_INET6, false, []byte{10: 0xff, 11: 0xff, 15: 0}, mappedLo},
}

func (p *bindPlace) sockaddr(addr []byte, port int) unix.Sockaddr {
	if p.family == unix.AF_INET {
		return &unix.SockaddrInet4{Port: port, Addr: [4]byte(addr)}
	}
	return &unix.SockaddrInet6{Port: port, Addr: [16]byte(addr)}
}

// bindOptions are the ways to share a port.
var bindOptions = []struct{ addr, port int }{{0, 0}, {1, 0}, {0, 1}, {1, 1}}

// open makes a socket of a place with options.
func (p *bindPlace) open(t *T, typ, options int) int {
	fd := t.socket(p.family, typ)
	if p.only {
		t.Must("IPV6_V6ONLY", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1))
	}
	o := bindOptions[options]
	t.Must("SO_REUSEADDR", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, o.addr))
	t.Must("SO_REUSEPORT", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, o.port))
	return fd
}

// bindMatrix has a socket hold a port, in each state, at each place, with each option,
// and another of the same and of another user try to get it too. A line has a letter for
// each pair of options: "." got it, "b" did not by bind(2), "l" by listen(2).
func bindMatrix(t *T, typ int) {
	runtime.LockOSThread() // the namespace and the user are a thread's
	alone(t)
	states := []string{"bound", "connected", "listening"}
	if typ == unix.SOCK_DGRAM {
		states = states[:2]
	}
	servers := bindServers(t, typ)
	for _, state := range states {
		for i := range bindPlaces {
			for _, user := range []int{0, 1000} {
				bindRow(t, typ, state, &bindPlaces[i], user, servers)
			}
		}
	}
}

// bindServers are the ports that sockets connect to, by the length of their address.
func bindServers(t *T, typ int) map[int]int {
	ports := map[int]int{}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		fd := t.socket(family, typ)
		t.Must("bind", unix.Bind(fd, loopback(family, 0)))
		if typ == unix.SOCK_STREAM {
			t.Must("listen", unix.Listen(fd, 4096))
		}
		ports[family] = sockPort(fd)
	}
	return ports
}

func bindRow(t *T, typ int, state string, first *bindPlace, user int, servers map[int]int) {
	for i := range bindPlaces {
		var results []byte
		for a := range bindOptions {
			for b := range bindOptions {
				if user != 0 && bindOptions[a].port&bindOptions[b].port == 0 {
					continue // the user makes a difference only to this
				}
				// A port of its own for each pair: Linux remembers who shared one before.
				fd, port := first.hold(t, typ, a, state, servers)
				results = append(results, tryBind(t, typ, &bindPlaces[i], b, port, user))
				unix.Close(fd)
			}
		}
		t.Say("%s %s, user %d at %s: %s", first.name, state, user, bindPlaces[i].name, results)
	}
}

// hold makes a socket that has a port to itself.
func (p *bindPlace) hold(t *T, typ, options int, state string, servers map[int]int) (fd, port int) {
	port = freePort(t, typ)
	fd = p.open(t, typ, options)
	t.Must("bind", unix.Bind(fd, p.sockaddr(p.addr, port)))
	switch state {
	case "connected":
		family := p.family
		if len(p.peer) == 16 && p.peer[10] != 0 {
			family = unix.AF_INET
		}
		t.Must("connect", unix.Connect(fd, p.sockaddr(p.peer, servers[family])))
	case "listening":
		t.Must("listen", unix.Listen(fd, 1))
	}
	return fd, port
}

func tryBind(t *T, typ int, p *bindPlace, options, port, user int) byte {
	if user != 0 {
		unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(user), ^uintptr(0))
		defer unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), 0, ^uintptr(0))
	}
	fd := p.open(t, typ, options)
	defer unix.Close(fd)
	switch err := unix.Bind(fd, p.sockaddr(p.addr, port)); err {
	case nil:
	case unix.EADDRINUSE:
		return 'b'
	default:
		return '?'
	}
	if typ == unix.SOCK_DGRAM {
		return '.'
	}
	switch err := unix.Listen(fd, 1); err {
	case nil:
		return '.'
	case unix.EADDRINUSE:
		return 'l'
	}
	return '!'
}

// freePort is one that nobody holds at any address.
func freePort(t *T, typ int) int {
	fd := t.socket(unix.AF_INET6, typ)
	defer unix.Close(fd)
	t.Must("bind", unix.Bind(fd, &unix.SockaddrInet6{}))
	return sockPort(fd)
}

// alone gives the thread ports of its own on the host; a sandbox's are its own already,
// and it can have no others.
func alone(t *T) {
	if unix.Unshare(unix.CLONE_NEWNET) != nil {
		return
	}
	fd := t.socket(unix.AF_INET, unix.SOCK_DGRAM)
	defer unix.Close(fd)
	var req [40]byte
	copy(req[:], "lo")
	req[16] = unix.IFF_UP
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&req))); e != 0 {
		t.Must("lo up", e)
	}
}
