// Package stack gives goroutines a large stack while little is on it.
//
// A stack that grows when a call is deep is copied, and each of its frames looked up
// and mended, for 16, 32 and 64 KiB. The first goroutine goes through that when
// packages are initialised, which is 5 % of what a short process costs. This package
// needs no other, and its path is early in the order, so that it is initialised first.
package stack

func init() { Grow() }

// Grow makes the calling goroutine's stack 64 KiB large. What of it is not used takes
// no memory, and the garbage collector makes it small again.
func Grow() { frame(0) }

// frame has a large frame, which it does not touch for n = 0.
//
//go:noinline
func frame(n int) byte {
	if n == 0 {
		return 0
	}
	var large [40 << 10]byte
	large[n] = byte(n)
	return large[n/2]
}
