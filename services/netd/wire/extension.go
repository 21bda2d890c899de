package wire

// MinMTU6 and MinMTU4 are what every link carries in one packet: RFC 8200,
// section 5; RFC 1191, section 3 (as Linux has it).
const (
	MinMTU6 = 1280
	MinMTU4 = 552
)

// OptionVerdict is what unknown options ask for: RFC 8200, section 4.2.
type OptionVerdict uint8

// The verdicts.
const (
	OptionsGood OptionVerdict = iota
	OptionsDiscard
	OptionsReport        // with an ICMP error in any case
	OptionsReportUnicast // only if the destination is one host
	OptionsRouting       // a routing header that is not ours to follow
	OptionsMisplaced     // a hop-by-hop header that is not the first: RFC 8200, section 4.1
)

// CheckExtensions looks at the extension headers in b, which Extensions has
// walked. at is the place in b to complain about, -1 for the field that says what b is.
// whole says that b follows the packet's first header.
func CheckExtensions(first uint8, b []byte, whole bool) (v OptionVerdict, at int) {
	proto, last := first, -1
	for n := 0; n+8 <= len(b); {
		size := 8 + int(b[n+1])*8
		if n+size > len(b) {
			return OptionsDiscard, n
		}
		if proto == ProtoHopByHop && (n > 0 || !whole) {
			return OptionsMisplaced, last
		}
		switch proto {
		case ProtoHopByHop, ProtoDestOpts:
			if v, at := checkOptions(b[n+2 : n+size]); v != OptionsGood {
				return v, n + 2 + at
			}
		case ProtoRouting:
			if b[n+3] != 0 { // segments left: RFC 8200, 4.4; RFC 5095
				return OptionsRouting, n + 2
			}
		}
		proto, last = b[n], n
		n += size
	}
	return OptionsGood, 0
}

// LastExtension is where in b, which Extensions has walked, the last header begins; -1 if
// there is none.
func LastExtension(b []byte) int {
	last := -1
	for n := 0; n+8 <= len(b); n += 8 + int(b[n+1])*8 {
		last = n
	}
	return last
}

func checkOptions(b []byte) (OptionVerdict, int) {
	for i := 0; i < len(b); {
		if b[i] == 0 { // Pad1
			i++
			continue
		}
		if i+2 > len(b) || i+2+int(b[i+1]) > len(b) {
			return OptionsDiscard, i
		}
		switch known := b[i] == 1 || b[i] == 5; { // PadN, router alert
		case known, b[i]>>6 == 0:
		case b[i]>>6 == 1:
			return OptionsDiscard, i
		case b[i]>>6 == 2:
			return OptionsReport, i
		default:
			return OptionsReportUnicast, i
		}
		i += 2 + int(b[i+1])
	}
	return OptionsGood, 0
}

// PutFragment writes an IPv6 fragment header to b, of FragmentSize bytes.
func PutFragment(b []byte, next uint8, offset int, more bool, id uint32) {
	b[0], b[1] = next, 0
	v := uint16(offset)
	if more {
		v |= 1
	}
	be.PutUint16(b[2:], v)
	be.PutUint32(b[4:], id)
}
