package rpc

import (
	"encoding/binary"
	"fmt"
	"io"
)

// preface is what a client's side of a connection begins with: RFC 9113, section 3.4.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Types of frames: RFC 9113, section 6.
const (
	frameData         = 0
	frameHeaders      = 1
	framePriority     = 2
	frameReset        = 3
	frameSettings     = 4
	framePushPromise  = 5
	framePing         = 6
	frameGoAway       = 7
	frameWindowUpdate = 8
	frameContinuation = 9
)

// Flags of frames.
const (
	flagAck        = 1 // SETTINGS, PING
	flagEndStream  = 1 // DATA, HEADERS
	flagEndHeaders = 4
	flagPadded     = 8
	flagPriority   = 0x20
)

// Settings: RFC 9113, section 6.5.2.
const (
	settingTableSize     = 1
	settingMaxStreams    = 3
	settingInitialWindow = 4
	settingMaxHeaders    = 6
)

// Errors of connections and streams: RFC 9113, section 7.
type h2Error uint32

const (
	errNone        h2Error = 0
	errProtocol    h2Error = 1
	errFlowControl h2Error = 3
	errFrameSize   h2Error = 6
	errRefused     h2Error = 7
	errCompression h2Error = 9
	errCalm        h2Error = 11 // ENHANCE_YOUR_CALM
)

func (e h2Error) Error() string { return fmt.Sprintf("HTTP/2 error %d", uint32(e)) }

const (
	frameHead   = 9
	maxFrame    = 16384 // SETTINGS_MAX_FRAME_SIZE that nobody has raised
	firstWindow = 65535
	maxWindow   = 1<<31 - 1
)

// frame is one as it came. Its payload is good until the next one is read.
type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

func (f *frame) has(flag byte) bool { return f.flags&flag != 0 }

// readFrame reads a frame into buf, which holds maxFrame.
func readFrame(r io.Reader, buf []byte) (frame, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	n := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	if n > maxFrame {
		return frame{}, errFrameSize
	}
	f := frame{kind: head[3], flags: head[4], stream: binary.BigEndian.Uint32(head[5:]) & maxWindow, payload: buf[:n]}
	_, err := io.ReadFull(r, f.payload)
	return f, err
}

// appendFrame adds a frame's head and payload.
func appendFrame(b []byte, kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	b = append(b, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(b, payload...)
}

func appendWord(b []byte, kind byte, stream, word uint32) []byte {
	return appendFrame(b, kind, 0, stream, binary.BigEndian.AppendUint32(nil, word))
}

// unpad takes the padding and the priority off a DATA or HEADERS frame.
func (f *frame) unpad() ([]byte, error) {
	p, pad := f.payload, 0
	if f.has(flagPadded) {
		if len(p) < 1 {
			return nil, errFrameSize
		}
		pad, p = int(p[0]), p[1:]
	}
	if f.kind == frameHeaders && f.has(flagPriority) {
		if len(p) < 5 {
			return nil, errFrameSize
		}
		p = p[5:]
	}
	if pad > len(p) {
		return nil, errProtocol
	}
	return p[:len(p)-pad], nil
}
