package nfnetlink

import (
	"strings"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/netfilter"
)

// This file holds the matches and targets of iptables(8).

// readExtension reads a match, or a target.
func readExtension(target bool) func(c *scope, a *attrs) (*netfilter.Extension, error) {
	return func(c *scope, a *attrs) (*netfilter.Extension, error) {
		if !a.has(1) || !a.has(2) || !a.has(3) {
			return nil, linux.EINVAL
		}
		revision, err := small(a, 2)
		if err != nil {
			return nil, err
		}
		return netfilter.NewExtension(target, c.table.Family, a.text(1), revision, a[3])
	}
}

func writeExtension(w *writer, _ int64, e *netfilter.Extension) {
	w.text(1, e.Name)
	w.number(2, uint32(e.Revision))
	w.put(3, e.Info)
}

// compat answers whether a match or target of iptables(8) is known:
// linux/netfilter/nf_tables_compat.h.
func (s *session) compat(m *message) error {
	a, err := parse(m.attrs)
	if err != nil {
		return err
	}
	if m.operation() != 0 || !a.has(1) || !a.has(2) || !a.has(3) {
		return linux.EINVAL
	}
	revision, err := small(a, 2)
	if err != nil {
		return err
	}
	name := a.text(1)
	if strings.ContainsRune(name, '/') {
		return linux.EINVAL
	}
	if err := netfilter.Revisions(a.or(3, 0) == 1, m.family, name, revision); err != nil {
		return err
	}
	var w writer
	w.text(1, name)
	w.number(2, uint32(revision))
	w.number(3, a.or(3, 0))
	s.send(m.answer(m.typ, 0, s.generic(m.family, &w)))
	return nil
}
