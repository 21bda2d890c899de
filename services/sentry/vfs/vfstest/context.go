// Package vfstest holds the suite that every file system runs, a stand-in for a
// guest thread, and an Env that reads like a shell.
package vfstest

import (
	"math"
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// Context is a guest thread of a test. Addresses are offsets into Mem.
type Context struct {
	Who       *vfs.Creds
	PID       int32
	Limit     uint64 // RLIMIT_FSIZE
	Mem       []byte
	interrupt chan struct{}
}

var lastPID atomic.Int32

// NewContext is a thread of a process of its own.
func NewContext(creds *vfs.Creds) *Context {
	return &Context{Who: creds, PID: lastPID.Add(1), Limit: math.MaxUint64, Mem: make([]byte, 4096), interrupt: make(chan struct{}, 1)}
}

// Root is a thread of user 0 with all capabilities.
func Root() *Context { return NewContext(vfs.RootCreds()) }

// User is a thread of an ordinary user.
func User(uid uint32, groups ...uint32) *Context {
	return NewContext(vfs.UserCreds(uid, uid, groups...))
}

// Interrupt makes the sleep under way, or the next, end with ERESTARTSYS.
func (c *Context) Interrupt() { c.interrupt <- struct{}{} }

// Sleep is wait.Sleeper's.
func (c *Context) Sleep(ready <-chan struct{}, deadline time.Time) error {
	var timeout <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		timeout = t.C
	}
	select {
	case <-ready:
		return nil
	case <-c.interrupt:
		return linux.ERESTARTSYS
	case <-timeout:
		return linux.ETIMEDOUT
	}
}

// CopyIn reads Mem.
func (c *Context) CopyIn(addr uint64, p []byte) error {
	if addr > uint64(len(c.Mem)) || uint64(len(c.Mem))-addr < uint64(len(p)) {
		return linux.EFAULT
	}
	copy(p, c.Mem[addr:])
	return nil
}

// CopyOut writes Mem.
func (c *Context) CopyOut(addr uint64, p []byte) error {
	if addr > uint64(len(c.Mem)) || uint64(len(c.Mem))-addr < uint64(len(p)) {
		return linux.EFAULT
	}
	copy(c.Mem[addr:], p)
	return nil
}

// Creds, TGID, TID and FileSizeLimit are vfs.Context's.
func (c *Context) Creds() *vfs.Creds     { return c.Who }
func (c *Context) TGID() int32           { return c.PID }
func (c *Context) TID() int32            { return c.PID }
func (c *Context) FileSizeLimit() uint64 { return c.Limit }
