package inet

import (
	"math"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// Sysctl is a number below /proc/sys that netd keeps.
type Sysctl struct {
	Get func() (int64, error)
	Set func(int64) error // EINVAL, and what netd says
}

// autoconfSysctls are the settings below net/ipv6/conf/INTERFACE that act: Linux's
// Documentation/networking/ip-sysctl.rst.
var autoconfSysctls = map[string]struct {
	get func(*netdv1.Autoconfiguration) int64
	set func(*netdv1.Autoconfiguration, int64)
}{
	"accept_ra": {func(a *netdv1.Autoconfiguration) int64 {
		return truth(a.AcceptRa) + truth(a.AcceptRa && a.AcceptRaAlways)
	},
		func(a *netdv1.Autoconfiguration, v int64) { a.AcceptRa, a.AcceptRaAlways = v != 0, v == 2 }},
	"accept_redirects":     {func(a *netdv1.Autoconfiguration) int64 { return truth(a.AcceptRedirects) }, func(a *netdv1.Autoconfiguration, v int64) { a.AcceptRedirects = v != 0 }},
	"autoconf":             {func(a *netdv1.Autoconfiguration) int64 { return truth(a.Autoconf) }, func(a *netdv1.Autoconfiguration, v int64) { a.Autoconf = v != 0 }},
	"dad_transmits":        {func(a *netdv1.Autoconfiguration) int64 { return int64(a.DadTransmits) }, func(a *netdv1.Autoconfiguration, v int64) { a.DadTransmits = uint32(max(v, 0)) }},
	"router_solicitations": {func(a *netdv1.Autoconfiguration) int64 { return int64(a.RouterSolicitations) }, func(a *netdv1.Autoconfiguration, v int64) { a.RouterSolicitations = int32(max(v, -1)) }},
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Conf6 are the numbers below /proc/sys/net/ipv6/conf that netd keeps, by interface
// and name.
func (n *Network) Conf6() map[string]map[string]Sysctl {
	all, err := n.Interfaces()
	if err != nil {
		return nil
	}
	out := map[string]map[string]Sysctl{}
	for _, i := range all {
		out[i.Name] = map[string]Sysctl{"mtu": mtuOf(i)}
		if i.Ipv6 == nil {
			continue
		}
		for name, c := range autoconfSysctls {
			out[i.Name][name] = Sysctl{
				Get: func() (int64, error) {
					a, err := n.autoconfiguration(i.Index)
					if err != nil {
						return 0, err
					}
					return c.get(a), nil
				},
				Set: func(v int64) error {
					if v < math.MinInt32 || v > math.MaxInt32 {
						return linux.EINVAL
					}
					a, err := n.autoconfiguration(i.Index)
					if err != nil {
						return err
					}
					c.set(a, v)
					return n.Change(&netdv1.Change{What: &netdv1.Change_Ipv6{Ipv6: &netdv1.SettingsChange{Index: i.Index, Ipv6: a}}})
				},
			}
		}
	}
	return out
}

// mtuOf is the MTU that IPv6 goes by on an interface, which is the interface's: EINVAL for
// what it could not be.
func mtuOf(i *netdv1.Interface) Sysctl {
	return Sysctl{
		Get: func() (int64, error) { return int64(i.Mtu), nil },
		Set: func(v int64) error {
			if v < 1280 || v > int64(i.Mtu) {
				return linux.EINVAL
			}
			return nil
		},
	}
}

// autoconfiguration asks for an interface's: ENODEV.
func (n *Network) autoconfiguration(index uint32) (*netdv1.Autoconfiguration, error) {
	i, err := n.device(func(i *netdv1.Interface) bool { return i.Index == index && i.Ipv6 != nil })
	if err != nil {
		return nil, err
	}
	return i.Ipv6, nil
}
