package oci

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	goferv1 "bulkhead/proto/gofer/v1"
	sentryv1 "bulkhead/proto/sentry/v1"
)

// flags of mount(2) by the options' names: mount(8). clear takes bits away.
var mountFlags = map[string]struct{ set, clear uint64 }{
	"ro": {set: unix.MS_RDONLY}, "rw": {clear: unix.MS_RDONLY},
	"nosuid": {set: unix.MS_NOSUID}, "suid": {clear: unix.MS_NOSUID},
	"nodev": {set: unix.MS_NODEV}, "dev": {clear: unix.MS_NODEV},
	"noexec": {set: unix.MS_NOEXEC}, "exec": {clear: unix.MS_NOEXEC},
	"sync": {set: unix.MS_SYNCHRONOUS}, "async": {clear: unix.MS_SYNCHRONOUS},
	"dirsync": {set: unix.MS_DIRSYNC}, "mand": {set: unix.MS_MANDLOCK}, "nomand": {clear: unix.MS_MANDLOCK},
	"noatime": {set: unix.MS_NOATIME}, "atime": {clear: unix.MS_NOATIME},
	"nodiratime": {set: unix.MS_NODIRATIME}, "diratime": {clear: unix.MS_NODIRATIME},
	"relatime": {set: unix.MS_RELATIME}, "norelatime": {clear: unix.MS_RELATIME},
	"strictatime": {set: unix.MS_STRICTATIME}, "nostrictatime": {clear: unix.MS_STRICTATIME},
	"nosymfollow": {set: unix.MS_NOSYMFOLLOW}, "symfollow": {clear: unix.MS_NOSYMFOLLOW},
	"defaults": {}, "bind": {set: unix.MS_BIND}, "rbind": {set: unix.MS_BIND | unix.MS_REC},
	"private": {set: unix.MS_PRIVATE}, "rprivate": {set: unix.MS_PRIVATE | unix.MS_REC},
	"shared": {set: unix.MS_SHARED}, "rshared": {set: unix.MS_SHARED | unix.MS_REC},
	"slave": {set: unix.MS_SLAVE}, "rslave": {set: unix.MS_SLAVE | unix.MS_REC},
	"unbindable": {set: unix.MS_UNBINDABLE}, "runbindable": {set: unix.MS_UNBINDABLE | unix.MS_REC},
	"rro": {set: unix.MS_RDONLY}, "tmpcopyup": {},
}

func isBind(m specs.Mount) bool {
	return m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

// options splits mount options into flags and what the file system reads.
func options(all []string) (flags uint64, data []string) {
	for _, o := range all {
		f, ok := mountFlags[o]
		if !ok {
			data = append(data, o)
			continue
		}
		flags = flags&^f.clear | f.set
	}
	return flags, data
}

// A mount of the spec becomes one of the sentry's and, if it is a host tree,
// the gofer's attach point with the next index.
func (c *conversion) mount(i int, m specs.Mount) error {
	flags, data := options(m.Options)
	out := &sentryv1.Mount{
		Destination: filepath.Clean(m.Destination), Source: m.Source, Flags: flags, Options: data,
		CopyUp: slices.Contains(m.Options, "tmpcopyup"),
	}
	if isBind(m) {
		a, err := c.bind(m, flags)
		if err != nil {
			return fmt.Errorf("mounts[%d].source: %w", i, err)
		}
		out.Type, out.Attach, out.Shared, out.File = "gofer", uint32(len(c.Attaches)), a.Shared, a.File
		c.Attaches = append(c.Attaches, a)
		c.Spec.Mounts = append(c.Spec.Mounts, out)
		return nil
	}
	switch m.Type {
	case "tmpfs":
		out.Type = "tmpfs"
		if out.Destination == "/dev" {
			out.Type = "dev" // a spec's /dev is a tmpfs that the runtime fills
		}
	case "devtmpfs":
		out.Type = "dev"
	case "proc", "sysfs", "devpts", "mqueue":
		out.Type = m.Type
	case "cgroup", "cgroup2":
		out.Type = "cgroup"
	default:
		return invalid(fmt.Sprintf("mounts[%d].type", i), "%q is not supported", m.Type)
	}
	c.Spec.Mounts = append(c.Spec.Mounts, out)
	return nil
}

func (c *conversion) bind(m specs.Mount, flags uint64) (*goferv1.Attach, error) {
	source := m.Source
	if !filepath.IsAbs(source) {
		source = filepath.Join(c.bundle, source)
	}
	info, err := os.Stat(source)
	if err != nil {
		return nil, err
	}
	return &goferv1.Attach{
		Source: source, ReadOnly: flags&unix.MS_RDONLY != 0, Recursive: flags&unix.MS_REC != 0,
		Shared: true, File: !info.IsDir(),
	}, nil
}
