package budget

import (
	"sync/atomic"
	"testing"
	"time"
)

// growing is a file that guests write to by themselves.
type growing struct {
	has, size, counted atomic.Int64
}

func (g *growing) Recount() {
	n := g.has.Load()
	AddFilePages(n - g.counted.Swap(n))
	Watch(g, g.size.Load()-n)
}

// A mapped file is looked at as long as there may be no room for all of it, and who has
// mapped it is ended once there is none.
func TestWatch(t *testing.T) {
	most, overrun := FilesMost, Overrun
	defer func() { FilesMost, Overrun = most, overrun }()
	FilesMost = func() int64 { return 800 }
	ended := make(chan bool, 100)
	small, large := &growing{}, &growing{}
	Overrun = func() {
		ended <- true
		large.size.Store(large.has.Load())
	}
	small.size.Store(300)
	small.Recount()
	if looking() {
		t.Error("looking, with room for all")
	}
	large.size.Store(1 << 20)
	large.Recount()
	if !looking() {
		t.Error("not looking, without room")
	}
	large.has.Store(850)
	time.Sleep(time.Millisecond)
	select {
	case <-ended:
		t.Error("ended for less than an eighth too much")
	default:
	}
	large.has.Store(1000)
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("not ended")
	}
	small.size.Store(0)
	small.Recount()
	large.has.Store(0)
	large.size.Store(0)
	for end := time.Now().Add(20 * time.Second); looking() && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if looking() || FilePages() != 0 {
		t.Errorf("still looking, or %d pages left", FilePages())
	}
}

func looking() bool {
	watch.Lock()
	defer watch.Unlock()
	return watch.looking
}
