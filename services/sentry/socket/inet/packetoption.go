package inet

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// bpfExtensions is SO_BPF_EXTENSIONS: how much of a filter's ancillary data there
// is. None of it: a filter that loads it is run without.
const bpfExtensions = 0

// SockOpt gives an option's value.
func (p *Packet) SockOpt(ctx vfs.Context, level, name, max int) ([]byte, error) {
	if level == linux.SOL_PACKET {
		return p.packetOption(name)
	}
	if level != linux.SOL_SOCKET {
		return nil, linux.ENOPROTOOPT
	}
	switch name {
	case linux.SO_ERROR:
		return errorOption(p.errors.take(p.n, p.end.Load())), nil
	case linux.SO_ACCEPTCONN:
		return socket.Int(0), nil
	case linux.SO_BPF_EXTENSIONS:
		return socket.Int(bpfExtensions), nil
	case linux.SO_RCVBUF, linux.SO_SNDBUF:
		if p.conf.untuned(name) {
			return socket.Int(untunedGrams), nil
		}
	}
	if v, ok := p.SockOptBase(name); ok {
		return v, nil
	}
	return p.conf.get(level, name)
}

// packetOption is SockOpt of SOL_PACKET.
func (p *Packet) packetOption(name int) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := &p.options
	switch name {
	case linux.PACKET_STATISTICS:
		return p.statisticsLocked()
	case linux.PACKET_AUXDATA:
		return socket.Bool(o.auxdata), nil
	case linux.PACKET_ORIGDEV:
		return socket.Bool(o.origdev), nil
	case linux.PACKET_VERSION:
		return socket.Int(o.version), nil
	case linux.PACKET_RESERVE:
		return socket.Int(o.reserve), nil
	case linux.PACKET_TIMESTAMP:
		return socket.Int(o.timestamp), nil
	case linux.PACKET_IGNORE_OUTGOING:
		return socket.Bool(o.ignoreOutgoing), nil
	}
	return nil, linux.ENOPROTOOPT
}

// Ask gives the options whose answer depends on the value before it: PACKET_HDRLEN
// is the size of a frame's header in the layout that the value names. EINVAL.
func (p *Packet) Ask(ctx vfs.Context, level, name int, value []byte) (answer []byte, known bool, err error) {
	if level != linux.SOL_PACKET || name != linux.PACKET_HDRLEN {
		return nil, false, nil
	}
	switch v, err := socket.ParseInt(value); {
	case err == nil && (v == linux.TPACKET_V1 || v == linux.TPACKET_V2):
		return socket.Int(sizeofFrameHeader), true, nil
	case err == nil && v == linux.TPACKET_V3:
		return socket.Int(sizeofBlockFrame), true, nil
	}
	return nil, true, linux.EINVAL
}

// statisticsLocked is struct tpacket_stats: what came and what was lost since it was
// asked last.
func (p *Packet) statisticsLocked() ([]byte, error) {
	resp, err := p.askLocked(&netdv1.Request{Op: &netdv1.Request_Info{Info: &netdv1.Info{}}})
	if err != nil || resp.Info == nil {
		return nil, linux.ENETDOWN
	}
	frames, lost := resp.Info.Frames, resp.Info.FramesLost
	b := binary.LittleEndian.AppendUint32(nil, uint32(frames-p.mu.told.frames))
	b = binary.LittleEndian.AppendUint32(b, uint32(lost-p.mu.told.lost))
	p.mu.told.frames, p.mu.told.lost = frames, lost
	if p.options.version == linux.TPACKET_V3 { // how often there was no block to go on in
		b = binary.LittleEndian.AppendUint32(b, 0)
	}
	return b, nil
}

// SetSockOpt sets an option.
func (p *Packet) SetSockOpt(ctx vfs.Context, level, name int, value []byte) error {
	if level == linux.SOL_PACKET {
		return p.setPacketOption(name, value)
	}
	if level != linux.SOL_SOCKET {
		return linux.ENOPROTOOPT
	}
	if known, err := p.SetSockOptBase(name, value); known {
		return err
	}
	if name == linux.SO_ATTACH_FILTER || name == linux.SO_DETACH_FILTER {
		program, err := filterProgram(ctx, name, value)
		if err != nil {
			return err
		}
		return p.tell(&netdv1.Request{Op: &netdv1.Request_Filter{Filter: &netdv1.Filter{Program: program}}})
	}
	told, err := p.conf.set(ctx, level, name, value)
	if err == nil && told {
		return p.tellOptions()
	}
	return err
}

func (p *Packet) tell(req *netdv1.Request) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.askLocked(req)
	return err
}

func (p *Packet) tellOptions() error {
	o := p.conf.message()
	p.mu.Lock()
	o.IgnoreOutgoing = p.options.ignoreOutgoing
	p.mu.Unlock()
	return p.tell(&netdv1.Request{Op: &netdv1.Request_Options{Options: o}})
}

// setPacketOption is SetSockOpt of SOL_PACKET.
func (p *Packet) setPacketOption(name int, value []byte) error {
	switch name {
	case linux.PACKET_ADD_MEMBERSHIP, linux.PACKET_DROP_MEMBERSHIP:
		return p.membership(value)
	case linux.PACKET_RX_RING:
		return p.setRing(value)
	}
	v, err := socket.ParseInt(value)
	if err != nil {
		return err
	}
	p.receiving.Lock()
	ringed := p.ring != nil
	p.receiving.Unlock()
	p.mu.Lock()
	o := &p.options
	told := false
	switch name {
	case linux.PACKET_AUXDATA:
		o.auxdata = v != 0
	case linux.PACKET_ORIGDEV:
		o.origdev = v != 0
	case linux.PACKET_IGNORE_OUTGOING:
		o.ignoreOutgoing, told = v != 0, true
	case linux.PACKET_TIMESTAMP:
		o.timestamp = v
	case linux.PACKET_VERSION:
		switch {
		case ringed:
			err = linux.EBUSY
		case v != linux.TPACKET_V1 && v != linux.TPACKET_V2 && v != linux.TPACKET_V3:
			err = linux.EINVAL
		default:
			o.version = v
		}
	case linux.PACKET_RESERVE:
		switch {
		case ringed:
			err = linux.EBUSY
		case v < 0 || v > maxReserve:
			err = linux.EINVAL
		default:
			o.reserve = v
		}
	default:
		err = linux.ENOPROTOOPT
	}
	p.mu.Unlock()
	if err == nil && told {
		err = p.tellOptions()
	}
	return err
}

// membership is PACKET_ADD_MEMBERSHIP of a struct packet_mreq. Everything that
// reaches an interface is shown anyway. EINVAL, ENODEV.
func (p *Packet) membership(v []byte) error {
	if len(v) < 16 || int(binary.LittleEndian.Uint16(v[6:])) > 8 {
		return linux.EINVAL
	}
	index := binary.LittleEndian.Uint32(v)
	_, err := p.n.device(func(i *netdv1.Interface) bool { return i.Index == index })
	return err
}
