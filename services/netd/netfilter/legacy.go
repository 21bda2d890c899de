package netfilter

import (
	"bytes"

	"bulkhead/proto/linux"
)

// This file has the tables of iptables-legacy(8): one block of memory for each,
// which a program reads, changes and gives back as a whole: struct ipt_replace of
// linux/netfilter_ipv4/ip_tables.h and its sibling for IPv6.

// legacy are the tables of one family.
type legacy struct{ tables []*blob }

// layout is where the fields of an entry are: struct ipt_entry or ip6t_entry.
type layout struct {
	proto, flags, inverse   int
	offsets, counters, size int
	addr                    int // length of an address
	ifaces                  int
	goTo                    byte // the flag
	fragment                byte // the flag of IPv4
}

var layouts = [2]layout{
	{proto: 80, flags: 82, inverse: 83, offsets: 88, counters: 96, size: 112, addr: 4, ifaces: 16, goTo: 2, fragment: 1},
	{proto: 128, flags: 131, inverse: 132, offsets: 140, counters: 152, size: 168, addr: 16, ifaces: 64, goTo: 4},
}

// blob is a table.
type blob struct {
	name      string
	v6        bool
	hooks     uint32 // bits
	starts    [hooks]uint32
	underflow [hooks]uint32
	entries   []entry
	index     map[uint32]int // of the entry at an offset
	bytes     []byte
	memory    int  // bytes that matches may take which remember things
	changed   bool // it is not empty as it was at the start
}

// entry is a rule of a blob.
type entry struct {
	offset   uint32
	head     []byte // of bytes
	matches  []*Extension
	target   *Extension // nil: verdict
	verdict  int32      // above 0: an offset to jump to
	error    bool
	counters Counter
}

// legacyHooks are those of each table.
var legacyHooks = map[string]uint32{
	"filter":   1<<Input | 1<<Forward | 1<<Output,
	"nat":      1<<Prerouting | 1<<Input | 1<<Output | 1<<Postrouting,
	"mangle":   1<<Prerouting | 1<<Input | 1<<Forward | 1<<Output | 1<<Postrouting,
	"raw":      1<<Prerouting | 1<<Output,
	"security": 1<<Input | 1<<Forward | 1<<Output,
}

func (b *blob) priority(h Hook) int32 {
	switch b.name {
	case "raw":
		return -300
	case "mangle":
		return -150
	case "nat":
		if rewritesSource(h) {
			return prioritySrcNAT
		}
		return priorityDstNAT
	case "security":
		return 50
	}
	return 0
}

// table finds a table, and makes it as it is at first: every hook accepts.
func (f *Filter) table(v6 bool, name string) (*blob, error) {
	l := &f.legacy[family(v6)]
	for _, b := range l.tables {
		if b.name == name {
			return b, nil
		}
	}
	valid, ok := legacyHooks[name]
	if !ok {
		return nil, linux.ENOENT
	}
	b := &blob{name: name, v6: v6, hooks: valid}
	y := &layouts[family(v6)]
	var raw []byte
	add := func(target string, data []byte, verdict int32) {
		e := make([]byte, y.size)
		t := make([]byte, 32, 64)
		copy(t[2:31], target)
		if target == "" {
			t = le.AppendUint32(t, uint32(verdict))
			t = append(t, 0, 0, 0, 0)
		} else {
			t = append(t, data...)
		}
		le.PutUint16(t, uint16(len(t)))
		le.PutUint16(e[y.offsets:], uint16(y.size))
		le.PutUint16(e[y.offsets+2:], uint16(y.size+len(t)))
		raw = append(append(raw, e...), t...)
	}
	for h := range hooks {
		if valid&(1<<h) != 0 {
			b.starts[h], b.underflow[h] = uint32(len(raw)), uint32(len(raw))
			add("", nil, -2)
		}
	}
	name32 := make([]byte, 32)
	copy(name32, "ERROR")
	add("ERROR", name32, 0)
	if err := b.read(raw); err != nil {
		return nil, err
	}
	l.tables = append(l.tables, b)
	return b, nil
}

// read checks the entries of a table: EINVAL, ENOENT for an extension that is not
// known, ELOOP.
func (b *blob) read(raw []byte) error {
	y := &layouts[family(b.v6)]
	b.bytes, b.index = bytes.Clone(raw), map[uint32]int{}
	for at := 0; at < len(raw); {
		rest := b.bytes[at:]
		if len(rest) < y.size+32 {
			return linux.EINVAL
		}
		target, next := int(le.Uint16(rest[y.offsets:])), int(le.Uint16(rest[y.offsets+2:]))
		if target < y.size || target+32 > next || next > len(rest) || next&7 != 0 {
			return linux.EINVAL
		}
		e := entry{offset: uint32(at), head: rest[:y.size]}
		e.counters = Counter{le.Uint64(rest[y.counters:]), le.Uint64(rest[y.counters+8:])}
		if err := b.parts(&e, rest[y.size:target], rest[target:next]); err != nil {
			return err
		}
		b.index[uint32(at)] = len(b.entries)
		b.entries = append(b.entries, e)
		at += next
	}
	return b.check()
}

// parts reads an entry's matches and its target.
func (b *blob) parts(e *entry, matches, target []byte) error {
	fam := uint8(FamilyIPv4)
	if b.v6 {
		fam = FamilyIPv6
	}
	y := &layouts[family(b.v6)]
	proto := uint8(le.Uint16(e.head[y.proto:]))
	if e.head[y.inverse]&0x40 != 0 {
		proto = 0
	}
	for len(matches) > 0 {
		name, revision, data, rest, ok := part(matches)
		if !ok {
			return linux.EINVAL
		}
		x, err := NewExtension(false, fam, name, revision, data)
		if err != nil {
			return err
		}
		if b.memory += x.memory(); b.memory > maxHeld {
			return linux.ENOMEM
		}
		e.matches = append(e.matches, x)
		matches = rest
	}
	name, revision, data, rest, ok := part(target)
	switch {
	case !ok || len(rest) > 0:
		return linux.EINVAL
	case name == "":
		if len(data) < 4 {
			return linux.EINVAL
		}
		e.verdict = int32(le.Uint32(data))
	case name == "ERROR":
		e.error = true
	default:
		x, err := NewExtension(true, fam, name, revision, data)
		if err != nil {
			return err
		}
		e.target = x
		return x.Suits(proto)
	}
	return nil
}

// part reads a struct xt_entry_match or xt_entry_target.
func part(b []byte) (name string, revision uint8, data, rest []byte, ok bool) {
	if len(b) < 32 {
		return "", 0, nil, nil, false
	}
	n := int(le.Uint16(b))
	if n < 32 || n > len(b) {
		return "", 0, nil, nil, false
	}
	raw := b[2:31]
	if i := bytes.IndexByte(raw, 0); i >= 0 {
		raw = raw[:i]
	}
	return string(raw), b[31], b[32:n], b[n:], true
}

// check says whether jumps lead to entries, targets are where they may be, and no
// chain calls itself.
func (b *blob) check() error {
	for i := range b.entries {
		e := &b.entries[i]
		if e.target != nil || e.error {
			continue
		}
		switch {
		case e.verdict >= 0:
			if _, ok := b.index[uint32(e.verdict)]; !ok {
				return linux.EINVAL
			}
		case e.verdict != -1 && e.verdict != -2 && e.verdict != -5: // drop, accept, return
			return linux.EINVAL
		}
	}
	kind := "filter"
	if b.name == "nat" {
		kind = "nat"
	}
	for h := range hooks {
		if b.hooks&(1<<h) == 0 {
			continue
		}
		if _, ok := b.index[b.starts[h]]; !ok {
			return linux.EINVAL
		}
		if _, ok := b.index[b.underflow[h]]; !ok {
			return linux.EINVAL
		}
		seen := map[int]uint8{}
		if err := b.follow(b.index[b.starts[h]], kind, h, seen, 0); err != nil {
			return err
		}
	}
	return nil
}

// follow walks a chain and those that it calls. seen is 1 for a chain that is being
// walked, 2 for one that was.
func (b *blob) follow(at int, kind string, h Hook, seen map[int]uint8, depth int) error {
	if seen[at] == 2 {
		return nil
	}
	if seen[at] == 1 || depth > maxBlobDepth {
		return linux.ELOOP
	}
	seen[at] = 1
	for i := at; i < len(b.entries); i++ {
		e := &b.entries[i]
		if e.error {
			break // the head of the next chain
		}
		if e.target != nil && !e.target.allowed(kind, h) {
			return linux.EINVAL
		}
		if e.target == nil && e.verdict >= 0 {
			to := b.index[uint32(e.verdict)]
			if to == i+1 {
				continue
			}
			if err := b.follow(to, kind, h, seen, depth+1); err != nil {
				return err
			}
		}
		if e.offset == b.underflow[h] {
			break
		}
	}
	seen[at] = 2
	return nil
}

// maxBlobDepth is how deep chains may call each other.
const maxBlobDepth = 64

func (b *blob) needsTracking() bool {
	for _, e := range b.entries {
		for _, x := range append(e.matches[:len(e.matches):len(e.matches)], e.target) {
			if x != nil && x.tracking && b.changed {
				return true
			}
		}
	}
	return false
}

// matches says whether a packet is as the entry's head wants it: struct ipt_ip.
func (e *entry) matchesHead(p *Packet) bool {
	y := &layouts[family(p.V6)]
	h := e.head
	n := y.addr
	inv := h[y.inverse]
	if masked(p.address(true), h, h[2*n:]) == (inv&8 != 0) || masked(p.address(false), h[n:], h[3*n:]) == (inv&16 != 0) {
		return false
	}
	if masked(padded(nameOf(p.In)), h[y.ifaces:], h[y.ifaces+32:]) == (inv&1 != 0) ||
		masked(padded(nameOf(p.Out)), h[y.ifaces+16:], h[y.ifaces+48:]) == (inv&2 != 0) {
		return false
	}
	if proto := le.Uint16(h[y.proto:]); proto != 0 && (uint16(p.Proto) == proto) == (inv&0x40 != 0) {
		return false
	}
	return h[y.flags]&y.fragment == 0 || p.Later != (inv&0x20 != 0)
}

func padded(name string) []byte {
	b := make([]byte, 16)
	copy(b[:15], name)
	return b
}

// blob runs a table at the evaluation's hook; false drops the packet.
func (v *evaluation) blob(b *blob) bool {
	y := &layouts[family(b.v6)]
	var stack [maxBlobDepth + 1]int
	depth := 0
	at := b.index[b.starts[v.hook]]
	for at < len(b.entries) {
		if v.steps++; v.steps > maxSteps {
			return false
		}
		e := &b.entries[at]
		v.verdict = Continue
		if e.matchesHead(v.p) {
			for _, m := range e.matches {
				if m.eval(v); v.verdict != Continue {
					break
				}
			}
		} else {
			v.verdict = Break
		}
		if v.verdict == Drop {
			return false
		}
		if v.verdict != Continue {
			at++
			continue
		}
		e.counters.count(v.p)
		switch {
		case e.error:
			return false
		case e.target != nil:
			if e.target.eval(v); v.verdict == Accept {
				return true
			} else if v.verdict == Drop {
				return false
			}
			at++
		case e.verdict == -1:
			return false
		case e.verdict == -2:
			return true
		case e.verdict == -5:
			if depth == 0 {
				at = b.index[b.underflow[v.hook]]
				u := &b.entries[at]
				u.counters.count(v.p)
				return u.verdict == -2
			}
			depth--
			at = stack[depth]
		default:
			to := b.index[uint32(e.verdict)]
			if to != at+1 && e.head[y.flags]&y.goTo == 0 {
				if depth == len(stack) {
					return false
				}
				stack[depth] = at + 1
				depth++
			}
			at = to
		}
	}
	return false
}
