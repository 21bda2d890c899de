package netfilter

import (
	"bytes"
	"hash/crc32"
	"math/bits"
	"net/netip"
)

// This file has the expressions that compute: their fields are the attributes of
// linux/netfilter/nf_tables.h. Registers are offsets into 64 bytes; whoever makes
// an expression has checked that register and length stay within.

// Reg is a register's place in bytes.
type Reg uint8

// load gives n bytes of a register, which are written through.
func (v *evaluation) load(r Reg, n int) []byte { return v.regs[r : int(r)+n] }

// put writes bytes into a register, with zeros up to a multiple of four.
func (v *evaluation) put(r Reg, b []byte) {
	n := copy(v.regs[r:], b)
	for ; n&3 != 0 && int(r)+n < len(v.regs); n++ {
		v.regs[int(r)+n] = 0
	}
}

func (v *evaluation) put32(r Reg, n uint32) { le.PutUint32(v.regs[r:], n) }
func (v *evaluation) get32(r Reg) uint32    { return le.Uint32(v.regs[r:]) }

// Verdict is a decision, with the chain that a jump leads to.
type Verdict struct {
	Code  int32
	Chain *Chain
}

func (d *Verdict) decide(v *evaluation) { v.verdict, v.target = d.Code, d.Chain }

func (d *Verdict) refs() []*int {
	if d.Chain == nil {
		return nil
	}
	return []*int{&d.Chain.use}
}

// Immediate puts a value into a register, or decides.
type Immediate struct {
	Dst     Reg
	Data    []byte
	Verdict *Verdict // instead of Data
}

func (e *Immediate) eval(v *evaluation) {
	if e.Verdict != nil {
		e.Verdict.decide(v)
		return
	}
	v.put(e.Dst, e.Data)
}

func (e *Immediate) refs() []*int {
	if e.Verdict == nil {
		return nil
	}
	return e.Verdict.refs()
}

// Comparisons: enum nft_cmp_ops.
const (
	Equal = iota
	NotEqual
	Less
	LessEqual
	Greater
	GreaterEqual
)

// Compare goes on if a register compares so with Data.
type Compare struct {
	Src  Reg
	Op   uint32
	Data []byte
}

func (e *Compare) eval(v *evaluation) {
	d := bytes.Compare(v.load(e.Src, len(e.Data)), e.Data)
	var ok bool
	switch e.Op {
	case Equal:
		ok = d == 0
	case NotEqual:
		ok = d != 0
	case Less:
		ok = d < 0
	case LessEqual:
		ok = d <= 0
	case Greater:
		ok = d > 0
	case GreaterEqual:
		ok = d >= 0
	}
	if !ok {
		v.verdict = Break
	}
}

// Between goes on if a register is (or with Not is not) between two values, which
// are as long as each other.
type Between struct {
	Src      Reg
	Not      bool
	From, To []byte
}

func (e *Between) eval(v *evaluation) {
	b := v.load(e.Src, len(e.From))
	if in := bytes.Compare(b, e.From) >= 0 && bytes.Compare(b, e.To) <= 0; in == e.Not {
		v.verdict = Break
	}
}

// Bitwise masks and flips bits, or shifts.
type Bitwise struct {
	Src, Dst  Reg
	Len       int
	Op        uint32 // 0: and, then xor; 1: to the left; 2: to the right
	Mask, Xor []byte // Len bytes each
	Shift     uint32 // below 32
}

func (e *Bitwise) eval(v *evaluation) {
	src := append(make([]byte, 0, 64), v.load(e.Src, e.Len)...)
	dst := v.load(e.Dst, e.Len)
	if e.Op == 0 {
		for i := range dst {
			dst[i] = src[i]&e.Mask[i] ^ e.Xor[i]
		}
		return
	}
	n := (e.Len + 3) / 4
	var words [16]uint32
	for i := range n {
		words[i] = v.get32(e.Src + Reg(4*i))
	}
	carry := uint32(0)
	if e.Op == 1 {
		for i := n - 1; i >= 0; i-- {
			w := words[i]
			v.put32(e.Dst+Reg(4*i), w<<e.Shift|carry)
			carry = w >> (32 - e.Shift)
		}
		return
	}
	for i := range n {
		w := words[i]
		v.put32(e.Dst+Reg(4*i), carry|w>>e.Shift)
		carry = w << (32 - e.Shift)
	}
}

// ByteOrder swaps the bytes of numbers of Size 2, 4 or 8.
type ByteOrder struct {
	Src, Dst  Reg
	Op        uint32 // 0: ntoh, 1: hton; they are the same
	Len, Size int
}

func (e *ByteOrder) eval(v *evaluation) {
	src := append(make([]byte, 0, 64), v.load(e.Src, e.Len)...)
	dst := v.load(e.Dst, e.Len)
	for i := 0; i+e.Size <= e.Len; i += e.Size {
		switch e.Size {
		case 2:
			le.PutUint16(dst[i:], be.Uint16(src[i:]))
		case 4:
			le.PutUint32(dst[i:], be.Uint32(src[i:]))
		case 8:
			le.PutUint64(dst[i:], be.Uint64(src[i:]))
		}
	}
}

// Payload loads a piece of the packet, or with Write stores one.
type Payload struct {
	Reg         Reg
	Base        uint32 // PayloadLink and the others
	Offset, Len int
	Write       bool
	SumType     uint32 // 1: an Internet checksum, at SumOffset
	SumOffset   int
	SumFlags    uint32 // 1: it is part of the pseudo header
}

// Where a Payload's offset counts from: enum nft_payload_bases.
const (
	PayloadLink = iota
	PayloadNetwork
	PayloadTransport
	PayloadInner
)

// base is where a base begins in Header; ok is false if the packet has none.
func (p *Packet) base(base uint32) (int, bool) {
	switch base {
	case PayloadNetwork:
		return 0, true
	case PayloadTransport:
		return p.Transport, !p.Later
	case PayloadInner:
		n := 8
		if p.Proto == 6 {
			t := p.transport()
			if len(t) < 20 {
				return 0, false
			}
			n = int(t[12]>>4) * 4
		}
		return p.Transport + n, !p.Later
	}
	return 0, false
}

func (e *Payload) eval(v *evaluation) {
	p := v.p
	if e.Base == PayloadLink {
		if e.Write || e.Offset+e.Len > len(p.Station) {
			v.verdict = Break
			return
		}
		v.put(e.Reg, p.Station[e.Offset:e.Offset+e.Len])
		return
	}
	at, ok := p.base(e.Base)
	if !ok || at+e.Offset+e.Len > p.size() {
		v.verdict = Break
		return
	}
	at += e.Offset
	if !e.Write {
		var b [64]byte
		p.bytes(b[:e.Len], at)
		v.put(e.Reg, b[:e.Len])
		return
	}
	if at+e.Len > len(p.Header) {
		p.gather()
	}
	field := p.Header[at : at+e.Len]
	old := append(make([]byte, 0, 64), field...)
	now := append(make([]byte, 0, 64), v.load(e.Reg, e.Len)...)
	e.store(p, at, field, old, now)
}

// store writes a field and fixes what sums it up.
func (e *Payload) store(p *Packet, at int, field, old, now []byte) {
	first := p.Header[0]
	copy(field, now)
	if p.Header[0] != first {
		// The version and the header's length are what all that follows goes by.
		p.Header[0] = first
		copy(now, field)
	}
	if at&1 != 0 && e.Base != PayloadInner {
		old = append([]byte{0}, old...)
		now = append([]byte{0}, now...)
	}
	if len(old)&1 != 0 {
		old, now = append(old, 0), append(now, 0)
	}
	if e.SumType == 1 {
		base, _ := p.base(e.Base)
		c := base + e.SumOffset
		transport := e.Base == PayloadTransport
		if transport && p.Sum != SumWhole {
			c = -1 // the device completes it, or nobody looks
		}
		if c > 0 && c+2 <= len(p.Header) { // at 0 are the version and the header's length
			amend(p.Header[c:c+2], old, now, false)
		}
	}
	if e.SumFlags&1 != 0 {
		p.amendTransport(old, now, true)
	}
}

// Hash gives a number below Modulus for the bytes of a register.
type Hash struct {
	Src, Dst      Reg
	Len           int
	Type          uint32 // 0: of the register; 1: of the flow, either direction
	Modulus, Seed uint32
	HasSeed       bool
	Offset        uint32
}

func (e *Hash) eval(v *evaluation) {
	var h uint32
	if e.Type == 1 {
		a, b := v.p.Src().AsSlice(), v.p.Dst().AsSlice()
		s, d, _ := v.p.ports()
		h = crc32.ChecksumIEEE(a) + crc32.ChecksumIEEE(b) + uint32(s)*0x9e3779b1 + uint32(d)*0x9e3779b1
	} else {
		h = crc32.Update(e.Seed, crc32.IEEETable, v.load(e.Src, e.Len))
	}
	v.put32(e.Dst, scale(h*0x9e3779b1, e.Modulus)+e.Offset)
}

// scale maps a hash to a number below n.
func scale(h, n uint32) uint32 {
	hi, _ := bits.Mul32(h, n)
	return hi
}

// Number gives numbers below Modulus, one after the other or by chance.
type Number struct {
	Dst             Reg
	Modulus, Offset uint32
	Random          bool
	next            uint32
}

func (e *Number) eval(v *evaluation) {
	if e.Random {
		v.put32(e.Dst, scale(v.f.host.Random(), e.Modulus)+e.Offset)
		return
	}
	v.put32(e.Dst, e.next%e.Modulus+e.Offset)
	e.next++
}

// ExtHeader finds an IPv6 extension header or a TCP option, loads of it, says
// whether it is there, or writes into it.
type ExtHeader struct {
	Reg         Reg
	Type        uint8
	Offset, Len int
	Present     bool // only whether it is there
	Op          uint32
	Write       bool
}

// What an ExtHeader looks into.
const (
	ExtIPv6 = 0
	ExtTCP  = 1
)

func (e *ExtHeader) eval(v *evaluation) {
	var at int
	var ok bool
	if e.Op == ExtTCP {
		at, _, ok = tcpOption(v.p, e.Type)
	} else {
		at, ok = v.p.extension(e.Type)
	}
	if e.Present {
		n := byte(0)
		if ok {
			n = 1
		}
		v.put(e.Reg, []byte{n})
		return
	}
	if !ok || at+e.Offset+e.Len > len(v.p.Header) {
		v.verdict = Break
		return
	}
	field := v.p.Header[at+e.Offset : at+e.Offset+e.Len]
	if !e.Write {
		v.put(e.Reg, field)
		return
	}
	now := v.load(e.Reg, e.Len)
	if e.Type == 2 && e.Len == 2 && be.Uint16(now) >= be.Uint16(field) {
		return // a segment size is only made smaller
	}
	v.p.rewrite(at+e.Offset, now)
}

// rewrite stores bytes into the transport header and fixes its checksum.
func (p *Packet) rewrite(at int, now []byte) {
	from, to := at&^1, (at+len(now)+1)&^1
	if (at-p.Transport)&1 != (at & 1) {
		from, to = (at+1)&^1-1, (at+len(now))&^1+1
	}
	to = min(to, len(p.Header))
	old := append(make([]byte, 0, 64), p.Header[from:to]...)
	copy(p.Header[at:], now)
	if len(old)&1 == 0 {
		p.amendTransport(old, append(make([]byte, 0, 64), p.Header[from:to]...), false)
	}
}

// tcpOption finds an option in a segment.
func tcpOption(p *Packet, kind uint8) (at, n int, ok bool) {
	t := p.transport()
	if p.Proto != 6 || p.Later || len(t) < 20 {
		return 0, 0, false
	}
	end := int(t[12]>>4) * 4
	if end < 20 || end > len(t) {
		return 0, 0, false
	}
	for i := 20; i < end; {
		k := t[i]
		size := 1
		if k > 1 {
			if i+1 >= end || t[i+1] < 2 || i+int(t[i+1]) > end {
				return 0, 0, false
			}
			size = int(t[i+1])
		}
		if k == kind {
			return p.Transport + i, size, true
		}
		if k == 0 {
			break
		}
		i += size
	}
	return 0, 0, false
}

// extension finds an IPv6 extension header.
func (p *Packet) extension(kind uint8) (at int, ok bool) {
	if !p.V6 {
		return 0, false
	}
	next := p.Header[6]
	for at = 40; at+8 <= p.Transport; {
		if next == kind {
			return at, true
		}
		n := 8 + int(p.Header[at+1])*8
		switch next {
		case 44:
			n = 8
		case 51:
			n = 8 + int(p.Header[at+1])*4
		case 0, 43, 60, 135:
		default:
			return 0, false
		}
		next = p.Header[at]
		at += n
	}
	return 0, false
}

// addressIn reads an address of the packet's family from a register.
func (v *evaluation) addressIn(r Reg, v6 bool) netip.Addr {
	n := 4
	if v6 {
		n = 16
	}
	if int(r)+n > len(v.regs) {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(v.load(r, n))
	return a
}
