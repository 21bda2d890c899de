package drill

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// device is what scripts call the interface.
const device = "tun0"

// The far side's hardware address, which is everybody's whom the script plays.
var farMAC = [6]byte{0x02, 0, 0, 0, 0, 2}

// side is one version's addresses.
type side struct {
	name          string
	local, remote netip.Addr
	prefix        string
	mtu           int
	defines       map[string]string
}

// sides have an MSS of 1460 both.
var sides = []side{
	{"ipv4", netip.MustParseAddr("192.168.0.1"), netip.MustParseAddr("192.0.2.1"), "/16", 1500,
		map[string]string{"CMSG_LEVEL_IP": "SOL_IP", "CMSG_TYPE_RECVERR": "IP_RECVERR", "TFO_COOKIE": "3021b9d889017eeb", "TFO_COOKIE_ZERO": "b7c12350a90dc8f5"}},
	{"ipv6", netip.MustParseAddr("fd3d:0a0b:17d6::1"), netip.MustParseAddr("fd3d:fa7b:d17d::1"), "/48", 1520,
		map[string]string{"CMSG_LEVEL_IP": "SOL_IPV6", "CMSG_TYPE_RECVERR": "IPV6_RECVERR", "TFO_COOKIE": "c1d1e9742a47a9bc", "TFO_COOKIE_ZERO": "82af1a8f9a205c34"}},
}

// frame is a packet that was sent, from its IP header on.
type frame struct {
	at time.Time
	ip []byte
}

// tap is the far side of a TAP interface in a network namespace.
type tap struct {
	namespace string
	file      *os.File
	frames    chan frame
	mac       [6]byte // the near side's

	mu sync.Mutex
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %v: %s", args, err, out)
	}
	return nil
}

// newTap makes a namespace with the interface, which has the side's address, and
// knows the way to everybody else.
func newTap(namespace string, s side) (*tap, error) {
	if err := ip("netns", "add", namespace); err != nil {
		return nil, err
	}
	t := &tap{namespace: namespace, frames: make(chan frame, 4096), mac: [6]byte{0x02, 0, 0, 0, 0, 1}}
	fd, err := openTap(namespace)
	if err != nil {
		t.close()
		return nil, err
	}
	t.file = os.NewFile(uintptr(fd), device)
	gateway, flags := "192.168.0.254", []string{}
	if s.local.Is6() {
		gateway, flags = "fd3d:0a0b:17d6::fe", []string{"nodad"}
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "set", device, "address", "02:00:00:00:00:01", "mtu", fmt.Sprint(s.mtu)},
		append([]string{"address", "add", s.local.String() + s.prefix, "dev", device}, flags...),
		{"link", "set", device, "up"},
		{"neighbour", "add", gateway, "lladdr", "02:00:00:00:00:02", "dev", device, "nud", "permanent"},
		{"route", "add", "default", "via", gateway, "dev", device},
	} {
		if err := ip(append([]string{"-n", namespace}, args...)...); err != nil {
			t.close()
			return nil, err
		}
	}
	go t.read()
	return t, nil
}

// openTap makes the interface in a namespace. It takes whole segments, as the test
// looks at what is sent before anything would cut it.
func openTap(namespace string) (int, error) {
	type made struct {
		fd  int
		err error
	}
	done := make(chan made)
	go func() {
		runtime.LockOSThread() // and the thread ends with this goroutine
		fd, err := func() (int, error) {
			ns, err := os.Open("/run/netns/" + namespace)
			if err != nil {
				return -1, err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return -1, err
			}
			fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
			if err != nil {
				return -1, err
			}
			r, err := unix.NewIfreq(device)
			if err == nil {
				r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
				if err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err == nil {
					err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6|unix.TUN_F_TSO_ECN)
				}
			}
			if err != nil {
				unix.Close(fd)
			}
			return fd, err
		}()
		done <- made{fd, err}
	}()
	m := <-done
	return m.fd, m.err
}

func (t *tap) close() {
	if t.file != nil {
		t.file.Close()
	}
	exec.Command("ip", "netns", "del", t.namespace).Run()
}

// virtioHeader precedes each frame at a TAP file; one of zeroes says nothing.
const virtioHeader = 10

func (t *tap) read() {
	defer close(t.frames)
	buf := make([]byte, 1<<17)
	for {
		n, err := t.file.Read(buf)
		if err != nil {
			return
		}
		at := time.Now()
		if n < virtioHeader+14 {
			continue
		}
		eth := append([]byte(nil), buf[virtioHeader:n]...)
		t.mu.Lock()
		copy(t.mac[:], eth[6:12])
		t.mu.Unlock()
		switch net16.Uint16(eth[12:]) {
		case etherIPv4, etherIPv6:
			select {
			case t.frames <- frame{at, eth[14:]}:
			default: // nobody reads: the script has failed
			}
		case etherARP:
			t.arp(eth[14:])
		}
	}
}

// arp says that everybody who is asked for is here.
func (t *tap) arp(b []byte) {
	if len(b) < 28 || net16.Uint16(b[6:]) != 1 {
		return
	}
	answer := []byte{0, 1, 8, 0, 6, 4, 0, 2}
	answer = append(append(answer, farMAC[:]...), b[24:28]...)
	answer = append(append(answer, b[8:14]...), b[14:18]...)
	t.write(etherARP, answer)
}

// write sends a packet to the near side.
func (t *tap) write(kind uint16, packet []byte) error {
	t.mu.Lock()
	b := append(make([]byte, virtioHeader, virtioHeader+14+len(packet)), t.mac[:]...)
	t.mu.Unlock()
	b = net16.AppendUint16(append(b, farMAC[:]...), kind)
	_, err := t.file.Write(append(b, packet...))
	return err
}
