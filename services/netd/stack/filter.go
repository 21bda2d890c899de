package stack

import (
	"golang.org/x/net/bpf"

	"bulkhead/proto/linux"
)

// FilterInstruction is struct sock_filter.
type FilterInstruction = bpf.RawInstruction

// maxFilter is BPF_MAXINSNS.
const maxFilter = 4096

// Filter is a classic BPF program of a socket (SO_ATTACH_FILTER). Its zero value
// lets everything pass.
type Filter struct{ vm *bpf.VM }

// set checks and sets a program; nil lets everything pass. EINVAL.
func (f *Filter) set(program []FilterInstruction) error {
	if program == nil {
		f.vm = nil
		return nil
	}
	if len(program) == 0 || len(program) > maxFilter {
		return linux.EINVAL
	}
	insts, whole := bpf.Disassemble(program)
	if !whole {
		return linux.EINVAL
	}
	vm, err := bpf.NewVM(insts)
	if err != nil {
		return linux.EINVAL
	}
	f.vm = vm
	return nil
}

// snap is how much of a packet in two pieces passes, in bytes; 0: nothing.
func (f *Filter) snap(head, body []byte) int {
	n := len(head) + len(body)
	if f.vm == nil {
		return n
	}
	b := head
	switch {
	case len(head) == 0:
		b = body
	case len(body) > 0:
		b = append(append(make([]byte, 0, n), head...), body...)
	}
	k, err := f.vm.Run(b)
	if err != nil || k <= 0 {
		return 0
	}
	return min(k, n)
}

func (f *Filter) passes(head, body []byte) bool {
	return f.vm == nil || f.snap(head, body) > 0
}
