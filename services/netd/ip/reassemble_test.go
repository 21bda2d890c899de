package ip

import (
	"bytes"
	"math/rand"
	"net/netip"
	"testing"
)

var fragKey = FragmentKey{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"), Proto: 17, ID: 5}

// Any order, with copies, gives the datagram, and nothing is left.
func TestReassemble_anyOrder(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for range 300 {
		want := make([]byte, 1+rnd.Intn(20000))
		rnd.Read(want)
		step := 8 * (1 + rnd.Intn(200))
		var ps []Piece
		for off := 0; off < len(want); off += step {
			end := min(off+step, len(want))
			ps = append(ps, Piece{Offset: off, More: end < len(want), Data: want[off:end], First: []byte("first")})
		}
		if len(ps) > fragmentPieces {
			continue
		}
		rnd.Shuffle(len(ps), func(i, j int) { ps[i], ps[j] = ps[j], ps[i] })
		var r Reassembler
		for i, p := range ps {
			if i > 0 {
				r.Add(0, fragKey, ps[rnd.Intn(i)])
			}
			whole, first, ok := r.Add(0, fragKey, p)
			if ok != (i == len(ps)-1) {
				t.Fatal("complete at", i, "of", len(ps))
			}
			if ok && (!bytes.Equal(whole, want) || string(first) != "first") {
				t.Fatal("differs")
			}
		}
		if r.Memory() != 0 || len(r.held) != 0 || len(r.order) != 0 {
			t.Fatal("left:", r.Memory())
		}
	}
}

// RFC 5722: a piece that overlaps ends the datagram, and what follows of it.
func TestReassemble_overlapEndsIt(t *testing.T) {
	var r Reassembler
	r.Add(0, fragKey, Piece{Offset: 0, More: true, Data: make([]byte, 16)})
	r.Add(0, fragKey, Piece{Offset: 8, More: true, Data: make([]byte, 16)})
	if _, _, ok := r.Add(0, fragKey, Piece{Offset: 16, Data: make([]byte, 8)}); ok || r.Memory() != 0 {
		t.Error("it lives on", r.Memory())
	}
	if q := r.Expire(31e9); len(q) != 0 || len(r.held) != 0 {
		t.Error("not forgotten", q)
	}
}

func TestReassemble_endsDisagree(t *testing.T) {
	for _, ps := range [][]Piece{
		{{Offset: 8, Data: make([]byte, 8)}, {Offset: 16, More: true, Data: make([]byte, 8)}},
		{{Offset: 16, More: true, Data: make([]byte, 8)}, {Offset: 8, Data: make([]byte, 8)}},
		{{Offset: 0, More: true, Data: make([]byte, 7)}, {Offset: 8, Data: make([]byte, 8)}},
		{{Offset: 65528, Data: make([]byte, 9)}},
	} {
		var r Reassembler
		for _, p := range append(ps, Piece{Offset: 0, More: true, Data: make([]byte, 8)}) {
			if _, _, ok := r.Add(0, fragKey, p); ok {
				t.Errorf("%v came together", ps)
			}
		}
	}
}

func TestReassemble_boundsAndTime(t *testing.T) {
	var r Reassembler
	k := fragKey
	for i := range 5000 {
		k.ID = uint32(i)
		r.Add(int64(i), k, Piece{More: true, Data: make([]byte, 8000), First: []byte{1}})
	}
	if r.Memory() > fragmentMemory || len(r.order) > fragmentsAtOnce {
		t.Error(r.Memory(), len(r.order))
	}
	n := len(r.order)
	if d := r.Deadline(); d <= 30e9 || d > 31e9 {
		t.Error("deadline", d)
	}
	if q := r.Expire(31e9); len(q) != n || r.Memory() != 0 || r.Deadline() != never {
		t.Error(len(q), n, r.Memory())
	}
}

func FuzzReassemble(f *testing.F) {
	f.Add([]byte{0, 1, 2, 1, 2, 2, 2, 0, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Reassembler
		for now := int64(0); len(b) >= 3; b, now = b[3:], now+1e9 {
			k := fragKey
			k.ID = uint32(b[0] & 3)
			r.Add(now, k, Piece{Offset: int(b[1]) * 8 << (b[0] >> 6 & 3 * 2), More: b[0]&4 != 0, Data: make([]byte, int(b[2])), First: b[:1]})
			r.Expire(now)
			n := 0
			for _, d := range r.order {
				for i, p := range d.pieces {
					n += len(p.Data)
					if i > 0 && d.pieces[i-1].Offset+len(d.pieces[i-1].Data) > p.Offset {
						t.Fatal("overlap is held")
					}
				}
			}
			if n != r.memory || len(r.held) != len(r.order) {
				t.Fatal("count", n, r.memory)
			}
		}
	})
}
