package procfs

import (
	gomaps "maps"
	"slices"

	"bulkhead/services/sentry/pseudo"
	"bulkhead/services/sentry/vfs"
)

// netTexts are the tables of /proc/net without entries: each its heading, for
// whoever looks before, or without, a network.
var netTexts = map[string]string{
	"tcp":      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     \n",
	"udp":      "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops            \n",
	"raw":      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n",
	"tcp6":     "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",
	"udp6":     "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n",
	"raw6":     "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n",
	"icmp":     "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops             \n",
	"icmp6":    "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n",
	"udplite":  "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops            \n",
	"udplite6": "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n",
	"unix":     "Num       RefCount Protocol Flags    Type St Inode Path\n",
	"dev": "Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n" +
		"    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n",
	"route":      "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT                                                       \n",
	"if_inet6":   "00000000000000000000000000000001 01 80 10 80       lo\n",
	"ipv6_route": "",
	"arp":        "IP address       HW type     Flags       HW address            Mask     Device\n",
	"netlink":    "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n",
	"packet":     "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n",
	"sockstat":   "sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n",
	"sockstat6":  "TCP6: inuse 0\nUDP6: inuse 0\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n",
	"protocols":  "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re bi br ha uh gp em\n",
	"snmp":       "",
	"snmp6":      "",
	"netstat":    "",
	"igmp":       "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n",
	"igmp6":      "",
	"dev_mcast":  "",
	"anycast6":   "",
	"mcfilter":   "Idx Device        MCA        SRC    INC    EXC\n",
	"mcfilter6":  "Idx Device                Multicast Address                   Source Address    INC    EXC\n",
	"ptype":      "Type Device      Function\n0800          ip_rcv\n0806          arp_rcv\n86dd          ipv6_rcv\n",
	"wireless":   "Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE\n face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22\n",
}

// netDir is /proc/PID/net, which is one for all. given files take the place of
// those here.
func (fs *FS) netDir(given map[string]func(ctx vfs.Context) ([]byte, error)) *pseudo.Dir {
	live := map[string]func(ctx vfs.Context) ([]byte, error){
		"unix": fs.unixSockets, "sockstat": fs.sockstat(false), "sockstat6": fs.sockstat(true),
	}
	for _, name := range []string{"tcp", "tcp6", "udp", "udp6", "raw", "raw6", "icmp", "icmp6", "udplite", "udplite6"} {
		live[name] = fs.internet(name)
	}
	gomaps.Copy(live, given)
	d := fs.Dir(0o555, nil)
	for _, name := range slices.Sorted(gomaps.Keys(netTexts)) {
		if live[name] == nil {
			d.Add(name, fs.Text(0o444, netTexts[name]))
		}
	}
	for _, name := range slices.Sorted(gomaps.Keys(live)) {
		d.Add(name, fs.File(0o444, nil, live[name]))
	}
	return d
}
