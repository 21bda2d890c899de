package oci

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"

	goferv1 "bulkhead/proto/gofer/v1"
	sentryv1 "bulkhead/proto/sentry/v1"
)

// Container is a spec as the services are told it.
type Container struct {
	Spec *sentryv1.ContainerSpec
	// Attaches are the gofer's, by index; 0 is the root.
	Attaches []*goferv1.Attach
	// Warnings name fields that are not honoured.
	Warnings []string
}

type conversion struct {
	*Container
	bundle string
}

// Convert turns a checked spec of a bundle into what the services are told. With
// overlay, what the container writes to its root never reaches the bundle.
func Convert(id, bundle string, s *specs.Spec, overlay bool) (*Container, error) {
	c := conversion{bundle: bundle, Container: &Container{Spec: &sentryv1.ContainerSpec{
		Id: id, Hostname: s.Hostname, Domainname: s.Domainname,
		Root:    &sentryv1.Root{ReadOnly: s.Root.Readonly, Overlay: overlay},
		Process: Process(s.Process),
	}}}
	if c.Spec.Hostname == "" {
		c.Spec.Hostname, _ = os.Hostname()
	}
	root := s.Root.Path
	if !filepath.IsAbs(root) {
		root = filepath.Join(bundle, root)
	}
	if info, err := os.Stat(root); err != nil {
		return nil, fmt.Errorf("%s: root.path: %w", ConfigName, err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s: root.path: %s: not a directory", ConfigName, root)
	}
	c.Attaches = append(c.Attaches, &goferv1.Attach{Source: root, ReadOnly: s.Root.Readonly || overlay, Recursive: true})
	for i, m := range s.Mounts {
		if err := c.mount(i, m); err != nil {
			return nil, fmt.Errorf("%s: %w", ConfigName, err)
		}
	}
	c.linux(s)
	return c.Container, nil
}

// linux takes over what of the linux section has a meaning inside.
func (c *conversion) linux(s *specs.Spec) {
	if h := s.Hooks; h != nil {
		c.warn("hooks", "are not run")
	}
	l := s.Linux
	if l == nil {
		return
	}
	c.Spec.MaskedPaths, c.Spec.ReadonlyPaths, c.Spec.Sysctls = l.MaskedPaths, l.ReadonlyPaths, l.Sysctl
	c.Spec.Cgroup = Limits(l.Resources)
	for _, d := range l.Devices {
		c.Spec.Devices = append(c.Spec.Devices, device(d))
	}
	if len(l.UIDMappings) != 0 || len(l.GIDMappings) != 0 {
		c.warn("linux.uidMappings", "are not honoured: every container has all users of its own")
	}
	if s.Process.ApparmorProfile != "" || s.Process.SelinuxLabel != "" {
		c.warn("process.apparmorProfile", "host profiles do not apply inside the sandbox")
	}
}

func (c *conversion) warn(field, what string) {
	c.Warnings = append(c.Warnings, fmt.Sprintf("%s: %s: %s", ConfigName, field, what))
}

func device(d specs.LinuxDevice) *sentryv1.Device {
	out := &sentryv1.Device{Path: d.Path, Major: uint32(d.Major), Minor: uint32(d.Minor), Mode: 0o666}
	if d.FileMode != nil {
		out.Mode = uint32(d.FileMode.Perm())
	}
	const charType, blockType = 0o020000, 0o060000
	if d.Type == "b" {
		out.Mode |= blockType
	} else {
		out.Mode |= charType
	}
	if d.UID != nil {
		out.Uid = *d.UID
	}
	if d.GID != nil {
		out.Gid = *d.GID
	}
	return out
}
