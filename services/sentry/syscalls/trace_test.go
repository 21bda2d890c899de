package syscalls

import (
	"bytes"
	"regexp"
	"testing"

	"bulkhead/proto/linux"
)

// TestTracer_seesTheAnswer says that a line shows what the call gave, also where
// the guest's own thread has still to copy it.
func TestTracer_seesTheAnswer(t *testing.T) {
	g := newGuest(t)
	g.file("f", "contents")
	fd := g.open("f", linux.O_RDONLY)
	addr, _ := g.room(64)
	var out bytes.Buffer
	tr := NewTracer(&out)
	args := [6]uint64{uint64(fd), addr, 64}
	token := tr.Enter(g.t, 0, args)
	n, err := read(g.t, fd, addr, 64)
	tr.Exit(g.t, token, n, err)
	g.must(n, err)
	tr.Exit(g.t, tr.Enter(g.t, 231, [6]uint64{3}), 0, nil)
	want := `^\[pid 2\] read\(\d+, "contents", 64\) = 8 <[0-9.]+>\n\[pid 2\] exit_group\(3\) = \?\n$`
	if !regexp.MustCompile(want).MatchString(out.String()) {
		t.Errorf("wrote %s", &out)
	}
}
