package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A unit is what a row's samples are in.
type unit string

const (
	nanoseconds       unit = "ns"
	milliseconds      unit = "ms"
	mebibytes         unit = "MiB"
	milliPerSecond    unit = "ms/s"
	gigabits          unit = "Gbit/s"
	requestsPerSecond unit = "/s"
	cpuPerGigabit     unit = "ms/Gbit"
)

// A target is what the sandbox is to reach in a row.
type target struct {
	kind  targetKind
	limit float64
}

type targetKind int

const (
	noTarget    targetKind = iota
	ratioAtMost            // sandbox divided by native
	ratioAtLeast
	lessThan // the sandbox's own figure, in the row's unit
)

var none = target{}

func atMost(ratio float64) target  { return target{ratioAtMost, ratio} }
func atLeast(ratio float64) target { return target{ratioAtLeast, ratio} }
func under(v float64) target       { return target{lessThan, v} }

// reached says whether the sandbox's median v holds the target beside native's.
// ok is false where there is nothing to say: no target, or no sample to compare.
func (t target) reached(v, native []float64) (reached, ok bool) {
	if t.kind == noTarget || len(v) == 0 {
		return false, false
	}
	if t.kind == lessThan {
		return median(v) < t.limit, true
	}
	if len(native) == 0 || median(native) == 0 {
		return false, false
	}
	// As printed: a figure that reads as its target is one.
	r := round2(median(v) / median(native))
	if t.kind == ratioAtLeast {
		return r >= t.limit, true
	}
	return r <= t.limit, true
}

func (t target) text(u unit) string {
	switch t.kind {
	case ratioAtMost:
		return "≤ " + trim(t.limit) + "×"
	case ratioAtLeast:
		return "≥ " + trim(t.limit) + "×"
	case lessThan:
		return "< " + format(t.limit, u)
	}
	return ""
}

// A notThere says why a row has no figure: a program is not installed, or the
// sandbox cannot do it yet. It is no failure.
type notThere string

func (n notThere) Error() string { return string(n) }

// table is the samples of all rows and columns.
type table struct {
	columns []string
	rows    []string // in their order
	about   map[string]tableRow
	cells   map[cell][]float64
	errs    map[cell]error
}

type tableRow struct {
	unit   unit
	target target
}

type cell struct{ column, row string }

func newTable() table {
	return table{about: map[string]tableRow{}, cells: map[cell][]float64{}, errs: map[cell]error{}}
}

func (t *table) addRow(name string, u unit, goal target) {
	t.rows = append(t.rows, name)
	t.about[name] = tableRow{u, goal}
}

// add notes one sample, or why there is none: then there will be no more.
func (t *table) add(row, column string, v float64, err error) {
	c := cell{column, row}
	if err != nil {
		t.errs[c] = err
		return
	}
	t.cells[c] = append(t.cells[c], v)
}

func (t *table) failed(row, column string) bool { return t.errs[cell{column, row}] != nil }

// print prints the table as it goes into a document.
func (t *table) print(w io.Writer) {
	header, rule := []string{""}, "| --- |"
	for _, c := range t.columns {
		header, rule = append(header, c), rule+" ---: |"
	}
	t.printLine(w, append(header, "target"))
	fmt.Fprintln(w, rule+" --- |")
	held, aims := 0, 0
	for _, name := range t.rows {
		line := []string{name}
		for _, c := range t.columns {
			line = append(line, t.text(name, c))
		}
		a := t.about[name]
		goal := a.target.text(a.unit)
		if reached, ok := t.reached(name); ok && reached {
			goal, held, aims = "✓ "+goal, held+1, aims+1
		} else if ok {
			goal, aims = "✗ "+goal, aims+1
		}
		t.printLine(w, append(line, goal))
	}
	fmt.Fprintf(w, "\n%d of %d targets reached.\n", held, aims)
}

func (t *table) reached(row string) (reached, ok bool) {
	return t.about[row].target.reached(t.cells[cell{bulkhead, row}], t.cells[cell{native, row}])
}

func (t *table) printLine(w io.Writer, line []string) {
	for i, s := range line {
		switch i {
		case 0:
			fmt.Fprintf(w, "| %s%s |", s, pad(s, 32))
		case len(line) - 1:
			fmt.Fprintf(w, " %s%s |\n", s, pad(s, 10))
		default:
			fmt.Fprintf(w, " %s%s |", pad(s, 19), s)
		}
	}
}

func pad(s string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

// text is a cell: the median and, beside native, the ratio.
func (t *table) text(row, column string) string {
	c := cell{column, row}
	v := t.cells[c]
	if len(v) == 0 {
		var missing notThere
		switch err := t.errs[c]; {
		case errors.As(err, &missing):
			return "not there"
		case err != nil && !errors.Is(err, errElsewhere):
			return "failed"
		}
		return "–"
	}
	text := format(median(v), t.about[row].unit)
	base := t.cells[cell{native, row}]
	if column == native || len(base) == 0 || median(base) == 0 {
		return text
	}
	return text + " (" + ratio(median(v)/median(base)) + "×)"
}

// printReasons says why cells have no figure, each reason once a column.
func (t *table) printReasons(w io.Writer) {
	type reason struct{ column, why string }
	rowsOf := map[reason][]string{}
	var order []reason
	for _, row := range t.rows {
		for _, c := range t.columns {
			err := t.errs[cell{c, row}]
			if err == nil || errors.Is(err, errElsewhere) {
				continue
			}
			r := reason{c, err.Error()}
			if rowsOf[r] == nil {
				order = append(order, r)
			}
			rowsOf[r] = append(rowsOf[r], row)
		}
	}
	for _, r := range order {
		fmt.Fprintf(w, "\n%s: %s: %s\n", r.column, strings.Join(rowsOf[r], "; "), r.why)
	}
}

// report is what -json writes.
type report struct {
	Rounds int         `json:"rounds"`
	CPUs   int         `json:"cpus"`
	Kernel string      `json:"kernel"`
	Rows   []reportRow `json:"rows"`
}

type reportRow struct {
	Name    string                `json:"name"`
	Unit    unit                  `json:"unit"`
	Target  string                `json:"target,omitempty"`
	Reached *bool                 `json:"reached,omitempty"`
	Columns map[string]reportCell `json:"columns"`
}

type reportCell struct {
	Median  float64   `json:"median,omitempty"`
	Ratio   float64   `json:"ratio,omitempty"` // to native
	Samples []float64 `json:"samples,omitempty"`
	Error   string    `json:"error,omitempty"`
}

func (t *table) report() report {
	all := report{Rounds: *rounds, CPUs: runtime.NumCPU(), Kernel: kernel()}
	for _, name := range t.rows {
		a := t.about[name]
		r := reportRow{Name: name, Unit: a.unit, Target: a.target.text(a.unit), Columns: map[string]reportCell{}}
		if reached, ok := t.reached(name); ok {
			r.Reached = &reached
		}
		base := median(t.cells[cell{native, name}])
		for _, column := range t.columns {
			c := cell{column, name}
			rc := reportCell{Samples: t.cells[c], Median: median(t.cells[c])}
			if base != 0 {
				rc.Ratio = rc.Median / base
			}
			if err := t.errs[c]; err != nil {
				rc.Error = err.Error()
			}
			r.Columns[column] = rc
		}
		all.Rows = append(all.Rows, r)
	}
	return all
}

func (t *table) writeJSON(path string) error {
	text, err := json.MarshalIndent(t.report(), "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// ratio keeps the digits that mean something: two after the point near 1, where
// targets lie.
func ratio(r float64) string {
	switch {
	case r < 3:
		return strconv.FormatFloat(r, 'f', 2, 64)
	case r < 10:
		return strconv.FormatFloat(r, 'f', 1, 64)
	}
	return strconv.FormatFloat(r, 'f', 0, 64)
}

func round2(r float64) float64 {
	v, _ := strconv.ParseFloat(strconv.FormatFloat(r, 'f', 2, 64), 64)
	return v
}

func trim(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func format(v float64, u unit) string {
	switch {
	case u == nanoseconds && v >= 1e6:
		return fmt.Sprintf("%.2f ms", v/1e6)
	case u == nanoseconds && v >= 1e3:
		return fmt.Sprintf("%.2f µs", v/1e3)
	case u == nanoseconds:
		return fmt.Sprintf("%.0f ns", v)
	case u == requestsPerSecond && v >= 1e3:
		return fmt.Sprintf("%.1f k/s", v/1e3)
	case u == requestsPerSecond:
		return fmt.Sprintf("%.0f /s", v)
	case u == milliPerSecond || u == gigabits:
		return fmt.Sprintf("%.2f %s", v, u)
	}
	return fmt.Sprintf("%.1f %s", v, u)
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
