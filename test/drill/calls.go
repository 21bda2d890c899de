package drill

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

var host = binary.NativeEndian

// prepared is a call as the agent makes it, and what there is to see when it succeeded.
type prepared struct {
	*request
	check func() error
}

// A preparer turns the arguments of one kind of call into a request.
type preparer func(d *drill, args []expr) (prepared, error)

// callTable are the calls that scripts make.
var callTable = map[string]struct {
	args int
	make preparer
}{
	"socket":       {3, prepareSocket},
	"bind":         {3, toAddress(unix.SYS_BIND)},
	"connect":      {3, toAddress(unix.SYS_CONNECT)},
	"accept":       {3, plainCall(unix.SYS_ACCEPT)},
	"listen":       {2, plainCall(unix.SYS_LISTEN)},
	"shutdown":     {2, plainCall(unix.SYS_SHUTDOWN)},
	"close":        {1, plainCall(unix.SYS_CLOSE)},
	"read":         {3, bytesCall(unix.SYS_READ)},
	"write":        {3, bytesCall(unix.SYS_WRITE)},
	"send":         {4, bytesCall(unix.SYS_SENDTO)},
	"recv":         {4, bytesCall(unix.SYS_RECVFROM)},
	"sendto":       {6, bytesCall(unix.SYS_SENDTO)},
	"recvfrom":     {6, bytesCall(unix.SYS_RECVFROM)},
	"fcntl":        {-2, plainCall(unix.SYS_FCNTL)},
	"ioctl":        {-2, prepareIoctl},
	"setsockopt":   {5, prepareSetsockopt},
	"getsockopt":   {5, prepareGetsockopt},
	"poll":         {3, preparePoll},
	"pipe":         {1, preparePipe},
	"splice":       {6, prepareSplice},
	"open":         {-2, prepareOpen},
	"sendfile":     {4, prepareSendfile},
	"epoll_create": {1, plainCall(unix.SYS_EPOLL_CREATE)},
	"epoll_ctl":    {4, prepareEpollCtl},
	"epoll_wait":   {4, prepareEpollWait},
	"sendmsg":      {3, prepareMessage(unix.SYS_SENDMSG)},
	"recvmsg":      {3, prepareMessage(unix.SYS_RECVMSG)},
	"readv":        {3, prepareVector(unix.SYS_READV)},
	"writev":       {3, prepareVector(unix.SYS_WRITEV)},
}

// prepare turns a call of the script into the agent's.
func (d *drill) prepare(c *call) (prepared, error) {
	row, ok := callTable[c.name]
	if !ok {
		return prepared{}, fmt.Errorf("no such call: %s", c.name)
	}
	if len(c.args) != row.args && (row.args >= 0 || len(c.args) < -row.args) {
		return prepared{}, fmt.Errorf("%s with %d arguments", c.name, len(c.args))
	}
	return row.make(d, c.args)
}

// fd is the descriptor that a script's number stands for.
func (d *drill) fd(x expr) int64 {
	if live, ok := d.fds[x.num]; ok && x.kind == exprNumber {
		return live
	}
	return x.num
}

// plainCall passes numbers on, of which the first is a descriptor.
func plainCall(number int64) preparer {
	return func(d *drill, args []expr) (prepared, error) {
		r := newRequest(number).value(d.fd(args[0]))
		for _, x := range args[1:] {
			r.value(x.num)
		}
		return prepared{request: r}, nil
	}
}

func prepareSocket(d *drill, args []expr) (prepared, error) {
	family := args[0].num
	if args[0].kind == exprEllipsis {
		family = unix.AF_INET
		if d.local.Is6() {
			family = unix.AF_INET6
		}
	}
	return prepared{request: newRequest(unix.SYS_SOCKET).value(family).value(args[1].num).value(args[2].num)}, nil
}

// sockaddr is an address as the kernel takes it.
func sockaddr(a netip.AddrPort) []byte {
	var b []byte
	if a.Addr().Is4() {
		b = host.AppendUint16(b, unix.AF_INET)
		b = binary.BigEndian.AppendUint16(b, a.Port())
		return append(append(b, a.Addr().AsSlice()...), make([]byte, 8)...)
	}
	b = host.AppendUint16(b, unix.AF_INET6)
	b = binary.BigEndian.AppendUint16(b, a.Port())
	return append(append(append(b, 0, 0, 0, 0), a.Addr().AsSlice()...), 0, 0, 0, 0)
}

// servicePort is where scripts listen, and where they connect to.
const servicePort = 8080

// toAddress is bind or connect: "..." is the local address or the remote one.
func toAddress(number int64) preparer {
	return func(d *drill, args []expr) (prepared, error) {
		a := netip.AddrPortFrom(d.remote, servicePort)
		if number == unix.SYS_BIND {
			a = netip.AddrPortFrom(d.local, servicePort)
		}
		b := sockaddr(a)
		switch x := args[1]; x.kind {
		case exprNumber: // AF_UNSPEC alone
			host.PutUint16(b, uint16(x.num))
		case exprStruct:
			addr, err := structAddress(x)
			if err != nil {
				return prepared{}, err
			}
			b = sockaddr(addr)
		}
		return prepared{request: newRequest(number).value(d.fd(args[0])).memory(b).value(int64(len(b)))}, nil
	}
}

func structAddress(x expr) (netip.AddrPort, error) {
	text, _ := x.field("sin_addr")
	if text.text == "" {
		text, _ = x.field("sin6_addr")
	}
	addr, err := netip.ParseAddr(text.text)
	return netip.AddrPortFrom(addr, uint16(x.number("sin_port")|x.number("sin6_port"))), err
}

// most bounds what a script reads or writes at once.
const most = 32 << 20

// bytesCall is a read or write of some bytes, whatever they are.
func bytesCall(number int64) preparer {
	return func(d *drill, args []expr) (prepared, error) {
		n := args[2].num
		if n < 0 || n > most {
			return prepared{}, fmt.Errorf("%d bytes", n)
		}
		r := newRequest(number).value(d.fd(args[0]))
		if args[1].kind == exprNumber { // NULL, or another address that is none
			r.value(args[1].num)
		} else {
			r.memory(make([]byte, n))
		}
		r.value(n)
		if len(args) > 3 {
			r.value(args[3].num)
		}
		if len(args) == 6 {
			switch {
			case args[4].kind != exprEllipsis:
				r.value(args[4].num).value(args[5].num)
			case number == unix.SYS_SENDTO:
				b := sockaddr(netip.AddrPortFrom(d.remote, servicePort))
				r.memory(b).value(int64(len(b)))
			default:
				r.value(0).value(0)
			}
		}
		return prepared{request: r}, nil
	}
}

func prepareIoctl(d *drill, args []expr) (prepared, error) {
	r := newRequest(unix.SYS_IOCTL).value(d.fd(args[0])).value(args[1].num)
	if len(args) < 3 || args[2].kind != exprList || len(args[2].list) != 1 {
		return prepared{request: r}, nil
	}
	b, want := make([]byte, 8), args[2].list[0].num
	host.PutUint32(b, uint32(want))
	r.memory(b)
	return prepared{r, func() error { return same("the value", int64(int32(host.Uint32(b))), want) }}, nil
}

func same(what string, got, want int64) error {
	if got != want {
		return fmt.Errorf("%s is %d, not %d", what, got, want)
	}
	return nil
}

// optionBytes is an option's value as the kernel takes it.
func optionBytes(x expr) []byte {
	switch x.kind {
	case exprString:
		return []byte(x.text)
	case exprList:
		var b []byte
		for _, v := range x.list {
			b = append(b, optionBytes(v)...)
		}
		return b
	case exprStruct:
		if _, ok := x.field("tv_sec"); ok {
			return host.AppendUint64(host.AppendUint64(nil, uint64(x.number("tv_sec"))), uint64(x.number("tv_usec")))
		}
		var b []byte
		for _, f := range x.fields { // struct linger and its like: of ints
			b = host.AppendUint32(b, uint32(f.value.num))
		}
		return b
	}
	return host.AppendUint32(nil, uint32(x.num))
}

func prepareSetsockopt(d *drill, args []expr) (prepared, error) {
	b := optionBytes(args[3])
	b = append(b, make([]byte, max(0, min(args[4].num, 256)-int64(len(b))))...)
	r := newRequest(unix.SYS_SETSOCKOPT).value(d.fd(args[0])).value(args[1].num).value(args[2].num).memory(b).value(args[4].num)
	return prepared{request: r}, nil
}

func prepareGetsockopt(d *drill, args []expr) (prepared, error) {
	var want []byte
	if args[3].kind != exprEllipsis {
		want = optionBytes(args[3])
	}
	n := args[4].num
	if args[4].kind == exprList && len(args[4].list) == 1 {
		n = args[4].list[0].num
	}
	if n < 0 || n > 4096 {
		return prepared{}, fmt.Errorf("an option of %d bytes", n)
	}
	b := make([]byte, n)
	r := newRequest(unix.SYS_GETSOCKOPT).value(d.fd(args[0])).value(args[1].num).value(args[2].num).memory(b)
	r.memory(host.AppendUint32(nil, uint32(n)))
	return prepared{r, func() error {
		if want != nil && !bytes.HasPrefix(b, want) {
			return fmt.Errorf("the option is % x, not % x", b, want)
		}
		return nil
	}}, nil
}

func preparePoll(d *drill, args []expr) (prepared, error) {
	b := make([]byte, 8*len(args[0].list))
	for i, x := range args[0].list {
		fd, _ := x.field("fd")
		host.PutUint32(b[8*i:], uint32(d.fd(fd)))
		host.PutUint16(b[8*i+4:], uint16(x.number("events")))
	}
	r := newRequest(unix.SYS_POLL).memory(b).value(args[1].num).value(args[2].num)
	return prepared{r, func() error {
		for i, x := range args[0].list {
			if err := same("revents", int64(host.Uint16(b[8*i+6:])), x.number("revents")); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

func preparePipe(d *drill, args []expr) (prepared, error) {
	if len(args[0].list) != 2 {
		return prepared{}, fmt.Errorf("a pipe has two ends")
	}
	b := make([]byte, 8)
	return prepared{newRequest(unix.SYS_PIPE).memory(b), func() error {
		for i, x := range args[0].list {
			d.fds[x.num] = int64(host.Uint32(b[4*i:]))
		}
		return nil
	}}, nil
}

func prepareSplice(d *drill, args []expr) (prepared, error) {
	r := newRequest(unix.SYS_SPLICE).value(d.fd(args[0])).value(0).value(d.fd(args[2])).value(0).value(args[4].num).value(args[5].num)
	return prepared{request: r}, nil
}

func prepareOpen(d *drill, args []expr) (prepared, error) {
	r := newRequest(unix.SYS_OPEN).memory(append([]byte(args[0].text), 0)).value(args[1].num)
	return prepared{request: r}, nil
}

// prepareSendfile has the offset written as [OFFSET].
func prepareSendfile(d *drill, args []expr) (prepared, error) {
	r := newRequest(unix.SYS_SENDFILE).value(d.fd(args[0])).value(d.fd(args[1]))
	if len(args[2].list) == 1 {
		r.memory(host.AppendUint64(nil, uint64(args[2].list[0].num)))
	} else {
		r.value(0)
	}
	return prepared{request: r.value(args[3].num)}, nil
}

// epollEvent is struct epoll_event of x86-64, which is packed; the data of scripts
// that name no descriptor is a number, ptr or u32.
func (d *drill) epollEvent(x expr) []byte {
	data := x.number("ptr") | x.number("u32") | x.number("u64")
	if fd, ok := x.field("fd"); ok {
		data = d.fd(fd)
	}
	return host.AppendUint64(host.AppendUint32(nil, uint32(x.number("events"))), uint64(data))
}

func prepareEpollCtl(d *drill, args []expr) (prepared, error) {
	r := newRequest(unix.SYS_EPOLL_CTL).value(d.fd(args[0])).value(args[1].num).value(d.fd(args[2])).memory(d.epollEvent(args[3]))
	return prepared{request: r}, nil
}

func prepareEpollWait(d *drill, args []expr) (prepared, error) {
	events := []expr{args[1]}
	if args[1].kind == exprList {
		events = args[1].list
	}
	n := args[2].num
	if n < 0 || n > 64 {
		return prepared{}, fmt.Errorf("%d events", n)
	}
	b := make([]byte, 12*n)
	r := newRequest(unix.SYS_EPOLL_WAIT).value(d.fd(args[0])).memory(b).value(n).value(args[3].num)
	return prepared{r, func() error {
		for i, x := range events {
			if r.result <= int64(i) {
				break
			}
			if want := d.epollEvent(x); !bytes.Equal(b[12*i:12*i+12], want) {
				return fmt.Errorf("the event is % x, not % x", b[12*i:12*i+12], want)
			}
		}
		return nil
	}}, nil
}
