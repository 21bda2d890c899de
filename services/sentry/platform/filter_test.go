package platform

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite the listings in testdata")

// listing is the stub's filter for people: widening it shows in review.
func listing(verified bool) string {
	var b strings.Builder
	b.WriteString("another architecture or an x32 number: trap\n")
	b.WriteString("from anywhere: sched_yield; futex_waitv; futex_wake, futex_wait, futex_requeue; futex without priority inheritance (operations")
	for _, op := range futexOps {
		fmt.Fprintf(&b, " %d", op)
	}
	b.WriteString(")\nfrom outside the stub's text: trap\nfrom the stub's text, else kill:\n")
	for _, r := range stubCalls {
		action := "allow"
		if r.decision(verified) == retNotify {
			action = "ask the sentry"
		}
		fmt.Fprintf(&b, "  %-16s %-14s %s\n", r.name, action, r.why)
		for _, c := range r.checks {
			fmt.Fprintf(&b, "    %s\n", c)
		}
	}
	return b.String()
}

func (c check) String() string {
	switch c.kind {
	case argEquals:
		return fmt.Sprintf("arg%d == %#x", c.arg, c.value)
	case argAtLeast:
		return fmt.Sprintf("arg%d >= %#x", c.arg, c.value)
	case argBits:
		return fmt.Sprintf("arg%d & %#x == %#x", c.arg, c.another, c.value)
	case argMask:
		return fmt.Sprintf("arg%d has no bits but %#x", c.arg, c.value)
	case argSelects:
		return fmt.Sprintf("only if the high word of arg%d is %#x", c.arg, c.value)
	case argIfShared:
		return fmt.Sprintf("arg%d < %#x if arg%d says that a file is shared", c.arg, c.value, c.another)
	case argBelowBase:
		if c.another < 0 {
			return fmt.Sprintf("arg%d is below the stub", c.arg)
		}
		return fmt.Sprintf("arg%d + arg%d is below the stub", c.arg, c.another)
	}
	return "?"
}

func TestMostTasks(t *testing.T) {
	for _, c := range [][3]uint64{{4194304, 200000, 32768}, {32768, 200000, 16384}, {32768, 9000, 4500}, {0, 0, 32768}} {
		if got := mostTasks(c[0], c[1]); got != c[2] {
			t.Errorf("of %d ids and %d threads: %d, want %d", c[0], c[1], got, c[2])
		}
	}
}

func TestFilter_golden(t *testing.T) {
	checkListing(t, "testdata/filter.golden", listing(false))
	checkListing(t, "testdata/filter-verified.golden", listing(true))
}

func checkListing(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the stub's filter changed; if that is meant, run go test ./services/sentry/platform -update\n%s", got)
	}
}

// decide runs the filter in a machine of golang.org/x/net/bpf, whose loads are
// big-endian: the data is laid out so that each word reads as the host would.
func decide(t *testing.T, verified bool, nr, arch uint32, ip uint64, args [6]uint64) uint32 {
	t.Helper()
	var data []byte
	word := func(v uint32) { data = append(data, byte(v>>24), byte(v>>16), byte(v>>8), byte(v)) }
	long := func(v uint64) { word(uint32(v)); word(uint32(v >> 32)) }
	word(nr)
	word(arch)
	long(ip)
	for _, a := range args {
		long(a)
	}
	vm, err := bpf.NewVM(filterProgram(verified))
	if err != nil {
		t.Fatal(err)
	}
	n, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func TestFilter_decisions(t *testing.T) {
	const x86, inStub, guest = unix.AUDIT_ARCH_X86_64, textAt + 0x100, 0x40_0000
	const fixed = unix.MAP_PRIVATE | unix.MAP_FIXED | unix.MAP_ANONYMOUS
	for _, c := range []struct {
		name string
		nr   uint32
		arch uint32
		ip   uint64
		args [6]uint64
		want uint32
	}{
		{"guest open traps", unix.SYS_OPEN, x86, guest, [6]uint64{}, retTrap},
		{"guest mmap traps", unix.SYS_MMAP, x86, guest, [6]uint64{}, retTrap},
		{"i386 traps", 5, unix.AUDIT_ARCH_I386, inStub, [6]uint64{}, retTrap},
		{"x32 traps", 0x4000_0001, x86, inStub, [6]uint64{}, retTrap},
		{"futex wait is native", unix.SYS_FUTEX, x86, guest, [6]uint64{0, 128}, retAllow},
		{"futex_wake is native", unix.SYS_FUTEX_WAKE, x86, guest, [6]uint64{}, retAllow},
		{"futex_requeue is native", unix.SYS_FUTEX_REQUEUE, x86, guest, [6]uint64{}, retAllow},
		{"what comes after them traps", unix.SYS_FUTEX_REQUEUE + 1, x86, guest, [6]uint64{}, retTrap},
		{"what comes before them traps", unix.SYS_FUTEX_WAKE - 1, x86, guest, [6]uint64{}, retTrap},
		{"futex with priority inheritance traps", unix.SYS_FUTEX, x86, guest, [6]uint64{0, 6 | 128}, retTrap},
		{"yield is native", unix.SYS_SCHED_YIELD, x86, guest, [6]uint64{}, retAllow},
		{"stub mmap below", unix.SYS_MMAP, x86, inStub, [6]uint64{0x1000_0000, 0x1000, 3, fixed}, retAllow},
		{"stub mmap over the stub", unix.SYS_MMAP, x86, inStub, [6]uint64{base, 0x1000, 3, fixed}, retKill},
		{"stub mmap up to the stub", unix.SYS_MMAP, x86, inStub, [6]uint64{GuestTop, 0x1_0000_0000, 3, fixed}, retKill},
		{"stub mmap with a huge length", unix.SYS_MMAP, x86, inStub, [6]uint64{0x1000, 1 << 63, 3, fixed}, retKill},
		{"stub munmap of all", unix.SYS_MUNMAP, x86, inStub, [6]uint64{0, GuestTop}, retAllow},
		{"stub munmap of the stub", unix.SYS_MUNMAP, x86, inStub, [6]uint64{base, 0x1000}, retKill},
		{"stub mprotect of the slots", unix.SYS_MPROTECT, x86, inStub, [6]uint64{slots, 0x1000, 7}, retKill},
		{"stub mremap onto the stub", unix.SYS_MREMAP, x86, inStub, [6]uint64{0x1000, 0x1000, 0x1000, 3, base}, retKill},
		{"a sibling's time", unix.SYS_CLOCK_GETTIME, x86, inStub, [6]uint64{threadClock(1234), slots}, retAllow},
		{"another process's time", unix.SYS_CLOCK_GETTIME, x86, inStub, [6]uint64{threadClock(1234) - 4, slots}, retKill},
		{"slots of a new space", unix.SYS_MMAP, x86, inStub, [6]uint64{slots, MaxThreads * slotSize, 3, unix.MAP_SHARED | unix.MAP_FIXED, fdSlots}, retAllow},
		{"slots from another file", unix.SYS_MMAP, x86, inStub, [6]uint64{slots, MaxThreads * slotSize, 3, unix.MAP_SHARED | unix.MAP_FIXED, 9}, retKill},
		{"stub maps a file that others share", unix.SYS_MMAP, x86, inStub, [6]uint64{0x1000_0000, 0x1000, 3, unix.MAP_SHARED | unix.MAP_FIXED, FirstPrivateFD - 1}, retAllow},
		{"stub shares a file that may be mapped privately", unix.SYS_MMAP, x86, inStub, [6]uint64{0x1000_0000, 0x1000, 3, unix.MAP_SHARED | unix.MAP_FIXED, FirstPrivateFD}, retKill},
		{"the same, validated", unix.SYS_MMAP, x86, inStub, [6]uint64{0x1000_0000, 0x1000, 1, unix.MAP_SHARED_VALIDATE | unix.MAP_FIXED, FirstPrivateFD}, retKill},
		{"the same, by a number's low half", unix.SYS_MMAP, x86, inStub, [6]uint64{0x1000_0000, 0x1000, 1, unix.MAP_SHARED | unix.MAP_FIXED, 1<<32 | FirstPrivateFD}, retKill},
		{"stub maps it privately", unix.SYS_MMAP, x86, inStub, [6]uint64{0x1000_0000, 0x1000, 3, unix.MAP_PRIVATE | unix.MAP_FIXED, FirstPrivateFD}, retAllow},
		{"stub shares memory without a file", unix.SYS_MMAP, x86, inStub, [6]uint64{0x1000_0000, 0x1000, 3, unix.MAP_SHARED | unix.MAP_ANONYMOUS, ^uint64(0)}, retAllow},
		{"stub socket", unix.SYS_SOCKET, x86, inStub, [6]uint64{}, retKill},
		{"stub open", unix.SYS_OPENAT, x86, inStub, [6]uint64{}, retKill},
		{"stub execve", unix.SYS_EXECVE, x86, inStub, [6]uint64{}, retKill},
		{"stub clone into a namespace", unix.SYS_CLONE, x86, inStub, [6]uint64{unix.CLONE_NEWUSER | 17}, retKill},
		{"stub fork", unix.SYS_CLONE, x86, inStub, [6]uint64{forkFlags}, retAllow},
		{"stub write elsewhere", unix.SYS_WRITE, x86, inStub, [6]uint64{5, 0, 8}, retKill},
		{"stub donation", unix.SYS_DUP, x86, inStub, [6]uint64{1}, retNotify},
		{"just past the text", unix.SYS_MMAP, x86, textAt + textSize, [6]uint64{}, retTrap},
		{"just before the text", unix.SYS_MMAP, x86, textAt - 1, [6]uint64{}, retTrap},
		{"the text's place 4 GiB further", unix.SYS_MMAP, x86, textAt + 1<<32, [6]uint64{}, retTrap},
	} {
		if got := decide(t, false, c.nr, c.arch, c.ip, c.args); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
		want := c.want
		if want == retAllow && isVerified(c.nr) {
			want = retNotify // the same checks, and then the sentry's
		}
		if got := decide(t, true, c.nr, c.arch, c.ip, c.args); got != want {
			t.Errorf("verified: %s: %#x, want %#x", c.name, got, want)
		}
	}
}
