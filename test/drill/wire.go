package drill

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// ports of one connection, as the remote side sees them.
type ports struct{ local, remote uint16 }

const (
	protoICMP, protoTCP, protoICMPv6 = 1, 6, 58
	etherIPv4, etherARP, etherIPv6   = 0x0800, 0x0806, 0x86dd
)

var net16 = binary.BigEndian

// flagBits in the order of the header's byte.
const flagBits = "FSRP.UEW"

var ecnBits = map[string]byte{"": 0, "noecn": 0, "ect1": 1, "ect0": 2, "ce": 3}

// sum is the Internet checksum over some bytes.
func sum(parts ...[]byte) uint16 {
	var s uint32
	for _, b := range parts {
		for ; len(b) > 1; b = b[2:] {
			s += uint32(net16.Uint16(b))
		}
		if len(b) == 1 {
			s += uint32(b[0]) << 8
		}
		for s>>16 != 0 {
			s = s&0xffff + s>>16
		}
	}
	return ^uint16(s)
}

// ipPacket puts an IP header before a payload, whose checksum stands at field, if any.
func ipPacket(from, to netip.Addr, proto, tos byte, payload []byte, field int) []byte {
	pseudo := append(from.AsSlice(), to.AsSlice()...)
	pseudo = net16.AppendUint32(pseudo, uint32(len(payload)))
	pseudo = net16.AppendUint32(pseudo, uint32(proto))
	if proto == protoICMP {
		pseudo = nil
	}
	if field >= 0 {
		net16.PutUint16(payload[field:], sum(pseudo, payload))
	}
	var h []byte
	if from.Is4() {
		h = make([]byte, 12, 20)
		h[0], h[1], h[8], h[9] = 0x45, tos, 64, proto
		net16.PutUint16(h[2:], uint16(20+len(payload)))
		h = append(append(h, from.AsSlice()...), to.AsSlice()...)
		net16.PutUint16(h[10:], sum(h))
	} else {
		h = make([]byte, 8, 40)
		net16.PutUint32(h, 6<<28|uint32(tos)<<20)
		net16.PutUint16(h[4:], uint16(len(payload)))
		h[6], h[7] = proto, 64
		h = append(append(h, from.AsSlice()...), to.AsSlice()...)
	}
	return append(h, payload...)
}

// optionKinds are TCP's numbers for options.
var optionKinds = map[string]byte{"eol": 0, "nop": 1, "mss": 2, "wscale": 3, "sackOK": 4, "sack": 5, "TS": 8, "md5": 19, "FO": 34, "FOEXP": 254}

func optionNamed(kind byte) string {
	for name, k := range optionKinds {
		if k == kind {
			return name
		}
	}
	return fmt.Sprintf("option%d", kind)
}

// appendOptions writes options as they stand, and pads them to a whole of words.
func appendOptions(b []byte, options []option) []byte {
	from := len(b)
	for _, o := range options {
		kind := optionKinds[o.name]
		if kind <= 1 {
			b = append(b, kind)
			continue
		}
		at := len(b)
		b = append(b, kind, 0)
		switch o.name {
		case "mss":
			b = net16.AppendUint16(b, uint16(o.value))
		case "wscale":
			b = append(b, byte(o.value))
		case "TS":
			b = net16.AppendUint32(net16.AppendUint32(b, o.value), o.echo)
		case "sack":
			for _, s := range o.blocks {
				b = net16.AppendUint32(net16.AppendUint32(b, s[0]), s[1])
			}
		case "FOEXP":
			b = append(append(b, 0xf9, 0x89), o.bytes...)
		default:
			b = append(b, o.bytes...)
		}
		b[at+1] = byte(len(b) - at)
	}
	for (len(b)-from)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// tcpSegment writes a segment between two ports, without a checksum.
func tcpSegment(from, to uint16, k *packet, payload bool) ([]byte, error) {
	h := make([]byte, 20, 20+40+k.length)
	net16.PutUint16(h, from)
	net16.PutUint16(h[2:], to)
	net16.PutUint32(h[4:], k.seq)
	net16.PutUint32(h[8:], k.ack)
	for i := range flagBits {
		if strings.IndexByte(k.flags, flagBits[i]) >= 0 {
			h[13] |= 1 << i
		}
	}
	net16.PutUint16(h[14:], uint16(max(k.window, 0)))
	net16.PutUint16(h[18:], uint16(k.urgent))
	h = appendOptions(h, k.options)
	if len(h) > 60 {
		return nil, fmt.Errorf("%d bytes of options", len(h)-20)
	}
	h[12] = byte(len(h) / 4 << 4)
	if payload {
		h = append(h, make([]byte, k.length)...)
	}
	return h, nil
}

// readSegment reads a TCP segment that was sent.
func readSegment(b []byte, tos byte) (*packet, ports, error) {
	if len(b) < 20 || int(b[12]>>4)*4 < 20 || int(b[12]>>4)*4 > len(b) {
		return nil, ports{}, fmt.Errorf("a TCP header of %d bytes", len(b))
	}
	off := int(b[12]>>4) * 4
	k := &packet{seq: net16.Uint32(b[4:]), ack: net16.Uint32(b[8:]), window: int(net16.Uint16(b[14:])), urgent: int(net16.Uint16(b[18:])), length: len(b) - off}
	for _, i := range []int{1, 0, 2, 3, 4, 5, 6, 7} {
		if b[13]>>i&1 != 0 {
			k.flags += flagBits[i : i+1]
		}
	}
	for name, v := range ecnBits {
		if tos&3 == v && name != "" {
			k.ecn = name
		}
	}
	k.end = k.seq + uint32(k.length)
	err := readOptions(b[20:off], k)
	return k, ports{net16.Uint16(b), net16.Uint16(b[2:])}, err
}

func readOptions(b []byte, k *packet) error {
	for len(b) > 0 {
		o := option{name: optionNamed(b[0])}
		if b[0] <= 1 {
			k.options = append(k.options, o)
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return fmt.Errorf("options that end early")
		}
		v := b[2:b[1]]
		switch {
		case o.name == "mss" && len(v) == 2:
			o.value = uint32(net16.Uint16(v))
		case o.name == "wscale" && len(v) == 1:
			o.value = uint32(v[0])
		case o.name == "TS" && len(v) == 8:
			o.value, o.echo = net16.Uint32(v), net16.Uint32(v[4:])
		case o.name == "sack" && len(v)%8 == 0:
			for ; len(v) > 0; v = v[8:] {
				o.blocks = append(o.blocks, [2]uint32{net16.Uint32(v), net16.Uint32(v[4:])})
			}
		case o.name == "FOEXP" && len(v) >= 2:
			o.bytes = v[2:]
		default:
			o.bytes = v
		}
		k.options = append(k.options, o)
		b = b[b[1]:]
	}
	return nil
}

// icmpCodes are the types and codes of the errors that scripts send, of each version.
var icmpCodes = map[string][2][2]byte{
	"net_unreachable":  {{3, 0}, {1, 0}},
	"host_unreachable": {{3, 1}, {1, 3}},
	"prot_unreachable": {{3, 2}, {4, 1}},
	"port_unreachable": {{3, 3}, {1, 4}},
	"frag_needed":      {{3, 4}, {2, 0}},
	"packet_too_big":   {{3, 4}, {2, 0}},
	"no_route":         {{3, 0}, {1, 0}},
	"":                 {{3, 0}, {1, 0}},
}

// icmpError is an ICMP error of the remote side about a segment of the local one.
func icmpError(local, remote netip.Addr, p ports, k *packet) ([]byte, error) {
	which, proto := 0, byte(protoICMP)
	if local.Is6() {
		which, proto = 1, protoICMPv6
	}
	kind, ok := icmpCodes[k.code]
	if !ok {
		return nil, fmt.Errorf("no such ICMP error: %s", k.code)
	}
	segment, err := tcpSegment(p.local, p.remote, k, false)
	if err != nil {
		return nil, err
	}
	quoted := ipPacket(local, remote, protoTCP, 0, segment, -1)
	// the whole length, of which only the header is quoted
	if local.Is4() {
		net16.PutUint16(quoted[2:], uint16(len(quoted)+k.length))
		quoted = quoted[:28]
	} else {
		net16.PutUint16(quoted[4:], uint16(len(segment)+k.length))
	}
	b := append(make([]byte, 4, 8), net16.AppendUint32(nil, uint32(k.mtu))...)
	b[0], b[1] = kind[which][0], kind[which][1]
	return ipPacket(remote, local, proto, 0, append(b, quoted...), 2), nil
}
