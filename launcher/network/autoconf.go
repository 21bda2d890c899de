package network

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	netdv1 "bulkhead/proto/netd/v1"
)

// Autoconf is what an interface's kernel does for IPv6 by itself, from its settings
// below /proc/sys/net/ipv6; netd goes on with it.
type Autoconf struct {
	AcceptRA, Autoconf, AcceptRedirects bool
	AcceptRAAlways                      bool // by a router too
	DADTransmits                        int
	Solicitations                       int // of routers; below 0: without end
	SolicitationDelay                   int // milliseconds
	Retransmit                          int // milliseconds
}

// defaultAutoconf is that of a machine that nobody has set up: Linux's
// Documentation/networking/ip-sysctl.rst.
func defaultAutoconf() *Autoconf {
	return &Autoconf{AcceptRA: true, Autoconf: true, AcceptRedirects: true, DADTransmits: 1, Solicitations: -1, SolicitationDelay: 1000, Retransmit: 1000}
}

// Values of addr_gen_mode: linux/if_link.h.
const addressesNone = 1 // IN6_ADDR_GEN_MODE_NONE

// readAutoconf reads the settings of an interface of the calling thread's namespace;
// nil if IPv6 does nothing there. Identifiers of addresses that netd makes are
// modified EUI-64, whatever addr_gen_mode says: those that are there already stay.
func readAutoconf(i *Interface) *Autoconf {
	read := func(dir, name string, otherwise int) int {
		text, err := os.ReadFile(filepath.Join("/proc/sys/net/ipv6", dir, name))
		if err != nil {
			return otherwise
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return otherwise
		}
		return n
	}
	conf := "conf/" + i.Name
	if read(conf, "disable_ipv6", 1) != 0 {
		return nil
	}
	if read(conf, "addr_gen_mode", 0) == addressesNone && !i.has(netip.Addr.IsLinkLocalUnicast) {
		return nil
	}
	forwards := read(conf, "forwarding", 0) != 0
	accept := read(conf, "accept_ra", 1)
	a := &Autoconf{
		AcceptRA:          accept == 2 || accept == 1 && !forwards,
		AcceptRAAlways:    accept == 2,
		Autoconf:          read(conf, "autoconf", 1) != 0,
		AcceptRedirects:   read(conf, "accept_redirects", 1) != 0 && !forwards,
		DADTransmits:      max(read(conf, "dad_transmits", 1), 0),
		Solicitations:     read(conf, "router_solicitations", -1),
		SolicitationDelay: 1000 * max(read(conf, "router_solicitation_delay", 1), 0),
		Retransmit:        max(read("neigh/"+i.Name, "retrans_time_ms", 1000), 0),
	}
	if read(conf, "accept_dad", 1) < 1 && read("conf/all", "accept_dad", 0) < 1 {
		a.DADTransmits = 0
	}
	return a
}

// has tells whether an IPv6 address of the interface is such.
func (i *Interface) has(such func(netip.Addr) bool) bool {
	return slices.ContainsFunc(i.Addresses, func(a Address) bool { return a.Prefix.Addr().Is6() && such(a.Prefix.Addr()) })
}

// message is the configuration as netd is told it.
func (a *Autoconf) message() *netdv1.Autoconfiguration {
	if a == nil {
		return nil
	}
	const most = 1 << 16 // of what is multiplied or counted there
	return &netdv1.Autoconfiguration{AcceptRa: a.AcceptRA, AcceptRaAlways: a.AcceptRAAlways, Autoconf: a.Autoconf, AcceptRedirects: a.AcceptRedirects,
		DadTransmits: uint32(min(a.DADTransmits, most)), RouterSolicitations: int32(min(max(a.Solicitations, -1), most)),
		SolicitationDelay: uint32(min(a.SolicitationDelay, most)), Retransmit: uint32(min(a.Retransmit, most))}
}
