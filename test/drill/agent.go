package drill

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"sync"
	"syscall"
)

// agent is who makes the script's system calls, at the other end of two pipes.
type agent struct {
	in io.Writer

	mu      sync.Mutex
	last    uint32
	waiting map[uint32]*request
	err     error
}

// request is a system call with the memory that it works on.
type request struct {
	number   int64
	args     []argument
	buffers  [][]byte
	pointers []pointer
	answered chan struct{}

	result int64
	errno  syscall.Errno
	err    error // the agent has ended
}

// place is an offset in one of a request's buffers.
type place struct{ Buffer, Offset int32 }

type pointer struct{ At, To place }

type argument struct {
	Place place // Buffer is -1 for a number
	Value int64
}

// A command of the shell instead of a system call.
const commandNumber = -1

func newRequest(number int64) *request {
	return &request{number: number, answered: make(chan struct{})}
}

// value adds a number to the arguments.
func (r *request) value(n int64) *request {
	r.args = append(r.args, argument{place{Buffer: -1}, n})
	return r
}

// buffer adds memory, and says which it is.
func (r *request) buffer(b []byte) int32 {
	r.buffers = append(r.buffers, b)
	return int32(len(r.buffers) - 1)
}

// memory adds memory and its address to the arguments.
func (r *request) memory(b []byte) *request {
	r.args = append(r.args, argument{Place: place{Buffer: r.buffer(b)}})
	return r
}

// point has a buffer's word at an offset point to another buffer.
func (r *request) point(buffer int32, offset int, to int32) {
	r.pointers = append(r.pointers, pointer{place{buffer, int32(offset)}, place{to, 0}})
}

// newAgent speaks to an agent, and reads what it says until it ends.
func newAgent(in io.Writer, out io.Reader) *agent {
	a := &agent{in: in, waiting: map[uint32]*request{}}
	go a.read(out)
	return a
}

// start sends a request. One that blocks gets a thread of its own.
func (a *agent) start(r *request, blocks bool) {
	a.mu.Lock()
	a.last++
	id, err := a.last, a.err
	if err == nil {
		a.waiting[id] = r
	}
	a.mu.Unlock()
	if err != nil {
		r.err = err
		close(r.answered)
		return
	}
	var flags uint32
	if blocks {
		flags = 1
	}
	var b bytes.Buffer
	head := []any{id, flags, uint32(len(r.buffers)), uint32(len(r.pointers)), r.number}
	args := [6]argument{}
	for i := range args {
		args[i].Place.Buffer = -1
	}
	copy(args[:], r.args)
	for _, v := range append(head, args) {
		binary.Write(&b, binary.LittleEndian, v)
	}
	for _, m := range r.buffers {
		binary.Write(&b, binary.LittleEndian, uint32(len(m)))
		b.Write(m)
	}
	binary.Write(&b, binary.LittleEndian, r.pointers)
	a.in.Write(b.Bytes()) // that it has ended, read finds out
}

func (a *agent) read(out io.Reader) {
	for {
		var head struct {
			ID, Errno uint32
			Result    int64
		}
		err := binary.Read(out, binary.LittleEndian, &head)
		a.mu.Lock()
		r := a.waiting[head.ID]
		delete(a.waiting, head.ID)
		a.mu.Unlock()
		if err == nil && r == nil {
			err = fmt.Errorf("an answer to nothing")
		}
		for i := 0; err == nil && i < len(r.buffers); i++ {
			_, err = io.ReadFull(out, r.buffers[i])
		}
		if err != nil {
			a.end(fmt.Errorf("the agent: %w", err))
			return
		}
		r.result, r.errno = head.Result, syscall.Errno(head.Errno)
		close(r.answered)
	}
}

// end answers everybody who still waits.
func (a *agent) end(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
	for id, r := range a.waiting {
		r.err, r.result = err, math.MinInt64
		close(r.answered)
		delete(a.waiting, id)
	}
}

// do makes a call that does not block.
func (a *agent) do(r *request) (int64, syscall.Errno, error) {
	a.start(r, false)
	<-r.answered
	return r.result, r.errno, r.err
}
