package netlink

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// Messages and flags of netlink(7) and rtnetlink(7).
const (
	msgError = 2
	msgDone  = 3

	newLink  = 16
	getLink  = 18
	newAddr  = 20
	getAddr  = 22
	getRoute = 26
	getNeigh = 30
	getRule  = 34
	getQdisc = 38

	getClass   = 42
	getFilter  = 46
	getNexthop = 106
	newNSID    = 88
	getNSID    = 90

	flagRequest = 0x1
	flagMulti   = 0x2
	flagAck     = 0x4
	flagDump    = 0x300
	flagCapped  = 0x100 // in an answer

	headerSize = 16
)

var le = binary.LittleEndian

// request is a checked message header with its payload.
type request struct {
	typ, flags uint16
	seq, port  uint32
	header     []byte
	body       []byte
	capped     bool // an error's answer leaves the request's body out: NETLINK_CAP_ACK
	removed    bool // it is a notification of something that is no more

	devices    []*netdv1.Interface // of a dump of routes
	space      uint32              // the number of the socket's namespace of the network
	namespaces Namespaces          // nil: there are no others
}

// answer gives the datagrams that answer the requests in b. A header that does
// not fit ends the reading, as in the kernel.
func answer(source Source, port uint32, b []byte, capped bool) [][]byte {
	return answerIn(source, 0, nil, port, b, capped)
}

// answerIn is answer for a socket of a namespace, whose owner knows others.
func answerIn(source Source, space uint32, others Namespaces, port uint32, b []byte, capped bool) [][]byte {
	var out [][]byte
	for len(b) >= headerSize {
		n := int(le.Uint32(b))
		if n < headerSize || n > len(b) {
			break
		}
		r := request{typ: le.Uint16(b[4:]), flags: le.Uint16(b[6:]), seq: le.Uint32(b[8:]), port: port, header: b[:headerSize], body: b[headerSize:n]}
		r.capped, r.space, r.namespaces = capped, space, others
		if r.flags&flagRequest != 0 && r.typ >= 16 {
			out = append(out, r.answer(source)...)
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return out
}

// links are all interfaces, or the one that is asked for, or the ports of bridges.
func (r *request) links(all []*netdv1.Interface, dump bool, flags uint16) (b []byte) {
	if dump && len(r.body) > 0 && r.body[0] == familyBridge {
		return r.ports(all)
	}
	index, name := r.wanted()
	for _, i := range all {
		if dump || index != 0 && i.Index == index || index == 0 && i.Name == name {
			b = r.link(b, i, numbered(all, i.Master), flags)
		}
	}
	return b
}

// answer gives the datagrams for one request.
func (r *request) answer(source Source) [][]byte {
	all, err := source.Interfaces()
	if err != nil {
		return [][]byte{r.failed(linux.ENETDOWN)}
	}
	dump := r.flags&flagDump == flagDump
	var flags uint16
	if dump {
		flags = flagMulti
	}
	var b []byte
	switch r.typ {
	case getLink:
		if b = r.links(all, dump, flags); b == nil && !dump {
			return [][]byte{r.failed(linux.ENODEV)}
		}
	case getAddr:
		if !dump {
			return [][]byte{r.failed(linux.EOPNOTSUPP)}
		}
		for _, i := range all {
			for _, p := range i.Addresses {
				b = r.address(b, i, p, flags)
			}
		}
	case getRoute, getNeigh, getNexthop:
		var failed linux.Errno
		if b, failed = r.routesOrOne(source, all, dump); failed != 0 {
			return [][]byte{r.failed(failed)}
		}
	case getNSID: // ip(8) asks about the namespaces that have names
		if !dump { // NETNSA_NSID: none is assigned
			b = r.message(b, newNSID, 0, attribute(make([]byte, 4), 1, le.AppendUint32(nil, 1<<32-1)))
		}
	case getRule:
		if !dump {
			return [][]byte{r.failed(linux.EOPNOTSUPP)}
		}
		b = r.rules(source)
	case getQdisc:
		for _, i := range all {
			b = r.qdisc(b, i, flags)
		}
	case getClass, getFilter:
		if !dump {
			return [][]byte{r.failed(linux.EOPNOTSUPP)}
		}
	default:
		if r.typ&3 != 2 { // not a question: a change
			if err := r.change(source, all); err != 0 || r.flags&flagAck != 0 {
				return [][]byte{r.failed(err)}
			}
			return nil
		}
		return [][]byte{r.failed(linux.EOPNOTSUPP)}
	}
	var out [][]byte
	if len(b) > 0 {
		out = append(out, b)
	}
	if dump {
		return append(out, r.message(nil, msgDone, flagMulti, make([]byte, 4)))
	}
	if r.flags&flagAck != 0 {
		out = append(out, r.failed(0))
	}
	return out
}

// routesOrOne answers a dump of routes or neighbours, or where a route leads.
func (r *request) routesOrOne(source Source, all []*netdv1.Interface, dump bool) ([]byte, linux.Errno) {
	switch {
	case !dump && r.typ == getRoute:
		return r.lookup(source, all)
	case !dump:
		return nil, linux.EOPNOTSUPP
	}
	b, err := r.tables(source)
	if err != nil {
		return nil, linux.ENETDOWN
	}
	return b, 0
}

// message appends a message of the answer to b.
func (r *request) message(b []byte, typ, flags uint16, body []byte) []byte {
	b = le.AppendUint32(b, uint32(headerSize+len(body)))
	b = le.AppendUint16(b, typ)
	b = le.AppendUint16(b, flags)
	b = le.AppendUint32(b, r.seq)
	b = le.AppendUint32(b, r.port)
	b = append(b, body...)
	for len(b)&3 != 0 {
		b = append(b, 0)
	}
	return b
}

// failed is the answer that tells an error; 0 is an acknowledgement, which never holds
// more of the request than its header.
func (r *request) failed(err linux.Errno) []byte {
	body := append(le.AppendUint32(nil, uint32(-int32(err))), r.header...)
	if err == 0 || r.capped {
		return r.message(nil, msgError, flagCapped, body)
	}
	return r.message(nil, msgError, 0, append(body, r.body...))
}

// kind is the type of a message that tells of something: removing's is the next.
func (r *request) kind(adding uint16) uint16 {
	if r.removed {
		return adding + 1
	}
	return adding
}

// wanted is the interface that a question names.
func (r *request) wanted() (index uint32, name string) {
	if len(r.body) < 16 {
		return 0, ""
	}
	index = le.Uint32(r.body[4:])
	for b := r.body[16:]; len(b) >= 4; {
		n := int(le.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		if t := le.Uint16(b[2:]); t == 3 || t == 53 { // IFLA_IFNAME, IFLA_ALT_IFNAME
			for i, c := range b[4:n] {
				if c == 0 {
					return index, string(b[4 : 4+i])
				}
			}
			return index, string(b[4:n])
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return index, ""
}

// attribute appends a struct rtattr with its value.
func attribute(b []byte, typ uint16, v []byte) []byte {
	b = le.AppendUint16(b, uint16(4+len(v)))
	b = le.AppendUint16(b, typ)
	b = append(b, v...)
	for len(b)&3 != 0 {
		b = append(b, 0)
	}
	return b
}

func text(s string) []byte { return append([]byte(s), 0) }

// link appends RTM_NEWLINK of an interface, which may be a port of a bridge's.
func (r *request) link(b []byte, i, master *netdv1.Interface, flags uint16) []byte {
	broadcast := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	if i.Flags&8 != 0 { // IFF_LOOPBACK
		broadcast = make([]byte, 6)
	}
	body := []byte{0, 0}
	body = le.AppendUint16(body, uint16(hardwareOf(i)))
	body = le.AppendUint32(body, i.Index)
	body = le.AppendUint32(body, i.Flags)
	body = le.AppendUint32(body, 0)
	body = attribute(body, 3, text(i.Name))
	body = attribute(body, 13, le.AppendUint32(nil, QueueLength(i)))
	body = attribute(body, 16, []byte{operational(i)})
	body = attribute(body, 17, []byte{0})                              // IFLA_LINKMODE
	body = attribute(body, 27, make([]byte, 4))                        // IFLA_GROUP
	body = attribute(body, 30, le.AppendUint32(nil, min(i.Master, 1))) // IFLA_PROMISCUITY: ports are
	body = attribute(body, 4, le.AppendUint32(nil, i.Mtu))
	body = attribute(body, 6, text(queueOf(i)))
	if hardwareOf(i) != hardwareNone {
		mac := make([]byte, 6)
		copy(mac, i.Mac)
		body = attribute(body, 1, mac)
		body = attribute(body, 2, broadcast)
	}
	body = attribute(body, 33, []byte{byte(i.Flags >> 6 & 1)}) // the carrier: it is running
	body = madeLink(body, i, master)
	var small, wide []byte
	for _, n := range linkStats(i) {
		small, wide = le.AppendUint32(small, uint32(n)), le.AppendUint64(wide, n)
	}
	body = attribute(body, 7, small) // struct rtnl_link_stats
	body = attribute(body, 23, wide) // struct rtnl_link_stats64
	return r.message(b, r.kind(newLink), flags, body)
}

// qdisc appends RTM_NEWQDISC: packets wait in no queue that could be changed.
func (r *request) qdisc(b []byte, i *netdv1.Interface, flags uint16) []byte {
	const root = 1<<32 - 1 // TC_H_ROOT
	body := le.AppendUint32(make([]byte, 4), i.Index)
	body = le.AppendUint32(le.AppendUint32(body, 0), root)
	body = attribute(le.AppendUint32(body, 2), 1, text(queueOf(i)))
	return r.message(b, getQdisc-2, flags, body)
}

// hardwareNone is the ARPHRD_ of what has no link header.
const hardwareNone = 65534

// hardwareOf is an interface's ARPHRD_.
func hardwareOf(i *netdv1.Interface) uint32 {
	switch {
	case i.Hardware != 0:
		return i.Hardware
	case i.Flags&8 != 0: // IFF_LOOPBACK
		return 772
	}
	return 1
}

// queueOf is the name of what packets wait in: nothing, but where Linux has a queue.
func queueOf(i *netdv1.Interface) string {
	switch {
	case i.Flags&1 == 0 && len(i.Addresses) == 0 && !i.Used:
		return "noop" // it was never up
	case i.Kind == "tun" || i.Kind == "tap":
		return "pfifo_fast"
	}
	return "noqueue"
}

// QueueLength is how many packets could wait there.
func QueueLength(i *netdv1.Interface) uint32 {
	if i.Kind == "tun" || i.Kind == "tap" {
		return 500
	}
	return 1000
}

// Operstate is the name of an interface's state: RFC 2863.
func Operstate(i *netdv1.Interface) string {
	return map[byte]string{0: "unknown", 2: "down", 3: "lowerlayerdown", 6: "up"}[operational(i)]
}

// operational is an interface's state of RFC 2863, which the loopback has none of, nor what
// has no carrier to lose.
func operational(i *netdv1.Interface) byte {
	const up, loopback, running = 1, 8, 0x40
	switch {
	case i.Flags&up == 0:
		return 2
	case i.Flags&running == 0 && i.Peer != 0 && i.PeerNamespace == 0:
		return 3 // the other end, which it can see, is down
	case i.Flags&running == 0:
		return 2
	case i.Flags&loopback != 0 || i.Kind == "dummy" || i.Kind == "tun" || i.Kind == "tap":
		return 0 // unknown
	}
	return 6
}

// linkStats are struct rtnl_link_stats64: packets and bytes, errors, losses, multicast
// packets; the rest is what cables do.
func linkStats(i *netdv1.Interface) (out [24]uint64) {
	var c [8]uint64
	copy(c[:], i.Counters)
	out[0], out[1], out[2], out[3], out[4], out[6], out[7], out[8] = c[1], c[6], c[0], c[5], c[2], c[3], c[7], c[4]
	return out
}

// address appends RTM_NEWADDR, if the family that is asked for is p's.
func (r *request) address(b []byte, i *netdv1.Interface, p *netdv1.InterfaceAddress, flags uint16) []byte {
	family, wanted := byte(linux.AF_INET), byte(0)
	if len(p.Address) == 16 {
		family = linux.AF_INET6
	} else if len(p.Address) != 4 {
		return b
	}
	if len(r.body) > 0 {
		wanted = r.body[0]
	}
	if wanted != 0 && wanted != family {
		return b
	}
	scope := byte(0)
	switch {
	case i.Flags&8 != 0 && (family == linux.AF_INET6 && p.Bits == 128 && p.Address[15] == 1 && p.Address[0] == 0 || p.Address[0] == 127):
		scope = 254 // host
	case family == linux.AF_INET6 && p.Address[0] == 0xfe && p.Address[1]&0xc0 == 0x80:
		scope = 253 // link
	}
	body := []byte{family, byte(p.Bits), byte(p.Flags), scope}
	body = le.AppendUint32(body, i.Index)
	other, own := p.Address, family == linux.AF_INET // IFA_ADDRESS, IFA_LOCAL
	if len(p.Peer) == len(p.Address) {
		other, own = p.Peer, true
	}
	body = attribute(body, 1, other)
	if own {
		body = attribute(body, 2, p.Address)
	}
	if family == linux.AF_INET {
		if len(p.Broadcast) == 4 {
			body = attribute(body, 4, p.Broadcast)
		}
		body = attribute(body, 3, text(i.Name))
	}
	body = attribute(body, 8, le.AppendUint32(nil, p.Flags))
	info := le.AppendUint32(le.AppendUint32(nil, p.Preferred), p.Valid) // struct ifa_cacheinfo
	body = attribute(body, 6, append(info, make([]byte, 8)...))
	return r.message(b, r.kind(newAddr), flags, body)
}
