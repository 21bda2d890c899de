package sysfs

import (
	"fmt"
	"slices"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/pseudo"
	"bulkhead/services/sentry/vfs"
)

// Interface is one directory of /sys/class/net.
type Interface struct {
	Name      string
	Index     int
	Link      int // the other end's index; 0: its own
	MTU       int
	Queue     int    // packets that may wait to be sent
	Type      int    // ARPHRD_ of netdevice(7): 772 for the loopback, 1 for Ethernet, 65534 for none
	Flags     uint32 // IFF_ of netdevice(7)
	Address   string // "00:00:00:00:00:00"; empty: none
	Operstate string
	TunFlags  uint32 // IFF_ of linux/if_tun.h; 0: it is not one of those
	// Owner and Group are who may join such a one; -1: nobody.
	Owner, Group int64
	// Statistics are what has passed: Counters says which.
	Statistics [8]uint64
}

// Counters are the names of an Interface's Statistics.
var Counters = [8]string{"rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "multicast", "tx_bytes", "tx_packets", "tx_dropped"}

// never are the counters of what does not happen here.
var never = []string{"collisions", "rx_compressed", "rx_crc_errors", "rx_fifo_errors", "rx_frame_errors", "rx_length_errors",
	"rx_missed_errors", "rx_nohandler", "rx_over_errors", "tx_aborted_errors", "tx_carrier_errors", "tx_compressed", "tx_errors",
	"tx_fifo_errors", "tx_heartbeat_errors", "tx_window_errors"}

// loopback is an interface that every sandbox has.
var loopback = Interface{Name: "lo", Index: 1, MTU: 65536, Queue: 1000, Type: 772, Flags: 0x49, Address: "00:00:00:00:00:00", Operstate: "unknown"}

// Bits of Interface.Flags, and those that sysfs shows.
const (
	flagUp      = 0x1
	flagRunning = 0x40
	shownFlags  = 0xffff &^ flagRunning
)

// network gives /sys/devices/virtual/net and the links to it in /sys/class/net.
func (fs *FS) network() (virtual, class *pseudo.Dir) {
	return fs.dir().WithDynamic(&interfaces{fs.interfaces, fs.interfaceDir}),
		fs.dir().WithDynamic(&interfaces{fs.interfaces, func(n Interface) vfs.Node { return fs.LinkTo("../../devices/virtual/net/" + n.Name) }})
}

// interfaces are the names of the interfaces that there are.
type interfaces struct {
	list func() []Interface
	node func(Interface) vfs.Node
}

// named finds an interface.
func (d *interfaces) named(name string) (Interface, bool) {
	all := d.list()
	at := slices.IndexFunc(all, func(n Interface) bool { return n.Name == name })
	if at < 0 {
		return Interface{}, false
	}
	return all[at], true
}

// Lookup implements pseudo.Dynamic.
func (d *interfaces) Lookup(_ vfs.Context, name string) (vfs.Node, error) {
	n, ok := d.named(name)
	if !ok {
		return nil, linux.ENOENT
	}
	return d.node(n), nil
}

// Names implements pseudo.Dynamic.
func (d *interfaces) Names(vfs.Context) (names []pseudo.Name, err error) {
	for _, n := range d.list() {
		kind := uint8(linux.DT_DIR)
		if _, link := d.node(n).(*pseudo.Link); link {
			kind = linux.DT_LNK
		}
		names = append(names, pseudo.Name{Name: n.Name, Type: kind, Key: int64(n.Index)})
	}
	slices.SortFunc(names, func(a, b pseudo.Name) int { return int(a.Key - b.Key) })
	return names, nil
}

// Valid implements pseudo.Dynamic: what is looked up again is made again, so that another
// interface of the name is another directory.
func (d *interfaces) Valid(_ vfs.Context, name string, child vfs.Node) bool {
	n, ok := d.named(name)
	if dir, is := child.(*interfaceDir); ok && is {
		return dir.index == n.Index
	}
	return ok
}

// interfaceDir is the directory of an interface.
type interfaceDir struct {
	*pseudo.Dir
	index int
}

// interfaceDir makes the directory of one.
func (fs *FS) interfaceDir(n Interface) vfs.Node {
	index := n.Index
	now := func() (Interface, error) {
		for _, n := range fs.interfaces() {
			if n.Index == index {
				return n, nil
			}
		}
		return Interface{}, linux.EINVAL
	}
	d := fs.dir().Add("subsystem", fs.LinkTo("../../../../class/net")).Add("queues", fs.dir()).Add("power", fs.dir())
	for _, f := range interfaceFiles {
		if f.tun && n.TunFlags == 0 {
			continue
		}
		d.Add(f.name, fs.File(0o444, nil, func(vfs.Context) ([]byte, error) {
			n, err := now()
			if err != nil || f.up && n.Flags&flagUp == 0 {
				return nil, linux.EINVAL
			}
			return []byte(f.text(n) + "\n"), nil
		}))
	}
	statistics := fs.dir()
	for i, name := range Counters {
		statistics.Add(name, fs.File(0o444, nil, func(vfs.Context) ([]byte, error) {
			n, err := now()
			return fmt.Appendf(nil, "%d\n", n.Statistics[i]), err
		}))
	}
	for _, name := range never {
		statistics.Add(name, fs.line("0"))
	}
	return &interfaceDir{d.Add("statistics", statistics), index}
}

// interfaceFile is a file of an interface's directory.
type interfaceFile struct {
	name string
	up   bool // it cannot be read while the interface is down
	text func(Interface) string
	tun  bool // only a TUN or TAP interface has it
}

var interfaceFiles = []interfaceFile{
	{name: "addr_assign_type", text: constant("0")},
	{name: "addr_len", text: func(n Interface) string {
		if n.Address == "" {
			return "0"
		}
		return "6"
	}},
	{name: "address", text: func(n Interface) string { return n.Address }},
	{name: "broadcast", text: broadcast},
	{name: "carrier", up: true, text: func(n Interface) string { return fmt.Sprint(n.Flags & flagRunning / flagRunning) }},
	{name: "dev_id", text: constant("0x0")},
	{name: "dev_port", text: constant("0")},
	{name: "dormant", up: true, text: constant("0")},
	{name: "flags", text: func(n Interface) string { return fmt.Sprintf("%#x", n.Flags&shownFlags) }},
	{name: "gro_flush_timeout", text: constant("0")},
	{name: "ifalias", text: constant("")},
	{name: "ifindex", text: func(n Interface) string { return fmt.Sprint(n.Index) }},
	{name: "iflink", text: func(n Interface) string {
		if n.Link != 0 {
			return fmt.Sprint(n.Link)
		}
		return fmt.Sprint(n.Index)
	}},
	{name: "link_mode", text: constant("0")},
	{name: "mtu", text: func(n Interface) string { return fmt.Sprint(n.MTU) }},
	{name: "netdev_group", text: constant("0")},
	{name: "operstate", text: func(n Interface) string { return n.Operstate }},
	{name: "proto_down", text: constant("0")},
	{name: "group", text: func(n Interface) string { return fmt.Sprint(n.Group) }, tun: true},
	{name: "owner", text: func(n Interface) string { return fmt.Sprint(n.Owner) }, tun: true},
	{name: "tun_flags", text: func(n Interface) string { return fmt.Sprintf("%#x", n.TunFlags) }, tun: true},
	{name: "tx_queue_len", text: func(n Interface) string { return fmt.Sprint(n.Queue) }},
	{name: "type", text: func(n Interface) string { return fmt.Sprint(n.Type) }},
	{name: "uevent", text: func(n Interface) string { return fmt.Sprintf("INTERFACE=%s\nIFINDEX=%d", n.Name, n.Index) }},
}

func constant(text string) func(Interface) string {
	return func(Interface) string { return text }
}

func broadcast(n Interface) string {
	switch {
	case n.Address == "":
		return ""
	case n.Type == loopback.Type:
		return loopback.Address
	}
	return "ff:ff:ff:ff:ff:ff"
}
