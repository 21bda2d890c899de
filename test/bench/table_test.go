package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want float64
	}{
		{nil, 0},
		{[]float64{3}, 3},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 100, 2}, 3},
	} {
		before := slices.Clone(c.v)
		if got := median(c.v); got != c.want || !slices.Equal(c.v, before) {
			t.Errorf("median(%v) = %v, want %v, and the samples as they were", before, got, c.want)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		v    float64
		u    unit
		want string
	}{
		{0.4, nanoseconds, "0 ns"},
		{999, nanoseconds, "999 ns"},
		{1000, nanoseconds, "1.00 µs"},
		{1234567, nanoseconds, "1.23 ms"},
		{47.66, milliseconds, "47.7 ms"},
		{0.034, milliPerSecond, "0.03 ms/s"},
		{9.337, gigabits, "9.34 Gbit/s"},
		{893.2, requestsPerSecond, "893 /s"},
		{268500, requestsPerSecond, "268.5 k/s"},
	} {
		if got := format(c.v, c.u); got != c.want {
			t.Errorf("format(%v, %s) = %q, want %q", c.v, c.u, got, c.want)
		}
	}
	for r, want := range map[float64]string{0.333: "0.33", 1.05: "1.05", 2.999: "3.00", 4.04: "4.0", 23.4: "23"} {
		if got := ratio(r); got != want {
			t.Errorf("ratio(%v) = %q, want %q", r, got, want)
		}
	}
}

func TestTargets(t *testing.T) {
	for _, c := range []struct {
		name        string
		target      target
		v, native   []float64
		reached, ok bool
	}{
		{"none", none, []float64{1}, []float64{1}, false, false},
		{"no sample", atMost(1.5), nil, []float64{1}, false, false},
		{"nothing to compare", atMost(1.5), []float64{1}, nil, false, false},
		{"native is nothing", atMost(1.5), []float64{1}, []float64{0}, false, false},
		{"held", atMost(1.5), []float64{14, 15, 90}, []float64{10}, true, true},
		{"held as printed", atMost(1.05), []float64{1.054}, []float64{1}, true, true},
		{"missed", atMost(1.05), []float64{1.056}, []float64{1}, false, true},
		{"bandwidth held", atLeast(0.9), []float64{9}, []float64{10}, true, true},
		{"bandwidth missed", atLeast(0.9), []float64{8.9}, []float64{10}, false, true},
		{"its own figure held", under(1000), []float64{999}, nil, true, true},
		{"its own figure missed", under(1000), []float64{1000}, []float64{2000}, false, true},
	} {
		if reached, ok := c.target.reached(c.v, c.native); reached != c.reached || ok != c.ok {
			t.Errorf("%s: %v, %v, want %v, %v", c.name, reached, ok, c.reached, c.ok)
		}
	}
}

// filled is a table with a row of each kind.
func filled() *table {
	t := newTable()
	t.columns = []string{native, bulkhead, runc}
	t.addRow("call", nanoseconds, atMost(1.5))
	t.addRow("far", gigabits, atLeast(0.9))
	t.addRow("bad", milliseconds, none)
	for i, v := range []float64{100, 110, 90} {
		t.add("call", native, v, nil)
		t.add("call", bulkhead, 10*v+float64(i), nil)
	}
	t.add("call", runc, 100, nil)
	t.add("far", native, 10, nil)
	t.add("far", bulkhead, 9.5, nil)
	t.add("far", runc, 0, errElsewhere)
	t.add("bad", native, 0, notThere("make is not installed"))
	t.add("bad", bulkhead, 1, nil)
	t.add("bad", bulkhead, 0, errors.New("died"))
	t.add("bad", runc, 0, errors.New("died"))
	return &t
}

func TestPrint(t *testing.T) {
	table := filled()
	var out strings.Builder
	table.print(&out)
	table.printReasons(&out)
	want := []string{
		"| call | 100 ns | 1.00 µs (10×) | 100 ns (1.00×) | ✗ ≤ 1.5× |",
		"| far | 10.00 Gbit/s | 9.50 Gbit/s (0.95×) | – | ✓ ≥ 0.9× |",
		"| bad | not there | 1.0 ms | failed | |",
		"1 of 2 targets reached.",
		"native: bad: make is not installed",
		"bulkhead: bad: died",
		"runc: bad: died",
	}
	got := regexp.MustCompile(` +`).ReplaceAllString(out.String(), " ")
	for _, line := range want {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no line %q in\n%s", line, got)
		}
	}
	if strings.Contains(got, errElsewhere.Error()) {
		t.Errorf("a row without a meaning there is no failure:\n%s", got)
	}
}

func TestJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.json")
	if err := filled().writeJSON(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 3 || r.Rows[0].Reached == nil || *r.Rows[0].Reached || r.Rows[2].Reached != nil {
		t.Fatalf("rows: %+v", r.Rows)
	}
	if c := r.Rows[0].Columns[bulkhead]; c.Median != 1000 || c.Ratio != 10 || len(c.Samples) != 3 {
		t.Errorf("cell: %+v", c)
	}
	if c := r.Rows[2].Columns[runc]; c.Error != "died" {
		t.Errorf("failed cell: %+v", c)
	}
}

// Each row's name is its own, and what rows and micro call an operation is the
// same.
func TestNames(t *testing.T) {
	var names, operations []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	sorted := slices.Sorted(slices.Values(names))
	if len(slices.Compact(sorted)) != len(names) {
		t.Errorf("a name twice in %q", names)
	}
	sources, _ := filepath.Glob("micro/*.c")
	for _, path := range sources {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\{"([^"]+)", op_`).FindAllStringSubmatch(string(text), -1) {
			operations = append(operations, m[1])
		}
	}
	if len(operations) < 20 {
		t.Fatalf("operations of micro: %q", operations)
	}
	for _, o := range operations {
		if !slices.Contains(names, o) {
			t.Errorf("no row for micro's %q", o)
		}
	}
}

func TestParsers(t *testing.T) {
	rate := func(name string, got float64, err error, want float64) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	v, err := redisRate("\"test\",\"rps\"\n\"SET\",\"49751.24\",\"0.5\"\n", "set")
	rate("redis-benchmark", v, err, 49751.24)
	v, err = requestRate("  3000 requests in 1.00s\nRequests/sec:   2955.50\n")
	rate("wrk", v, err, 2955.5)
	v, err = requestRate("Requests per second:    1200.10 [#/sec] (mean)\n")
	rate("ab", v, err, 1200.1)
	v, err = iperfBandwidth([]byte(`{"end": {"sum_received": {"bits_per_second": 2.5e9}}}`))
	rate("iperf3", v, err, 2.5)
	if v := busyTicks("cpu  1 2 4 1000 1000 8 16 1000 32 32"); v != 1+2+4+8+16 {
		t.Errorf("busy ticks: %v", v)
	}
	for name, parse := range map[string]func() (float64, error){
		"redis":  func() (float64, error) { return redisRate("", "set") },
		"wrk":    func() (float64, error) { return requestRate("unable to connect") },
		"errors": func() (float64, error) { return requestRate("Non-2xx or 3xx responses: 5\nRequests/sec: 10\n") },
		"iperf3": func() (float64, error) { return iperfBandwidth([]byte(`{"error": "refused"}`)) },
	} {
		if v, err := parse(); err == nil {
			t.Errorf("%s: nothing measured is %v", name, v)
		}
	}
}
