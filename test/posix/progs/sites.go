package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	program("sites.race", sitesRace)
	program("sites.signals", sitesSignals)
}

// callAround makes calls of many numbers and counts the answers that are wrong:
// all of them go through the one site of Go's runtime.
func callAround(rounds int, misses *atomic.Int64) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	miss := func(is bool) {
		if is {
			misses.Add(1)
		}
	}
	var p [2]int
	if err := unix.Pipe2(p[:], 0); err != nil {
		misses.Add(1)
		return
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	pid, tid := unix.Getpid(), unix.Gettid()
	for n := range rounds {
		b := []byte{byte(n)}
		w, err := unix.Write(p[1], b)
		miss(w != 1 || err != nil)
		b[0]++
		r, err := unix.Read(p[0], b)
		miss(r != 1 || err != nil || b[0] != byte(n))
		miss(unix.Getpid() != pid || unix.Gettid() != tid)
		_, err = unix.Dup(-1)
		miss(err != unix.EBADF)
		_, _, e := unix.Syscall6(unix.SYS_PREAD64, uintptr(p[0]), 8, 1, 0, 5, 6)
		miss(e != unix.ESPIPE)
		_, _, e = unix.RawSyscall6(2000, 1, 2, 3, 4, 5, 6)
		miss(e != unix.ENOSYS)
		if n%50 == 0 {
			runtime.Gosched()
		}
	}
}

func sitesRace(*T) {
	var misses atomic.Int64
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() { callAround(400, &misses) })
	}
	all.Wait()
	fmt.Println("misses", misses.Load())
}

// sitesSignals does the same while signals come in, of the program's own and of
// the runtime, which preempts its goroutines by them.
func sitesSignals(*T) {
	var misses, seen atomic.Int64
	c := make(chan os.Signal, 100)
	signal.Notify(c, unix.SIGALRM)
	go func() {
		for range c {
			seen.Add(1)
		}
	}()
	stop := make(chan bool)
	var senders, all sync.WaitGroup
	senders.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				unix.Kill(unix.Getpid(), unix.SIGALRM)
				time.Sleep(200 * time.Microsecond)
			}
		}
	})
	for range 3 {
		all.Go(func() {
			for end := time.Now().Add(8 * time.Second); seen.Load() < 100 && time.Now().Before(end); {
				callAround(100, &misses)
			}
		})
	}
	all.Wait()
	close(stop)
	senders.Wait()
	fmt.Println("enough", seen.Load() >= 100, "misses", misses.Load())
}
