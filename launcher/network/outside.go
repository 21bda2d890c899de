package network

import (
	"errors"
	"fmt"
	"os"

	netdv1 "bulkhead/proto/netd/v1"
)

// Outside is what netd gets: interfaces, and a descriptor for each.
type Outside struct {
	Links []*netdv1.Link
	Files []*os.File
	// Taken is what is to be given back when the sandbox has ended; nil: nothing.
	Taken *Taken
	// Warnings name what is left out.
	Warnings []string
	// Again opens the links anew for another netd, where they end with the one that had
	// them; nil: another one goes on with the same.
	Again func() (*Outside, error)

	ns *Namespace
}

// Open opens what mode says. namespace is for mode sandbox: see OpenSandbox.
func Open(mode Mode, namespace string) (*Outside, error) {
	o, err := &Outside{}, error(nil)
	switch mode.Kind {
	case Sandbox:
		o, err = OpenSandbox(namespace)
	case TAP:
		o, err = OpenTAP(mode.Name)
	case User:
		if o, err = OpenUser(); err == nil {
			o.Again = OpenUser
		}
	}
	if err != nil {
		return nil, fmt.Errorf("--network %s: %w", mode, err)
	}
	return o, nil
}

// Close lets go of the descriptors, which netd has by then.
func (o *Outside) Close() {
	if o == nil {
		return
	}
	for _, f := range o.Files {
		f.Close()
	}
	o.Files = nil
	if o.ns != nil {
		o.ns.Close()
		o.ns = nil
	}
}

// ErrHost says that the namespace is the machine's own.
var ErrHost = errors.New("the network namespace is the machine's own, whose addresses nobody may take: name another one, or use --network none")

// OpenSandbox opens the interfaces of the namespace at path, or of our own if
// path is "", and takes their addresses off the host's side. On an error all is
// as before.
func OpenSandbox(path string) (o *Outside, err error) {
	ns, err := OpenNamespace(path)
	if err != nil {
		return nil, err
	}
	if path == "" {
		path = ownNamespace
	}
	taken := &Taken{Namespace: path, Identity: ns.id()}
	opened := &Outside{ns: ns, Taken: taken}
	defer func() {
		if err != nil {
			taken.giveBackIn(ns)
			opened.Close()
		}
	}()
	if ns.Host() {
		return nil, ErrHost
	}
	return opened, ns.Do(opened.takeAll)
}

// takeAll runs in the namespace.
func (o *Outside) takeAll() error {
	all, err := find(func(w string) { o.Warnings = append(o.Warnings, w) })
	if err != nil {
		return err
	}
	for _, i := range all {
		if !i.usable() {
			continue
		}
		f, err := openPacket(i.Index)
		if err != nil {
			return fmt.Errorf("open interface %s: %w", i.Name, err)
		}
		l := i.message()
		l.Kind, l.VirtioHeader, l.UdpSegmentation = netdv1.Link_KIND_PACKET, true, segmentsUDP()
		o.Links, o.Files = append(o.Links, l), append(o.Files, f)
		err = i.take()
		o.Taken.Interfaces = append(o.Taken.Interfaces, i)
		if err != nil {
			return fmt.Errorf("take the addresses of %s: %w", i.Name, err)
		}
	}
	return nil
}
