// Package strace renders system calls as strace(1) prints them, for --strace.
//
//	[pid 3] openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3 <0.000012>
//
// Begin reads the arguments that the call gets, before it can change or free
// them; End adds what it gave back. Whatever the guest passes is only read
// through Memory and with bounds: an address that cannot be read is printed as
// a number.
package strace

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"bulkhead/proto/linux"

	"golang.org/x/sys/unix"
)

// Memory is the caller's address space. CopyIn fills p or fails.
type Memory interface {
	CopyIn(addr uint64, p []byte) error
}

// row is a call's name and the kinds of its arguments, see rows.
type row struct {
	name string
	args string
}

// decoded is a row once it is taken apart.
type decoded struct {
	name   string
	args   []arg
	result show
}

type arg struct {
	show show
	out  bool // read after the call
}

// table gives rows, taken apart when somebody first wants to see a call, and behind
// them what an unknown call is shown by.
var table func() []decoded

func init() { // not with the variable: rendering a call refers to table, and kinds to that
	table = sync.OnceValue(func() []decoded {
		all := make([]decoded, len(rows)+1)
		for nr, r := range rows {
			all[nr] = r.decode()
		}
		all[len(rows)] = row{}.decode()
		return all
	})
}

func (r row) decode() decoded {
	d := decoded{name: r.name, result: showOff}
	if r.args == "" {
		r.args = "hex hex hex hex hex hex"
	}
	for word := range strings.FieldsSeq(r.args) {
		if word == "-" {
			continue
		}
		if res, ok := strings.CutPrefix(word, "="); ok {
			d.result = kinds[res]
			continue
		}
		kind, out := strings.CutSuffix(word, "*")
		f := kinds[kind]
		if f == nil {
			panic("strace: no kind " + kind)
		}
		d.args = append(d.args, arg{f, out})
	}
	return d
}

// Name is the name of call nr, or "syscall_NNN".
func Name(nr uint64) string {
	if nr < uint64(len(rows)) && rows[nr].name != "" {
		return rows[nr].name
	}
	return "syscall_" + strconv.FormatUint(nr, 10)
}

// Call is one call that is being rendered.
type Call struct {
	nr   uint64
	regs [6]uint64
	tid  int32
	args []string // those the call writes to are not rendered before it is over

	mem    Memory
	result int64 // once over, else 0
}

// Begin renders the arguments of a call that is about to be carried out.
func Begin(m Memory, tid int32, nr uint64, regs [6]uint64) *Call {
	c := &Call{nr: nr, regs: regs, tid: tid, mem: m}
	d := c.decoded()
	c.args = make([]string, len(d.args))
	for i, a := range d.args {
		if !a.out {
			c.args[i] = a.show(c, i)
		}
	}
	return c
}

func (c *Call) decoded() *decoded {
	if c.nr < uint64(len(rows)) && rows[c.nr].name != "" {
		return &table()[c.nr]
	}
	return &table()[len(rows)]
}

// Unfinished is the line of a call that has not returned, or that never will.
func (c *Call) Unfinished() string {
	for i, a := range c.decoded().args {
		if a.out {
			c.args[i] = showPtr(c, i)
		}
	}
	return fmt.Sprintf("[pid %d] %s(%s) = ?", c.tid, Name(c.nr), c.joined())
}

// End is the line of a call that returned result or err, after took.
func (c *Call) End(result uint64, err error, took time.Duration) string {
	d := c.decoded()
	c.result = int64(result)
	for i, a := range d.args {
		if !a.out {
			continue
		}
		if err != nil {
			c.args[i] = showPtr(c, i)
		} else {
			c.args[i] = a.show(c, i)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[pid %d] %s(%s) = ", c.tid, Name(c.nr), c.joined())
	if err != nil {
		b.WriteString(failure(err))
	} else {
		c.regs[0] = result
		b.WriteString(d.result(c, 0))
	}
	fmt.Fprintf(&b, " <%.6f>", took.Seconds())
	return b.String()
}

// joined leaves out what showed as nothing: the mode of an open that does not
// create.
func (c *Call) joined() string {
	shown := make([]string, 0, len(c.args))
	for _, s := range c.args {
		if s != "" {
			shown = append(shown, s)
		}
	}
	return strings.Join(shown, ", ")
}

// failure is an error as strace(1) shows it.
func failure(err error) string {
	errno, ok := err.(linux.Errno)
	if !ok {
		return "-1 " + err.Error()
	}
	switch errno {
	case linux.ERESTARTSYS:
		return "? ERESTARTSYS (To be restarted if SA_RESTART is set)"
	case linux.ERESTARTNOINTR:
		return "? ERESTARTNOINTR (To be restarted)"
	case linux.ERESTARTNOHAND:
		return "? ERESTARTNOHAND (To be restarted if no handler)"
	case linux.ERESTART_RESTARTBLOCK:
		return "? ERESTART_RESTARTBLOCK (Interrupted by signal)"
	}
	name := unix.ErrnoName(errno)
	if name == "" {
		return fmt.Sprintf("-1 (errno %d)", int(errno))
	}
	text := errno.Error()
	return fmt.Sprintf("-1 %s (%s%s)", name, strings.ToUpper(text[:1]), text[1:])
}
