package platform

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestByThread: where the first thread's memory is gone, a thread that has some is found,
// and the next who asks need not go through all of them again.
func TestByThread(t *testing.T) {
	const count = 20
	p := &Process{space: &Space{}}
	p.pid.Store(int32(os.Getpid()))
	end := make(chan struct{})
	defer close(end)
	tids := make(chan int)
	for i := range count {
		go func() {
			runtime.LockOSThread()
			tids <- unix.Gettid()
			<-end
		}()
		th := &Thread{proc: p, index: i}
		th.tid.Store(int32(<-tids))
		p.space.threads = append(p.space.threads, th)
	}
	last := int(p.space.threads[count-1].tid.Load())
	asked := 0
	hasMemory := func(tid int) error {
		if asked++; tid != last {
			return unix.ESRCH
		}
		return nil
	}
	for i := range count {
		if err := p.byThread(hasMemory); err != nil {
			t.Fatal(err)
		}
		if i > 0 && asked > 2 {
			t.Errorf("%d threads were asked", asked)
		}
		asked = 0
	}
	last = -1
	if err := p.byThread(hasMemory); err != unix.ESRCH {
		t.Errorf("none has memory: %v", err)
	}
	if asked > count+1 {
		t.Errorf("%d asked", asked)
	}
}
