package nfnetlink

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/netfilter"
)

var (
	be = binary.BigEndian
	le = binary.LittleEndian
)

// Attributes are two bytes of length, little endian, two of type, and the value, up
// to a multiple of four: netlink(7). Numbers in them are big endian here.
const (
	attrHeader = 4
	nested     = 0x8000
	typeMask   = 0x3fff
	maxType    = 40
)

// attrs are the attributes of one nest by their type; of several of one type the
// last counts. nil is one that is not there.
type attrs [maxType][]byte

// parse reads attributes; what does not fit ends the reading: EINVAL.
func parse(b []byte) (*attrs, error) {
	a := &attrs{}
	err := each(b, func(typ uint16, v []byte) error {
		if int(typ) < len(a) {
			a[typ] = v
		}
		return nil
	})
	return a, err
}

// each calls f for each attribute.
func each(b []byte, f func(typ uint16, v []byte) error) error {
	for len(b) >= attrHeader {
		n := int(le.Uint16(b))
		if n < attrHeader || n > len(b) {
			return linux.EINVAL
		}
		v := b[attrHeader:n:n]
		if v == nil {
			v = []byte{}
		}
		if err := f(le.Uint16(b[2:])&typeMask, v); err != nil {
			return err
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}

func (a *attrs) has(t int) bool { return a[t] != nil }

// number is a 32-bit attribute: EINVAL if it is not there or not whole.
func (a *attrs) number(t int) (uint32, error) {
	if len(a[t]) < 4 {
		return 0, linux.EINVAL
	}
	return be.Uint32(a[t]), nil
}

// or is number with a default for one that is not there.
func (a *attrs) or(t int, n uint32) uint32 {
	if len(a[t]) < 4 {
		return n
	}
	return be.Uint32(a[t])
}

func (a *attrs) long(t int) uint64 {
	if len(a[t]) < 8 {
		return 0
	}
	return be.Uint64(a[t])
}

// text is a string with or without a zero at its end.
func (a *attrs) text(t int) string {
	b := a[t]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// maxUser bounds what programs keep for themselves with a thing: NFT_USERDATA_MAXLEN.
const maxUser = 256

// user is a copy of what a program keeps with a thing: ERANGE.
func (a *attrs) user(t int) ([]byte, error) {
	if len(a[t]) > maxUser {
		return nil, blame(linux.ERANGE, a[t])
	}
	return bytes.Clone(a[t]), nil
}

// nest reads the attributes in one: EINVAL without it.
func (a *attrs) nest(t int) (*attrs, error) {
	if !a.has(t) {
		return nil, linux.EINVAL
	}
	return parse(a[t])
}

// register reads a register for a value of n bytes: EINVAL for one that is not
// there, ERANGE for a value that does not fit.
func (a *attrs) register(t, n int) (netfilter.Reg, error) {
	v, err := a.number(t)
	if err != nil {
		return 0, err
	}
	var at int
	switch {
	case v >= 1 && v <= 4:
		at = int(v-1) * 16
	case v >= 8 && v <= 23:
		at = int(v-8) * 4
	default:
		return 0, linux.EINVAL
	}
	if n <= 0 || at+n > 64 {
		return 0, linux.ERANGE
	}
	return netfilter.Reg(at), nil
}

// value reads the bytes of a NFTA_DATA_VALUE nest: EINVAL.
func (a *attrs) value(t int) ([]byte, error) {
	d, err := a.nest(t)
	if err != nil {
		return nil, err
	}
	v := d[1]
	if len(v) == 0 || len(v) > 64 {
		return nil, linux.EINVAL
	}
	return bytes.Clone(v), nil
}

// writer appends attributes.
type writer struct{ b []byte }

func (w *writer) put(t int, v []byte) {
	w.b = le.AppendUint16(w.b, uint16(attrHeader+len(v)))
	w.b = le.AppendUint16(w.b, uint16(t))
	w.b = append(w.b, v...)
	for len(w.b)&3 != 0 {
		w.b = append(w.b, 0)
	}
}

func (w *writer) number(t int, n uint32)      { w.put(t, be.AppendUint32(nil, n)) }
func (w *writer) long(t int, n uint64)        { w.put(t, be.AppendUint64(nil, n)) }
func (w *writer) text(t int, s string)        { w.put(t, append([]byte(s), 0)) }
func (w *writer) address(t int, a netip.Addr) { w.put(t, a.AsSlice()) }

func (w *writer) register(t int, r netfilter.Reg) {
	if r%16 == 0 {
		w.number(t, 1+uint32(r)/16)
		return
	}
	w.number(t, 8+uint32(r)/4)
}

// nest writes the attributes that f writes into one.
func (w *writer) nest(t int, f func()) {
	at := len(w.b)
	w.b = append(w.b, 0, 0, 0, 0)
	f()
	le.PutUint16(w.b[at:], uint16(len(w.b)-at))
	le.PutUint16(w.b[at+2:], uint16(t)|nested)
}

func (w *writer) value(t int, v []byte) { w.nest(t, func() { w.put(1, v) }) }
