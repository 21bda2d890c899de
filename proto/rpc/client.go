package rpc

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// Call makes one call on a connection of its own, which it ends: request and answer are
// messages' bytes. An *Error is the server's answer, or says Unavailable if there is none.
//
// It does not keep connections: a launcher makes three or four calls, one of which lasts
// as long as the program, and a connection over a UNIX socket is three host calls.
func Call(ctx context.Context, c net.Conn, method string, request []byte) ([]byte, error) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	answer, err := (&call{rw: c, r: bufio.NewReader(c), buf: make([]byte, maxFrame), window: firstWindow, stream: firstWindow}).do(method, request)
	var failed *Error
	switch {
	case err == nil, errors.As(err, &failed):
		return answer, err
	case ctx.Err() != nil:
		return nil, Errorf(CodeOf(ctx.Err()), "%v", ctx.Err())
	}
	return nil, Errorf(Unavailable, "%s: %v", method, err)
}

// callStream is the number of a connection's one stream.
const callStream = 1

// call is the client's side of a connection.
type call struct {
	rw  net.Conn
	r   *bufio.Reader
	buf []byte

	window, stream int64 // what the server takes, of all streams and of this one
	initial        int64 // what its settings gave the stream, less firstWindow
	headers        *hpack.Decoder
	fields         map[string]string
	answer         []byte
	ended          bool
}

func (c *call) do(method string, request []byte) ([]byte, error) {
	if len(request) > maxMessage {
		return nil, Errorf(ResourceExhausted, "the request is longer than %d bytes", maxMessage)
	}
	c.fields = map[string]string{}
	c.headers = hpack.NewDecoder(4096, func(h hpack.HeaderField) { c.fields[h.Name] = h.Value })
	c.headers.SetMaxStringLength(maxHeaders)

	body := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(request)))
	if err := c.send(c.begin(method), append(body, request...)); err != nil {
		return nil, err
	}
	for !c.ended {
		if err := c.take(); err != nil {
			return nil, err
		}
	}
	if status := c.fields["grpc-status"]; status != "0" {
		code, err := strconv.ParseUint(status, 10, 8)
		if err != nil {
			return nil, errProtocol
		}
		return nil, &Error{Code(code), unescape(c.fields["grpc-message"])}
	}
	return unwrap(c.answer)
}

// begin is what a connection begins with, and the call's headers.
func (c *call) begin(method string) []byte {
	settings := binary.BigEndian.AppendUint16(nil, settingInitialWindow)
	b := appendFrame([]byte(preface), frameSettings, 0, 0, binary.BigEndian.AppendUint32(settings, streamWindow))
	b = appendWord(b, frameWindowUpdate, 0, streamWindow-firstWindow)
	block := []byte{0x83, 0x86} // :method POST, :scheme http
	block = appendField(block, ":path", method)
	block = appendField(block, ":authority", "localhost")
	block = appendField(block, "content-type", "application/grpc")
	block = appendField(block, "te", "trailers")
	return appendFrame(b, frameHeaders, flagEndHeaders, callStream, block)
}

// send sends b, and after it body, whose rest waits for windows.
func (c *call) send(b, body []byte) error {
	for {
		for n := min(int64(len(body)), maxFrame, c.window, c.stream); n > 0; n = min(int64(len(body)), maxFrame, c.window, c.stream) {
			var flags byte
			if int(n) == len(body) {
				flags = flagEndStream
			}
			b = appendFrame(b, frameData, flags, callStream, body[:n])
			body = body[n:]
			c.window -= n
			c.stream -= n
		}
		if _, err := c.rw.Write(b); err != nil {
			return err
		}
		if b = b[:0]; len(body) == 0 {
			return nil
		}
		if err := c.take(); err != nil {
			return err
		}
		if c.ended {
			return nil // it was refused
		}
	}
}

// take takes a frame.
func (c *call) take() error {
	f, err := readFrame(c.r, c.buf)
	if err != nil {
		return err
	}
	switch f.kind {
	case frameHeaders:
		return c.takeHeaders(&f)
	case frameData:
		data, err := f.unpad()
		if err != nil {
			return err
		}
		if c.answer = append(c.answer, data...); len(c.answer) > messageHead+maxMessage {
			return errFlowControl
		}
		c.ended = f.has(flagEndStream)
	case frameSettings:
		return c.takeSettings(&f)
	case framePing:
		if !f.has(flagAck) {
			_, err = c.rw.Write(appendFrame(nil, framePing, flagAck, 0, f.payload))
		}
		return err
	case frameWindowUpdate:
		if len(f.payload) != 4 {
			return errFrameSize
		}
		window := &c.window
		if f.stream != 0 {
			window = &c.stream
		}
		*window += int64(binary.BigEndian.Uint32(f.payload) & maxWindow)
	case frameReset, frameGoAway:
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (c *call) takeHeaders(f *frame) error {
	block, err := f.unpad()
	if err != nil || !f.has(flagEndHeaders) {
		return errProtocol // longer ones nobody sends: maxStatus
	}
	if _, err := c.headers.Write(block); err != nil {
		return errCompression
	}
	c.ended = f.has(flagEndStream)
	return c.headers.Close()
}

// takeSettings notes the stream's window, and acknowledges.
func (c *call) takeSettings(f *frame) error {
	if f.has(flagAck) {
		return nil
	}
	if len(f.payload)%6 != 0 {
		return errFrameSize
	}
	for p := f.payload; len(p) > 0; p = p[6:] {
		if value := int64(binary.BigEndian.Uint32(p[2:])); binary.BigEndian.Uint16(p) == settingInitialWindow {
			c.stream += value - firstWindow - c.initial
			c.initial = value - firstWindow
		}
	}
	_, err := c.rw.Write(appendFrame(nil, frameSettings, flagAck, 0, nil))
	return err
}

// unescape undoes escape.
func unescape(s string) string {
	var b strings.Builder
	for ; s != ""; s = s[1:] {
		if s[0] == '%' && len(s) > 2 {
			if v, err := strconv.ParseUint(s[1:3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				s = s[2:]
				continue
			}
		}
		b.WriteByte(s[0])
	}
	return b.String()
}
