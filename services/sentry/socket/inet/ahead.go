package inet

import (
	"encoding/binary"
	"slices"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// This file has IP_OPTIONS and the extension headers of RFC 3542: what a socket puts before
// its payloads, and what it is told of those that it receives. proto/netd/v1 has how they lie
// in a ring.

// Protocol numbers of extension headers.
const (
	protoHopByHop = 0
	protoRouting  = 43
	protoDestOpts = 60
)

// maxOptions4 is how many bytes of options IPv4's header holds.
const maxOptions4 = 40

// isAhead says whether an option is one of those that netd has to know what comes before
// payloads for.
func isAhead(level, name int) bool {
	switch {
	case level == linux.IPPROTO_IP:
		return name == linux.IP_OPTIONS || name == linux.IP_RECVOPTS || name == linux.IP_RETOPTS
	case level != linux.IPPROTO_IPV6:
		return false
	}
	switch name {
	case linux.IPV6_HOPOPTS, linux.IPV6_DSTOPTS, linux.IPV6_RTHDRDSTOPTS, linux.IPV6_RECVHOPOPTS, linux.IPV6_RECVRTHDR, linux.IPV6_RECVDSTOPTS,
		linux.IPV6_2292HOPOPTS, linux.IPV6_2292RTHDR, linux.IPV6_2292DSTOPTS:
		return true
	}
	return false
}

// stickies are the options that keep a header.
func isSticky(k optionKey) bool {
	return k.level == linux.IPPROTO_IPV6 && (k.name == linux.IPV6_HOPOPTS || k.name == linux.IPV6_DSTOPTS || k.name == linux.IPV6_RTHDRDSTOPTS) ||
		k.level == linux.IPPROTO_IP && k.name == linux.IP_OPTIONS
}

// setStickyLocked is IP_OPTIONS, IPV6_HOPOPTS and the like: nothing takes it away.
// EINVAL, EPERM.
func (c *settings) setStickyLocked(ctx vfs.Context, k optionKey, v []byte) error {
	raw := ctx.Creds().Has(linux.CAP_NET_RAW)
	switch {
	case k.level == linux.IPPROTO_IP:
		if v = slices.Clone(v); len(v) > maxOptions4 || !cleanOptions(v, raw) {
			return linux.EINVAL
		}
		for len(v)%4 != 0 {
			v = append(v, 0)
		}
	case !raw:
		return linux.EPERM
	case len(v) > 0 && !wholeHeader(v):
		return linux.EINVAL
	}
	if c.sticky == nil {
		c.sticky = map[optionKey][]byte{}
	}
	if c.sticky[k] = slices.Clone(v); len(v) == 0 {
		delete(c.sticky, k)
	}
	return nil
}

// wholeHeader says whether v is an extension header, whose length it names itself.
func wholeHeader(v []byte) bool {
	return len(v) >= 8 && len(v)%8 == 0 && len(v) <= 8*255 && 8+8*int(v[1]) <= len(v)
}

// cleanOptions checks options of IPv4, and makes all behind their end zeros. Those that name
// hosts to pass are not sent from here.
func cleanOptions(b []byte, raw bool) bool {
	for i := 0; i < len(b); {
		switch b[i] {
		case 0:
			clear(b[i:])
			return true
		case 1:
			i++
			continue
		}
		if i+1 >= len(b) || b[i+1] < 2 || i+int(b[i+1]) > len(b) {
			return false
		}
		switch o := b[i : i+int(b[i+1])]; o[0] {
		case 7: // record route
			if len(o) < 3 || o[2] < 4 || int(o[2]) <= len(o) && int(o[2])+3 > len(o) {
				return false
			}
		case 68: // timestamp
			step := 4
			if len(o) >= 4 && o[3]&15 != 0 {
				step = 8
			}
			if len(o) < 4 || o[2] < 5 || int(o[2]) <= len(o) && int(o[2])+step-1 > len(o) {
				return false
			}
		case 148: // router alert
			if len(o) < 4 {
				return false
			}
		case 131, 137:
			return false
		default:
			if !raw {
				return false
			}
		}
		i += int(b[i+1])
	}
	return true
}

// aheadLocked are the headers of all that the socket sends, as netd takes them.
func (c *settings) aheadLocked(v6 bool) (b []byte) {
	if len(c.sticky) == 0 {
		return nil
	}
	if !v6 {
		return finishAhead(appendAhead(nil, 0, c.sticky[optionKey{linux.IPPROTO_IP, linux.IP_OPTIONS}]))
	}
	b = appendAhead(b, protoHopByHop, c.sticky[optionKey{linux.IPPROTO_IPV6, linux.IPV6_HOPOPTS}])
	return finishAhead(appendAhead(b, protoDestOpts, c.sticky[optionKey{linux.IPPROTO_IPV6, linux.IPV6_DSTOPTS}]))
}

func (c *settings) hasAhead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sticky) > 0
}

// wantsAheadLocked says whether the socket is to be told of headers.
func (c *settings) wantsAheadLocked() bool {
	if c.receiveOptions || c.returnOptions {
		return true
	}
	for k, v := range c.kept {
		if v != 0 && isAhead(k.level, k.name) {
			return true
		}
	}
	return false
}

func appendAhead(b []byte, kind byte, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	b = binary.LittleEndian.AppendUint16(append(b, kind, 0), uint16(len(v)))
	b = append(b, v...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func finishAhead(b []byte) []byte {
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

// ahead are the headers that a message's own control messages name: EINVAL, EPERM.
func (d *Dgram) ahead(ctx vfs.Context, m *socket.Msg) ([]byte, error) {
	var hop, dst, options []byte
	for _, c := range m.Control.Other {
		switch {
		case c.Level == linux.IPPROTO_IP && c.Type == linux.IP_RETOPTS && !d.v6:
			if options = slices.Clone(c.Data[:min(len(c.Data), maxOptions4)]); !cleanOptions(options, ctx.Creds().Has(linux.CAP_NET_RAW)) {
				return nil, linux.EINVAL
			}
		case c.Level != linux.IPPROTO_IPV6 || !d.v6:
		case c.Type == linux.IPV6_RTHDR || c.Type == linux.IPV6_2292RTHDR:
			return nil, linux.EINVAL // RFC 5095: there is none that is routed by
		case c.Type == linux.IPV6_HOPOPTS, c.Type == linux.IPV6_2292HOPOPTS, c.Type == linux.IPV6_DSTOPTS, c.Type == linux.IPV6_2292DSTOPTS:
			if len(c.Data) < 8 || len(c.Data) < 8+8*int(c.Data[1]) {
				return nil, linux.EINVAL
			}
			if !ctx.Creds().Has(linux.CAP_NET_RAW) {
				return nil, linux.EPERM
			}
			v := c.Data[:8+8*int(c.Data[1])]
			if c.Type == linux.IPV6_HOPOPTS || c.Type == linux.IPV6_2292HOPOPTS {
				hop = v
			} else {
				dst = v
			}
		}
	}
	b := finishAhead(appendAhead(appendAhead(appendAhead(nil, protoHopByHop, hop), protoDestOpts, dst), 0, options))
	if len(b) > 8*255 {
		return nil, linux.EINVAL
	}
	return b, nil
}

// headers are the control messages about the headers before a payload, b, that the socket
// asks for: ip(7), RFC 3542.
func (d *Dgram) headers(g gram, b []byte) (out []linux.Cmsg) {
	d.conf.mu.Lock()
	defer d.conf.mu.Unlock()
	on := func(name int) bool { return d.conf.kept[optionKey{linux.IPPROTO_IPV6, name}] != 0 }
	for len(b) >= 4 {
		kind, n := b[0], int(binary.LittleEndian.Uint16(b[2:]))
		if n == 0 || 4+n > len(b) {
			return out
		}
		v := slices.Clone(b[4 : 4+n])
		b = b[min(4+(n+3)&^3, len(b)):]
		if !d.v6 || g.from.Addr().Is4In6() {
			if d.conf.receiveOptions {
				out = append(out, linux.Cmsg{Level: linux.IPPROTO_IP, Type: linux.IP_RECVOPTS, Data: v})
			}
			if d.conf.returnOptions {
				out = append(out, linux.Cmsg{Level: linux.IPPROTO_IP, Type: linux.IP_RETOPTS, Data: echoed(v)})
			}
			continue
		}
		var now, before int
		switch kind {
		case protoHopByHop:
			now, before = linux.IPV6_RECVHOPOPTS, linux.IPV6_2292HOPOPTS
		case protoRouting:
			now, before = linux.IPV6_RECVRTHDR, linux.IPV6_2292RTHDR
		case protoDestOpts:
			now, before = linux.IPV6_RECVDSTOPTS, linux.IPV6_2292DSTOPTS
		}
		if now != 0 && on(now) {
			out = append(out, linux.Cmsg{Level: linux.IPPROTO_IPV6, Type: int32(now + 1), Data: v}) // as each is numbered
		}
		if before != 0 && on(before) {
			out = append(out, linux.Cmsg{Level: linux.IPPROTO_IPV6, Type: int32(before), Data: v})
		}
	}
	return out
}

// echoed are the options of an answer: what records goes on recording.
func echoed(b []byte) (out []byte) {
	for i := 0; i+1 < len(b) && b[i] != 0; {
		if b[i] == 1 {
			i++
			continue
		}
		n := int(b[i+1])
		if n < 2 || i+n > len(b) {
			break
		}
		if b[i] == 7 || b[i] == 68 {
			out = append(out, b[i:i+n]...)
		}
		i += n
	}
	for len(out)%4 != 0 {
		out = append(out, 0)
	}
	return out
}
