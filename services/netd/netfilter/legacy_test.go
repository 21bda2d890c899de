package netfilter

import (
	"bytes"
	"net/netip"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/wire"
)

// standard is an entry of a legacy table that fits everything: verdict is as in
// struct xt_standard_target, a number above 0 being where to jump to.
func standard(v6 bool, verdict int32) []byte {
	y := &layouts[family(v6)]
	e := make([]byte, y.size+40)
	le.PutUint16(e[y.offsets:], uint16(y.size))
	le.PutUint16(e[y.offsets+2:], uint16(len(e)))
	le.PutUint16(e[y.size:], 40)
	le.PutUint32(e[y.size+32:], uint32(verdict))
	return e
}

// target is an entry with a target of a name.
func target(v6 bool, name string, revision byte, info []byte) []byte {
	y := &layouts[family(v6)]
	e := make([]byte, y.size+32, y.size+32+len(info))
	le.PutUint16(e[y.offsets:], uint16(y.size))
	le.PutUint16(e[y.offsets+2:], uint16(y.size+32+len(info)))
	le.PutUint16(e[y.size:], uint16(32+len(info)))
	copy(e[y.size+2:], name)
	e[y.size+31] = revision
	return append(e, info...)
}

// replace makes a struct ipt_replace for a table with the hooks of filter, which
// begin where starts say.
func replace(name string, hooksOf uint32, olds int, starts, ends map[Hook]int, entries ...[]byte) []byte {
	raw := make([]byte, 96)
	copy(raw, name)
	le.PutUint32(raw[32:], hooksOf)
	le.PutUint32(raw[36:], uint32(len(entries)))
	le.PutUint32(raw[84:], uint32(olds))
	offsets := []int{0}
	for _, e := range entries {
		raw = append(raw, e...)
		offsets = append(offsets, len(raw)-96)
	}
	le.PutUint32(raw[40:], uint32(len(raw)-96))
	for h, i := range starts {
		le.PutUint32(raw[44+4*int(h):], uint32(offsets[i]))
	}
	for h, i := range ends {
		le.PutUint32(raw[64+4*int(h):], uint32(offsets[i]))
	}
	return raw
}

func filterTable(input int, entries ...[]byte) []byte {
	end := len(entries) - 1
	at := map[Hook]int{Input: 0, Forward: input, Output: input}
	return replace("filter", legacyHooks["filter"], 4, at, map[Hook]int{Input: input, Forward: input, Output: input}, entries[:end+1]...)
}

func errorEntry(v6 bool) []byte { return target(v6, "ERROR", 0, make([]byte, 32)) }

func TestLegacy_replace(t *testing.T) {
	s := func(v int32) []byte { return standard(false, v) }
	size := int32(len(s(0)))
	for _, c := range []struct {
		name string
		raw  []byte
		want error
		pass bool
	}{
		{"accept", filterTable(0, s(-2), errorEntry(false)), nil, true},
		{"drop", filterTable(0, s(-1), errorEntry(false)), nil, false},
		{"drop before accept", filterTable(1, s(-1), s(-2), errorEntry(false)), nil, false},
		{"return takes the policy", filterTable(1, s(-5), s(-2), errorEntry(false)), nil, true},
		{"call a chain that drops", filterTable(1, s(size*2+int32(len(errorEntry(false)))), s(-2), errorEntry(false), s(-1), errorEntry(false)), nil, false},
		{"call a chain that returns", filterTable(1, s(size*2+int32(len(errorEntry(false)))), s(-2), errorEntry(false), s(-5), errorEntry(false)), nil, true},
		{"a loop", filterTable(1, s(0), s(-2), errorEntry(false)), linux.ELOOP, true},
		{"a jump into the middle", filterTable(1, s(8), s(-2), errorEntry(false)), linux.EINVAL, true},
		{"a jump out", filterTable(1, s(1<<20), s(-2), errorEntry(false)), linux.EINVAL, true},
		{"a queue", filterTable(1, s(-4), s(-2), errorEntry(false)), linux.EINVAL, true},
		{"an unknown target", filterTable(1, target(false, "ODD", 0, make([]byte, 8)), s(-2), errorEntry(false)), linux.ENOENT, true},
		{"a short target", filterTable(1, target(false, "REJECT", 0, nil), s(-2), errorEntry(false)), linux.EINVAL, true},
		{"translation in filter", filterTable(1, target(false, "REDIRECT", 0, make([]byte, 24)), s(-2), errorEntry(false)), linux.EINVAL, true},
		{"a helper", filterTable(1, target(false, "CT", 1, append(append(make([]byte, 12), "ftp"...), make([]byte, 33)...)), s(-2), errorEntry(false)), linux.ENOENT, true},
		{"cut off", filterTable(0, s(-2), errorEntry(false))[:150], linux.EINVAL, true},
		{"another table", append([]byte("nobody\x00"), filterTable(0, s(-2))[7:]...), linux.ENOENT, true},
		{"nothing", nil, linux.EINVAL, true},
	} {
		f := New(&fakeHost{})
		_, err := f.LegacyReplace(false, c.raw)
		if err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		g := segment{proto: wire.ProtoUDP, src: netip.MustParseAddrPort("10.0.0.2:1"), dst: netip.MustParseAddrPort("10.0.0.1:2")}
		if got := f.Run(Input, g.make()); got != c.pass {
			t.Errorf("%s: passes: %v", c.name, got)
		}
		if err == nil {
			back, err := f.LegacyEntries(false, "filter", uint32(len(c.raw)-96))
			if y := &layouts[0]; err != nil || len(back) != len(c.raw)-96 || !bytes.Equal(back[:y.counters], c.raw[96:96+y.counters]) {
				t.Errorf("%s: it reads back as something else: %v", c.name, err)
			}
		}
	}
}

// FuzzLegacyReplace feeds tables and shows packets to those that are taken.
func FuzzLegacyReplace(f *testing.F) {
	s := func(v int32) []byte { return standard(false, v) }
	f.Add(false, filterTable(1, s(-1), s(-2), errorEntry(false)))
	f.Add(false, filterTable(1, target(false, "REJECT", 0, make([]byte, 8)), s(-2), errorEntry(false)))
	for _, x := range targets {
		f.Add(false, filterTable(1, target(false, x.name, x.revision, make([]byte, (x.size+7)&^7)), s(-2), errorEntry(false)))
	}
	for _, x := range matches {
		e := target(false, "", 0, []byte{0xfe, 0xff, 0xff, 0xff, 0, 0, 0, 0})
		y := &layouts[0]
		info := make([]byte, (x.size+7)&^7)
		m := make([]byte, 32)
		le.PutUint16(m, uint16(32+len(info)))
		copy(m[2:], x.name)
		m[31] = x.revision
		e = append(append(append(bytes.Clone(e[:y.size]), m...), info...), e[y.size:]...)
		le.PutUint16(e[y.offsets:], uint16(y.size+len(m)+len(info)))
		le.PutUint16(e[y.offsets+2:], uint16(len(e)))
		f.Add(false, filterTable(1, e, s(-2), errorEntry(false)))
	}
	packets := corpus()
	f.Fuzz(func(t *testing.T, v6 bool, raw []byte) {
		h := &fakeHost{now: 1e9}
		x := New(h)
		if _, err := x.LegacyReplace(v6, raw); err != nil {
			return
		}
		name := text(raw[:32])
		for hook := range hooks {
			for _, p := range packets {
				q := *p
				q.Header, q.Payload = bytes.Clone(p.Header), bytes.Clone(p.Payload)
				q.In, q.Out, q.Owner = inside, outside, &Owner{UID: 1}
				h.now += 1e6
				x.Run(hook, &q)
			}
		}
		info, err := x.LegacyInfo(v6, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.LegacyEntries(v6, name, le.Uint32(info[80:])); err != nil {
			t.Fatal(err)
		}
	})
}

// corpus has a packet of every kind.
func corpus() (out []*Packet) {
	for _, a := range []string{"10.0.0.2", "fd00::2"} {
		src, dst := netip.AddrPortFrom(netip.MustParseAddr(a), 1000), netip.MustParseAddrPort("192.0.2.1:80")
		icmp := uint8(wire.ProtoICMP)
		if src.Addr().Is6() {
			dst, icmp = netip.MustParseAddrPort("[2001:db8::1]:80"), wire.ProtoICMPv6
		}
		u := segment{proto: wire.ProtoUDP, src: src, dst: dst, payload: []byte("needle")}
		out = append(out, u.make(), (&segment{proto: wire.ProtoTCP, src: src, dst: dst, flags: wire.SYN}).make(), (&segment{proto: icmp, src: src, dst: dst}).make())
		p := u.make()
		out = append(out, (&segment{proto: icmp, src: dst, dst: src, quote: append(bytes.Clone(p.Header), p.Payload...)}).make())
	}
	return out
}

// FuzzPacket shows packets of any kind to rules with every expression: nothing reads
// or writes beyond them.
func FuzzPacket(f *testing.F) {
	for _, p := range corpus() {
		f.Add(p.V6, uint8(p.Transport), p.Proto, uint8(p.Sum), p.Header, p.Payload, uint8(2), uint16(3))
	}
	f.Fuzz(func(t *testing.T, v6 bool, transport, proto, sum uint8, header, payload []byte, n uint8, offset uint16) {
		h := &fakeHost{now: 1e9}
		x := translated(t, h)
		size := int(n)%64 + 1
		reg := Reg(0)
		data := bytes.Repeat([]byte{n}, size)
		for hook := range hooks {
			var rules [][]Expr
			for base := uint32(0); base <= PayloadInner; base++ {
				rules = append(rules, []Expr{&Payload{Reg: reg, Base: base, Offset: int(offset), Len: size}, &Counter{}},
					[]Expr{&Immediate{Dst: 0, Data: data}, &Payload{Reg: reg, Base: max(base, 1), Offset: int(offset), Len: size, Write: true, SumType: 1, SumOffset: int(offset >> 4), SumFlags: uint32(n & 1)}})
			}
			for _, op := range []uint32{ExtIPv6, ExtTCP} {
				rules = append(rules, []Expr{&ExtHeader{Reg: reg, Type: n, Offset: int(offset) % 256, Len: size, Op: op}}, []Expr{&ExtHeader{Reg: reg, Type: n, Len: 1, Present: true, Op: op}})
			}
			rules = append(rules, []Expr{&ExtHeader{Reg: reg, Type: n, Offset: int(offset) % 256, Len: 2, Op: ExtTCP, Write: true}})
			for key := uint32(0); key < 40; key++ {
				if MetaLength(key) > 0 {
					rules = append(rules, []Expr{&Meta{Reg: 0, Key: key}})
				}
				if FlowLength(key) > 0 {
					rules = append(rules, []Expr{&Flow{Reg: 0, Key: key, Dir: -1}})
				}
			}
			rules = append(rules, []Expr{&Hash{Dst: 0, Type: 1, Modulus: 7}}, []Expr{&FIB{Dst: 0, Result: FIBAddrType, Flags: FIBSource}}, []Expr{&Route{Dst: 0, Key: RouteTCPMSS}})
			addChain(t, x, "filter", hook, int32(hook), Accept, rules...)
		}
		if len(header) == 0 || len(header)+len(payload) > 65535 {
			return
		}
		for hook := range hooks {
			p := &Packet{V6: v6, Header: bytes.Clone(header), Payload: bytes.Clone(payload), Transport: int(transport), Proto: proto, Sum: Sum(sum % 3), In: inside, Out: outside}
			x.Run(hook, p)
			if p.size() != len(header)+len(payload) || p.Header[0] != header[0] {
				t.Fatalf("%d bytes that begin with %#x became %d, %#x", len(header)+len(payload), header[0], p.size(), p.Header[0])
			}
		}
	})
}
