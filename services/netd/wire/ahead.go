package wire

// Ahead is what lies between a packet's IP header and its payload: IPv4's options, or
// extension headers of IPv6.
type Ahead struct {
	// V4 are options, a multiple of 4 bytes long.
	V4 []byte
	// First is the protocol number of the first extension header in V6, whose last one's
	// Next Header is not set. V6 are whole headers.
	First uint8
	V6    []byte
	last  int // where the last of them begins
}

// maxAhead bounds how many bytes of extension headers a packet is sent with.
const maxAhead = 2048

// Size is how many bytes it takes.
func (a *Ahead) Size() int {
	if a == nil {
		return 0
	}
	return len(a.V4) + len(a.V6)
}

// ParseAhead reads the headers that come before a payload in a ring, as data.proto has them:
// ErrLength, and for what no packet can begin with.
func ParseAhead(v6 bool, b []byte) (*Ahead, error) {
	a := &Ahead{}
	for len(b) >= 4 {
		kind, n := b[0], int(le.Uint16(b[2:]))
		if n == 0 {
			break // padding
		}
		if 4+n > len(b) {
			return nil, ErrLength
		}
		if err := a.add(v6, kind, b[4:4+n]); err != nil {
			return nil, err
		}
		b = b[min(4+(n+3)&^3, len(b)):]
	}
	return a, nil
}

func (a *Ahead) add(v6 bool, kind uint8, v []byte) error {
	if !v6 {
		if kind != 0 || len(a.V4) > 0 || len(v) > MaxIPv4Options {
			return ErrLength
		}
		a.V4 = PadIPv4(append([]byte(nil), v...))
		if bad, _ := CheckIPv4Options(a.V4); bad >= 0 {
			return ErrLength
		}
		return nil
	}
	if kind != ProtoHopByHop && kind != ProtoDestOpts || len(v) < 8 || len(v) != 8+8*int(v[1]) || len(a.V6)+len(v) > maxAhead {
		return ErrLength
	}
	if kind == ProtoHopByHop && len(a.V6) > 0 {
		return ErrLength // it comes first
	}
	if len(a.V6) == 0 {
		a.First = kind
	} else {
		a.V6[a.last] = kind
	}
	a.last = len(a.V6)
	a.V6 = append(a.V6, v...)
	return nil
}

// Unfragmentable is how many bytes of V6 each fragment has: the hop-by-hop options.
func (a *Ahead) Unfragmentable() int {
	if a == nil || a.First != ProtoHopByHop || len(a.V6) == 0 {
		return 0
	}
	return 8 + 8*int(a.V6[1])
}

// PutV6 writes the extension headers to b, before what is of protocol next.
func (a *Ahead) PutV6(b []byte, next uint8) {
	copy(b, a.V6)
	b[a.last] = next
}

// AppendAhead appends the headers of a received packet to b as they lie before a payload in a
// ring: first is the protocol of the first of v6, which Extensions has walked. Fragment headers
// are none.
func AppendAhead(b, v4 []byte, first uint8, v6 []byte) []byte {
	start := len(b)
	put := func(kind uint8, v []byte) {
		b = append(b, kind, 0)
		b = le.AppendUint16(b, uint16(len(v)))
		b = append(b, v...)
		for (len(b)-start)%4 != 0 {
			b = append(b, 0)
		}
	}
	if len(v4) > 0 {
		put(0, v4)
	}
	for n := 0; n+8 <= len(v6) && len(b)-start < maxAhead-256; {
		size := 8 + int(v6[n+1])*8
		if n+size > len(v6) || len(b)-start+size > maxAhead-16 {
			break
		}
		put(first, v6[n:n+size])
		first = v6[n]
		n += size
	}
	for (len(b)-start)%8 != 0 {
		b = append(b, 0)
	}
	return b
}
