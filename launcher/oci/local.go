package oci

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/jail"
	goferv1 "bulkhead/proto/gofer/v1"
	sentryv1 "bulkhead/proto/sentry/v1"
)

// Volume is a host directory or file that shows in the guest.
type Volume struct {
	Host, Guest string
	ReadOnly    bool
}

// ParseVolume reads HOST:GUEST or HOST:GUEST:ro.
func ParseVolume(s string) (Volume, error) {
	parts := strings.Split(s, ":")
	v := Volume{}
	switch {
	case len(parts) == 3 && parts[2] == "ro":
		v.ReadOnly = true
	case len(parts) == 3 && parts[2] == "rw", len(parts) == 2:
	default:
		return v, fmt.Errorf("volume %q: want HOST:GUEST or HOST:GUEST:ro", s)
	}
	host, err := filepath.Abs(parts[0])
	if err != nil {
		return v, fmt.Errorf("volume %q: %w", s, err)
	}
	v.Host, v.Guest = host, parts[1]
	if parts[0] == "" || !filepath.IsAbs(v.Guest) {
		return v, fmt.Errorf("volume %q: the guest's path must be absolute", s)
	}
	return v, nil
}

// Local is a container on the host's own root, which it sees read-only below a
// private layer, with the usual file systems above.
func Local(id, hostname string, p *sentryv1.ProcessSpec) (*Container, error) {
	subs, err := fileSystems()
	if err != nil {
		return nil, err
	}
	const tight = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	return &Container{
		Spec: &sentryv1.ContainerSpec{
			Id: id, Hostname: hostname, Process: p,
			Root: &sentryv1.Root{Overlay: true},
			Mounts: []*sentryv1.Mount{
				{Destination: "/proc", Type: "proc", Source: "proc", Flags: tight},
				{Destination: "/sys", Type: "sysfs", Source: "sysfs", Flags: tight | unix.MS_RDONLY},
				{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Flags: tight},
				{Destination: "/dev", Type: "dev", Source: "tmpfs", Flags: unix.MS_NOSUID, Options: []string{"mode=755"}},
				{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Options: []string{"mode=620", "ptmxmode=666", "gid=5"}},
				{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Flags: unix.MS_NOSUID | unix.MS_NODEV, Options: []string{"mode=1777"}},
				{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
				{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Options: []string{"mode=1777"}},
			},
		},
		Attaches: []*goferv1.Attach{{Source: "/", ReadOnly: true, Submounts: subs}},
	}, nil
}

// Add mounts a volume, above everything that is there already.
func (c *Container) Add(v Volume) error {
	info, err := os.Stat(v.Host)
	if err != nil {
		return fmt.Errorf("volume: %w", err)
	}
	m := &sentryv1.Mount{
		Destination: filepath.Clean(v.Guest), Type: "gofer", Source: v.Host,
		Attach: uint32(len(c.Attaches)), Shared: true, File: !info.IsDir(),
	}
	if v.ReadOnly {
		m.Flags |= unix.MS_RDONLY
	}
	c.Attaches = append(c.Attaches, &goferv1.Attach{Source: v.Host, ReadOnly: v.ReadOnly, Recursive: true, Shared: true, File: m.File})
	c.Spec.Mounts = append(c.Spec.Mounts, m)
	return nil
}

// diskTypes are file systems that hold files for their own sake. Those of the
// kernel (proc, sysfs, cgroup...) the guest has of its own.
var diskTypes = map[string]bool{
	"ext2": true, "ext3": true, "ext4": true, "xfs": true, "btrfs": true, "zfs": true, "f2fs": true, "bcachefs": true,
	"vfat": true, "exfat": true, "ntfs3": true, "squashfs": true, "erofs": true, "9p": true, "virtiofs": true,
	"nfs": true, "nfs4": true, "cifs": true, "fuseblk": true, "overlay": true,
}

// fileSystems lists where the host has file systems mounted below /, each above
// those that it lies in.
func fileSystems() ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	defer f.Close()
	var subs []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		at, kind, ok := mountLine(lines.Text())
		if !ok || at == "/" || !diskTypes[kind] || hidden(at) {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(at, &st) != nil {
			continue // covered by another mount
		}
		subs = append(subs, at)
	}
	return subs, lines.Err()
}

// hidden tells what the guest's own file systems or other containers' cover.
func hidden(at string) bool {
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run", "/tmp", "/var/lib/docker", "/var/lib/containers", "/var/lib/containerd"} {
		if at == dir || strings.HasPrefix(at, dir+"/") {
			return true
		}
	}
	return false
}

// mountLine reads the mount point and the type of a line of mountinfo:
// proc_pid_mountinfo(5).
func mountLine(line string) (at, kind string, ok bool) {
	left, right, ok := strings.Cut(line, " - ")
	fields, types := strings.Fields(left), strings.Fields(right)
	if !ok || len(fields) < 6 || len(types) < 1 {
		return "", "", false
	}
	return unescape(fields[4]), types[0], true
}

// unescape undoes the octal escapes of blanks and backslashes.
func unescape(s string) string {
	for _, pair := range [][2]string{{`\040`, " "}, {`\011`, "\t"}, {`\012`, "\n"}, {`\134`, `\`}} {
		s = strings.ReplaceAll(s, pair[0], pair[1])
	}
	return s
}

// RootCaps is what the first user of a container may do to it: everything that
// the sentry knows, for it touches nothing outside.
func RootCaps() *sentryv1.Capabilities {
	all := uint64(jail.AllCaps())
	return &sentryv1.Capabilities{Bounding: all, Effective: all, Permitted: all}
}
