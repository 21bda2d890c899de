package netlink

import (
	"syscall"
	"testing"

	netdv1 "bulkhead/proto/netd/v1"
)

type fixed []*netdv1.Interface

func (f fixed) Interfaces() ([]*netdv1.Interface, error) { return f, nil }

var one = fixed{{Index: 1, Name: "lo", Flags: 0x10049, Mtu: 65536, Mac: make([]byte, 6), Addresses: []*netdv1.InterfaceAddress{
	{Address: []byte{127, 0, 0, 1}, Bits: 8}, {Address: append(make([]byte, 15), 1), Bits: 128},
}}}

func ask(typ, flags uint16, body []byte) []byte {
	r := request{seq: 7, port: 9}
	b := r.message(nil, typ, flags|flagRequest, body)
	return b
}

// What Go's own reader of netlink makes of the answers.
func TestDumps(t *testing.T) {
	for typ, want := range map[uint16]int{getLink: 1, getAddr: 2, getRoute: 0} {
		out := answer(one, 9, ask(typ, flagDump, []byte{0}), false)
		if want > 0 {
			msgs, err := syscall.ParseNetlinkMessage(out[0])
			if err != nil || len(msgs) != want {
				t.Fatalf("type %d: %d messages, %v", typ, len(msgs), err)
			}
			for i := range msgs {
				if _, err := syscall.ParseNetlinkRouteAttr(&msgs[i]); err != nil || msgs[i].Header.Seq != 7 || msgs[i].Header.Pid != 9 {
					t.Errorf("type %d: %+v %v", typ, msgs[i].Header, err)
				}
			}
		}
		last, err := syscall.ParseNetlinkMessage(out[len(out)-1])
		if err != nil || len(last) != 1 || last[0].Header.Type != msgDone {
			t.Errorf("type %d: no end: %+v %v", typ, last, err)
		}
	}
}

func TestOneLink(t *testing.T) {
	body := make([]byte, 16)
	body = attribute(body, 3, text("lo"))
	if out := answer(one, 9, ask(getLink, 0, body), false); len(out) != 1 || le.Uint16(out[0][4:]) != newLink {
		t.Error(out)
	}
	body = attribute(make([]byte, 16), 3, text("eth9"))
	if out := answer(one, 9, ask(getLink, 0, body), false); len(out) != 1 || int32(le.Uint32(out[0][16:])) != -int32(syscall.ENODEV) {
		t.Error(out)
	}
	if out := answer(one, 9, ask(newAddr, flagAck, nil), false); len(out) != 1 || int32(le.Uint32(out[0][16:])) != -int32(syscall.EPERM) {
		t.Error(out)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(ask(getLink, flagDump, []byte{0}))
	f.Add(ask(getLink, 0, attribute(make([]byte, 16), 3, text("lo"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, a := range answer(one, 1, b, false) {
			if _, err := syscall.ParseNetlinkMessage(a); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// configured remembers the last order.
type configured struct {
	fixed
	last *netdv1.Change
}

func (c *configured) Change(m *netdv1.Change) error { c.last = m; return nil }

// The flags, the scope and the lifetimes of an address, both ways.
func TestAddress(t *testing.T) {
	local := append([]byte{0xfe, 0x80}, make([]byte, 14)...)
	s := &configured{fixed: fixed{{Index: 2, Name: "eth0", Addresses: []*netdv1.InterfaceAddress{
		{Address: local, Bits: 64, Flags: 0x148, Valid: 7000, Preferred: 1<<32 - 1},
	}}}}
	out := answer(s, 9, ask(getAddr, flagDump, []byte{10}), false)
	msgs, err := syscall.ParseNetlinkMessage(out[0])
	if err != nil || len(msgs) != 1 {
		t.Fatal(msgs, err)
	}
	if b := msgs[0].Data; b[1] != 64 || b[2] != 0x48 || b[3] != 253 {
		t.Errorf("struct ifaddrmsg: %v", b[:8])
	}
	attributes, _ := syscall.ParseNetlinkRouteAttr(&msgs[0])
	for _, a := range attributes {
		switch a.Attr.Type {
		case 8:
			if le.Uint32(a.Value) != 0x148 {
				t.Error("IFA_FLAGS:", a.Value)
			}
		case 6:
			if le.Uint32(a.Value) != 1<<32-1 || le.Uint32(a.Value[4:]) != 7000 {
				t.Error("IFA_CACHEINFO:", a.Value)
			}
		}
	}
	order := func(flags uint16, preferred, valid uint32) *netdv1.AddressChange {
		s.last = nil
		body := attribute([]byte{10, 64, 2, 0, 2, 0, 0, 0}, 2, local)
		body = attribute(body, 8, le.AppendUint32(nil, 0x202))
		body = attribute(body, 6, append(le.AppendUint32(le.AppendUint32(nil, preferred), valid), make([]byte, 8)...))
		answer(s, 9, ask(newAddr, flags, body), false)
		return s.last.GetAddress()
	}
	if m := order(flagReplace, 50, 60); m == nil || m.Flags != 0x202 || m.GetPreferred() != 50 || m.Valid != 60 || !m.Replace || m.Index != 2 {
		t.Error(m)
	}
	if m := order(0, 50, 1<<32-1); m == nil || m.Valid != 0 || m.GetPreferred() != 50 || m.Replace {
		t.Error(m)
	}
	if m := order(0, 61, 60); m != nil {
		t.Error("preferred for longer than valid:", m)
	}
	if m := order(0, 0, 0); m != nil {
		t.Error("not valid at all:", m)
	}
}

// What an interface has carried is told where ip -s link looks.
func TestLinkStats(t *testing.T) {
	i := &netdv1.Interface{Index: 2, Name: "eth0", Flags: 0x41, Counters: []uint64{1 << 33, 2, 3, 4, 5, 6, 7, 8}}
	out := answer(fixed{i}, 9, ask(getLink, flagDump, nil), false)
	msgs, err := syscall.ParseNetlinkMessage(out[0])
	if err != nil || len(msgs) != 1 {
		t.Fatal(msgs, err)
	}
	attributes, err := syscall.ParseNetlinkRouteAttr(&msgs[0])
	if err != nil {
		t.Fatal(err)
	}
	found := map[uint16][]byte{}
	for _, a := range attributes {
		found[a.Attr.Type] = a.Value
	}
	wide := found[23]
	for at, want := range map[int]uint64{0: 2, 1: 7, 2: 1 << 33, 3: 6, 4: 3, 6: 4, 7: 8, 8: 5} {
		if got := le.Uint64(wide[8*at:]); got != want {
			t.Errorf("field %d: %d, not %d", at, got, want)
		}
	}
	if len(wide) != 192 || len(found[7]) != 96 || found[16][0] != 6 {
		t.Error(len(wide), len(found[7]), found[16])
	}
}
