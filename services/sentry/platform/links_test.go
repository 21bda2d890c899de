package platform

import (
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// readlinks runs readlink(2) of a path at dataAt by the fast lane, as the stub answers it
// after set, and says whether it asked the sentry; otherwise the result is in RBX.
func readlinks(t *testing.T, m *Machine, at uint64, path string, size uint64, set func(*Thread)) (th *Thread, asked bool) {
	t.Helper()
	th = guest(t, m, join(call(1000), fastArgs(m, unix.SYS_READLINK, at, dataAt, size), keepResult, call(1001)))
	expect(t, th, Syscall)
	if err := th.proc.CopyOut(at, append([]byte(path), 0)); err != nil {
		t.Fatal(err)
	}
	th.AnswerAlone(true)
	set(th)
	th.Return(0)
	expect(t, th, Syscall)
	if th.Regs.RAX == unix.SYS_READLINK {
		return th, true
	}
	if th.Regs.RAX != 1001 {
		t.Fatalf("call %d", th.Regs.RAX)
	}
	return th, false
}

// note has the stub know that path is no link.
func note(path string) func(*Thread) {
	return func(th *Thread) { th.NoLink(path, LinkHash(path), false) }
}

func TestNoLink_answers(t *testing.T) {
	m := fastMachine(t)
	for n := 1; n < LinkName; n++ {
		path := "/" + strings.Repeat("d", n-1)
		th, asked := readlinks(t, m, dataAt+uint64(n%3), path, 1023, note(path))
		if einval := -int64(unix.EINVAL); asked || int64(th.Regs.RBX) != einval {
			t.Errorf("%d bytes: asked %v, result %d", n, asked, int64(th.Regs.RBX))
		}
		th.Exit(true)
	}
}

// TestNoLink_absent: both kinds beside each other, each until it is forgotten.
func TestNoLink_absent(t *testing.T) {
	m := fastMachine(t)
	const there, absent = "/usr/include", "/usr/local/include/bits"
	for _, forget := range []bool{false, true} {
		set := func(th *Thread) {
			th.NoLink(there, LinkHash(there), false)
			th.NoLink(absent, LinkHash(absent), true)
			th.ForgetLinks(forget)
		}
		for path, want := range map[string]int64{there: -int64(unix.EINVAL), absent: -int64(unix.ENOENT)} {
			th, asked := readlinks(t, m, dataAt, path, 1023, set)
			if asked != (forget == (path == absent)) || !asked && int64(th.Regs.RBX) != want {
				t.Errorf("%s: asked %v, result %d", path, asked, int64(th.Regs.RBX))
			}
			th.Exit(true)
		}
	}
}

func TestNoLink_asks(t *testing.T) {
	m := fastMachine(t)
	const path, at = "/usr/include/bits", dataAt
	known := note(path)
	absent := func(th *Thread) { th.NoLink(path, LinkHash(path), true) }
	for _, c := range []struct {
		name string
		at   uint64
		path string
		size uint64
		set  func(*Thread)
	}{
		{"nothing is known", at, path, 9, func(*Thread) {}},
		{"another", at, "/usr/include/bitz", 9, known},
		{"less", at, "/usr/include/bit", 9, known},
		{"more", at, path + "/", 9, known},
		{"much more", at, path + strings.Repeat("x", 200), 9, known},
		{"no path", at, "", 9, known},
		{"no room", at, path, 0, known},
		{"less than none", at, path, 1 << 31, known},
		{"forgotten", at, path, 9, func(th *Thread) { known(th); th.ForgetLinks(false) }},
		{"forgotten, and another known", at, path, 9, func(th *Thread) { known(th); th.ForgetLinks(false); note("/usr")(th) }},
		{"absent, forgotten", at, path, 9, func(th *Thread) { absent(th); th.ForgetLinks(true) }},
		{"forged number", at, path, 9, func(th *Thread) { known(th); *th.slot.word(slotLinks) = 77 }},
		{"forged kind", at, path, 9, func(th *Thread) {
			known(th)
			*th.slot.word(slotLinkTable + int(LinkHash(path)%linkRecords)*linkRecord + linkKind) = 1 << 20
		}},
		{"not alone", at, path, 9, func(th *Thread) { known(th); th.AnswerAlone(false) }},
		{"nothing alone", at, path, 9, func(th *Thread) { known(th); th.AnswerNothing() }},
		{"two pages", at + 0x1000 - 10, path, 9, known},
		{"another's hash", at, path, 9, func(th *Thread) { th.NoLink("/usr/lib", LinkHash(path), false) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			th, asked := readlinks(t, m, c.at, c.path, c.size, c.set)
			if !asked {
				t.Errorf("answered %d", int64(th.Regs.RBX))
			}
			th.Exit(true)
		})
	}
	t.Run("nowhere", func(t *testing.T) {
		for _, at := range []uint64{0, 0x10_0000, slots + slotLinkTable, GuestTop - 1} {
			th := guest(t, m, join(call(1000), fastArgs(m, unix.SYS_READLINK, at, dataAt, 9), call(1001)))
			expect(t, th, Syscall)
			th.AnswerAlone(true)
			known(th)
			asksNext(t, th, unix.SYS_READLINK)
			th.Exit(true)
		}
	})
}

// TestNoLink_another: a slot that was another thread's has nothing of it.
func TestNoLink_another(t *testing.T) {
	m := fastMachine(t)
	const path = "/usr/include/bits"
	th, asked := readlinks(t, m, dataAt, path, 9, func(th *Thread) {
		note(path)(th)
		th.links = [2]uint32{} // as of a new thread
		th.slot.beginAlone()
		th.AnswerAlone(true)
		note("/usr/include/other")(th)
	})
	if !asked {
		t.Error("it goes by what was another's")
	}
	th.Exit(true)
}

// TestNoLink_full: paths whose records are in each other's places.
func TestNoLink_full(t *testing.T) {
	th := NewSelf()
	th.space = &Space{}
	for i := range 4 * linkRecords {
		path := "/a/" + strings.Repeat("b", i%40) + string(rune('a'+i%26))
		note(path)(th)
		at := th.linkPlace(LinkHash(path))
		rec := th.slot.mem[at:][:linkRecord]
		if got := string(rec[linkPath:][:len(path)+1]); got != path+"\x00" || binary.LittleEndian.Uint64(rec[linkHash:]) != LinkHash(path) {
			t.Errorf("%q is kept as %q", path, got)
		}
	}
	th.links[0] = ^uint32(0)
	th.ForgetLinks(false)
	if th.links[0] != 1 || th.slot.load(slotLinkTable) != 0 {
		t.Error("the number begins again with records of the first")
	}
}

// TestNoLink_neighbours: two paths that would have the same record are both known, and the
// third takes the place of one.
func TestNoLink_neighbours(t *testing.T) {
	m := fastMachine(t)
	var paths []string
	for i := 0; len(paths) < 3; i++ {
		if path := "/n/" + strings.Repeat("x", i%50) + string(rune('a'+i%26)); LinkHash(path)%linkRecords == 5 {
			paths = append(paths, path)
		}
	}
	for known, want := range map[int][]bool{2: {false, false, true}, 3: {false, true, false}} {
		for i, path := range paths {
			th, asked := readlinks(t, m, dataAt, path, 9, func(th *Thread) {
				for _, p := range paths[:known] {
					note(p)(th)
				}
			})
			if asked != want[i] {
				t.Errorf("%d known, path %d: asked %v", known, i, asked)
			}
			th.Exit(true)
		}
	}
}

// TestNoLink_others: openat(2) and newfstatat(2) find nothing where nothing is, on both lanes,
// and whatever else there may be to say is asked about.
func TestNoLink_others(t *testing.T) {
	m := fastMachine(t)
	const absent, there = "/usr/include/bits/none.h", "/usr/include/bits"
	enoent := -int64(unix.ENOENT)
	for lane, made := range map[string]func(nr uint32, args ...uint64) []byte{
		"trap": withArgs, "fast": func(nr uint32, args ...uint64) []byte { return fastArgs(m, nr, args...) },
	} {
		for _, c := range []struct {
			name, path string
			nr         uint32
			args       []uint64
			want       int64 // 0: asks
		}{
			{"open", absent, unix.SYS_OPENAT, []uint64{0xffff_ff9c, dataAt, unix.O_CLOEXEC}, enoent},
			{"open to write", absent, unix.SYS_OPENAT, []uint64{3, dataAt, unix.O_WRONLY}, enoent},
			{"stat", absent, unix.SYS_NEWFSTATAT, []uint64{0xffff_ff9c, dataAt, dataAt + 0x100, 0}, enoent},
			{"lstat", absent, unix.SYS_NEWFSTATAT, []uint64{9, dataAt, 0, unix.AT_SYMLINK_NOFOLLOW}, enoent},
			{"readlink", absent, unix.SYS_READLINK, []uint64{dataAt, dataAt + 0x100, 100}, enoent},
			{"readlink of what is there", there, unix.SYS_READLINK, []uint64{dataAt, dataAt + 0x100, 100}, -int64(unix.EINVAL)},
			{"open what is there", there, unix.SYS_OPENAT, []uint64{3, dataAt, unix.O_CLOEXEC}, 0},
			{"stat what is there", there, unix.SYS_NEWFSTATAT, []uint64{3, dataAt, dataAt + 0x100, 0}, 0},
			{"create", absent, unix.SYS_OPENAT, []uint64{3, dataAt, unix.O_CREAT}, 0},
			{"open with an odd flag", absent, unix.SYS_OPENAT, []uint64{3, dataAt, 0x1000_0000}, 0},
			{"open to do what", absent, unix.SYS_OPENAT, []uint64{3, dataAt, 3}, 0},
			{"stat with an odd flag", absent, unix.SYS_NEWFSTATAT, []uint64{3, dataAt, dataAt, 1 << 31}, 0},
			{"stat of nothing", absent, unix.SYS_NEWFSTATAT, []uint64{3, 0x10_0000, dataAt, 0}, 0},
			{"another", "/usr/include/bits/none.i", unix.SYS_OPENAT, []uint64{3, dataAt, 0}, 0},
		} {
			t.Run(lane+"/"+c.name, func(t *testing.T) {
				th := guest(t, m, join(call(1000), made(c.nr, c.args...), keepResult, call(1001)))
				expect(t, th, Syscall)
				if err := th.proc.CopyOut(dataAt, append([]byte(c.path), 0)); err != nil {
					t.Fatal(err)
				}
				th.AnswerAlone(true)
				th.NoLink(there, LinkHash(there), false)
				th.NoLink(absent, LinkHash(absent), true)
				if c.want == 0 {
					asksNext(t, th, uint64(c.nr))
				} else if asksNext(t, th, 1001); int64(th.Regs.RBX) != c.want {
					t.Errorf("%d, want %d", int64(th.Regs.RBX), c.want)
				}
				th.Exit(true)
			})
		}
	}
}
