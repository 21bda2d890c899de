package inet

import (
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Tunnel is an open /dev/net/tun: the kernel's Documentation/networking/tuntap.rst. It
// has one interface at most, of the network of who opened it, and one queue of it.
type Tunnel struct {
	n     *Network
	queue wait.Queue

	end     atomic.Pointer[end]
	blocked atomic.Bool

	mu struct {
		sync.Mutex
		attached bool
		name     string
		index    uint32
		mac      [6]byte
		persist  bool
	}
	format    tunnelFormat // guarded by both of those below
	sending   sync.Mutex   // guards end.up
	receiving sync.Mutex   // guards end.down
	conf      settings     // of the size of the ring up alone
}

// tunnelFormat is what stands before the frames of a Tunnel.
type tunnelFormat struct {
	tap    bool
	info   bool // struct tun_pi
	virtio int  // how long a virtio-net header is; 0: none
	little bool // TUNSETVNETLE was set, which says nothing new
}

// Flags of linux/if_tun.h.
const (
	iffTUN       = 0x1
	iffTAP       = 0x2
	iffPersist   = 0x800
	iffNoInfo    = 0x1000
	iffOneQueue  = 0x2000
	iffVirtio    = 0x4000
	iffExclusive = 0x8000

	tunnelFeatures = iffNoInfo | iffOneQueue | iffVirtio

	sizeofTunInfo = 4
	tunStripped   = 1 // TUN_PKT_STRIP
	familyTunnel  = 256
	tunnelVirtio  = 4 // of byte 7 of a record in the ring up: proto/netd/v1
	virtioSize    = 10

	// mostWritten is the longest frame that is taken, in bytes, with a virtio-net header.
	mostWritten = 65535
)

// OpenTunnel is what opening /dev/net/tun gives: ENETDOWN.
func (o *Outlet) OpenTunnel() (vfs.Impl, error) {
	n := o.now.Load()
	if n.dead.Load() {
		return nil, linux.ENETDOWN
	}
	t := &Tunnel{n: n}
	t.conf.init(n.tuning)
	t.format.info = true
	return t, nil
}

// askLocked has netd carry out a request about the interface, and takes note of what that is then.
func (t *Tunnel) askLocked(c *netdv1.Tunnel) error {
	resp, e, err := ask(t.n, t, t.end.Load(), &netdv1.Request{Op: &netdv1.Request_Tunnel{Tunnel: c}}, &netdv1.Open{Family: familyTunnel})
	if e != nil && t.end.Load() == nil {
		t.end.Store(e)
		e.listen()
	}
	if err != nil {
		return err
	}
	if len(resp.Interfaces) != 1 {
		return linux.EIO
	}
	i := resp.Interfaces[0]
	t.mu.name, t.mu.index, t.mu.persist = i.Name, i.Index, i.Persist
	copy(t.mu.mac[:], i.Mac)
	return nil
}

// attach is TUNSETIFF: EEXIST, EINVAL, EPERM, EBUSY.
func (t *Tunnel) attach(ctx vfs.Context, arg uint64) error {
	var req [sizeOfIfreq]byte
	if err := ctx.CopyIn(arg, req[:]); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.attached {
		return linux.EEXIST
	}
	flags := binary.LittleEndian.Uint16(req[16:])
	f := tunnelFormat{tap: flags&iffTAP != 0, info: flags&iffNoInfo == 0}
	if flags&iffVirtio != 0 {
		f.virtio = virtioSize
	}
	name := cString(req[:15])
	switch {
	case flags&(iffTUN|iffTAP) == 0 || flags&(iffTUN|iffTAP) == iffTUN|iffTAP || flags&^(iffTUN|iffTAP|iffExclusive|tunnelFeatures) != 0:
		return linux.EINVAL
	case name == "" && f.tap:
		name = "tap%d"
	case name == "":
		name = "tun%d"
	}
	if flags&iffExclusive != 0 {
		if _, err := t.n.device(func(i *netdv1.Interface) bool { return i.Name == name }); err == nil {
			return linux.EBUSY
		}
	}
	c := ctx.Creds()
	gids := append([]uint32{c.EGID}, c.Groups...)
	if err := t.askLocked(&netdv1.Tunnel{Attach: &name, Tap: f.tap, Admin: t.n.mayRule(ctx, linux.CAP_NET_ADMIN), Uid: c.EUID, Gids: gids}); err != nil {
		return err
	}
	t.setFormat(func(to *tunnelFormat) { *to = f })
	t.mu.attached = true
	clear(req[:16])
	copy(req[:15], t.mu.name)
	return ctx.CopyOut(arg, req[:])
}

// setFormat changes the format between frames.
func (t *Tunnel) setFormat(change func(*tunnelFormat)) {
	t.sending.Lock()
	defer t.sending.Unlock()
	t.receiving.Lock()
	defer t.receiving.Unlock()
	change(&t.format)
}

// joined is the end of who has an interface: EBADFD.
func (t *Tunnel) joined() (*end, error) {
	t.mu.Lock()
	attached := t.mu.attached
	t.mu.Unlock()
	e := t.end.Load()
	if !attached || t.n.dead.Load() || e.head.State.Load()&uint32(netdv1.SocketState_SOCKET_STATE_CLOSED) != 0 {
		return nil, linux.EBADFD
	}
	return e, nil
}

// connected says whether a tunnel's interface is up.
func (e *end) connected() bool {
	return e.head.State.Load()&uint32(netdv1.SocketState_SOCKET_STATE_CONNECTED) != 0
}

// ReadStream takes a frame that the interface sends; what does not fit is lost: EBADFD,
// EINVAL, EAGAIN.
func (t *Tunnel) ReadStream(_ vfs.Context, p []byte) (int, error) {
	e, err := t.joined()
	if err != nil {
		return 0, err
	}
	t.receiving.Lock()
	defer t.receiving.Unlock()
	f := &t.format
	before := f.virtio
	if f.info {
		before += sizeofTunInfo
	}
	size := 0
	for armed := false; ; armed = true {
		if _, size, err = e.first(maxFrame); err != linux.EAGAIN {
			break
		}
		if armed {
			return 0, linux.EAGAIN
		}
		e.head.WantDown.Store(1)
	}
	if err == nil && len(p) < before {
		e.skip(size)
		err = linux.EINVAL
	}
	if err != nil {
		return 0, err
	}
	n := e.fill([][]byte{p[before:]}, 0, size)
	clear(p[:before])
	if f.info {
		f.describe(p, func(b []byte) int { return e.fill([][]byte{b}, 0, size) }, n < size)
	}
	e.skip(size)
	return before + n, nil
}

// describe fills in the struct tun_pi of a frame, whose first bytes start gives.
func (f *tunnelFormat) describe(p []byte, start func([]byte) int, cut bool) {
	if cut {
		binary.LittleEndian.PutUint16(p, tunStripped)
	}
	var b [etherHeader]byte
	n := start(b[:])
	switch {
	case f.tap && n == etherHeader:
		copy(p[2:4], b[12:14])
	case f.tap || n == 0:
	case b[0]>>4 == 4:
		binary.BigEndian.PutUint16(p[2:], 0x0800)
	case b[0]>>4 == 6:
		binary.BigEndian.PutUint16(p[2:], 0x86dd)
	}
}

// WriteStream has a frame arrive at the interface: EBADFD, EINVAL, EIO while it is down,
// EAGAIN.
func (t *Tunnel) WriteStream(_ vfs.Context, p []byte) (int, error) {
	e, err := t.joined()
	if err != nil {
		return 0, err
	}
	t.sending.Lock()
	defer t.sending.Unlock()
	var h [gramHeader]byte
	var virtio [virtioSize]byte
	data, err := t.format.frame(p, &virtio)
	if err != nil {
		return 0, err
	}
	if !e.connected() {
		return 0, linux.EIO
	}
	parts, size := [][]byte{data}, len(data)
	if t.format.virtio > 0 {
		parts, size, h[7] = [][]byte{virtio[:], data}, size+virtioSize, tunnelVirtio
	}
	if err := e.room(&t.conf, &t.blocked, gramHeader+padded(size)); err != nil {
		return 0, err
	}
	binary.LittleEndian.PutUint32(h[:], uint32(size))
	e.put(t.n, &h, parts, size)
	return len(p), nil
}

// frame takes off what stands before a frame: EINVAL. p is read once, as the guest may
// change it.
func (f *tunnelFormat) frame(p []byte, virtio *[virtioSize]byte) ([]byte, error) {
	if f.info {
		if len(p) < sizeofTunInfo {
			return nil, linux.EINVAL
		}
		p = p[sizeofTunInfo:]
	}
	least := 1
	if f.tap {
		least = etherHeader
	}
	if f.virtio > 0 {
		if len(p) < f.virtio {
			return nil, linux.EINVAL
		}
		copy(virtio[:], p)
		p = p[f.virtio:]
		head := binary.LittleEndian.Uint16(virtio[2:])
		if int(head) > len(p) || f.tap && head != 0 && int(head) < etherHeader {
			return nil, linux.EINVAL
		}
	}
	if len(p) < least || len(p) > mostWritten-virtioSize {
		return nil, linux.EINVAL
	}
	if version := p[0] >> 4; !f.tap && !f.info && version != 4 && version != 6 {
		return nil, linux.EINVAL
	}
	return p, nil
}

// Records implements vfs.Recorder: a write is a frame.
func (t *Tunnel) Records() {}

// Queue implements vfs.Poller.
func (t *Tunnel) Queue() *wait.Queue { return &t.queue }

// Poll implements vfs.Poller.
func (t *Tunnel) Poll() wait.Events {
	e, err := t.joined()
	if err != nil {
		return wait.Err
	}
	var ev wait.Events
	t.receiving.Lock()
	e.head.WantDown.Store(1)
	if n, err := e.down.Len(); n > 0 || err != nil {
		ev |= wait.In
	}
	t.receiving.Unlock()
	t.sending.Lock()
	defer t.sending.Unlock()
	used, err := e.up.Used()
	switch {
	case !e.connected():
	case err != nil || used <= t.conf.sendLimit(e.up.Size(), 0)*2/3:
		ev |= wait.Out
	default:
		t.blocked.Store(true)
		e.head.WantSpace.Store(1)
	}
	return ev
}

// told implements member.
func (t *Tunnel) told() {
	if e := t.end.Load(); e != nil {
		e.head.ToldClient.Store(0)
		t.blocked.Store(false)
		t.queue.Notify(t.Poll())
	}
}

// died implements member.
func (t *Tunnel) died() { t.queue.Notify(gone) }

// Release gives the interface up, which ends it unless it is to stay.
func (t *Tunnel) Release() {
	if e := t.end.Load(); e != nil {
		t.n.drop(e.id, e.mem)
		_, fds, _ := t.n.call(closing(e.id, false))
		closeAll(fds)
	}
}

// Requests of linux/if_tun.h.
const (
	tunSetNoCsum     = 0x400454c8
	tunSetIff        = 0x400454ca
	tunSetPersist    = 0x400454cb
	tunSetOwner      = 0x400454cc
	tunSetGroup      = 0x400454ce
	tunGetFeatures   = 0x800454cf
	tunSetOffload    = 0x400454d0
	tunGetIff        = 0x800454d2
	tunGetSendBuffer = 0x800454d3
	tunSetSendBuffer = 0x400454d4
	tunGetVirtioSize = 0x800454d7
	tunSetVirtioSize = 0x400454d8
	tunSetVirtioEnd  = 0x400454dc
	tunGetVirtioEnd  = 0x800454dd
	maxVirtioSize    = 256
)

// Ioctl answers ioctl(2): EBADFD without an interface, EINVAL of what it does not know.
func (t *Tunnel) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	switch cmd {
	case tunSetIff:
		return 0, t.attach(ctx, arg)
	case tunGetFeatures:
		return 0, putInt(ctx, arg, iffTUN|iffTAP|tunnelFeatures)
	}
	if _, err := t.joined(); err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch cmd {
	case tunGetIff, siocGIFHWAddr:
		return 0, t.describe(ctx, cmd, arg)
	case siocSIFHWAddr:
		return 0, t.n.configure(ctx, cmd, arg)
	case tunSetNoCsum:
		return 0, nil
	case tunSetPersist:
		on := arg != 0
		return 0, t.askLocked(&netdv1.Tunnel{Persist: &on})
	case tunSetOwner, tunSetGroup:
		id := uint32(arg)
		c := &netdv1.Tunnel{Owner: &id}
		if cmd == tunSetGroup {
			c = &netdv1.Tunnel{Group: &id}
		}
		return 0, t.askLocked(c)
	case tunSetOffload:
		return 0, offload(arg)
	}
	return 0, t.tune(ctx, cmd, arg)
}

// tune carries out the requests about numbers.
func (t *Tunnel) tune(ctx vfs.Context, cmd uint32, arg uint64) error {
	switch cmd {
	case tunGetSendBuffer:
		return putInt(ctx, arg, math.MaxInt32)
	case tunGetVirtioSize, tunGetVirtioEnd:
		n := virtioSize
		t.setFormat(func(f *tunnelFormat) {
			if f.virtio > 0 {
				n = f.virtio
			}
			if cmd == tunGetVirtioEnd {
				n = boolInt(f.little)
			}
		})
		return putInt(ctx, arg, n)
	case tunSetSendBuffer, tunSetVirtioSize, tunSetVirtioEnd:
	default:
		return linux.EINVAL
	}
	var b [4]byte
	if err := ctx.CopyIn(arg, b[:]); err != nil {
		return err
	}
	n := int(int32(binary.LittleEndian.Uint32(b[:])))
	switch {
	case cmd == tunSetVirtioEnd:
		t.setFormat(func(f *tunnelFormat) { f.little = n != 0 })
	case cmd == tunSetSendBuffer && n <= 0, cmd == tunSetVirtioSize && (n < virtioSize || n > maxVirtioSize):
		return linux.EINVAL
	case cmd == tunSetVirtioSize:
		t.setFormat(func(f *tunnelFormat) {
			if f.virtio > 0 {
				f.virtio = n
			}
		})
	}
	return nil
}

// offload checks what the program says that it takes unfinished, which it is never given:
// EINVAL.
func offload(arg uint64) error {
	const sum, tcp4, tcp6, ecn, udp, udp4, udp6 = 1, 2, 4, 8, 16, 32, 64
	if arg&sum != 0 {
		arg &^= sum
		if arg&(tcp4|tcp6) != 0 {
			arg &^= tcp4 | tcp6 | ecn
		}
		arg &^= udp
		if arg&(udp4|udp6) == udp4|udp6 {
			arg &^= udp4 | udp6
		}
	}
	if arg != 0 {
		return linux.EINVAL
	}
	return nil
}

// describe fills a struct ifreq with the name, and what of the interface is asked for.
func (t *Tunnel) describe(ctx vfs.Context, cmd uint32, arg uint64) error {
	var req [sizeOfIfreq]byte
	i, err := t.n.device(func(i *netdv1.Interface) bool { return i.Index == t.mu.index && (i.Kind == "tun" || i.Kind == "tap") })
	if err != nil { // it moved elsewhere
		i = &netdv1.Interface{Name: t.mu.name, Mac: t.mu.mac[:], Hardware: hardwareEther}
	}
	copy(req[:15], i.Name)
	if cmd == siocGIFHWAddr {
		if err := describe(req[16:], siocGIFHWAddr, i); err != nil {
			return err
		}
		return ctx.CopyOut(arg, req[:])
	}
	flags := uint16(iffTUN)
	t.setFormat(func(f *tunnelFormat) {
		if f.tap {
			flags = iffTAP
		}
		if !f.info {
			flags |= iffNoInfo
		}
		if f.virtio > 0 {
			flags |= iffVirtio
		}
	})
	if t.mu.persist {
		flags |= iffPersist
	}
	binary.LittleEndian.PutUint16(req[16:], flags)
	return ctx.CopyOut(arg, req[:])
}
