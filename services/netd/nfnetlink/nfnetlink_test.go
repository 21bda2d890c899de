package nfnetlink

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/netfilter"
)

// host is a netfilter.Host that has nothing.
type host struct{ now int64 }

func (h *host) Now() int64                                                    { return h.now }
func (h *host) Wall() int64                                                   { return 1e18 }
func (h *host) Random() uint32                                                { return 7 }
func (h *host) Reject(netfilter.Hook, *netfilter.Packet, netfilter.Rejection) {}
func (h *host) Local(a netip.Addr) bool                                       { return a.IsLoopback() }
func (h *host) Broadcast(netip.Addr) bool                                     { return false }
func (h *host) Route(_, _ netip.Addr) (*ip.Interface, int, netip.Addr, bool) {
	return lo, 65536, netip.Addr{}, true
}

var lo = &ip.Interface{Index: 1, Name: "lo", Loopback: true, Addresses: []ip.Address{{Prefix: netip.MustParsePrefix("127.0.0.1/8")}, {Prefix: netip.MustParsePrefix("::1/128")}}}

// batches are what nft(8) and iptables-nft(8) sent for the rules of test/net.
func batches(t testing.TB) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	files, _ := filepath.Glob("testdata/batches/*")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(f)] = b
	}
	if len(out) == 0 {
		t.Fatal("no batches")
	}
	return out
}

// generation gives the filter the generation that a batch wants to change.
func generation(f *netfilter.Filter, b []byte) {
	for _, m := range messages(b, 1) {
		if a, err := parse(m.attrs); err == nil && m.typ == batchBegin && a.has(1) {
			f.Generation = a.or(1, 0)
		}
	}
}

// message makes a request of nf_tables.
func request(op, flags uint16, family uint8, attrs *writer) []byte {
	b := le.AppendUint32(nil, uint32(headerSize+genericSize+len(attrs.b)))
	b = le.AppendUint16(b, op)
	b = le.AppendUint16(b, flags|flagRequest)
	b = append(b, make([]byte, 8)...)
	b = append(b, family, 0, 0, 0)
	return append(b, attrs.b...)
}

// inBatch puts orders between a beginning and an end.
func inBatch(orders ...[]byte) []byte {
	b := request(batchBegin, 0, 0, &writer{})
	b[headerSize+3] = subsystemTables
	for _, o := range orders {
		b = append(b, o...)
	}
	return append(b, request(batchEnd, 0, 0, &writer{})...)
}

// ruleset is all that a filter has, as it tells who asks.
func ruleset(f *netfilter.Filter, now int64) []byte {
	var all []byte
	for _, op := range []uint16{getTable, getChain, getRule, getSet, getObject} {
		for _, d := range Answer(f, now, request(tablesType|op, flagDump, 0, &writer{}), 1, true) {
			all = append(all, d...)
		}
	}
	for _, t := range f.Tables {
		for _, x := range t.Sets {
			w := &writer{}
			w.text(1, t.Name)
			w.text(2, x.Name)
			for _, d := range Answer(f, now, request(tablesType|getElement, flagDump, t.Family, w), 1, true) {
				all = append(all, d...)
			}
		}
	}
	return all
}

// firstError is the error of the first answer that tells one.
func firstError(answers [][]byte) linux.Errno {
	for _, a := range answers {
		if len(a) >= 20 && le.Uint16(a[4:]) == msgError && le.Uint32(a[16:]) != 0 {
			return linux.Errno(-int32(le.Uint32(a[16:])))
		}
	}
	return 0
}

func TestAnswer_whatProgramsSend(t *testing.T) {
	for name, b := range batches(t) {
		f := netfilter.New(&host{})
		generation(f, b)
		before := f.Generation
		if err := firstError(Answer(f, 0, b, 1, true)); err != 0 {
			t.Errorf("%s: %v", name, err)
		}
		if f.Generation != before+1 || len(f.Tables) == 0 || !f.Active() {
			t.Errorf("%s: generation %d after %d, %d tables, active %v", name, f.Generation, before, len(f.Tables), f.Active())
		}
		all := ruleset(f, 0)
		if len(all) < len(b)/2 {
			t.Errorf("%s: %d bytes of rules out of %d", name, len(all), len(b))
		}
		// Taken away again, nothing is held.
		w := &writer{}
		if err := firstError(Answer(f, 0, inBatch(request(tablesType|delTable, 0, 0, w)), 1, true)); err != 0 || len(f.Tables) != 0 || f.Active() || f.Held() != 0 {
			t.Errorf("%s: %v when deleted, %d tables, active %v, %d bytes held", name, err, len(f.Tables), f.Active(), f.Held())
		}
	}
}

func TestAnswer_withoutRights(t *testing.T) {
	f := netfilter.New(&host{})
	for _, b := range batches(t) {
		generation(f, b)
		if err := firstError(Answer(f, 0, b, 1, false)); err != linux.EPERM || len(f.Tables) > 0 {
			t.Fatalf("%v, %d tables", err, len(f.Tables))
		}
	}
}

// TestAnswer_allOrNothing breaks what programs send in every place, and wants the
// rules as they were if any of it is refused.
func TestAnswer_allOrNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for name, b := range batches(t) {
		f := netfilter.New(&host{})
		generation(f, b)
		Answer(f, 0, b, 1, true)
		was, held := ruleset(f, 0), f.Held()
		for range 80 {
			c := bytes.Clone(b)
			for range 1 + r.IntN(3) {
				c[r.IntN(len(c))] = byte(r.IntN(256))
			}
			generation(f, c)
			before := f.Generation
			Answer(f, 0, c, 1, true)
			if f.Generation == before {
				refused++
				if now := ruleset(f, 0); !bytes.Equal(stampless(now), stampless(was)) || f.Held() != held {
					t.Fatalf("%s: an order that was refused has changed something: %d bytes of rules, %d before; %d held, %d before", name, len(now), len(was), f.Held(), held)
				}
				continue
			}
			was, held = ruleset(f, 0), f.Held()
			if held > 4<<20 {
				Answer(f, 0, inBatch(request(tablesType|delTable, 0, 0, &writer{})), 1, true)
				was, held = ruleset(f, 0), f.Held()
			}
		}
	}
	if refused < 100 {
		t.Errorf("only %d were refused: this has tested little", refused)
	}
}

// stampless takes the generations from messages.
func stampless(b []byte) []byte {
	out := bytes.Clone(b)
	for at := 0; at+headerSize+genericSize <= len(out); {
		n := int(le.Uint32(out[at:]))
		out[at+headerSize+2], out[at+headerSize+3] = 0, 0
		at += max((n+3)&^3, headerSize)
	}
	return out
}

func TestAnswer_errors(t *testing.T) {
	text := func(pairs ...any) *writer {
		w := &writer{}
		for i := 0; i < len(pairs); i += 2 {
			switch v := pairs[i+1].(type) {
			case string:
				w.text(pairs[i].(int), v)
			case int:
				w.number(pairs[i].(int), uint32(v))
			case []byte:
				w.put(pairs[i].(int), v)
			case func(*writer):
				w.nest(pairs[i].(int), func() { v(w) })
			}
		}
		return w
	}
	hook := func(h, priority int) func(*writer) {
		return func(w *writer) {
			w.number(1, uint32(h))
			w.number(2, uint32(priority))
		}
	}
	const create = flagCreate
	add := func(op uint16, w *writer) []byte { return request(tablesType|op, create, netfilter.FamilyIPv4, w) }
	table := add(newTable, text(1, "t"))
	for _, c := range []struct {
		name  string
		order []byte
		want  linux.Errno
	}{
		{"no name", add(newTable, text()), linux.EINVAL},
		{"long name", add(newTable, text(1, string(bytes.Repeat([]byte("x"), 300)))), linux.ENAMETOOLONG},
		{"strange family", request(tablesType|newTable, create, 99, text(1, "t")), linux.EOPNOTSUPP},
		{"there already", request(tablesType|newTable, create|flagExclusive, netfilter.FamilyIPv4, text(1, "t")), linux.EEXIST},
		{"strange flags", add(newTable, text(1, "u", 2, 0xf0)), linux.EOPNOTSUPP},
		{"chain of no table", add(newChain, text(1, "nobody", 3, "c")), linux.ENOENT},
		{"chain of a strange hook", add(newChain, text(1, "t", 3, "c", 4, hook(9, 0))), linux.EOPNOTSUPP},
		{"nat when forwarding", add(newChain, text(1, "t", 3, "c", 4, hook(2, 0), 7, "nat")), linux.EOPNOTSUPP},
		{"nat before tracking", add(newChain, text(1, "t", 3, "c", 4, hook(0, -300), 7, "nat")), linux.EOPNOTSUPP},
		{"chain of a strange type", add(newChain, text(1, "t", 3, "c", 4, hook(1, 0), 7, "odd")), linux.ENOENT},
		{"rule of no chain", add(newRule, text(1, "t", 2, "nobody")), linux.ENOENT},
		{"much user data", add(newTable, text(1, "u", 6, make([]byte, 300))), linux.ERANGE},
		{"set without keys", add(newSet, text(1, "t", 2, "s", 10, 1)), linux.EINVAL},
		{"set with long keys", add(newSet, text(1, "t", 2, "s", 5, 65)), linux.EINVAL},
		{"no such set", request(tablesType|delSet, 0, netfilter.FamilyIPv4, text(1, "t", 2, "s")), linux.ENOENT},
		{"no such table", request(tablesType|delTable, 0, netfilter.FamilyIPv4, text(1, "u")), linux.ENOENT},
		{"leniently", request(tablesType|destroyTable, 0, netfilter.FamilyIPv4, text(1, "u")), 0},
		{"an order of another subsystem", request(subsystemConntrack<<8, 0, 0, text()), linux.EINVAL},
		{"half an attribute", add(newTable, &writer{b: []byte{60, 0, 1, 0, 'x', 0, 0, 0}}), linux.EINVAL},
	} {
		f := netfilter.New(&host{})
		if err := firstError(Answer(f, 0, inBatch(table), 1, true)); err != 0 {
			t.Fatal(err)
		}
		if err := firstError(Answer(f, 0, inBatch(c.order), 1, true)); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestAnswer_blame wants the place of the attribute that is wrong.
func TestAnswer_blame(t *testing.T) {
	f := netfilter.New(&host{})
	w := &writer{}
	w.text(1, "nobody")
	w.text(3, "c")
	answers := Answer(f, 0, inBatch(request(tablesType|newChain, flagCreate, netfilter.FamilyIPv4, w)), 1, true)
	if len(answers) != 1 {
		t.Fatalf("%d answers", len(answers))
	}
	a := answers[0]
	if flags := le.Uint16(a[6:]); flags != flagCapped|flagTLVs || len(a) != 36+8 {
		t.Fatalf("flags %#x, %d bytes", flags, len(a))
	}
	if typ, at := le.Uint16(a[38:]), le.Uint32(a[40:]); typ != 2 || at != headerSize+genericSize {
		t.Errorf("attribute %d: offset %d", typ, at)
	}
}

// TestAnswer_interrupted does nothing of a batch that has no end, or of another
// generation.
func TestAnswer_interrupted(t *testing.T) {
	f := netfilter.New(&host{})
	w := &writer{}
	w.text(1, "t")
	b := inBatch(request(tablesType|newTable, flagCreate, netfilter.FamilyIPv4, w))
	Answer(f, 0, b[:len(b)-20], 1, true)
	if len(f.Tables) != 0 {
		t.Error("a batch without an end was carried out")
	}
	w = &writer{}
	w.number(1, 77)
	begin := request(batchBegin, 0, 0, w)
	begin[headerSize+3] = subsystemTables
	if err := firstError(Answer(f, 0, append(begin, b[20:]...), 1, true)); err != linux.ERESTART || len(f.Tables) != 0 {
		t.Errorf("another generation's: %v, %d tables", err, len(f.Tables))
	}
}

// FuzzAnswer feeds netlink messages, shows packets to what rules they make, and
// lists them.
func FuzzAnswer(f *testing.F) {
	for _, b := range batches(f) {
		f.Add(b, []byte("\x45\x00\x00\x28\x00\x00\x00\x00\x40\x06\x00\x00\x7f\x00\x00\x01\x7f\x00\x00\x01\x04\x00\x00\x50\x00\x00\x00\x00\x00\x00\x00\x00\x50\x02\x00\x00\x00\x00\x00\x00"))
	}
	f.Add(request(subsystemConntrack<<8|listFlows, flagDump, 0, &writer{}), []byte{0x60})
	f.Fuzz(func(t *testing.T, b, packet []byte) {
		h := &host{}
		x := netfilter.New(h)
		generation(x, b)
		Answer(x, h.now, b, 1, true)
		for hook := netfilter.Prerouting; hook <= netfilter.Postrouting; hook++ {
			if len(packet) < 40 {
				break
			}
			p := &netfilter.Packet{V6: packet[0]>>4 == 6, Header: bytes.Clone(packet), Transport: 20, Proto: packet[9], In: lo, Out: lo, Owner: &netfilter.Owner{}}
			if p.V6 {
				p.Transport, p.Proto = 40, packet[6]
			}
			h.now += 1e9
			x.Run(hook, p)
			if p.Header[0] != packet[0] {
				t.Fatal("the IP header's version or length has changed")
			}
		}
		ruleset(x, h.now)
		if Answer(x, h.now, inBatch(request(tablesType|delTable, 0, 0, &writer{})), 1, true); x.Held() != 0 {
			t.Fatalf("%d bytes are held for nothing", x.Held())
		}
	})
}
