package posture_test

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead/test/sandboxtest"
)

// checkFilter reads the filters that are installed and holds what they let
// through against the golden listing. It gives the number of calls that they
// let through.
func (p process) checkFilter(t *testing.T, g grant, bad func(string, ...any)) string {
	t.Helper()
	filters, err := installed(p.pid)
	if err != nil {
		t.Logf("%s: the installed filter cannot be read here: %v", p.kind, err)
		return "?"
	}
	if len(filters) == 0 {
		bad("no filter is installed")
		return "all"
	}
	allowed := 0
	got := map[uint32]outcomes{}
	for nr := uint32(0); nr < 512; nr++ {
		o := outcomesOf(filters, nr)
		if o != deny {
			got[nr] = o
		}
		if o&(allow|ask) != 0 {
			allowed++
		}
	}
	// Calls of other ABIs, x32 and i386, must never pass.
	for _, nr := range []uint32{0x40000000, 0x40000000 + 59, 0x40000000 + 512} {
		if o := outcomesOf(filters, nr); o&allow != 0 {
			bad("the filter lets x32 call %#x through", nr)
		}
	}
	if o := run(filters[0], 59, archI386); o&allow != 0 {
		bad("the filter lets i386 calls through")
	}
	if g.golden != "" {
		want := goldenOutcomes(t, filepath.Join(sandboxtest.Root(), g.golden))
		for _, nr := range slices.Sorted(maps.Keys(union(got, want))) {
			if got[nr] != want[nr] {
				bad("system call %d: the installed filter says %v, %s says %v", nr, got[nr], g.golden, want[nr])
			}
		}
	}
	return fmt.Sprint(allowed)
}

func union(a, b map[uint32]outcomes) map[uint32]outcomes {
	u := maps.Clone(a)
	maps.Copy(u, b)
	return u
}

// outcomes is the set of answers that a filter may give to a call, over all
// arguments.
type outcomes uint8

const (
	allow outcomes = 1 << iota // let through
	refuse
	deny // ends the process, or traps
	ask  // let through if the sentry says so
)

func (o outcomes) String() string {
	var s []string
	for i, n := range []string{"allow", "refuse", "deny", "ask"} {
		if o&(1<<i) != 0 {
			s = append(s, n)
		}
	}
	if s == nil {
		return "deny"
	}
	return strings.Join(s, " or ")
}

var rule = regexp.MustCompile(`^([0-9]+)\s+\S+(.*?)\s*#`)

// goldenOutcomes reads a listing: one rule a line, alternatives in order.
func goldenOutcomes(t *testing.T, path string) map[uint32]outcomes {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, settled := map[uint32]outcomes{}, map[uint32]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		r := rule.FindStringSubmatch(lines.Text() + " #")
		if r == nil {
			continue
		}
		n, _ := strconv.ParseUint(r[1], 10, 32)
		nr := uint32(n)
		if settled[nr] {
			continue
		}
		o := allow
		if strings.Contains(r[2], "=>") {
			o = refuse
		}
		m[nr] |= o
		settled[nr] = !strings.Contains(r[2], " if ")
	}
	for nr := range m {
		if !settled[nr] {
			m[nr] |= deny
		}
	}
	return m
}

const (
	archAMD64 = 0xc000003e
	archI386  = 0x40000003
)

// outcomesOf combines a process's filters: the most severe answer of all counts.
func outcomesOf(filters [][]unix.SockFilter, nr uint32) outcomes {
	all := run(filters[0], nr, archAMD64)
	for _, f := range filters[1:] {
		o := run(f, nr, archAMD64)
		both := all & o & allow
		both |= (all | o) &^ allow
		all = both
	}
	return all
}

// run follows every path of a filter program for a call whose arguments are
// unknown: a branch on an argument goes both ways.
func run(prog []unix.SockFilter, nr, arch uint32) outcomes {
	type state struct {
		pc    int
		a     uint32
		known bool
	}
	seen, work := map[state]bool{}, []state{{}}
	var out outcomes
	for len(work) > 0 {
		s := work[len(work)-1]
		work = work[:len(work)-1]
		if seen[s] || s.pc >= len(prog) {
			continue
		}
		seen[s] = true
		in := prog[s.pc]
		next := func(pc int) { work = append(work, state{pc, s.a, s.known}) }
		switch in.Code & 7 {
		case unix.BPF_LD:
			s.known = true
			switch in.K {
			case 0:
				s.a = nr
			case 4:
				s.a = arch
			default:
				s.a, s.known = 0, false
			}
			next(s.pc + 1)
		case unix.BPF_ALU:
			if in.Code&0xf0 == unix.BPF_AND && s.known {
				s.a &= in.K
			} else {
				s.a, s.known = 0, false
			}
			next(s.pc + 1)
		case unix.BPF_JMP:
			if in.Code&0xf0 == unix.BPF_JA {
				next(s.pc + 1 + int(in.K))
				continue
			}
			yes := branch(in, s.a)
			if !s.known || yes {
				next(s.pc + 1 + int(in.Jt))
			}
			if !s.known || !yes {
				next(s.pc + 1 + int(in.Jf))
			}
		case unix.BPF_RET:
			out |= answer(in.K)
		default: // stores, loads of the index register, misc
			s.a, s.known = 0, false
			next(s.pc + 1)
		}
	}
	return out
}

func branch(in unix.SockFilter, a uint32) bool {
	switch in.Code & 0xf0 {
	case unix.BPF_JEQ:
		return a == in.K
	case unix.BPF_JGT:
		return a > in.K
	case unix.BPF_JGE:
		return a >= in.K
	default: // BPF_JSET
		return a&in.K != 0
	}
}

func answer(k uint32) outcomes {
	switch k & 0xffff0000 {
	case 0x7fff0000, 0x7ffc0000: // ALLOW, LOG
		return allow
	case 0x7fc00000: // USER_NOTIF
		return ask
	case 0x00050000: // ERRNO
		return refuse
	}
	return deny
}

const ptraceSeccompGetFilter = 0x420c

// installed reads a process's filters, the newest first. It stops the process
// for that and lets it go on.
func installed(pid int) ([][]unix.SockFilter, error) {
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	if err := ptrace(unix.PTRACE_SEIZE, pid, 0, 0); err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	defer unix.PtraceDetach(pid)
	if err := ptrace(unix.PTRACE_INTERRUPT, pid, 0, 0); err != nil {
		return nil, fmt.Errorf("interrupt: %w", err)
	}
	var ws unix.WaitStatus
	for deadline := time.Now().Add(20 * time.Second); ; {
		got, err := unix.Wait4(pid, &ws, unix.WALL|unix.WNOHANG, nil)
		if got == pid {
			break
		}
		if err != nil && !errors.Is(err, unix.EINTR) || time.Now().After(deadline) {
			return nil, fmt.Errorf("stop: %w", err)
		}
		time.Sleep(time.Millisecond)
	}
	var all [][]unix.SockFilter
	for i := 0; ; i++ {
		n, _, e := unix.RawSyscall6(unix.SYS_PTRACE, ptraceSeccompGetFilter, uintptr(pid), uintptr(i), 0, 0, 0)
		if e == unix.ENOENT {
			return all, nil
		}
		if e != 0 {
			return nil, fmt.Errorf("read filter: %w", e)
		}
		code := make([]unix.SockFilter, n)
		if _, _, e := unix.RawSyscall6(unix.SYS_PTRACE, ptraceSeccompGetFilter, uintptr(pid), uintptr(i), uintptr(unsafe.Pointer(&code[0])), 0, 0); e != 0 {
			return nil, fmt.Errorf("read filter: %w", e)
		}
		all = append(all, code)
	}
}

func ptrace(req, pid int, addr, data uintptr) error {
	if _, _, e := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(req), uintptr(pid), addr, data, 0, 0); e != 0 {
		return e
	}
	return nil
}
