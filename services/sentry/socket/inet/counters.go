package inet

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/vfs"
)

// within counts what sockets of this sentry do among themselves, which netd does not
// see. There are no packets then, and so none are counted.
type within struct {
	opens                 atomic.Uint64    // connections, each opened actively and passively
	sent, received, fulls [2]atomic.Uint64 // datagrams of IPv4 and IPv6; those that found no room
}

// datagram counts one to a.
func (w *within) datagram(a netip.Addr, arrived bool) {
	v := boolInt(!a.Is4())
	w.sent[v].Add(1)
	if arrived {
		w.received[v].Add(1)
	} else {
		w.fulls[v].Add(1)
	}
}

// Statistics are the counters by nstat(8)'s names: netd's and our own. Those that are
// missing are 0.
func (n *Network) Statistics() map[string]uint64 {
	all := map[string]uint64{"IpDefaultTTL": 64, "IpForwarding": 2}
	resp, fds, err := n.call(&netdv1.Request{Op: &netdv1.Request_Statistics{Statistics: &netdv1.StatisticsQuery{}}})
	closeAll(fds)
	if err == nil && resp.Statistics != nil {
		all = resp.Statistics
	}
	w := &n.within
	all["TcpActiveOpens"] += w.opens.Load()
	all["TcpPassiveOpens"] += w.opens.Load()
	all["TcpCurrEstab"] += n.registry.connections()
	for v, name := range []string{"Udp", "Udp6"} {
		all[name+"OutDatagrams"] += w.sent[v].Load()
		all[name+"InDatagrams"] += w.received[v].Load()
		all[name+"RcvbufErrors"] += w.fulls[v].Load()
		all[name+"InErrors"] += w.fulls[v].Load()
	}
	nameTypes(all)
	return all
}

// connections are the ends of connections within the sentry.
func (r *registry) connections() (n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, list := range r.held {
		for _, h := range list {
			if h.remote.IsValid() {
				n++
			}
		}
	}
	return n
}

// icmpTypes are the counters that go by ICMP's types: RFC 2011, RFC 2466.
var icmpTypes = []struct {
	typ  int
	v6   bool
	name string
}{
	{3, false, "DestUnreachs"}, {11, false, "TimeExcds"}, {12, false, "ParmProbs"}, {4, false, "SrcQuenchs"}, {5, false, "Redirects"},
	{8, false, "Echos"}, {0, false, "EchoReps"}, {13, false, "Timestamps"}, {14, false, "TimestampReps"}, {17, false, "AddrMasks"},
	{18, false, "AddrMaskReps"},
	{1, true, "DestUnreachs"}, {2, true, "PktTooBigs"}, {3, true, "TimeExcds"}, {4, true, "ParmProblems"}, {128, true, "Echos"},
	{129, true, "EchoReplies"}, {130, true, "GroupMembQueries"}, {131, true, "GroupMembResponses"}, {132, true, "GroupMembReductions"},
	{133, true, "RouterSolicits"}, {134, true, "RouterAdvertisements"}, {135, true, "NeighborSolicits"},
	{136, true, "NeighborAdvertisements"}, {137, true, "Redirects"}, {143, true, "MLDv2Reports"},
}

// nameTypes gives ICMP's types their older names, too.
func nameTypes(all map[string]uint64) {
	for _, t := range icmpTypes {
		from, to := "IcmpMsg", "Icmp"
		if t.v6 {
			from, to = "Icmp6", "Icmp6"
		}
		for _, direction := range []string{"In", "Out"} {
			all[to+direction+t.name] = all[from+direction+"Type"+strconv.Itoa(t.typ)]
		}
	}
}

// constants are what stands in the tables and counts nothing: tcp(7).
var constants = map[string]string{"TcpRtoAlgorithm": "1", "TcpRtoMin": "200", "TcpRtoMax": "120000", "TcpMaxConn": "-1"}

// lines writes a heading's names and their values.
func lines(b *bytes.Buffer, h heading, all map[string]uint64) {
	fmt.Fprintf(b, "%s: %s\n%s:", h.prefix, h.names, h.prefix)
	for name := range strings.FieldsSeq(h.names) {
		name = h.prefix + name
		if v, ok := constants[name]; ok {
			b.WriteString(" " + v)
		} else {
			fmt.Fprintf(b, " %d", all[name])
		}
	}
	b.WriteByte('\n')
}

// typesSeen are the ICMP types that were counted, of names such as prefixInType8: those
// that came in first.
func typesSeen(all map[string]uint64, prefix string) (names []string) {
	for _, direction := range []string{"InType", "OutType"} {
		for typ := range 256 {
			if name := direction + strconv.Itoa(typ); all[prefix+name] != 0 {
				names = append(names, name)
			}
		}
	}
	return names
}

// snmpTable is /proc/net/snmp.
func snmpTable(all map[string]uint64) []byte {
	var b bytes.Buffer
	for _, h := range snmpHeadings {
		lines(&b, h, all)
		if seen := typesSeen(all, "IcmpMsg"); h.prefix == "Icmp" && len(seen) > 0 {
			lines(&b, heading{"IcmpMsg", strings.Join(seen, " ")}, all)
		}
	}
	return b.Bytes()
}

// netstatTable is /proc/net/netstat.
func netstatTable(all map[string]uint64) []byte {
	var b bytes.Buffer
	for _, h := range netstatHeadings {
		lines(&b, h, all)
	}
	return b.Bytes()
}

// snmp6Table is /proc/net/snmp6.
func snmp6Table(all map[string]uint64) []byte {
	var b bytes.Buffer
	names := strings.Fields(ip6Names)
	for _, t := range typesSeen(all, "Icmp6") {
		names = append(names, "Icmp6"+t)
	}
	for _, name := range append(names, strings.Fields(udp6Names)...) {
		fmt.Fprintf(&b, "%-32s\t%d\n", name, all[name])
	}
	return b.Bytes()
}

// groupsOf are an interface's groups of one length of address, in order.
func groupsOf(i *netdv1.Interface, length int) (list []*netdv1.Group) {
	for _, g := range i.Groups {
		if len(g.Address) == length {
			list = append(list, g)
		}
	}
	slices.SortFunc(list, func(a, b *netdv1.Group) int { return cmp.Compare(string(b.Address), string(a.Address)) })
	return list
}

// igmpTable is /proc/net/igmp.
func igmpTable(all []*netdv1.Interface) []byte {
	b := bytes.NewBufferString("Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n")
	for _, i := range all {
		groups := groupsOf(i, 4)
		fmt.Fprintf(b, "%d\t%-10s: %5d %7s\n", i.Index, i.Name, len(groups), "V3")
		for _, g := range groups {
			fmt.Fprintf(b, "\t\t\t\t%08X %5d %d:%08X\t\t%d\n", word(g.Address), g.Users, 0, 0, 0)
		}
	}
	return b.Bytes()
}

// igmp6Table is /proc/net/igmp6.
func igmp6Table(all []*netdv1.Interface) []byte {
	const noReport, used = 0x8, 0x4 // MAF_NOREPORT, MAF_USED: net/if_inet6.h
	var b bytes.Buffer
	for _, i := range all {
		for _, g := range groupsOf(i, 16) {
			flags := used
			if g.Address[1] == 1 {
				flags = noReport
			} else if netip.AddrFrom16([16]byte(g.Address)) == netip.IPv6LinkLocalAllNodes() {
				flags |= noReport
			}
			fmt.Fprintf(&b, "%-4d %-15s %x %5d %08X %d\n", i.Index, i.Name, g.Address, g.Users, flags, 0)
		}
	}
	return b.Bytes()
}

// stationsTable is /proc/net/dev_mcast: the Ethernet addresses of the groups.
func stationsTable(all []*netdv1.Interface) []byte {
	var b bytes.Buffer
	for _, i := range all {
		if i.Flags&8 != 0 { // IFF_LOOPBACK
			continue
		}
		users := map[string]uint32{}
		for _, g := range i.Groups {
			if a := g.Address; len(a) == 4 { // RFC 1112, 6.4
				users[fmt.Sprintf("01005e%02x%02x%02x", a[1]&0x7f, a[2], a[3])]++
			} else if len(a) == 16 && a[1] != 1 { // RFC 2464, 7
				users[fmt.Sprintf("3333%x", a[12:])]++
			}
		}
		for _, mac := range slices.Sorted(maps.Keys(users)) {
			fmt.Fprintf(&b, "%-4d %-15s %-5d %-5d %s\n", i.Index, i.Name, users[mac], 0, mac)
		}
	}
	return b.Bytes()
}

// counted are the files of /proc/net that show counters and groups.
func (n *Network) counted(interfaces func(func([]*netdv1.Interface) []byte) func(vfs.Context) ([]byte, error)) map[string]func(vfs.Context) ([]byte, error) {
	statistics := func(show func(map[string]uint64) []byte) func(vfs.Context) ([]byte, error) {
		return func(vfs.Context) ([]byte, error) { return show(n.Statistics()), nil }
	}
	return map[string]func(vfs.Context) ([]byte, error){
		"snmp": statistics(snmpTable), "netstat": statistics(netstatTable), "snmp6": statistics(snmp6Table),
		"igmp": interfaces(igmpTable), "igmp6": interfaces(igmp6Table), "dev_mcast": interfaces(stationsTable),
	}
}
