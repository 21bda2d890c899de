package inet

import (
	"bytes"
	"encoding/binary"
	"testing"

	"bulkhead/proto/linux"
)

// What stands before a frame that is written is taken off, where it is whole.
func TestTunnelFrame(t *testing.T) {
	packet := append([]byte{0x45}, make([]byte, 39)...)
	long := func(n uint16) []byte { return binary.LittleEndian.AppendUint16([]byte{1, 1}, n) }
	for name, c := range map[string]struct {
		f    tunnelFormat
		p    []byte
		want int // -1: EINVAL
	}{
		"a packet":            {tunnelFormat{}, packet, 40},
		"no packet":           {tunnelFormat{}, []byte{0x15, 0}, -1},
		"nothing":             {tunnelFormat{}, nil, -1},
		"any protocol":        {tunnelFormat{info: true}, []byte{0, 0, 0x88, 0xcc, 1}, 1},
		"half an information": {tunnelFormat{info: true}, []byte{0, 0, 8}, -1},
		"a frame":             {tunnelFormat{tap: true}, make([]byte, 14), 14},
		"half a frame":        {tunnelFormat{tap: true}, make([]byte, 13), -1},
		"a header":            {tunnelFormat{virtio: 10}, append(make([]byte, 10), packet...), 40},
		"a longer header":     {tunnelFormat{virtio: 12}, append(make([]byte, 12), packet...), 40},
		"half a header":       {tunnelFormat{virtio: 12}, make([]byte, 11), -1},
		"headers that fit":    {tunnelFormat{virtio: 10}, append(append(long(40), make([]byte, 6)...), packet...), 40},
		"headers that do not": {tunnelFormat{virtio: 10}, append(append(long(41), make([]byte, 6)...), packet...), -1},
		"headers of no frame": {tunnelFormat{tap: true, virtio: 10}, append(append(long(13), make([]byte, 6)...), packet...), -1},
		"too long":            {tunnelFormat{}, append(packet, make([]byte, 65536)...), -1},
	} {
		var virtio [virtioSize]byte
		b, err := c.f.frame(c.p, &virtio)
		if c.want < 0 && err != linux.EINVAL || c.want >= 0 && (err != nil || len(b) != c.want) {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}

func FuzzTunnelFrame(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 20}, byte(0))
	f.Add(append(make([]byte, 14), 0x60), byte(7))
	f.Fuzz(func(t *testing.T, p []byte, kind byte) {
		x := tunnelFormat{tap: kind&1 != 0, info: kind&2 != 0}
		if kind&4 != 0 {
			x.virtio = virtioSize + int(kind>>3)
		}
		var virtio [virtioSize]byte
		b, err := x.frame(p, &virtio)
		if err == nil && (len(b) == 0 || len(b)+virtioSize > mostWritten || !bytes.HasSuffix(p, b)) {
			t.Errorf("%d of %d bytes", len(b), len(p))
		}
		info := make([]byte, sizeofTunInfo)
		x.describe(info, func(to []byte) int { return copy(to, p) }, len(p) > 9)
	})
}

// What a program may say that it takes unfinished: TUNSETOFFLOAD.
func TestTunnelOffload(t *testing.T) {
	for arg, want := range map[uint64]error{0: nil, 1: nil, 7: nil, 15: nil, 31: nil, 0x7f: nil, 2: linux.EINVAL, 0x21: linux.EINVAL, 0x100: linux.EINVAL} {
		if err := offload(arg); err != want {
			t.Errorf("%#x: %v, want %v", arg, err, want)
		}
	}
}
