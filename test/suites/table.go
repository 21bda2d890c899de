package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// row is what became of one suite.
type row struct {
	suite       string
	host, guest int      // tests that passed
	differ      []string // what passes on the host only, and why is not known
	known       []string // what passes on the host only, with the reason
	gone        []string // what testdata/differs need not name any more
	note        string
}

// hold compares what passed.
func (w *row) hold(host, guest results, known map[string]string) {
	w.host, w.guest = host.count(pass), guest.count(pass)
	for _, name := range host.names() {
		if host[name] != pass || guest[name] == pass {
			continue
		}
		got := guest[name]
		if got == "" {
			got = "not run"
		}
		if why := reason(known, w.suite, name); why != "" {
			w.known = append(w.known, fmt.Sprintf("%s (%s): %s", name, got, why))
		} else {
			w.differ = append(w.differ, fmt.Sprintf("%s (%s)", name, got))
		}
	}
	for _, name := range guest.names() {
		if why, ok := known[nameOf(w.suite, name)]; ok && guest[name] == pass {
			w.gone = append(w.gone, name+": "+why)
		}
	}
}

// table is what became of all.
type table struct {
	rows      []row
	differing int
}

func (t *table) add(w row) {
	t.rows = append(t.rows, w)
	t.differing += len(w.differ)
}

func (t *table) print(out io.Writer) {
	for _, w := range t.rows {
		for _, d := range w.differ {
			fmt.Fprintf(out, "differs: %s/%s\n", w.suite, d)
		}
	}
	for _, w := range t.rows {
		for _, d := range w.known {
			fmt.Fprintf(out, "known: %s/%s\n", w.suite, d)
		}
		for _, d := range w.gone {
			fmt.Fprintf(out, "passes now, take it out of testdata/differs: %s/%s\n", w.suite, d)
		}
	}
	tw := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	defer tw.Flush()
	fmt.Fprintln(tw, "suite\tpassed on the host\tin the sandbox\tdiffering\tknown\t")
	for _, w := range t.rows {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t%s\n", w.suite, w.host, w.guest, len(w.differ), len(w.known), w.note)
	}
}
