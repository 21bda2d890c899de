package netfilter

import (
	"bytes"
	"slices"

	"bulkhead/proto/linux"
)

// This file is what iptables-legacy(8) asks and orders.

// LegacyNames are the tables that somebody has asked for, a line each.
func (f *Filter) LegacyNames(v6 bool) []byte {
	var out []byte
	for _, b := range slices.Backward(f.legacy[family(v6)].tables) {
		out = append(append(out, b.name...), '\n')
	}
	return out
}

// LegacyInfo is a struct ipt_getinfo: ENOENT.
func (f *Filter) LegacyInfo(v6 bool, name string) ([]byte, error) {
	b, err := f.table(v6, name)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 32)
	copy(out[:31], name)
	out = le.AppendUint32(out, b.hooks)
	for _, list := range [][hooks]uint32{b.starts, b.underflow} {
		for _, n := range list {
			out = le.AppendUint32(out, n)
		}
	}
	out = le.AppendUint32(out, uint32(len(b.entries)))
	return le.AppendUint32(out, uint32(len(b.bytes))), nil
}

// LegacyEntries are a table's, with their counters: EAGAIN if they are not of the
// size that was expected.
func (f *Filter) LegacyEntries(v6 bool, name string, size uint32) ([]byte, error) {
	b, err := f.table(v6, name)
	if err != nil {
		return nil, err
	}
	if int(size) != len(b.bytes) {
		return nil, linux.EAGAIN
	}
	out := bytes.Clone(b.bytes)
	y := &layouts[family(v6)]
	for i := range b.entries {
		e := &b.entries[i]
		at := int(e.offset) + y.counters
		le.PutUint64(out[at:], e.counters.Packets)
		le.PutUint64(out[at+8:], e.counters.Bytes)
	}
	return out, nil
}

// LegacyReplace puts new entries into a table, given as a struct ipt_replace and
// what follows it; the old ones' counters are returned.
func (f *Filter) LegacyReplace(v6 bool, raw []byte) ([]Counter, error) {
	const head = 96
	if len(raw) < head {
		return nil, linux.EINVAL
	}
	old, err := f.table(v6, text(raw[:32]))
	if err != nil {
		return nil, err
	}
	n := &blob{name: old.name, v6: v6, hooks: old.hooks, changed: true}
	if le.Uint32(raw[32:]) != n.hooks || int(le.Uint32(raw[40:])) != len(raw)-head || int(le.Uint32(raw[84:])) != len(old.entries) {
		return nil, linux.EINVAL
	}
	for h := range hooks {
		n.starts[h], n.underflow[h] = le.Uint32(raw[44+4*int(h):]), le.Uint32(raw[64+4*int(h):])
	}
	if len(raw)-head > 1<<20 && f.legacySize()-len(old.bytes)+len(raw)-head > maxLegacy {
		return nil, linux.ENOMEM
	}
	if err := n.read(raw[head:]); err != nil {
		return nil, err
	}
	if int(le.Uint32(raw[36:])) != len(n.entries) {
		return nil, linux.EINVAL
	}
	counters := make([]Counter, len(old.entries))
	for i := range old.entries {
		counters[i] = old.entries[i].counters
	}
	for i := range n.entries {
		n.entries[i].counters = Counter{}
	}
	l := &f.legacy[family(v6)]
	l.tables[slices.Index(l.tables, old)] = n
	f.compile()
	return counters, nil
}

// maxLegacy bounds the tables that are larger than 1 MiB, in bytes.
const maxLegacy = 8 << 20

// legacySize is how large all tables are together.
func (f *Filter) legacySize() (n int) {
	for _, l := range f.legacy {
		for _, b := range l.tables {
			n += len(b.bytes)
		}
	}
	return n
}

// LegacyAdd adds to the counters of a table's entries: EINVAL.
func (f *Filter) LegacyAdd(v6 bool, name string, counters []Counter) error {
	b, err := f.table(v6, name)
	if err != nil {
		return err
	}
	if len(counters) != len(b.entries) {
		return linux.EINVAL
	}
	for i, c := range counters {
		b.entries[i].counters.Packets += c.Packets
		b.entries[i].counters.Bytes += c.Bytes
	}
	return nil
}

// text is a string up to its first zero.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
