package devpts

import (
	"encoding/binary"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// FuzzPair makes any requests of both ends, between reads and writes that do not
// block: nothing may panic or hang.
func FuzzPair(f *testing.F) {
	f.Add([]byte{0, 0x02, 0x54, 0, 0, 1, 0x0b, 0x54, 0, 0, 2, 'a', '\r', 3})
	f.Add([]byte{0, 0x20, 0x54, 0, 0, 1, 0x0a, 0x54, 0, 0, 2, 3, 4, 5})
	f.Fuzz(func(t *testing.T, script []byte) {
		fs := New(nil, DefaultOptions())
		g := &guest{Context: vfs.KernelContext()}
		copy(g.memory[:], script)
		m, err := fs.ptmx.Open(g, linux.O_RDWR)
		if err != nil {
			t.Fatal(err)
		}
		master := m.(*master)
		master.pair.set(&master.pair.locked, false)
		s, err := master.pair.OpenTerminal(g, linux.O_RDWR|linux.O_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		slave := s.(*slave)
		b := make([]byte, 9)
		for steps := 0; len(script) >= 5 && steps < 100; steps++ {
			arg := binary.LittleEndian.Uint32(script[1:])
			switch script[0] % 6 {
			case 0:
				master.Ioctl(g, arg, 0)
			case 1:
				slave.Ioctl(g, arg, uint64(script[0]>>4))
			case 2:
				master.WriteStream(g, script)
			case 3:
				slave.WriteStream(g, script)
			case 4:
				slave.ReadStream(g, b)
			case 5:
				master.ReadStream(g, b)
			}
			master.Poll()
			slave.Poll()
			script = script[5:]
		}
		slave.Release()
		master.Release()
		if len(fs.pairs) != 0 {
			t.Error("a closed pair is still there")
		}
	})
}
