package channel

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func testRings(t testing.TB, size int) *Rings {
	t.Helper()
	r, f, err := CreateRings("test", size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Unmap)
	peer, err := MapRings(int(f.Fd()), size)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	peer.Unmap()
	return r
}

func TestRingCarriesBytesInOrder(t *testing.T) {
	r := testRings(t, MinRing)
	p, _ := r.Client()
	_, c := r.Service()
	const total = 8 << 20
	want := make(chan []byte, 1)
	go func() {
		sum := sha256.New()
		rnd := rand.New(rand.NewSource(1))
		for sent := 0; sent < total; {
			free, err := p.Free()
			if err != nil {
				panic(err)
			}
			n := min(free, total-sent, 1+rnd.Intn(3000))
			if n == 0 {
				runtime.Gosched() // on one processor it is the other's turn
				continue
			}
			if rnd.Intn(2) == 0 {
				p.Restart()
			}
			b := p.Slice(0, n)
			rnd.Read(b)
			sum.Write(b)
			p.Publish(n)
			sent += n
		}
		want <- sum.Sum(nil)
	}()
	got := sha256.New()
	for n := 0; n < total; {
		k, err := c.Len()
		if err != nil {
			t.Fatal(err)
		}
		if k == 0 {
			runtime.Gosched()
			continue
		}
		got.Write(c.Slice(0, k))
		c.Consume(k)
		n += k
	}
	if !bytes.Equal(got.Sum(nil), <-want) {
		t.Fatal("the bytes differ")
	}
}

func TestRingSliceWrapsInOnePiece(t *testing.T) {
	r := testRings(t, MinRing)
	p, _ := r.Client()
	_, c := r.Service()
	p.Publish(MinRing - 3)
	if n, err := c.Len(); err != nil || n != MinRing-3 {
		t.Fatalf("Len = %d, %v", n, err)
	}
	c.Consume(MinRing - 3)
	copy(p.Slice(0, 8), "abcdefgh")
	p.Publish(8)
	if n, err := c.Len(); err != nil || n != 8 {
		t.Fatalf("Len = %d, %v", n, err)
	}
	if got := c.Slice(0, 8); !bytes.Equal(got, []byte("abcdefgh")) {
		t.Fatalf("got %q across the end", got)
	}
	if c.Slice(1, MinRing) != nil || p.Slice(-1, 1) != nil {
		t.Fatal("a slice reaches past the ring")
	}
}

func TestRingStartsOverWhenEmpty(t *testing.T) {
	r := testRings(t, MinRing)
	p, _ := r.Client()
	_, c := r.Service()
	first := &p.Slice(0, 1)[0]
	for i, step := range []struct {
		text  string
		leave int // bytes that nobody reads
		over  bool
	}{{"one", 0, false}, {"two and", 0, true}, {"three", 3, true}, {"four", 0, false}, {"five", 0, true}} {
		if _, err := p.Free(); err != nil {
			t.Fatal(err)
		}
		p.Restart()
		b := p.Slice(0, len(step.text))
		if over := &b[0] == first; over != (i == 0 || step.over) {
			t.Errorf("%q begins at the ring's begin: %v", step.text, over)
		}
		copy(b, step.text)
		p.Publish(len(b))
		n, err := c.Len()
		if got := c.Slice(0, n); err != nil || !bytes.HasSuffix(got, []byte(step.text)) {
			t.Errorf("got %q, %v; want %q", got, err, step.text)
		}
		c.Consume(n - step.leave)
	}
	if p.Reach() != 9 || c.Reach() != 9 {
		t.Errorf("reach of %d and %d bytes, not of 9", p.Reach(), c.Reach())
	}
	// A hostile one gives other bytes, within the ring.
	p.Publish(1)
	r.Head.upShift.Store(^uint64(0))
	if n, err := c.Len(); n != 1 || err != nil || len(c.Slice(0, MinRing)) != MinRing {
		t.Errorf("Len = %d, %v after a wrong shift", n, err)
	}
}

// A hostile peer writes what it likes into its index.
func TestRingUrgent(t *testing.T) {
	r := testRings(t, MinRing)
	p, _ := r.Client()
	_, c := r.Service()
	for round := range 3 {
		for _, off := range []int{0, 9, 200} { // the last is of a byte that comes later
			before := c.Urgent()
			p.Urge(off)
			if c.Urgent() == before {
				t.Fatalf("round %d: urgent %d stays", round, before)
			}
			p.Publish(10)
			want := p.Written() - 10 + uint64(off) + 1
			if got := c.Urgent(); got != want {
				t.Errorf("round %d: urgent %d, want %d", round, got, want)
			}
			c.Consume(10)
		}
	}
}

func TestRingHostileIndexes(t *testing.T) {
	r := testRings(t, MinRing)
	p, down := r.Client()
	_, c := r.Service()
	p.Publish(100)
	if n, err := c.Len(); n != 100 || err != nil {
		t.Fatal(n, err)
	}
	c.Consume(10)
	if n, err := p.Free(); n != MinRing-90 || err != nil {
		t.Fatal(n, err)
	}
	h := r.Head
	for _, bad := range []uint64{0, 9, 99, 10 + MinRing + 1, 1 << 63, ^uint64(0)} {
		h.upWritten.Store(bad)
		if n, err := c.Len(); err != ErrCorrupt {
			t.Errorf("written %d: Len = %d, %v", bad, n, err)
		}
	}
	for _, bad := range []uint64{0, 9, 101, 1 << 63, ^uint64(0)} {
		h.upRead.Store(bad)
		if n, err := p.Free(); err != ErrCorrupt {
			t.Errorf("read %d: Free = %d, %v", bad, n, err)
		}
	}
	h.downWritten.Store(MinRing + 1)
	if _, err := down.Len(); err != ErrCorrupt {
		t.Error("a ring fuller than its size was believed")
	}
}

func TestMapRingsRefuses(t *testing.T) {
	fd, err := unix.MemfdCreate("loose", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	unix.Ftruncate(fd, HeadSize+2*MinRing)
	if _, err := MapRings(fd, MinRing); err == nil {
		t.Error("memory that can shrink was mapped")
	}
	unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, sealsWanted)
	if _, err := MapRings(fd, 2*MinRing); err == nil {
		t.Error("memory that is too small was mapped")
	}
	if _, err := MapRings(fd, MinRing+1); err == nil {
		t.Error("an odd size was mapped")
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if _, err := MapRings(int(null.Fd()), MinRing); err == nil {
		t.Error("/dev/null was mapped")
	}
	r, err := MapRings(fd, MinRing)
	if err != nil {
		t.Fatal(err)
	}
	r.Unmap()
}

func testBells(t *testing.T) (client, service *Bell) {
	t.Helper()
	r := testRings(t, BellRing)
	toClient, err := NewEventFD()
	if err != nil {
		t.Fatal(err)
	}
	toService, err := NewEventFD()
	if err != nil {
		t.Fatal(err)
	}
	if client, err = NewBell(r, true, toClient, toService); err != nil {
		t.Fatal(err)
	}
	// In life each process has descriptors of its own.
	if toClient, err = unix.Dup(toClient); err != nil {
		t.Fatal(err)
	}
	if toService, err = unix.Dup(toService); err != nil {
		t.Fatal(err)
	}
	if service, err = NewBell(r, false, toClient, toService); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	t.Cleanup(service.Close)
	return client, service
}

// told hears numbers.
type told func(n uint32)

func (f told) Told(n uint32) { f(n) }
func (told) Letter([]byte)   {}

// TestBellWakesSleeper has the listener, and one who watches now and then, get all
// that is posted, in order.
func TestBellWakesSleeper(t *testing.T) {
	client, service := testBells(t)
	const n = 20000
	go func() {
		for i := uint32(1); i <= n; i++ {
			service.Post(i)
			service.Ring()
			if i%1000 == 0 {
				unix.Nanosleep(&unix.Timespec{Nsec: 200000}, nil)
			}
		}
	}()
	var next atomic.Uint32
	all := make(chan struct{})
	each := told(func(id uint32) {
		if want := next.Add(1); id != want {
			t.Errorf("got %d, want %d", id, want)
		}
		if id == n {
			close(all)
		}
	})
	ended := make(chan error, 1)
	go func() { ended <- client.Listen(each) }()
	for range 100 {
		client.Watch()
		for range 100 {
			client.Look(each)
		}
		client.Unwatch(each, false)
		runtime.Gosched()
	}
	select {
	case <-all:
	case <-time.After(30 * time.Second):
		t.Fatalf("%d of %d came", next.Load(), n)
	}
	client.Close()
	if err := <-ended; err != os.ErrClosed {
		t.Fatalf("Listen after Close: %v", err)
	}
}

// TestBellService is the other way round, with ppoll(2) as netd has it.
func TestBellService(t *testing.T) {
	client, service := testBells(t)
	const n = 20000
	go func() {
		for i := uint32(1); i <= n; i++ {
			client.Post(i)
			client.Ring()
			if i%1000 == 0 {
				unix.Nanosleep(&unix.Timespec{Nsec: 200000}, nil)
			}
		}
	}()
	next := uint32(0)
	for next < n {
		if err := service.Take(told(func(id uint32) {
			if next++; id != next {
				t.Fatalf("got %d, want %d", id, next)
			}
		})); err != nil {
			t.Fatal(err)
		}
		if next < n && service.Doze() {
			fds := []unix.PollFd{{Fd: int32(service.FD()), Events: unix.POLLIN}}
			got, err := unix.Ppoll(fds, &unix.Timespec{Sec: 30}, nil)
			if err != nil && err != unix.EINTR || err == nil && got == 0 {
				t.Fatalf("%d of %d came: %v", next, n, err)
			}
			service.Wake(got > 0)
		}
	}
}

// TestBellCorrupt ends a listener whose peer posts a part of a number.
func TestBellCorrupt(t *testing.T) {
	client, service := testBells(t)
	service.out.Publish(3)
	service.out.posted = true
	service.Ring()
	if err := client.Listen(told(func(uint32) {})); err != ErrCorrupt {
		t.Fatal(err)
	}
}

// mail hears both, and keeps a text of it.
type mail []string

func (m *mail) Told(n uint32)   { *m = append(*m, fmt.Sprint(n)) }
func (m *mail) Letter(p []byte) { *m = append(*m, string(p)) }

// TestBellLetters has letters and numbers come in the order in which they were posted.
func TestBellLetters(t *testing.T) {
	client, service := testBells(t)
	client.Post(7)
	for _, s := range []string{"", "a", "four", "longer"} {
		if !client.Send([]byte(s)) {
			t.Fatalf("%q is refused", s)
		}
	}
	client.Post(8)
	var got mail
	if err := service.Take(&got); err != nil || !slices.Equal(got, mail{"7", "", "a", "four", "longer", "8"}) {
		t.Fatalf("%q, %v", got, err)
	}
	if client.Send(make([]byte, MaxLetter+1)) {
		t.Error("a letter too long is taken")
	}
	n := 0
	for client.Send(make([]byte, MaxLetter)) {
		n++
	}
	for i := range uint32(BellRing / 8) {
		client.Post(i + 1)
	}
	got = nil
	if err := service.Take(&got); err != nil || n < 10 || len(got) != n+BellRing/8 || got[len(got)-1] != fmt.Sprint(BellRing/8) {
		t.Errorf("%d letters, then %d in all, %v", n, len(got), err)
	}
	if !client.Send([]byte("more")) {
		t.Error("no room though all was taken")
	}
}

// FuzzBell is what a peer may write into a bell's ring.
func FuzzBell(f *testing.F) {
	f.Add([]byte{7, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 'h', 'e', 'l', 'l', 'o', 0, 0, 0, 8, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, p []byte) {
		var m mail
		err := hear(p, &m)
		size := 0
		for _, s := range m {
			size += len(s)
		}
		if size > 3*len(p) || err == nil && len(p)%4 != 0 {
			t.Errorf("%d bytes of %d, %v", size, len(p), err)
		}
	})
}

// TestBellBusyClient has a service ring for a client that is busy only after a while, or
// when it is about to sleep itself.
func TestBellBusyClient(t *testing.T) {
	client, service := testBells(t)
	none := told(func(uint32) {})
	rung := func() bool {
		var count [8]byte
		n, _ := unix.Read(client.fd, count[:])
		return n == 8
	}
	busyNow := func() {
		client.Watch()
		client.Unwatch(none, true)
		client.Take(none)
	}
	for name, c := range map[string]struct {
		do   func()
		want bool
	}{
		"who looks in time": {func() { client.Take(none); service.Settle(true) }, false},
		"when it sleeps":    {func() { service.Settle(true) }, true},
		"after a while":     {func() { time.Sleep(2 * busyPatience); service.Settle(false) }, true},
		"posted by another while it sleeps": {func() {
			client.Take(none)
			service.Doze()
			service.Post(2)
			service.Ring()
			service.Wake(false)
		}, true},
	} {
		busyNow()
		service.Post(1)
		service.Ring()
		if rung() {
			t.Errorf("%s: rung at once", name)
		}
		if c.do(); rung() != c.want {
			t.Errorf("%s: rung: %v", name, !c.want)
		}
		service.Settle(true)
		rung()
	}
}
