package rpc

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"

	"golang.org/x/net/http2/hpack"
)

// Bounds of what a client can make us keep.
const (
	maxStreams = 128
	maxHeaders = 16 << 10 // bytes of a header block, and of the list that it stands for
	maxMessage = 4 << 20  // as grpc-go's

	// A stream may send a message whole. The connection's window is opened again
	// whenever this much of it has been used.
	streamWindow = maxMessage + 64<<10
	connWindow   = 2 * streamWindow
	refill       = connWindow / 4
)

// conn is one client's connection.
type conn struct {
	methods Methods
	rw      net.Conn
	r       *bufio.Reader
	// Only the reader's.
	buf     []byte
	headers *hpack.Decoder
	last    uint32 // the newest stream's number
	used    uint32 // of connWindow since it was opened last

	mu       sync.Mutex
	changed  *sync.Cond         // a window grew, or a stream or the connection ended
	received map[uint32]*stream // those that have not ended
	window   int64              // what the client takes, of all streams
	initial  int64              // the window of a new stream
	dead     bool
}

// stream is one call.
type stream struct {
	id       uint32
	method   Method
	body     []byte // the request as far as it has come, with its 5 bytes of prefix
	deadline string // grpc-timeout
	cancel   context.CancelFunc

	// Under conn.mu.
	window int64
	ended  bool
}

// ServeConn serves one client, until either side ends the connection.
func (m Methods) ServeConn(rw net.Conn) {
	defer rw.Close()
	c := &conn{
		methods: m, rw: rw, r: bufio.NewReader(rw), buf: make([]byte, maxFrame), received: map[uint32]*stream{},
		window: firstWindow, initial: firstWindow,
	}
	c.changed = sync.NewCond(&c.mu)
	c.headers = hpack.NewDecoder(4096, nil)
	c.headers.SetMaxStringLength(maxHeaders)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := c.serve(ctx)
	c.mu.Lock()
	c.dead = true
	c.changed.Broadcast()
	if code, ok := err.(h2Error); ok {
		goAway := binary.BigEndian.AppendUint32(nil, c.last)
		rw.Write(appendFrame(nil, frameGoAway, 0, 0, binary.BigEndian.AppendUint32(goAway, uint32(code))))
	}
	c.mu.Unlock()
}

func (c *conn) serve(ctx context.Context) error {
	got := make([]byte, len(preface))
	if _, err := io.ReadFull(c.r, got); err != nil {
		return err
	}
	if string(got) != preface {
		return errProtocol
	}
	if err := c.greet(); err != nil {
		return err
	}
	for {
		f, err := readFrame(c.r, c.buf)
		if err != nil {
			return err
		}
		if err := c.take(ctx, &f); err != nil {
			return err
		}
	}
}

// greet sends our settings, and opens the connection's window.
func (c *conn) greet() error {
	var settings []byte
	for _, s := range [][2]uint32{{settingMaxStreams, maxStreams}, {settingInitialWindow, streamWindow}, {settingMaxHeaders, maxHeaders}} {
		settings = binary.BigEndian.AppendUint16(settings, uint16(s[0]))
		settings = binary.BigEndian.AppendUint32(settings, s[1])
	}
	b := appendFrame(nil, frameSettings, 0, 0, settings)
	return c.write(appendWord(b, frameWindowUpdate, 0, connWindow-firstWindow))
}

func (c *conn) write(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.rw.Write(b)
	return err
}

// take does what one frame asks for. An error ends the connection.
func (c *conn) take(ctx context.Context, f *frame) error {
	switch f.kind {
	case frameData:
		return c.takeData(ctx, f)
	case frameHeaders:
		return c.takeHeaders(ctx, f)
	case frameReset:
		return c.takeReset(f)
	case frameSettings:
		return c.takeSettings(f)
	case framePing:
		if len(f.payload) != 8 {
			return errFrameSize
		}
		if f.stream != 0 {
			return errProtocol
		}
		if f.has(flagAck) {
			return nil
		}
		return c.write(appendFrame(nil, framePing, flagAck, 0, f.payload))
	case frameWindowUpdate:
		return c.takeWindow(f)
	case framePushPromise, frameContinuation:
		return errProtocol
	}
	return nil // PRIORITY, GOAWAY, and what may be ignored: RFC 9113, section 5.5
}

// takeSettings notes what concerns what we send, and acknowledges.
func (c *conn) takeSettings(f *frame) error {
	if f.stream != 0 {
		return errProtocol
	}
	if f.has(flagAck) {
		return nil
	}
	if len(f.payload)%6 != 0 {
		return errFrameSize
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := f.payload; len(p) > 0; p = p[6:] {
		value := binary.BigEndian.Uint32(p[2:])
		if binary.BigEndian.Uint16(p) != settingInitialWindow {
			continue // tables are not used, frames never larger than all must take
		}
		if value > maxWindow {
			return errFlowControl
		}
		// RFC 9113, section 6.9.2: it also changes the windows that there are.
		c.resize(int64(value) - c.initial)
		c.initial = int64(value)
	}
	_, err := c.rw.Write(appendFrame(nil, frameSettings, flagAck, 0, nil))
	return err
}

func (c *conn) resize(by int64) {
	for _, s := range c.received {
		s.window += by
	}
	c.changed.Broadcast()
}

func (c *conn) takeWindow(f *frame) error {
	if len(f.payload) != 4 {
		return errFrameSize
	}
	n := int64(binary.BigEndian.Uint32(f.payload) & maxWindow)
	if n == 0 {
		return errProtocol
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	window := &c.window
	if f.stream != 0 {
		s := c.received[f.stream]
		if s == nil {
			return nil // of a call that has ended
		}
		window = &s.window
	}
	if *window += n; *window > maxWindow {
		return errFlowControl
	}
	c.changed.Broadcast()
	return nil
}

func (c *conn) takeReset(f *frame) error {
	if len(f.payload) != 4 {
		return errFrameSize
	}
	if f.stream == 0 || f.stream > c.last {
		return errProtocol
	}
	if s := c.find(f.stream); s != nil {
		c.end(s)
	}
	return nil
}

// find gives a stream that has not ended.
func (c *conn) find(id uint32) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.received[id]
}

// end forgets a stream, and whoever works for it stops.
func (c *conn) end(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(s)
}

func (c *conn) endLocked(s *stream) {
	if s.ended {
		return
	}
	s.ended = true
	delete(c.received, s.id)
	c.changed.Broadcast()
	if s.cancel != nil {
		s.cancel()
	}
}

// takeData adds to a call's request, and starts the call when all of it is there.
func (c *conn) takeData(ctx context.Context, f *frame) error {
	if f.stream == 0 || f.stream > c.last {
		return errProtocol
	}
	if c.used += uint32(len(f.payload)); c.used > connWindow {
		return errFlowControl
	}
	if c.used >= refill {
		if err := c.write(appendWord(nil, frameWindowUpdate, 0, c.used)); err != nil {
			return err
		}
		c.used = 0
	}
	data, err := f.unpad()
	if err != nil {
		return err
	}
	s := c.find(f.stream)
	if s == nil {
		return nil // of a call that has ended
	}
	if len(s.body)+len(data) > messageHead+maxMessage {
		return c.refuse(s, Errorf(ResourceExhausted, "the request is longer than %d bytes", maxMessage))
	}
	s.body = append(s.body, data...)
	if f.has(flagEndStream) {
		return c.call(ctx, s)
	}
	return nil
}
