package server

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/stack"
	"bulkhead/services/netd/wire"
)

var (
	lateHere, lateThere       = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	lateHereMAC, lateThereMAC = wire.MAC{2, 0, 0, 0, 0, 1}, wire.MAC{2, 0, 0, 0, 0, 2}
)

// farEnd is a link's other end.
type farEnd struct {
	t  *testing.T
	fd int
}

// segment reads the next TCP segment.
func (f farEnd) segment() wire.TCP {
	f.t.Helper()
	unix.SetsockoptTimeval(f.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20})
	b := make([]byte, 2000)
	n, err := unix.Read(f.fd, b)
	if err != nil {
		f.t.Fatal("no frame: ", err)
	}
	s, err := wire.ParseTCP(b[wire.EthernetSize+wire.IPv4Size:n], n-wire.EthernetSize-wire.IPv4Size)
	if err != nil {
		f.t.Fatalf("%x: %v", b[:n], err)
	}
	return s
}

// answer sends a SYN+ACK for a SYN.
func (f farEnd) answer(s wire.TCP) {
	f.t.Helper()
	b := make([]byte, wire.EthernetSize+wire.IPv4Size+wire.TCPSize)
	(&wire.EthernetHeader{Dst: lateHereMAC, Src: lateThereMAC, Type: wire.EtherIPv4}).Put(b)
	(&wire.IPv4Header{PayloadLen: wire.TCPSize, TTL: 64, Protocol: wire.ProtoTCP, Src: lateThere, Dst: lateHere}).Put(b[wire.EthernetSize:])
	h := wire.TCPHeader{SrcPort: s.DstPort(), DstPort: s.SrcPort(), Seq: 1000, Ack: s.Seq() + 1, Flags: wire.SYN | wire.ACK, Window: 5000, Options: wire.TCPOptions{WindowScale: -1}}
	seg := b[wire.EthernetSize+wire.IPv4Size:]
	h.Put(seg)
	wire.TCP(seg).PutChecksum(wire.Fold(wire.Sum(wire.PseudoSum(lateThere, lateHere, wire.ProtoTCP, len(seg)), seg)))
	if _, err := unix.Write(f.fd, b); err != nil {
		f.t.Fatal(err)
	}
}

// TestLate keeps netd from running while a SYN is answered, for longer than it waits for
// the answer. It must see the answer before it takes the peer for silent, though the
// sentry rings too.
func TestLate(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	peer := farEnd{t, fds[1]}
	t.Cleanup(func() { unix.Close(peer.fd) })
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(stop) })
	stopped, goOn := make(chan bool), make(chan bool)
	loop := NewLoop()
	loop.add(stop, func() error {
		var b [8]byte
		unix.Read(stop, b[:])
		stopped <- true
		<-goOn
		return nil
	}, false)
	s := startWith(t, func(s *stack.Stack) error {
		dev, err := link.NewPacket(link.Config{File: os.NewFile(uintptr(fds[0]), "link"), MTU: 1500, MAC: lateHereMAC, Waiter: loop})
		if err != nil {
			return err
		}
		i, err := s.AddInterface(stack.InterfaceConfig{Name: "eth0", Device: dev, Addresses: ip.Static(netip.PrefixFrom(lateHere, 24))})
		if err != nil {
			return err
		}
		return s.AddNeighbor(i, lateThere, lateThereMAC)
	}, On(loop))
	s.want("connect", &netdv1.Request{Socket: 1, Open: tcpOpen(), Op: connectTo(lateThere.AsSlice(), 80)}, linux.EINPROGRESS)
	syn := peer.segment()
	if syn.Flags() != wire.SYN {
		t.Fatalf("flags %#x", syn.Flags())
	}
	unix.Write(stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	<-stopped
	time.Sleep(1100 * time.Millisecond)
	peer.answer(syn)
	s.bell.Post(1)
	s.bell.Ring()
	goOn <- true
	if got := peer.segment(); got.Flags() != wire.ACK || got.Ack() != 1001 {
		t.Errorf("what answers has flags %#x", got.Flags())
	}
}
