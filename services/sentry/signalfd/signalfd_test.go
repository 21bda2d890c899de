package signalfd

import (
	"bytes"
	"encoding/binary"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

var kernel = vfs.KernelContext()

// pending is a Source: a list of signals.
type pending struct {
	queue wait.Queue
	list  []linux.SigInfo
}

func (p *pending) Queue() *wait.Queue { return &p.queue }

func (p *pending) find(mask uint64) int {
	for i, s := range p.list {
		if mask>>(s.Signo-1)&1 != 0 {
			return i
		}
	}
	return -1
}

func (p *pending) Pending(mask uint64) bool { return p.find(mask) >= 0 }

func (p *pending) Dequeue(mask uint64) (linux.SigInfo, bool) {
	i := p.find(mask)
	if i < 0 {
		return linux.SigInfo{}, false
	}
	s := p.list[i]
	p.list = append(p.list[:i:i], p.list[i+1:]...)
	return s, true
}

func TestRead(t *testing.T) {
	const hup, usr1, chld = 1, 10, 17
	p := &pending{}
	f := NewImpl(p, uint64(linux.SigSetOf(hup, chld, linux.SIGKILL)))
	if f.Mask() != uint64(linux.SigSetOf(hup, chld)) {
		t.Errorf("mask %#x", f.Mask())
	}
	if _, err := f.ReadStream(kernel, make([]byte, 127)); err != linux.EINVAL {
		t.Error(err)
	}
	if _, err := f.ReadStream(kernel, make([]byte, 128)); err != linux.EAGAIN || f.Poll() != 0 {
		t.Error(err)
	}
	p.list = []linux.SigInfo{{Signo: usr1}, {Signo: chld, Code: linux.CLD_EXITED}, {Signo: hup}}
	p.list[1].SetPID(42)
	p.list[1].SetStatus(7)
	b := bytes.Repeat([]byte{0xff}, 400)
	if n, err := f.ReadStream(kernel, b); n != 256 || err != nil {
		t.Fatal(n, err)
	}
	le := binary.LittleEndian
	if le.Uint32(b) != chld || le.Uint32(b[12:]) != 42 || le.Uint32(b[40:]) != 7 || le.Uint32(b[128:]) != hup {
		t.Errorf("% x", b[:256])
	}
	if f.Poll() != 0 {
		t.Error("readable though masked")
	}
	f.SetMask(uint64(linux.SigSetOf(usr1)))
	if f.Poll() != wait.In {
		t.Error("not readable after SetMask")
	}
}

type reader struct {
	vfs.Context
	source Source
}

func (r reader) SignalSource() Source { return r.source }

func TestRead_takesReadersOwn(t *testing.T) {
	own := &pending{list: []linux.SigInfo{{Signo: 10}}}
	f := NewImpl(&pending{}, uint64(linux.SigSetOf(10)))
	if n, err := f.ReadStream(reader{kernel, own}, make([]byte, 128)); n != 128 || err != nil {
		t.Error(n, err)
	}
}

func TestEncode(t *testing.T) {
	le := binary.LittleEndian
	var s linux.SigInfo
	b := make([]byte, 128)

	s = linux.SigInfo{Signo: 34, Code: linux.SI_QUEUE}
	s.SetPID(5)
	s.SetUID(6)
	s.SetValue(0x1122334455667788)
	encode(b, &s)
	if le.Uint32(b[atPID:]) != 5 || le.Uint32(b[atUID:]) != 6 || le.Uint32(b[atInt:]) != 0x55667788 || le.Uint64(b[atPtr:]) != s.Value() {
		t.Errorf("queued: % x", b)
	}
	s = linux.SigInfo{Signo: 14, Code: linux.SI_TIMER}
	s.SetTimerID(3)
	s.SetOverrun(9)
	encode(b, &s)
	if le.Uint32(b[atTimerID:]) != 3 || le.Uint32(b[atOverrun:]) != 9 || le.Uint32(b[atPID:]) != 0 {
		t.Errorf("timer: % x", b)
	}
	s = linux.SigInfo{Signo: 11, Code: linux.SEGV_MAPERR}
	s.SetAddr(0xdeadbeef)
	encode(b, &s)
	if le.Uint64(b[atAddr:]) != 0xdeadbeef {
		t.Errorf("fault: % x", b)
	}
}
