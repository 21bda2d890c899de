package channel

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Answer is what a handler gives back: a message, nil for none (a notice), and
// descriptors to go beside it.
type Answer struct {
	Message proto.Message
	FDs     []int
	// Done, if not nil, is called once the descriptors have been sent.
	Done func()
}

// Handler answers one request. The frame stays the server's. It is called by
// several goroutines at once, but by one only as long as it answers promptly.
type Handler func(*Frame) Answer

// Serve answers what comes over conn until the peer closes it (nil) or breaks
// it, and then closes it. It returns when the last handler has.
//
// One goroutine receives, handles and answers, without a switch in between.
// Only when a handler takes longer than patience does a watchdog let another
// goroutine receive meanwhile, up to workers at once.
func Serve(conn *Conn, workers int, handle Handler) error {
	s := &server{conn: conn, handle: handle, limit: max(workers, 1)}
	s.start(0)
	s.all.Wait()
	conn.Close()
	if errors.Is(s.err, ErrPeerGone) || errors.Is(s.err, ErrClosed) {
		return nil
	}
	return s.err
}

const (
	// patience is how long a handler may hold up those behind it: at least
	// one and at most two of these.
	patience = 2 * time.Millisecond
	// idleTicks are how many of them without a request end the watchdog.
	idleTicks = 25
)

type server struct {
	conn   *Conn
	handle Handler
	limit  int
	all    sync.WaitGroup

	// state is the number of the current request, times two, plus one while it
	// is being handled. Whoever moves it on from there has the receiving turn:
	// the goroutine that handled it, or the watchdog.
	state    atomic.Uint64
	watching atomic.Bool
	running  atomic.Int32

	once sync.Once
	err  error
}

// start adds a goroutine that has the receiving turn for request n.
func (s *server) start(n uint64) {
	s.running.Add(1)
	s.all.Add(1)
	go func() {
		defer s.all.Done()
		defer s.running.Add(-1)
		s.work(n)
	}()
}

// work serves for as long as it keeps the turn.
func (s *server) work(n uint64) {
	for {
		f, err := s.conn.Recv()
		if err != nil {
			s.fail(err)
			return
		}
		busy := n<<1 | 1
		s.state.Store(busy)
		if !s.watching.Load() && s.watching.CompareAndSwap(false, true) {
			go s.watch()
		}
		err = s.conn.Answer(f, s.handle)
		if !s.state.CompareAndSwap(busy, (n+1)<<1) {
			return // the watchdog has given the turn away
		}
		if err != nil {
			s.fail(err)
			return
		}
		n++
	}
}

// Answer handles f, sends what the handler gives, and releases f.
func (c *Conn) Answer(f *Frame, handle Handler) error {
	defer f.Release()
	a := handle(f)
	if a.Done != nil {
		defer a.Done()
	}
	if a.Message == nil {
		return nil
	}
	return c.SendMessage(f.ID, a.Message, a.FDs...)
}

// watch gives the receiving turn to a new goroutine when the one that has it is
// held up. It ends when nothing is asked any more.
func (s *server) watch() {
	var seen uint64
	for idle := 0; idle < idleTicks; {
		doze(patience)
		now := s.state.Load()
		switch {
		case now&1 == 0 && now == seen:
			idle++
		case now&1 == 1 && now == seen && int(s.running.Load()) < s.limit:
			next := now>>1 + 1
			if s.state.CompareAndSwap(now, next<<1) {
				s.start(next)
			}
			idle = 0
		default:
			idle = 0
		}
		seen = now
	}
	s.watching.Store(false)
}

// doze is time.Sleep without a timer of Go's scheduler, which would have one of its
// threads wait for it.
func doze(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	unix.Nanosleep(&ts, nil)
}

func (s *server) fail(err error) {
	s.once.Do(func() { s.err = err })
	s.conn.Close()
}
