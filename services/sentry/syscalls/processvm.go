package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
)

// process_vm_readv copies from another process's memory to the caller's:
// process_vm_readv(2). A part is a success if it is not nothing.
func process_vm_readv(t *task.Task, pid int32, local mm.Addr, locals uint64, remote mm.Addr, remotes uint64, flags uint64) (uint64, error) {
	return processVM(t, pid, local, locals, remote, remotes, flags, func(me, it task.Memory, b []byte, mine, its mm.Addr) int {
		return me.Poke(mine, b[:it.Peek(its, b)])
	})
}

// process_vm_writev copies from the caller's memory to another process's.
func process_vm_writev(t *task.Task, pid int32, local mm.Addr, locals uint64, remote mm.Addr, remotes uint64, flags uint64) (uint64, error) {
	return processVM(t, pid, local, locals, remote, remotes, flags, func(me, it task.Memory, b []byte, mine, its mm.Addr) int {
		return it.Poke(its, b[:me.Peek(mine, b)])
	})
}

// processVM checks the arguments in Linux's order and moves what both vectors
// have room for, piece by piece. move copies one piece through its buffer and
// says how much of it.
func processVM(t *task.Task, pid int32, local mm.Addr, locals uint64, remote mm.Addr, remotes uint64, flags uint64,
	move func(me, it task.Memory, b []byte, mine, its mm.Addr) int) (uint64, error) {
	if flags != 0 {
		return 0, linux.EINVAL
	}
	mine, err := copyInVector(t, local, locals)
	if err != nil {
		return 0, err
	}
	if mine.total() == 0 {
		return 0, nil
	}
	its, err := copyInVector(t, remote, remotes)
	if err != nil {
		return 0, err
	}
	if its.total() == 0 {
		return 0, nil
	}
	me, _ := t.Memory()
	o := t.Named(pid)
	if o == nil {
		return 0, linux.ESRCH
	}
	it, ok := o.Memory()
	if !ok {
		return 0, linux.ESRCH
	}
	if err := t.MayInspect(o); err != nil {
		return 0, err
	}
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	total := uint64(0)
	for {
		n := int(min(mine.piece(), its.piece(), chunkSize))
		if n == 0 {
			return total, nil
		}
		from, _ := mine.next(n)
		to, _ := its.next(n)
		got := move(me, it, chunk[:n], from, to)
		total += uint64(got)
		if got < n {
			return partial(total, linux.EFAULT)
		}
	}
}

// piece is the length of the current piece; 0 only at the end.
func (v *vector) piece() uint64 {
	for v.one.Len == 0 && len(v.rest) > 0 {
		v.one, v.rest = v.rest[0], v.rest[1:]
	}
	return v.one.Len
}
