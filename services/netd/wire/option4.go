package wire

import "net/netip"

// Options of IPv4 that do something: RFC 791, section 3.1; RFC 2113.
const (
	ipEnd      = 0
	ipNop      = 1
	optRecord  = 7
	optTime    = 68
	optLoose   = 131
	optStrict  = 137
	optCopied  = 0x80 // in each fragment
	timesOnly  = 0
	timesWith  = 1 // addresses
	timesAsked = 3 // of hosts that are named beforehand

	// MaxIPv4Options is how many bytes of them a header holds.
	MaxIPv4Options = 40
)

// walkOptions calls f with each option that has a length, and its place. bad is where what
// is not well-formed begins, -1 if all is.
func walkOptions(b []byte, f func(at int, o []byte)) (bad int) {
	for i := 0; i < len(b) && b[i] != ipEnd; {
		if b[i] == ipNop {
			i++
			continue
		}
		if i+1 >= len(b) || b[i+1] < 2 || i+int(b[i+1]) > len(b) {
			return i
		}
		n := int(b[i+1])
		f(i, b[i:i+n:i+n])
		i += n
	}
	return -1
}

// CheckIPv4Options looks at a header's options: bad is the place in b of what is wrong with
// them, -1 if nothing is; routed says that they name hosts to pass.
func CheckIPv4Options(b []byte) (bad int, routed bool) {
	wrong := -1
	bad = walkOptions(b, func(at int, o []byte) {
		n := len(o)
		switch o[0] {
		case optRecord, optLoose, optStrict:
			routed = routed || o[0] != optRecord
			if n < 3 {
				wrong = at + 1
			} else if o[2] < 4 || int(o[2]) <= n && int(o[2])+3 > n {
				wrong = at + 2
			}
		case optTime:
			if n < 4 || n > MaxIPv4Options {
				wrong = at + 1
			} else if step := stampStep(o); o[2] < 5 || int(o[2]) <= n && int(o[2])+step-1 > n {
				wrong = at + 2
			}
		}
	})
	if bad < 0 {
		bad = wrong
	}
	return bad, routed
}

// stampStep is how long an entry of a timestamp option is in bytes.
func stampStep(o []byte) int {
	if o[3]&15 == timesOnly {
		return 4
	}
	return 8
}

// RecordIPv4 writes a host's address and its time, in milliseconds since midnight UT, where
// the options ask for them. They must be good.
func RecordIPv4(b []byte, host netip.Addr, own func(netip.Addr) bool, now uint32) {
	a := host.As4()
	walkOptions(b, func(_ int, o []byte) {
		switch o[0] {
		case optRecord:
			if at := int(o[2]) - 1; at+4 <= len(o) {
				copy(o[at:], a[:])
				o[2] += 4
			}
		case optTime:
			step, at := stampStep(o), int(o[2])-1
			if at+step > len(o) {
				if o[3]>>4 < 15 {
					o[3] += 1 << 4 // there was no room
				}
				return
			}
			switch o[3] & 15 {
			case timesWith:
				copy(o[at:], a[:])
			case timesAsked:
				if !own(netip.AddrFrom4([4]byte(o[at : at+4]))) {
					return
				}
			}
			be.PutUint32(o[at+step-4:], now)
			o[2] += byte(step)
		}
	})
}

// EchoIPv4 are the options of an answer to a packet with those of b: what was recorded goes
// on.
func EchoIPv4(b []byte) (out []byte) {
	walkOptions(b, func(_ int, o []byte) {
		if (o[0] == optRecord || o[0] == optTime) && len(out)+len(o) <= MaxIPv4Options {
			out = append(out, o...)
		}
	})
	return PadIPv4(out)
}

// PadIPv4 makes options as long as a header wants them.
func PadIPv4(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, ipEnd)
	}
	return b
}

// LaterIPv4 makes options those of a fragment that is not the first: what is not to be copied
// does nothing there.
func LaterIPv4(b []byte) {
	walkOptions(b, func(_ int, o []byte) {
		if o[0]&optCopied == 0 {
			for i := range o {
				o[i] = ipNop
			}
		}
	})
}
