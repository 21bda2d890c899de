package unix

import (
	"fmt"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// FuzzSockets does what the bytes say with three sockets of a type; there may be
// neither a panic nor a deadlock, and in the end nothing in flight.
func FuzzSockets(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
	f.Add([]byte("\x00\x10\x21\x33\x42\x55\x60\x71\x82\x97\xa1\xb1\xc3\xd2\xe1\xf0"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) == 0 || len(ops) > 200 {
			return
		}
		typ := [...]int{stream, dgram, seqpacket}[ops[0]%3]
		fam := NewFamily(nil)
		files := make([]*vfs.File, 3)
		for i := range files {
			s, _ := fam.Socket(kernel, typ, 0)
			files[i] = socket.NewFile(s, linux.O_RDWR)
		}
		for i, op := range ops[1:] {
			which := int(op>>4) % len(files)
			s := files[which].Impl().(*Socket)
			name := addr(fmt.Sprintf("\x00%d", op>>6))
			switch op & 15 {
			case 0:
				s.Bind(kernel, name)
			case 1:
				s.Listen(kernel, int(op>>6))
			case 2:
				s.Connect(kernel, name, true)
			case 3:
				if c, _, err := s.Accept(kernel); err == nil && len(files) < 6 {
					files = append(files, socket.NewFile(c, linux.O_RDWR))
				} else if err == nil {
					c.Release()
				}
			case 4, 5:
				s.WriteStream(kernel, make([]byte, int(op)*50))
			case 6, 7:
				s.ReadStream(kernel, make([]byte, int(op)*20))
			case 8:
				s.Shutdown(kernel, int(op>>4)%3)
			case 9:
				s.SendMsg(kernel, &socket.Msg{Data: [][]byte{{1}}, Control: socket.Control{Files: files[:1+which]}})
			case 10:
				m := socket.Msg{Data: [][]byte{make([]byte, 100)}, Flags: int(op>>4) & linux.MSG_PEEK}
				s.RecvMsg(kernel, &m)
				for _, f := range m.Control.Files {
					f.DecRef(kernel)
				}
			case 11:
				s.Poll()
			case 12:
				s.SetSockOpt(kernel, linux.SOL_SOCKET, int(op>>4), ops[i:])
			case 13:
				s.SendMsg(kernel, &socket.Msg{Data: [][]byte{{1}}, Addr: name})
			case 14:
				files[which].DecRef(kernel)
				n, _ := fam.Socket(kernel, typ, 0)
				files[which] = socket.NewFile(n, linux.O_RDWR)
			case 15:
				s.Bind(kernel, ops[i:])
			}
		}
		for _, f := range files {
			f.DecRef(kernel)
		}
		for inFlight.collecting.Lock(); inFlight.total != 0; { // whether it is early or not
			after := closing{files: garbage()}
			if len(after.files) == 0 {
				break
			}
			after.run()
		}
		inFlight.collecting.Unlock()
		if inFlight.total != 0 || len(inFlight.sockets) != 0 {
			t.Errorf("in flight: %d, %v", inFlight.total, inFlight.sockets)
		}
	})
}
