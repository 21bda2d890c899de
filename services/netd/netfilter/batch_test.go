package netfilter

import (
	"fmt"
	"net/netip"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/wire"
)

// TestChain_verdicts runs small programs of chains.
func TestChain_verdicts(t *testing.T) {
	verdict := func(code int32, c *Chain) []Expr { return []Expr{&Immediate{Verdict: &Verdict{code, c}}} }
	for _, c := range []struct {
		name   string
		policy int32
		base   func(a, b *Chain) [][]Expr
		a, b   func(a, b *Chain) [][]Expr
		want   bool
	}{
		{"policy accept", Accept, nil, nil, nil, true},
		{"policy drop", Drop, nil, nil, nil, false},
		{"accept", Drop, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Accept, nil)} }, nil, nil, true},
		{"drop", Accept, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Drop, nil), verdict(Accept, nil)} }, nil, nil, false},
		{"continue", Accept, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Continue, nil), verdict(Drop, nil)} }, nil, nil, false},
		{"return at the base", Drop, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Return, nil), verdict(Accept, nil)} }, nil, nil, false},
		{"jump comes back", Drop, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Jump, a), verdict(Accept, nil)} }, nil, nil, true},
		{"goto does not", Drop, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Goto, a), verdict(Accept, nil)} }, nil, nil, false},
		{"return from a jump", Drop, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Jump, a), verdict(Accept, nil)} },
			func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Return, nil), verdict(Drop, nil)} }, nil, true},
		{"goto in a jump returns over it", Drop, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Jump, a), verdict(Accept, nil)} },
			func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Goto, b), verdict(Drop, nil)} }, nil, true},
		{"accept two deep", Drop, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Jump, a)} },
			func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Jump, b), verdict(Drop, nil)} },
			func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Accept, nil)} }, true},
	} {
		f := New(&fakeHost{})
		base := addChain(t, f, "filter", Input, 0, c.policy)
		batch := f.Begin()
		a, b := &Chain{Name: "a"}, &Chain{Name: "b"}
		for _, x := range []*Chain{a, b} {
			if err := batch.AddChain(base.Table, x, 0); err != nil {
				t.Fatal(err)
			}
		}
		for x, rules := range map[*Chain]func(a, b *Chain) [][]Expr{base: c.base, a: c.a, b: c.b} {
			if rules == nil {
				continue
			}
			for _, r := range rules(a, b) {
				if err := batch.AddRule(x, &Rule{Exprs: r}, 0, nil, true); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := batch.Commit(); err != nil {
			t.Fatal(err)
		}
		g := segment{proto: wire.ProtoUDP, src: netip.MustParseAddrPort("10.0.0.2:1"), dst: netip.MustParseAddrPort("10.0.0.1:2")}
		if got := f.Run(Input, g.make()); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestCommit_loops refuses chains that call each other for ever or too deep.
func TestCommit_loops(t *testing.T) {
	for _, c := range []struct {
		length int
		loop   bool
		want   error
	}{{1, false, nil}, {15, false, nil}, {16, false, linux.EMLINK}, {1, true, linux.EMLINK}, {5, true, linux.EMLINK}} {
		f := New(&fakeHost{})
		base := addChain(t, f, "filter", Input, 0, Accept)
		b := f.Begin()
		chains := []*Chain{base}
		for i := range c.length {
			x := &Chain{Name: fmt.Sprint("c", i)}
			if err := b.AddChain(base.Table, x, 0); err != nil {
				t.Fatal(err)
			}
			chains = append(chains, x)
		}
		jump := func(from, to *Chain) {
			if err := b.AddRule(from, &Rule{Exprs: []Expr{&Immediate{Verdict: &Verdict{Jump, to}}}}, 0, nil, true); err != nil {
				t.Fatal(err)
			}
		}
		for i := range c.length {
			jump(chains[i], chains[i+1])
		}
		if c.loop {
			jump(chains[c.length], chains[1])
		}
		err := b.Commit()
		if err != c.want {
			t.Errorf("%d chains, loop %v: %v, want %v", c.length, c.loop, err, c.want)
		}
		if err != nil {
			if b.Abort(); len(base.Rules) != 0 || len(base.Table.Chains) != 1 {
				t.Errorf("%d rules and %d chains are left", len(base.Rules), len(base.Table.Chains))
			}
		}
	}
}

// TestBatch_bounds stops a guest that piles rules up.
func TestBatch_bounds(t *testing.T) {
	f := New(&fakeHost{})
	base := addChain(t, f, "filter", Input, 0, Accept)
	b := f.Begin()
	n := 0
	for ; ; n++ {
		if err := b.AddRule(base, &Rule{Exprs: []Expr{&Counter{}}}, 0, nil, true); err != nil {
			if err != linux.ENOMEM && err != linux.ENFILE {
				t.Error(err)
			}
			break
		}
	}
	if f.held > maxHeld || n < 10000 {
		t.Errorf("%d bytes for %d rules", f.held, n)
	}
	if b.Abort(); f.held != 2*thingSize {
		t.Errorf("%d bytes are held for nothing", f.held)
	}
}
