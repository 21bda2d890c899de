package net_test

import (
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// faults are what a relay does to frames: probabilities, and a delay of each.
type faults struct {
	drop, duplicate, reorder, corrupt float64
	delay                             time.Duration
}

// newBadWire joins inside and outside by two veth pairs and a relay between
// them. (Where the kernel has netem it could do the same; many kernels have not.)
func newBadWire(t *testing.T, f faults) *wire {
	t.Helper()
	w := bare(t)
	middle := w.inside + "m"
	w.ip("netns", "add", middle)
	t.Cleanup(func() { w.ip("netns", "del", middle) })
	w.ip("link", "add", "eth0", "netns", w.inside, "type", "veth", "peer", "name", "a", "netns", middle)
	w.ip("link", "add", "eth0", "netns", w.outside, "type", "veth", "peer", "name", "b", "netns", middle)
	w.ip("-n", middle, "link", "set", "dev", "a", "up")
	w.ip("-n", middle, "link", "set", "dev", "b", "up")
	w.address()
	// Frames are to be lost one by one, and as they are on a real wire.
	for _, ns := range []string{w.inside, w.outside} {
		in(t, ns, func() { noOffload(t, "eth0") })
	}
	var fds [2]int
	in(t, middle, func() {
		for i, name := range []string{"a", "b"} {
			fds[i] = packetSocket(t, name)
		}
	})
	for i := range fds {
		r := relay{faults: f, from: fds[i], to: fds[1-i], random: rand.New(rand.NewPCG(uint64(i), 42))}
		ended := make(chan struct{})
		stop := make(chan struct{})
		go func() { defer close(ended); r.run(stop) }()
		t.Cleanup(func() { close(stop); <-ended })
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return w
}

// in calls f on a thread in a named namespace.
func in(t *testing.T, ns string, f func()) {
	t.Helper()
	file, err := os.Open("/run/netns/" + ns)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// noOffload has the kernel make whole segments and checksums: ethtool's
// SIOCETHTOOL with ETHTOOL_STXCSUM, STSO, SGSO and SGRO.
func noOffload(t *testing.T, name string) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer unix.Close(fd)
	for _, command := range []uint32{0x17, 0x1f, 0x24, 0x2c} {
		value := [2]uint32{command, 0}
		request := struct {
			name [16]byte
			data unsafe.Pointer
			_    [16]byte
		}{data: unsafe.Pointer(&value)}
		copy(request.name[:], name)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
			t.Errorf("ethtool %#x: %v", command, errno)
		}
	}
}

func packetSocket(t *testing.T, name string) int {
	all := uint16(unix.ETH_P_ALL)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return -1
	}
	var request [40]byte
	copy(request[:16], name)
	unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCGIFINDEX, uintptr(unsafe.Pointer(&request)))
	index := *(*int32)(unsafe.Pointer(&request[16]))
	unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 1000})
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all<<8 | all>>8, Ifindex: int(index)}); err != nil {
		t.Error(err)
	}
	return fd
}

// relay carries frames one way.
type relay struct {
	faults
	from, to int
	random   *rand.Rand
	held     []byte // goes after the next one
	late     []late // in order of their time
}

type late struct {
	at    time.Time
	frame []byte
}

func (r *relay) hit(p float64) bool { return p > 0 && r.random.Float64() < p }

func (r *relay) run(stop <-chan struct{}) {
	b := make([]byte, 1<<16)
	for {
		select {
		case <-stop:
			return
		default:
		}
		n, _, err := unix.Recvfrom(r.from, b, 0)
		r.due()
		if err != nil {
			if r.held != nil { // no next one came
				r.pass(r.held)
				r.held = nil
			}
			continue
		}
		r.frame(b[:n])
	}
}

func (r *relay) frame(b []byte) {
	if r.hit(r.drop) {
		return
	}
	if r.hit(r.corrupt) {
		b[r.random.IntN(len(b))] ^= 1 << r.random.IntN(8)
	}
	if r.held == nil && r.hit(r.reorder) {
		r.held = append([]byte(nil), b...)
		return
	}
	r.pass(b)
	if r.hit(r.duplicate) {
		r.pass(b)
	}
	if r.held != nil {
		r.pass(r.held)
		r.held = nil
	}
}

// pass sends a frame, later if there is a delay.
func (r *relay) pass(b []byte) {
	if r.delay == 0 {
		unix.Write(r.to, b)
		return
	}
	r.late = append(r.late, late{time.Now().Add(r.delay), append([]byte(nil), b...)})
}

func (r *relay) due() {
	for len(r.late) > 0 && !time.Now().Before(r.late[0].at) {
		unix.Write(r.to, r.late[0].frame)
		r.late = r.late[1:]
	}
}
