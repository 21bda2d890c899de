package inet

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/vfs"
)

// Requests of netdevice(7) and sockios that sockets answer.
const (
	siocInq       = linux.FIONREAD
	siocOutq      = linux.TIOCOUTQ
	siocAtMark    = 0x8905
	siocOutqNSD   = 0x894b
	siocGIFName   = 0x8910
	siocGIFConf   = 0x8912
	siocGIFFlags  = 0x8913
	siocGIFAddr   = 0x8915
	siocGIFDest   = 0x8917
	siocGIFBroad  = 0x8919
	siocGIFMask   = 0x891b
	siocGIFMetric = 0x891d
	siocGIFMTU    = 0x8921
	siocGIFHWAddr = 0x8927
	siocGIFIndex  = 0x8933
	siocGIFTxQLen = 0x8942
	siocGIFMap    = 0x8970
	siocEthtool   = 0x8946
	siocSIFFlags  = 0x8914
	siocSIFMTU    = 0x8922
	siocSIFName   = 0x8923

	sizeOfIfreq = 40
)

// Ioctl answers ioctl(2).
func (s *Stream) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	e := s.end.Load()
	switch cmd {
	case siocInq:
		if s.isListening() {
			return 0, linux.EINVAL
		}
		return 0, putInt(ctx, arg, s.left())
	case siocOutqNSD:
		if s.isListening() {
			return 0, linux.EINVAL
		}
		b, _ := s.Diagnose(ctx)
		return 0, putInt(ctx, arg, int(binary.LittleEndian.Uint32(b[144:]))) // tcpi_notsent_bytes
	case siocOutq:
		if s.isListening() {
			return 0, linux.EINVAL
		}
		n := 0
		if h := s.direct.Load(); h != nil {
			_, n = h.queued()
		} else if e != nil {
			s.sending.Lock()
			n, _ = e.up.Used()
			s.sending.Unlock()
		}
		return 0, putInt(ctx, arg, n)
	case siocAtMark:
		if s.isListening() {
			return 0, linux.EINVAL
		}
		return 0, putInt(ctx, arg, boolInt(s.AtMark()))
	}
	return s.n.deviceIoctl(ctx, cmd, arg)
}

func (s *Stream) isListening() bool {
	s.queue.Lock()
	defer s.queue.Unlock()
	return s.queue.listening
}

// left is how many bytes wait to be read.
func (s *Stream) left() (n int) {
	if h := s.direct.Load(); h != nil {
		n, _ = h.queued()
	} else if e := s.end.Load(); e != nil {
		s.receiving.Lock()
		n, _ = s.haveLocked(e)
		n = s.urgent.unread(e.down.Read(), n, s.conf.inline())
		s.receiving.Unlock()
	}
	return n
}

func putInt(ctx vfs.Context, arg uint64, v int) error {
	return ctx.CopyOut(arg, binary.LittleEndian.AppendUint32(nil, uint32(v)))
}

// DeviceIoctl answers the requests about interfaces that a socket of any family
// takes: netdevice(7). ENOTTY for any other, which those about IPv4 addresses are.
func (n *Network) DeviceIoctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	switch cmd {
	case siocGIFAddr, siocGIFDest, siocGIFBroad, siocGIFMask, siocSIFAddr, siocSIFBroad, siocSIFMask, siocAddRT, siocDelRT, siocGArp, siocSArp, siocDArp:
		return 0, linux.ENOTTY
	}
	return n.deviceIoctl(ctx, cmd, arg)
}

// deviceIoctl answers the requests about interfaces and their IPv4 addresses.
func (n *Network) deviceIoctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	switch cmd {
	case siocSIFFlags, siocSIFMTU, siocSIFAddr, siocSIFBroad, siocSIFMask, siocSIFHWAddr, siocSIFName:
		return 0, n.configure(ctx, cmd, arg)
	case siocAddRT, siocDelRT:
		return 0, n.changeRoute(ctx, cmd, arg)
	case siocGArp, siocSArp, siocDArp:
		return 0, n.neighbour(ctx, cmd, arg)
	case siocGIFConf:
		return 0, n.interfaceList(ctx, arg)
	case siocGIFName, siocGIFFlags, siocGIFAddr, siocGIFDest, siocGIFBroad, siocGIFMask, siocGIFMetric, siocGIFMTU, siocGIFHWAddr,
		siocGIFIndex, siocGIFTxQLen, siocGIFMap, siocEthtool:
	default:
		return 0, linux.ENOTTY
	}
	var req [sizeOfIfreq]byte
	if err := ctx.CopyIn(arg, req[:]); err != nil {
		return 0, err
	}
	all, err := n.Interfaces()
	if err != nil {
		return 0, err
	}
	name := cString(req[:16])
	for _, i := range all {
		if cmd == siocGIFName && binary.LittleEndian.Uint32(req[16:]) == i.Index {
			clear(req[:16])
			copy(req[:15], i.Name)
			return 0, ctx.CopyOut(arg, req[:])
		}
		if cmd != siocGIFName && name == i.Name {
			if cmd == siocEthtool {
				return 0, ethtool(ctx, i, binary.LittleEndian.Uint64(req[16:]))
			}
			if err := describe(req[16:], cmd, i); err != nil {
				return 0, err
			}
			return 0, ctx.CopyOut(arg, req[:])
		}
	}
	return 0, linux.ENODEV
}

// configure sets what of an interface can be set: whether it is up, and its MTU. EPERM,
// ENODEV, EINVAL.
func (n *Network) configure(ctx vfs.Context, cmd uint32, arg uint64) error {
	var req [sizeOfIfreq]byte
	if err := ctx.CopyIn(arg, req[:]); err != nil {
		return err
	}
	if !n.mayRule(ctx, linux.CAP_NET_ADMIN) {
		return linux.EPERM
	}
	name := cString(req[:16])
	i, err := n.device(func(i *netdv1.Interface) bool { return i.Name == name })
	if err != nil {
		return err
	}
	switch cmd {
	case siocSIFAddr, siocSIFBroad, siocSIFMask:
		return n.addressed(cmd, i, req[16:32])
	}
	c := &netdv1.LinkChange{Index: i.Index}
	switch cmd {
	case siocSIFHWAddr:
		if uint32(binary.LittleEndian.Uint16(req[16:])) != i.Hardware {
			return linux.EINVAL
		}
		c.Mac = req[18:24]
	case siocSIFName:
		name := cString(req[16:32])
		c.Name = &name
	case siocSIFMTU:
		mtu := binary.LittleEndian.Uint32(req[16:])
		c.Mtu = &mtu
	default:
		up := req[16]&1 != 0
		c.Up = &up
	}
	return n.Change(&netdv1.Change{What: &netdv1.Change_Link{Link: c}})
}

// describe fills the union of a struct ifreq.
func describe(v []byte, cmd uint32, i *netdv1.Interface) error {
	clear(v)
	switch cmd {
	case siocGIFFlags:
		binary.LittleEndian.PutUint16(v, uint16(i.Flags))
	case siocGIFMTU:
		binary.LittleEndian.PutUint32(v, i.Mtu)
	case siocGIFIndex:
		binary.LittleEndian.PutUint32(v, i.Index)
	case siocGIFTxQLen:
		binary.LittleEndian.PutUint32(v, 1000)
	case siocGIFHWAddr:
		binary.LittleEndian.PutUint16(v, uint16(i.Hardware))
		copy(v[2:8], i.Mac)
	case siocGIFAddr, siocGIFDest, siocGIFBroad, siocGIFMask:
		return describeAddress(v, cmd, i)
	}
	return nil
}

// broadcasts is IFF_BROADCAST of netdevice(7).
const broadcasts = 2

// describeAddress gives the interface's first IPv4 address, its mask, its other end, or where
// it was said to broadcast.
func describeAddress(v []byte, cmd uint32, i *netdv1.Interface) error {
	for _, p := range i.Addresses {
		if len(p.Address) != 4 || p.Bits > 32 {
			continue
		}
		binary.LittleEndian.PutUint16(v, linux.AF_INET)
		copy(v[4:8], p.Address)
		mask := ^uint32(0) << (32 - p.Bits)
		switch cmd {
		case siocGIFMask:
			binary.BigEndian.PutUint32(v[4:], mask)
		case siocGIFBroad:
			clear(v[4:8])
			if len(p.Broadcast) == 4 {
				copy(v[4:8], p.Broadcast)
			}
		case siocGIFDest:
			if len(p.Peer) == 4 {
				copy(v[4:8], p.Peer)
			}
		}
		return nil
	}
	return linux.EADDRNOTAVAIL
}

// interfaceList answers SIOCGIFCONF: the IPv4 addresses.
func (n *Network) interfaceList(ctx vfs.Context, arg uint64) error {
	var conf [16]byte
	if err := ctx.CopyIn(arg, conf[:]); err != nil {
		return err
	}
	all, err := n.Interfaces()
	if err != nil {
		return err
	}
	var out []byte
	for _, i := range all {
		for _, p := range i.Addresses {
			if len(p.Address) != 4 {
				continue
			}
			var req [sizeOfIfreq]byte
			copy(req[:15], i.Name)
			binary.LittleEndian.PutUint16(req[16:], linux.AF_INET)
			copy(req[20:24], p.Address)
			out = append(out, req[:]...)
		}
	}
	to := binary.LittleEndian.Uint64(conf[8:])
	if to != 0 {
		room := int(int32(binary.LittleEndian.Uint32(conf[:])))
		out = out[:min(len(out), max(room, 0)/sizeOfIfreq*sizeOfIfreq)]
		if err := ctx.CopyOut(to, out); err != nil {
			return err
		}
	}
	binary.LittleEndian.PutUint32(conf[:], uint32(len(out)))
	return ctx.CopyOut(arg, conf[:])
}

func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
