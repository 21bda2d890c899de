// Package syscalls is the kernel's system-call interface: one table of typed
// handlers, indexed by number (table.go), and a file for each family of man
// pages. A number without a row is ENOSYS: the table is the list of what there
// is.
//
// A handler checks its arguments in Linux's order, resolves them, delegates, and
// returns. It takes no lock and logs nothing.
package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/task"
)

// handler serves one call with its arguments as they stand in the registers. They
// are apart, and not in an array, because then they stay in registers: a pointer
// to them would be an allocation a call.
type handler func(t *task.Task, a, b, c, d, e, f uint64) (uint64, error)

// row is one system call.
type row struct {
	name string
	call handler
}

// register is what an argument register can be read as: a conversion keeps the
// low bits, as the kernel does.
type register interface {
	~int32 | ~uint32 | ~int64 | ~uint64
}

func call0(h func(*task.Task) (uint64, error)) handler {
	return func(t *task.Task, _, _, _, _, _, _ uint64) (uint64, error) { return h(t) }
}

func call1[A register](h func(*task.Task, A) (uint64, error)) handler {
	return func(t *task.Task, a, _, _, _, _, _ uint64) (uint64, error) { return h(t, A(a)) }
}

func call2[A, B register](h func(*task.Task, A, B) (uint64, error)) handler {
	return func(t *task.Task, a, b, _, _, _, _ uint64) (uint64, error) { return h(t, A(a), B(b)) }
}

func call3[A, B, C register](h func(*task.Task, A, B, C) (uint64, error)) handler {
	return func(t *task.Task, a, b, c, _, _, _ uint64) (uint64, error) { return h(t, A(a), B(b), C(c)) }
}

func call4[A, B, C, D register](h func(*task.Task, A, B, C, D) (uint64, error)) handler {
	return func(t *task.Task, a, b, c, d, _, _ uint64) (uint64, error) { return h(t, A(a), B(b), C(c), D(d)) }
}

func call5[A, B, C, D, E register](h func(*task.Task, A, B, C, D, E) (uint64, error)) handler {
	return func(t *task.Task, a, b, c, d, e, _ uint64) (uint64, error) {
		return h(t, A(a), B(b), C(c), D(d), E(e))
	}
}

func call6[A, B, C, D, E, F register](h func(*task.Task, A, B, C, D, E, F) (uint64, error)) handler {
	return func(t *task.Task, a, b, c, d, e, f uint64) (uint64, error) {
		return h(t, A(a), B(b), C(c), D(d), E(e), F(f))
	}
}

// makes marks a call by which the sentry comes to hold more: ENOMEM once it holds too
// much. What writes to a pipe or a socket asks there.
func makes(h handler) handler {
	return func(t *task.Task, a, b, c, d, e, f uint64) (uint64, error) {
		if err := budget.Check(); err != nil {
			return 0, err
		}
		return h(t, a, b, c, d, e, f)
	}
}

// Dispatch serves the call with that number, of which the lower half counts:
// task.Kernel.Syscall.
func Dispatch(t *task.Task, nr uint64, args [6]uint64) (uint64, error) {
	nr = uint64(uint32(nr))
	if nr >= uint64(len(table)) || table[nr].call == nil {
		return 0, linux.ENOSYS
	}
	return table[nr].call(t, args[0], args[1], args[2], args[3], args[4], args[5])
}
