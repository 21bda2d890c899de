package network

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Taken is what the host's side of a namespace had to give up.
type Taken struct {
	// Namespace is its path, for whoever has no descriptor for it.
	Namespace  string      `json:"namespace,omitempty"`
	Identity   identity    `json:"identity"`
	Interfaces []Interface `json:"interfaces"`
}

// take takes addresses off the interface's host side, in the calling thread's
// namespace. With them go the routes. On an error something may be taken.
func (i *Interface) take() error {
	i.Settings = map[string]string{}
	l, err := netlink.LinkByIndex(i.Index)
	if err != nil {
		return err
	}
	// A kernel that forwards would tell others that it knows no way to us.
	i.set("ipv4/conf/"+i.Name+"/forwarding", "0")
	for _, a := range i.Addresses {
		if a.Prefix.Addr().Is4() {
			if err := gone(netlink.AddrDel(l, a.netlink())); err != nil {
				return fmt.Errorf("remove %s: %w", a.Prefix, err)
			}
		}
	}
	// Without IPv6 no router's advertisement brings an address back either. Where
	// the setting cannot be written, at least the addresses go.
	i.set("ipv6/conf/"+i.Name+"/disable_ipv6", "1")
	for _, a := range i.Addresses {
		if a.Prefix.Addr().Is6() {
			if err := gone(netlink.AddrDel(l, a.netlink())); err != nil {
				return fmt.Errorf("remove %s: %w", a.Prefix, err)
			}
		}
	}
	return nil
}

// gone is err unless that says that there was nothing to remove.
func gone(err error) error {
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// set changes a setting of the calling thread's namespace, if it can, and keeps
// what it was.
func (i *Interface) set(name, value string) {
	path := filepath.Join("/proc/sys/net", name)
	old, err := os.ReadFile(path)
	if err != nil || string(old) == value+"\n" {
		return
	}
	if os.WriteFile(path, []byte(value), 0) == nil {
		i.Settings[name] = string(old)
	}
}

// giveBack restores what take took. It does what it can, and says what it could
// not do.
func (i *Interface) giveBack() error {
	l, err := netlink.LinkByIndex(i.Index)
	var notFound netlink.LinkNotFoundError
	if errors.As(err, &notFound) {
		return nil // whoever removed the interface wants nothing back
	}
	if err != nil {
		return err
	}
	var errs []error
	for name, old := range i.Settings {
		if err := os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(old), 0); err != nil {
			errs = append(errs, fmt.Errorf("restore setting: %w", err))
		}
	}
	for _, a := range i.Addresses {
		address := a.netlink()
		if a.Prefix.Addr().Is6() {
			address.Flags |= unix.IFA_F_NODAD // it was ours all the time
		}
		if err := netlink.AddrReplace(l, address); err != nil {
			errs = append(errs, fmt.Errorf("restore address %s: %w", a.Prefix, err))
		}
	}
	routes := slices.Clone(i.Routes)
	// A gateway must be reachable before it is named.
	slices.SortStableFunc(routes, func(a, b Route) int { return btoi(a.Gateway.IsValid()) - btoi(b.Gateway.IsValid()) })
	for _, r := range routes {
		if r.Protocol == unix.RTPROT_RA {
			continue // the router will say so again
		}
		if err := netlink.RouteReplace(r.netlink(i.Index)); err != nil {
			errs = append(errs, fmt.Errorf("restore route to %s: %w", r.Destination, err))
		}
	}
	for _, n := range i.Neighbours {
		err := netlink.NeighSet(&netlink.Neigh{LinkIndex: i.Index, IP: ip(n.Address), HardwareAddr: n.MAC, State: netlink.NUD_PERMANENT})
		if err != nil {
			errs = append(errs, fmt.Errorf("restore neighbour %s: %w", n.Address, err))
		}
	}
	return errors.Join(errs...)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// GiveBack restores the host's side. A namespace that is no longer there needs
// nothing.
func (t *Taken) GiveBack() error {
	if t == nil || len(t.Interfaces) == 0 {
		return nil
	}
	ns, err := OpenNamespace(t.Namespace)
	if err != nil {
		return nil
	}
	defer ns.Close()
	return t.giveBackIn(ns)
}

func (t *Taken) giveBackIn(ns *Namespace) error {
	if ns.id() != t.Identity {
		return nil // the path now leads to another one
	}
	var errs []error
	err := ns.Do(func() error {
		for k := range t.Interfaces {
			i := &t.Interfaces[k]
			if err := i.giveBack(); err != nil {
				errs = append(errs, fmt.Errorf("give interface %s back: %w", i.Name, err))
			}
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}
