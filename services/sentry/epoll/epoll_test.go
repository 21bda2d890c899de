package epoll

import (
	"sync"
	"testing"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/eventfd"
	"bulkhead/services/sentry/pipe"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

var kernel = vfs.KernelContext()

// now is a deadline that has passed.
var now = time.Unix(1, 0)

const (
	in      = linux.EPOLLIN
	out     = linux.EPOLLOUT
	et      = linux.EPOLLET
	oneshot = linux.EPOLLONESHOT
	add     = linux.EPOLL_CTL_ADD
	del     = linux.EPOLL_CTL_DEL
	mod     = linux.EPOLL_CTL_MOD
)

func counter() *vfs.File { return eventfd.New(0, false, linux.O_NONBLOCK) }

var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

func raise(t *testing.T, f *vfs.File) {
	t.Helper()
	if _, err := f.Write(kernel, one); err != nil {
		t.Fatal(err)
	}
}

func lower(t *testing.T, f *vfs.File) {
	t.Helper()
	if _, err := f.Read(kernel, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
}

func ctl(t *testing.T, ep *Epoll, op int, fd int32, f *vfs.File, events uint32) {
	t.Helper()
	if err := ep.Ctl(op, fd, f, linux.EpollEvent{Events: events, Data: uint64(fd)}); err != nil {
		t.Fatal(err)
	}
}

// expect waits without sleeping for events: pairs of a descriptor and its events.
func expect(t *testing.T, ep *Epoll, want ...uint64) {
	t.Helper()
	got := make([]linux.EpollEvent, 8)
	n, err := ep.Wait(kernel, got, now)
	if err != nil {
		t.Fatal(err)
	}
	if (ep.Poll() != 0) != (n > 0 && ep.ready.count() > 0) {
		t.Errorf("Poll %#x with %d events", ep.Poll(), n)
	}
	if n != len(want)/2 {
		t.Fatalf("%d events %v, want %v", n, got[:n], want)
	}
	for i, e := range got[:n] {
		if e.Data != want[2*i] || uint64(e.Events) != want[2*i+1] {
			t.Errorf("event %d: %+v, want %v", i, e, want[2*i:2*i+2])
		}
	}
}

func TestLevel(t *testing.T) {
	ep, f := NewImpl(), counter()
	ctl(t, ep, add, 3, f, in)
	expect(t, ep)
	raise(t, f)
	expect(t, ep, 3, in)
	expect(t, ep, 3, in)
	lower(t, f)
	expect(t, ep)
	if n := ep.ready.count(); n != 0 {
		t.Errorf("%d on the ready list", n)
	}
	ctl(t, ep, mod, 3, f, in|out)
	expect(t, ep, 3, out)
	ctl(t, ep, del, 3, f, 0)
	expect(t, ep)
}

func TestLevel_readyAtAdd(t *testing.T) {
	ep, f := NewImpl(), counter()
	raise(t, f)
	ctl(t, ep, add, 3, f, in)
	expect(t, ep, 3, in)
}

func TestEdge(t *testing.T) {
	ep, f := NewImpl(), counter()
	ctl(t, ep, add, 3, f, in|et)
	raise(t, f)
	expect(t, ep, 3, in)
	expect(t, ep)
	raise(t, f) // not read in between: still a new edge
	expect(t, ep, 3, in)
	expect(t, ep)
	ctl(t, ep, mod, 3, f, in|et)
	expect(t, ep, 3, in)
}

func TestEdge_pipeTellsEachWrite(t *testing.T) {
	ep := NewImpl()
	r, w := pipe.New(kernel, linux.O_NONBLOCK)
	ctl(t, ep, add, 3, r, in|et)
	for range 3 {
		raise(t, w)
		expect(t, ep, 3, in)
		expect(t, ep)
	}
}

func TestOneshot(t *testing.T) {
	ep, f := NewImpl(), counter()
	ctl(t, ep, add, 3, f, in|oneshot)
	raise(t, f)
	expect(t, ep, 3, in)
	raise(t, f)
	expect(t, ep)
	ctl(t, ep, mod, 3, f, in|oneshot)
	expect(t, ep, 3, in)
	expect(t, ep)
}

func TestHangupIsAlwaysTold(t *testing.T) {
	ep := NewImpl()
	r, w := pipe.New(kernel, linux.O_NONBLOCK)
	ctl(t, ep, add, 3, r, 0)
	expect(t, ep)
	w.DecRef(kernel)
	expect(t, ep, 3, linux.EPOLLHUP)
}

func TestFairness(t *testing.T) {
	ep := NewImpl()
	for fd := range int32(3) {
		f := counter()
		raise(t, f)
		ctl(t, ep, add, fd, f, in)
	}
	got := make([]linux.EpollEvent, 1)
	for i := range 6 {
		if n, _ := ep.Wait(kernel, got, now); n != 1 || got[0].Data != uint64(i%3) {
			t.Fatalf("round %d: %v", i, got)
		}
	}
}

func TestCtl_errors(t *testing.T) {
	ep, f, other := NewImpl(), counter(), New()
	self := vfs.NewAnonFile(ep, "", linux.O_RDWR)
	ctl(t, ep, add, 3, f, in)
	ctl(t, ep, add, 4, f, in) // the same file under another descriptor
	ctl(t, ep, add, 5, counter(), in|linux.EPOLLEXCLUSIVE)
	exclusive := counter()
	ctl(t, ep, add, 6, exclusive, in|linux.EPOLLEXCLUSIVE)
	for _, c := range []struct {
		name   string
		op     int
		fd     int32
		f      *vfs.File
		events uint32
		err    error
	}{
		{"twice", add, 3, f, in, linux.EEXIST},
		{"modify a stranger", mod, 9, f, in, linux.ENOENT},
		{"delete a stranger", del, 9, f, in, linux.ENOENT},
		{"itself", add, 9, self, in, linux.EINVAL},
		{"unknown op", 9, 3, f, in, linux.EINVAL},
		{"exclusive and oneshot", add, 9, f, in | oneshot | linux.EPOLLEXCLUSIVE, linux.EINVAL},
		{"exclusive and nested", add, 9, other, in | linux.EPOLLEXCLUSIVE, linux.EINVAL},
		{"modify to exclusive", mod, 3, f, in | linux.EPOLLEXCLUSIVE, linux.EINVAL},
		{"modify an exclusive", mod, 6, exclusive, in, linux.EINVAL},
	} {
		if err := ep.Ctl(c.op, c.fd, c.f, linux.EpollEvent{Events: c.events}); err != c.err {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
	}
}

func TestCloseRemoves(t *testing.T) {
	ep, f := NewImpl(), counter()
	raise(t, f)
	ctl(t, ep, add, 3, f, in)
	f.IncRef()
	f.DecRef(kernel)
	expect(t, ep, 3, in)
	f.DecRef(kernel)
	expect(t, ep)
	if len(ep.items) != 0 {
		t.Error("the item outlived its file")
	}
}

func TestRelease(t *testing.T) {
	file, f := New(), counter()
	ctl(t, file.Impl().(*Epoll), add, 3, f, in)
	file.DecRef(kernel)
	raise(t, f)
	f.DecRef(kernel)
}

func TestNested(t *testing.T) {
	inner, f := New(), counter()
	outer := NewImpl()
	ctl(t, inner.Impl().(*Epoll), add, 3, f, in)
	ctl(t, outer, add, 4, inner, in)
	expect(t, outer)
	raise(t, f)
	expect(t, outer, 4, in)
	expect(t, inner.Impl().(*Epoll), 3, in)
	lower(t, f)
	expect(t, outer)
}

func TestNested_limits(t *testing.T) {
	chain := []*vfs.File{New()}
	for i := range 5 {
		next := New()
		err := next.Impl().(*Epoll).Ctl(add, 3, chain[i], linux.EpollEvent{Events: in})
		if want := map[bool]error{true: linux.ELOOP}[i == 4]; err != want {
			t.Fatalf("nest %d: %v", i, err)
		}
		chain = append(chain, next)
	}
	bottom := chain[0].Impl().(*Epoll)
	if err := bottom.Ctl(add, 3, chain[2], linux.EpollEvent{Events: in}); err != linux.ELOOP {
		t.Errorf("circle: %v", err)
	}
	// Taken apart, there is room again.
	ctl(t, chain[4].Impl().(*Epoll), del, 3, chain[3], 0)
	ctl(t, chain[5].Impl().(*Epoll), add, 3, chain[3], in)
}

// TestNested_ways has each epoll of a floor in each of the next: without a bound a
// change of one file would go up by width^4 ways.
func TestNested_ways(t *testing.T) {
	const width = 23 // 23*23 ways of two steps are more than Linux lets there be
	var floors [3][width]*vfs.File
	refused := 0
	for i := range floors {
		for j := range floors[i] {
			floors[i][j] = New()
			for k := 0; i > 0 && k < width; k++ {
				err := floors[i][j].Impl().(*Epoll).Ctl(add, int32(k), floors[i-1][k], linux.EpollEvent{Events: in})
				if err == linux.EINVAL && i == 2 {
					refused++
				} else if err != nil {
					t.Fatalf("floor %d: %v", i, err)
				}
			}
		}
	}
	if want := width*width - maxWays[2]; refused != want {
		t.Errorf("%d refused, want %d", refused, want)
	}
	top, inner := floors[2][width-1].Impl().(*Epoll), floors[1][0]
	if n := len(inner.Impl().(*Epoll).outer()); n == 0 || top.Len() > width {
		t.Errorf("the lower floor stands in %d, the top has %d", n, top.Len())
	}
	// What was refused counts for nothing.
	for _, f := range floors[2] {
		f.DecRef(kernel)
	}
	ctl(t, NewImpl(), add, 1, inner, in)
}

func TestWait_sleeps(t *testing.T) {
	ep, f := NewImpl(), counter()
	ctl(t, ep, add, 3, f, in)
	got := make([]linux.EpollEvent, 4)
	start := time.Now()
	if n, err := ep.Wait(kernel, got, start.Add(5*time.Millisecond)); n != 0 || err != nil || time.Since(start) < 5*time.Millisecond {
		t.Fatal(n, err)
	}
	go func() {
		time.Sleep(2 * time.Millisecond)
		f.Write(kernel, one)
	}()
	if n, err := ep.Wait(kernel, got, time.Time{}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	lower(t, f)
	if _, err := ep.Wait(interrupted{kernel}, got, time.Time{}); err != linux.EINTR {
		t.Error(err)
	}
}

// interrupted is a thread for which a signal waits.
type interrupted struct{ vfs.Context }

func (interrupted) Sleep(<-chan struct{}, time.Time) error { return linux.ERESTARTSYS }

// TestConcurrent has several threads wait for counters that others raise; in the
// end nothing may be missing.
func TestConcurrent(t *testing.T) {
	const files, rounds, threads = 8, 500, 3
	ep := NewImpl()
	counters := make([]*vfs.File, files)
	for i := range counters {
		counters[i] = counter()
		ctl(t, ep, add, int32(i), counters[i], in|et)
	}
	var mu sync.Mutex
	sum, want := uint64(0), uint64(files*rounds)
	stop := counter()
	ctl(t, ep, add, files, stop, in)
	var wg sync.WaitGroup
	for range threads {
		wg.Go(func() {
			got := make([]linux.EpollEvent, 2)
			for {
				n, err := ep.Wait(kernel, got, time.Time{})
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range got[:n] {
					if e.Data == files {
						return
					}
					var b [8]byte
					if n, _ := counters[e.Data].Read(kernel, b[:]); n == 8 {
						mu.Lock()
						if sum += uint64(b[0]) | uint64(b[1])<<8; sum == want {
							stop.Write(kernel, one)
						}
						mu.Unlock()
					}
				}
			}
		})
	}
	for _, f := range counters {
		wg.Go(func() {
			for range rounds {
				f.Write(kernel, one)
			}
		})
	}
	wg.Wait()
	if sum != want {
		t.Errorf("%d, want %d", sum, want)
	}
}

func TestPoll(t *testing.T) {
	r, w := pipe.New(kernel, linux.O_NONBLOCK)
	f := counter()
	items := []Item{
		{File: r, Events: wait.In},
		{File: f, Events: wait.In},
		{},
	}
	if n, err := Poll(kernel, items, now); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	go func() {
		time.Sleep(2 * time.Millisecond)
		w.Write(kernel, one)
	}()
	if n, err := Poll(kernel, items, time.Time{}); n != 1 || err != nil || items[0].Ready != wait.In {
		t.Fatal(n, err, items)
	}
	items = append(items, Item{File: w, Events: linux.POLLWRNORM}, Item{Ready: wait.Nval})
	if n, _ := Poll(kernel, items, time.Time{}); n != 3 || items[3].Ready != linux.POLLWRNORM {
		t.Fatal(n, items)
	}
	// select(2): a hang-up is not "writable".
	lower(t, r)
	r.DecRef(kernel)
	items = []Item{{File: w, Events: SelectExcept, Exact: true}}
	if n, _ := Poll(kernel, items, now); n != 0 {
		t.Error(n, items)
	}
	items[0].Events = SelectWrite
	if n, _ := Poll(kernel, items, now); n != 1 || items[0].Ready&wait.Err == 0 {
		t.Error(n, items)
	}
	if _, err := Poll(interrupted{kernel}, []Item{{File: f, Events: wait.In}}, time.Time{}); err != linux.ERESTARTNOHAND {
		t.Error(err)
	}
}

func TestAllocs(t *testing.T) {
	ep, f := NewImpl(), counter()
	ctl(t, ep, add, 3, f, in)
	raise(t, f)
	got := make([]linux.EpollEvent, 4)
	if n := testing.AllocsPerRun(100, func() { ep.Wait(kernel, got, time.Time{}) }); n != 0 {
		t.Errorf("Wait: %v allocations", n)
	}
	items := []Item{{File: f, Events: wait.In}}
	if n := testing.AllocsPerRun(100, func() { Poll(kernel, items, time.Time{}) }); n != 0 {
		t.Errorf("Poll: %v allocations", n)
	}
}

func BenchmarkWait(b *testing.B) {
	ep, f := NewImpl(), counter()
	ep.Ctl(add, 3, f, linux.EpollEvent{Events: in})
	f.Write(kernel, one)
	got := make([]linux.EpollEvent, 4)
	for b.Loop() {
		ep.Wait(kernel, got, time.Time{})
	}
}
