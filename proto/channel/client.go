package channel

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"
)

// Client asks over a connection. Any number of goroutines may have calls under
// way.
//
// No goroutine stands between a caller and its answer: of those who wait, one
// holds the receiving turn. It reads frames and hands out those that are not
// its own; when its own has come it passes the turn on.
type Client struct {
	conn   *Conn
	notice func(*Frame)
	dead   chan struct{}

	mu      sync.Mutex
	last    uint64
	pending map[uint64]*call
	turn    bool // somebody receives
	err     error
}

// call is one request under way. Its fields are guarded by Client.mu.
type call struct {
	waiting bool // asleep on wake, and can take the turn
	passive bool // asleep on wake, and cannot: its context may end
	leads   bool // was given the receiving turn
	done    bool
	frame   *Frame
	err     error
	wake    chan struct{}
}

var calls = sync.Pool{New: func() any { return &call{wake: make(chan struct{}, 1)} }}

// NewClient makes a client of conn and takes it over. notice, if not nil, is
// called with each frame of id 0, one at a time; it must not block nor call the
// client, and releases the frame. Only with notice set is the connection read
// while no call is under way, so that Dead tells at once.
func NewClient(conn *Conn, notice func(*Frame)) *Client {
	c := &Client{conn: conn, notice: notice, dead: make(chan struct{}), pending: map[uint64]*call{}}
	if notice != nil {
		c.turn = true
		go c.receive(nil)
	}
	return c
}

// Close ends the connection; calls under way fail with ErrClosed.
func (c *Client) Close() error {
	err := c.conn.Close()
	c.fail(ErrClosed)
	return err
}

// Dead is closed when the connection has ended; Err then says why.
func (c *Client) Dead() <-chan struct{} { return c.dead }

// Err is why the connection ended, nil while it lives.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Notify sends m without expecting an answer.
func (c *Client) Notify(m proto.Message, fds ...int) error {
	return c.failOn(c.conn.SendMessage(0, m, fds...))
}

// Call sends req with fds, which stay the caller's, and decodes the answer into
// resp. The descriptors that came with it are the caller's, also beside an
// error in decoding. When ctx ends first its error is returned, and the answer
// is dropped once it comes; ctx's that can end cost a goroutine switch.
func (c *Client) Call(ctx context.Context, req proto.Message, fds []int, resp proto.Message) ([]int, error) {
	f, err := c.Exchange(ctx, req, fds)
	if err != nil {
		return nil, err
	}
	err = f.Unmarshal(resp)
	var got []int
	if len(f.FDs) > 0 {
		got = append(got, f.FDs...)
		f.FDs = nil
	}
	f.Release()
	return got, err
}

// Exchange is Call that leaves the answer as it came. The caller releases it.
func (c *Client) Exchange(ctx context.Context, req proto.Message, fds []int) (*Frame, error) {
	k := calls.Get().(*call)
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		calls.Put(k)
		return nil, c.err
	}
	c.last++
	id := c.last
	c.pending[id] = k
	c.mu.Unlock()

	if err := c.conn.SendMessage(id, req, fds...); err != nil {
		c.drop(id, k)
		return nil, c.failOn(err)
	}
	return c.await(ctx, id, k)
}

// failOn ends the connection if err, of a send, is about it.
func (c *Client) failOn(err error) error {
	switch err {
	case nil, ErrTooLarge:
	case ErrPeerGone, ErrClosed:
		c.fail(err)
	}
	return err
}

// drop forgets a call whose answer nobody wants.
func (c *Client) drop(id uint64, k *call) {
	c.mu.Lock()
	delete(c.pending, id)
	pass := k.leads
	if pass {
		c.passTurnLocked()
	}
	if k.frame != nil {
		k.frame.Release()
	}
	c.mu.Unlock()
}

// await receives, or waits for whoever receives.
func (c *Client) await(ctx context.Context, id uint64, k *call) (*Frame, error) {
	ends := ctx.Done()
	c.mu.Lock()
	for !k.done {
		if !c.turn {
			// A caller that may leave early would leave the turn in the
			// middle of a receive: another goroutine takes it instead.
			c.turn = true
			if ends == nil {
				k.leads = true
			} else {
				go c.receive(nil)
			}
		}
		if k.leads {
			k.leads = false
			c.mu.Unlock()
			c.receive(k)
			c.mu.Lock()
			continue
		}
		k.waiting, k.passive = ends == nil, ends != nil
		c.mu.Unlock()
		select {
		case <-k.wake:
		case <-ends:
			c.drop(id, k)
			return nil, context.Cause(ctx)
		}
		c.mu.Lock()
		k.waiting, k.passive = false, false
	}
	f, err := k.frame, k.err
	c.mu.Unlock()
	k.recycle()
	return f, err
}

// recycle returns k to the pool; nobody else knows it any more.
func (k *call) recycle() {
	select {
	case <-k.wake:
	default:
	}
	k.waiting, k.passive, k.leads, k.done, k.frame, k.err = false, false, false, false, nil, nil
	calls.Put(k)
}

// receive holds the receiving turn until own is done, and then passes it on.
// Without own it holds it while calls are pending, or for good if there is
// somebody to take notices.
func (c *Client) receive(own *call) {
	for {
		f, err := c.conn.Recv()
		if err != nil {
			c.fail(err)
			return
		}
		if f.ID == 0 && c.notice != nil {
			c.notice(f)
			continue
		}
		if c.deliver(f, own) {
			return
		}
	}
}

// deliver hands f to its caller and says whether the turn was given up.
func (c *Client) deliver(f *Frame, own *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.pending[f.ID]
	if k == nil {
		f.Release() // cancelled, or an id that the peer made up
	} else {
		delete(c.pending, f.ID)
		k.frame, k.done = f, true
		if k != own {
			k.signal()
		}
	}
	switch {
	case own != nil && own.done, own == nil && c.notice == nil && len(c.pending) == 0:
		c.passTurnLocked()
		return true
	}
	return false
}

// passTurnLocked gives the turn to one who sleeps, or to whoever comes next.
func (c *Client) passTurnLocked() {
	c.turn = false
	if c.err != nil {
		return
	}
	passive := false
	for _, k := range c.pending {
		if k.waiting && !k.leads {
			c.turn, k.leads = true, true
			k.signal()
			return
		}
		passive = passive || k.passive
	}
	if passive {
		// Those that are between sending and sleeping see for themselves
		// that the turn is free; these cannot take it.
		c.turn = true
		go c.receive(nil)
	}
}

func (k *call) signal() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// fail ends every call with err; the first cause stands.
func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	c.conn.Close()
	close(c.dead)
	for id, k := range c.pending {
		delete(c.pending, id)
		k.err, k.done = err, true
		k.signal()
	}
}
