package vfs

import (
	"math"
	"time"

	"bulkhead/proto/linux"
)

type kernelContext struct{ creds *Creds }

var theKernel Context = &kernelContext{RootCreds()}

// KernelContext is the kernel acting for itself: all capabilities, no memory of
// a guest, never interrupted.
func KernelContext() Context { return theKernel }

func (k *kernelContext) Sleep(c <-chan struct{}, deadline time.Time) error {
	if deadline.IsZero() {
		<-c
		return nil
	}
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case <-c:
		return nil
	case <-t.C:
		return linux.ETIMEDOUT
	}
}

func (k *kernelContext) CopyIn(uint64, []byte) error  { return linux.EFAULT }
func (k *kernelContext) CopyOut(uint64, []byte) error { return linux.EFAULT }
func (k *kernelContext) Creds() *Creds                { return k.creds }
func (k *kernelContext) TGID() int32                  { return 0 }
func (k *kernelContext) TID() int32                   { return 0 }
func (k *kernelContext) FileSizeLimit() uint64        { return math.MaxUint64 }

// asContext is a Context with other credentials.
type asContext struct {
	Context
	creds *Creds
}

func (c *asContext) Creds() *Creds { return c.creds }

// WithCreds is ctx acting with other credentials: access(2)'s real ids, a file
// system's own power over what lies below it.
func WithCreds(ctx Context, creds *Creds) Context { return &asContext{ctx, creds} }
