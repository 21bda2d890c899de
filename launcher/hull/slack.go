package hull

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// TimerSlack is that of our threads: prctl(2), PR_SET_TIMERSLACK. Go's scheduler sleeps
// for 3 µs before it takes another thread's next goroutine, and its monitor for 20 µs at
// a time while one is in a call of the host. At Linux's 50 µs the two took a quarter of
// the processor's time of a sandbox that starts programs, on a machine where waking is
// dear, and 5 to 10 % of a start. What must be on time sets a slack of its own.
const TimerSlack = time.Millisecond

// punctual is Linux's own.
const punctual = 50 * time.Microsecond

// Slacken gives every thread of this process, and those to come, TimerSlack.
func Slacken() { setSlack(TimerSlack) }

// Punctual makes every thread of this process, and those to come, wake as soon as
// others do. It must be called before the seal.
func Punctual() { setSlack(punctual) }

// setSlack does nothing where it cannot: nobody is the worse for it.
func setSlack(d time.Duration) {
	syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(d.Nanoseconds()), 0)
}
