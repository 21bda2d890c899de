package jail

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Filter lists the system calls that a process may make, one rule a line, each
// with the reason why. What no rule lets through ends the process: see Install.
// Several rules for one call are alternatives, tried in order.
type Filter []Rule

// Rule lets one system call through, if all its checks hold.
type Rule struct {
	call   uint32
	why    string
	checks []Check
	errno  unix.Errno // answer with this error instead; 0: let it through
}

// Allow lets call (SYS_...) through when every check holds.
func Allow(call uint32, why string, checks ...Check) Rule {
	return Rule{call: call, why: why, checks: checks}
}

// Refuse answers call with errno, for callers that know how to do without it.
func Refuse(call uint32, errno unix.Errno, why string, checks ...Check) Rule {
	return Rule{call: call, why: why, checks: checks, errno: errno}
}

// Check is a condition on one argument of a call.
type Check struct {
	arg    int
	wide   bool // compare all 64 bits; else the low 32, as the kernel reads an int
	mask   uint64
	values []uint64
	names  string
}

// Int is a condition on argument n (0 to 5) where the kernel reads an int: only
// its low 32 bits count. It holds if the argument is one of values.
func Int(n int, values ...uint64) Check {
	return Check{arg: n, mask: 0xffffffff, values: values}
}

// Long is a condition on argument n (0 to 5), of which all 64 bits count.
func Long(n int, values ...uint64) Check {
	return Check{arg: n, wide: true, mask: ^uint64(0), values: values}
}

// Without holds if argument n, of which all 64 bits count, has none of bits set.
func Without(n int, bits uint64) Check {
	return Check{arg: n, wide: true, mask: bits, values: []uint64{0}}
}

// As says in a listing what the values are.
func (c Check) As(names string) Check {
	c.names = names
	return c
}

// Calls is how many different system calls the filter lets through.
func (f Filter) Calls() int {
	seen := map[uint32]bool{}
	for _, r := range f {
		if r.errno == 0 {
			seen[r.call] = true
		}
	}
	return len(seen)
}

// Lets tells whether some rule lets call through, whatever its arguments.
func (f Filter) Lets(call uint32) bool {
	for _, r := range f {
		if r.call == call && r.errno == 0 {
			return true
		}
	}
	return false
}

// String is the listing that is kept beside a service as testdata/filter.golden.
func (f Filter) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %d system calls; every other one ends the process\n", f.Calls())
	for _, r := range f {
		b.WriteString(r.String())
		b.WriteByte('\n')
	}
	return b.String()
}

func (r Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-3d %s", r.call, CallName(r.call))
	for i, c := range r.checks {
		b.WriteString([]string{" if ", " and "}[min(i, 1)])
		b.WriteString(c.String())
	}
	if r.errno != 0 {
		fmt.Fprintf(&b, " => %s", unix.ErrnoName(r.errno))
	}
	fmt.Fprintf(&b, "  # %s", r.why)
	return b.String()
}

func (c Check) String() string {
	what := fmt.Sprintf("arg%d", c.arg)
	if !c.wide {
		what = fmt.Sprintf("int(arg%d)", c.arg)
	} else if c.mask != ^uint64(0) {
		what = fmt.Sprintf("arg%d & %#x", c.arg, c.mask)
	}
	values := c.names
	if values == "" {
		texts := make([]string, len(c.values))
		for i, v := range c.values {
			texts[i] = fmt.Sprintf("%#x", v)
		}
		values = strings.Join(texts, " ")
	}
	if len(c.values) == 1 {
		return what + " == " + values
	}
	return what + " in {" + values + "}"
}

// CallName is the name of a system call of this architecture, or its number.
func CallName(call uint32) string {
	if call < uint32(len(callNames)) && callNames[call] != "" {
		return callNames[call]
	}
	return fmt.Sprintf("call_%d", call)
}
