package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"bulkhead/launcher/hull"
	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/egress"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/policy"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/server"
	"bulkhead/services/netd/stack"
)

// outside is what a boot gives the stack besides its loopback.
type outside []joint

// joint is one interface and what is known of it.
type joint struct {
	config     stack.InterfaceConfig
	routes     []route.Route
	neighbours []neighbour
}

type neighbour struct {
	addr netip.Addr
	mac  [6]byte
}

// outsideOf makes devices of the descriptors that q describes; waiter
// waits for them.
func outsideOf(q *netdv1.BootRequest, fds hull.Descriptors, waiter link.Waiter, log *slog.Logger) (outside, error) {
	rules, err := policy.Parse(q.Egress)
	if err != nil {
		return nil, err
	}
	if f := fds.Take(hull.FDRefused); f != nil {
		log = hull.Logger(f, false)
	}
	var out outside
	var tracer *link.Tracer
	if f := fds.Take(hull.FDCapture); f != nil {
		var err error
		if tracer, err = link.NewTracer(f); err != nil {
			return nil, fmt.Errorf("begin capture: %w", err)
		}
	}
	for n, l := range q.Links {
		j, err := jointOf(l)
		if err == nil {
			j.config.Device, err = deviceOf(l, fds, n, waiter)
		}
		if err == nil && tracer != nil {
			j.config.Device, err = tracer.Trace(l.Name, j.config.Device)
		}
		if err == nil {
			j.config.Device = egress.Guard(j.config.Device, rules, log)
		}
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w", l.Name, err)
		}
		out = append(out, j)
	}
	return out, nil
}

// deviceOf makes the nth device.
func deviceOf(l *netdv1.Link, fds hull.Descriptors, n int, waiter link.Waiter) (link.Device, error) {
	f := fds.Take(hull.FDLink(n))
	if f == nil {
		return nil, errors.New("its descriptor is missing")
	}
	c := link.Config{File: f, MTU: int(l.Mtu), Virtio: l.VirtioHeader, UDPOffload: l.UdpSegmentation, Waiter: waiter}
	if copy(c.MAC[:], l.Mac) != len(l.Mac) || len(l.Mac) != len(c.MAC) {
		return nil, fmt.Errorf("Ethernet address of %d bytes", len(l.Mac))
	}
	switch l.Kind {
	case netdv1.Link_KIND_PACKET:
		return link.NewPacket(c)
	case netdv1.Link_KIND_TAP:
		return link.NewTAP(c)
	case netdv1.Link_KIND_STREAM:
		return link.NewStream(c)
	}
	return nil, fmt.Errorf("is of unknown kind %s", l.Kind)
}

// jointOf reads a message, all but its device.
func jointOf(l *netdv1.Link) (j joint, err error) {
	j.config = stack.InterfaceConfig{Name: l.Name, Index: int(l.Index)}
	for _, p := range l.Addresses {
		prefix, err := prefixOf(p.Prefix)
		if err != nil {
			return j, fmt.Errorf("address: %w", err)
		}
		a := ip.Address{Prefix: prefix, Flags: ip.AddressFlags(p.Flags) &^ ip.Permanent, Valid: seconds(p.Valid), Preferred: seconds(p.Preferred)}
		j.config.Addresses = append(j.config.Addresses, a)
	}
	if c := l.Ipv6; c != nil {
		j.config.IPv6 = server.SettingsOf(c)
	}
	for _, m := range l.Routes {
		r := route.Route{Metric: m.Metric, Protocol: uint8(m.Protocol)}
		if r.Destination, err = prefixOf(m.Destination); err != nil {
			return j, fmt.Errorf("route: %w", err)
		}
		if r.Gateway, err = addrOf(m.Gateway); err != nil {
			return j, fmt.Errorf("route to %s: gateway: %w", r.Destination, err)
		}
		if r.Source, err = addrOf(m.Source); err != nil {
			return j, fmt.Errorf("route to %s: source: %w", r.Destination, err)
		}
		j.routes = append(j.routes, r)
	}
	for _, m := range l.Neighbours {
		addr, err := addrOf(m.Address)
		if err != nil || !addr.IsValid() || len(m.Mac) != 6 {
			return j, fmt.Errorf("neighbour %s: wrong address", addr)
		}
		j.neighbours = append(j.neighbours, neighbour{addr, [6]byte(m.Mac)})
	}
	return j, nil
}

// seconds are in the stack's nanoseconds.
func seconds(n uint32) int64 { return int64(n) * int64(time.Second) }

// addrOf reads an address; none is the invalid one.
func addrOf(b []byte) (netip.Addr, error) {
	addr, ok := netip.AddrFromSlice(b)
	if !ok && len(b) != 0 {
		return addr, fmt.Errorf("address of %d bytes", len(b))
	}
	return addr, nil
}

func prefixOf(p *netdv1.Prefix) (netip.Prefix, error) {
	addr, err := addrOf(p.GetAddress())
	if err != nil {
		return netip.Prefix{}, err
	}
	if !addr.IsValid() || int(p.Bits) > addr.BitLen() {
		return netip.Prefix{}, fmt.Errorf("%s/%d is no prefix", addr, p.GetBits())
	}
	return netip.PrefixFrom(addr, int(p.Bits)), nil
}

// routerLifetime is how long a router is one that the host had heard of, and that the
// stack does not hear: the default of RFC 4861, section 6.2.1, AdvDefaultLifetime. The
// launcher is not told how much is left.
const routerLifetime = 1800 * time.Second

func byRouter(r *route.Route) bool {
	return r.Protocol == route.Router && r.Destination.Bits() == 0 && r.Gateway.Is6()
}

// join gives the stack its interfaces. From then on it answers.
func (o outside) join(s *stack.Stack) error {
	for _, j := range o {
		index, err := s.AddInterface(j.config)
		if err != nil {
			return fmt.Errorf("interface %s: %w", j.config.Name, err)
		}
		for _, r := range j.routes {
			r.Interface = index
			if byRouter(&r) {
				if err := s.AddRouter(index, r.Gateway, routerLifetime); err != nil {
					return fmt.Errorf("interface %s: router %s: %w", j.config.Name, r.Gateway, err)
				}
				continue
			}
			// One to a network of an address's is there already.
			if err := s.AddRoute(r); err != nil && !errors.Is(err, linux.EEXIST) {
				return fmt.Errorf("interface %s: route to %s: %w", j.config.Name, r.Destination, err)
			}
		}
		for _, n := range j.neighbours {
			if err := s.AddNeighbor(index, n.addr, n.mac); err != nil {
				return fmt.Errorf("interface %s: neighbour %s: %w", j.config.Name, n.addr, err)
			}
		}
	}
	return nil
}
