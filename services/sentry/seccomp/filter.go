package seccomp

import "bulkhead/proto/linux"

// Action is what becomes of a call, in the upper half of a program's result; the
// lower goes with it.
type Action uint32

// The actions, in the order in which one wins over another: seccomp(2).
const (
	KillProcess Action = 0x80000000
	KillThread  Action = 0x00000000
	Trap        Action = 0x00030000
	Errno       Action = 0x00050000
	UserNotif   Action = 0x7fc00000
	Trace       Action = 0x7ff00000
	Log         Action = 0x7ffc0000
	Allow       Action = 0x7fff0000

	actionMask = 0xffff0000
)

// Known says whether there is such an action.
func (a Action) Known() bool {
	switch a {
	case KillProcess, KillThread, Trap, Errno, UserNotif, Trace, Log, Allow:
		return true
	}
	return false
}

// maxPath is how many instructions all filters of a thread may have, and cost what
// each counts for besides: MAX_INSNS_PER_PATH.
const (
	maxPath = (1 << 18) / SizeofInstruction
	cost    = 4
)

// Filter is a program, and those that were there before it.
type Filter struct {
	// Listener is whoever is asked where the program says so, if anybody; it is set before
	// the filter is used.
	Listener any
	// Logs is SECCOMP_FILTER_FLAG_LOG, which is remembered.
	Logs bool

	program []Instruction
	before  *Filter
	count   int // filters, with those before
	path    int // instructions, likewise
}

// New puts a program before the filters that there are, which may be nil: EINVAL,
// ENOMEM.
func New(before *Filter, program []Instruction) (*Filter, error) {
	if err := check(program); err != nil {
		return nil, err
	}
	f := &Filter{program: program, before: before, count: 1, path: len(program) + cost}
	if before != nil {
		f.count += before.count
		f.path += before.path
	}
	if f.path > maxPath {
		return nil, linux.ENOMEM
	}
	return f, nil
}

// Count is how many there are.
func (f *Filter) Count() int {
	if f == nil {
		return 0
	}
	return f.count
}

// Descends says whether all of old's programs are among f's.
func (f *Filter) Descends(old *Filter) bool {
	for ; f != nil; f = f.before {
		if f == old {
			return true
		}
	}
	return old == nil
}

// Nth is the filter with that many older ones, or nil.
func (f *Filter) Nth(older uint64) *Filter {
	for f != nil && uint64(f.count)-1 > older {
		f = f.before
	}
	if f == nil || uint64(f.count)-1 != older {
		return nil
	}
	return f
}

// Program is the filter's own.
func (f *Filter) Program() []Instruction { return f.program }

// Decide runs all programs: the action that wins is the newest of the most severe.
func (f *Filter) Decide(d *Data) (action Action, data uint16) {
	action, data, _ = f.DecideBy(d)
	return action, data
}

// DecideBy also tells the filter that has said so.
func (f *Filter) DecideBy(d *Data) (action Action, data uint16, by *Filter) {
	words := d.words()
	result := uint32(Allow)
	for ; f != nil; f = f.before {
		r := run(f.program, &words)
		if int32(r&actionMask) < int32(result&actionMask) {
			result, by = r, f
		}
	}
	return Action(result & actionMask), uint16(result), by
}

// Before is the filter that was there before, or nil.
func (f *Filter) Before() *Filter { return f.before }
