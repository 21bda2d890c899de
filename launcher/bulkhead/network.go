package main

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"

	"bulkhead/launcher/network"
)

// openNetwork opens the outside of a container. Unless --network says otherwise,
// that is the interfaces of the network namespace that the spec names. One that
// is to be made new would have none; and a container of the machine's own
// namespace gets none, because nobody may take the machine's.
func (c *creation) openNetwork(spec *specs.Spec) (*network.Outside, error) {
	mode := network.Mode{Kind: network.Sandbox}
	if c.network != "" {
		var err error
		if mode, err = network.Parse(c.network); err != nil {
			return nil, err
		}
	}
	path, own := networkOf(spec)
	if mode.Kind == network.Sandbox && own {
		mode.Kind = network.None
	}
	if mode.Kind == network.Sandbox && c.network == "" && path == "" {
		c.warn([]string{"linux.namespaces: there is no network namespace; the container gets a loopback only"})
		mode.Kind = network.None
	}
	o, err := network.Open(mode, path)
	if err != nil {
		return nil, fmt.Errorf("open network: %w", err)
	}
	c.warn(o.Warnings)
	return o, nil
}

// networkOf is the path of the network namespace that spec names, or says that
// it wants a new one.
func networkOf(spec *specs.Spec) (path string, own bool) {
	if spec.Linux == nil {
		return "", false
	}
	for _, n := range spec.Linux.Namespaces {
		if n.Type == specs.NetworkNamespace {
			return n.Path, n.Path == ""
		}
	}
	return "", false
}
