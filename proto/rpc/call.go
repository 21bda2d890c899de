package rpc

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"

	"bulkhead/proto/stack"
)

// messageHead is what precedes a message: a flag for its compression and its length.
const messageHead = 5

// takeHeaders begins a call, or ends the request of one.
func (c *conn) takeHeaders(ctx context.Context, f *frame) error {
	if f.stream%2 == 0 {
		return errProtocol
	}
	fields, err := c.readHeaders(f)
	if err != nil {
		return err
	}
	last := f.has(flagEndStream)
	if f.stream <= c.last {
		// Trailers, which say nothing.
		if s := c.find(f.stream); s != nil && last {
			return c.call(ctx, s)
		}
		return nil
	}
	c.last = f.stream
	s := &stream{id: f.stream, deadline: fields["grpc-timeout"]}
	c.mu.Lock()
	full := len(c.received) >= maxStreams
	if !full {
		s.window = c.initial
		c.received[s.id] = s
	}
	c.mu.Unlock()
	if full {
		return c.write(appendWord(nil, frameReset, s.id, uint32(errRefused)))
	}
	s.method = c.methods[fields[":path"]]
	switch {
	case fields[":method"] != "POST" || !strings.HasPrefix(fields["content-type"], "application/grpc"):
		return c.refuse(s, Errorf(InvalidArgument, "this is not a gRPC call"))
	case s.method == nil:
		return c.refuse(s, Errorf(Unimplemented, "there is no method %s", fields[":path"]))
	case last:
		return c.call(ctx, s)
	}
	return nil
}

// readHeaders decodes a header block with its continuations: RFC 9113, section 4.3.
// Also one that nobody wants is decoded, as it changes the decoder's table.
func (c *conn) readHeaders(f *frame) (map[string]string, error) {
	first, err := f.unpad()
	if err != nil {
		return nil, err
	}
	block := append([]byte(nil), first...)
	buf := make([]byte, 0)
	for done := f.has(flagEndHeaders); !done; {
		if len(buf) == 0 {
			buf = make([]byte, maxFrame)
		}
		more, err := readFrame(c.r, buf)
		if err != nil {
			return nil, err
		}
		if more.kind != frameContinuation || more.stream != f.stream {
			return nil, errProtocol
		}
		if len(block)+len(more.payload) > maxHeaders || len(more.payload) == 0 {
			return nil, errCalm
		}
		block = append(block, more.payload...)
		done = more.has(flagEndHeaders)
	}
	fields, size := map[string]string{}, 0
	c.headers.SetEmitFunc(func(h hpack.HeaderField) {
		if size += int(h.Size()); size <= maxHeaders {
			fields[h.Name] = h.Value
		}
	})
	if _, err := c.headers.Write(block); err != nil {
		return nil, errCompression
	}
	if err := c.headers.Close(); err != nil {
		return nil, errCompression
	}
	if size > maxHeaders {
		return nil, errCalm
	}
	return fields, nil
}

// call runs a call whose request is there.
func (c *conn) call(ctx context.Context, s *stream) error {
	if s.cancel != nil {
		return errProtocol // it ended twice
	}
	request, err := unwrap(s.body)
	if err != nil {
		return c.refuse(s, err)
	}
	s.body = nil
	if d, ok := timeout(s.deadline); ok {
		ctx, s.cancel = context.WithTimeout(ctx, d)
	} else {
		ctx, s.cancel = context.WithCancel(ctx)
	}
	go func() {
		stack.Grow()
		answer, err := s.method(ctx, request)
		c.answer(s, answer, err)
	}()
	return nil
}

// unwrap gives the one message of a request.
func unwrap(body []byte) ([]byte, error) {
	if len(body) < messageHead {
		return nil, Errorf(InvalidArgument, "the request has no message")
	}
	if body[0] != 0 {
		return nil, Errorf(Unimplemented, "the request is compressed")
	}
	if n := binary.BigEndian.Uint32(body[1:]); uint64(n) != uint64(len(body)-messageHead) {
		return nil, Errorf(InvalidArgument, "the request is not one message")
	}
	return body[messageHead:], nil
}

// timeout reads grpc-timeout: at most 8 digits and a unit.
func timeout(s string) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 9 {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	unit := map[byte]time.Duration{
		'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
	}[s[len(s)-1]]
	if err != nil || unit == 0 {
		return 0, false
	}
	// 99999999 hours are more than a Duration holds.
	if most := uint64(1<<62) / uint64(unit); n > most {
		n = most
	}
	return time.Duration(n) * unit, true
}

// refuse answers a call whose request is not read to its end.
func (c *conn) refuse(s *stream, err error) error {
	c.answer(s, nil, err)
	return nil
}

// answer sends what came of a call, and ends it.
func (c *conn) answer(s *stream, message []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.endLocked(s)
	if s.ended || c.dead {
		return
	}
	block := []byte{0x88} // :status 200, which RFC 7541 has in its table
	block = appendField(block, "content-type", "application/grpc")
	var b []byte
	if err == nil {
		b = appendFrame(b, frameHeaders, flagEndHeaders, s.id, block)
		block = nil
		body := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
		var sent bool
		if b, sent = c.appendBody(b, s, append(body, message...)); !sent {
			return
		}
	}
	block = appendField(block, "grpc-status", strconv.Itoa(int(CodeOf(err))))
	if err != nil {
		block = appendField(block, "grpc-message", escape(err.Error()))
	}
	c.rw.Write(appendFrame(b, frameHeaders, flagEndHeaders|flagEndStream, s.id, block))
}

// appendBody adds DATA frames to b, and sends all of it when a window is shut. It waits
// for the client to open it again; false if the stream ends before. c.mu is held, but
// while it waits.
func (c *conn) appendBody(b []byte, s *stream, body []byte) ([]byte, bool) {
	for len(body) > 0 {
		n := min(int64(len(body)), maxFrame, c.window, s.window)
		if n <= 0 {
			if len(b) > 0 {
				c.rw.Write(b)
				b = b[:0]
			}
			c.changed.Wait()
			if s.ended || c.dead {
				return nil, false
			}
			continue
		}
		b = appendFrame(b, frameData, 0, s.id, body[:n])
		body = body[n:]
		c.window -= n
		s.window -= n
	}
	return b, true
}

// appendField adds a header field as it is, to stay out of tables and Huffman's code:
// RFC 7541, section 6.2.2.
func appendField(b []byte, name, value string) []byte {
	b = append(b, 0)
	for _, s := range [...]string{name, value} {
		b = append(appendInt(b, len(s)), s...)
	}
	return b
}

// appendInt adds an integer with a prefix of 7 bits: RFC 7541, section 5.1.
func appendInt(b []byte, n int) []byte {
	if n < 127 {
		return append(b, byte(n))
	}
	b = append(b, 127)
	for n -= 127; n >= 128; n >>= 7 {
		b = append(b, byte(n)|128)
	}
	return append(b, byte(n))
}

// maxStatus bounds an error's text, so that the headers with it, where a byte may take
// three, fit in one frame.
const maxStatus = 4 << 10

// escape is grpc-message's encoding: percent signs and what is not printable ASCII.
func escape(s string) string {
	var b strings.Builder
	for i := range min(len(s), maxStatus) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
