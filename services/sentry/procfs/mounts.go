package procfs

import (
	"bytes"
	"fmt"
	"strings"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/cgroupfs"
	"bulkhead/services/sentry/vfs"
)

// mountTable is a row that poll(2) can wait on: proc(5), "/proc/pid/mounts".
// Nothing is told yet, as no program inside waits for what it does itself.
func mountTable(name string, gen func(e *entry, ctx vfs.Context) ([]byte, error)) row {
	return row{name: name, mode: linux.S_IFREG | 0o444, make: func(e *entry) vfs.Node {
		return e.file(0o444, gen).WithQueue(&e.fs.mountQueue)
	}}
}

// mountList is what the process can reach, seen from its root.
func (e *entry) mountList() ([]vfs.MountInfo, error) {
	f := e.thread.FS()
	if f == nil {
		return nil, linux.EINVAL
	}
	root := f.Root()
	if root.IsZero() {
		return nil, nil
	}
	return root.Mount.Namespace().MountsUnder(root), nil
}

func source(m vfs.MountInfo) string {
	if m.Source == "" {
		return "none"
	}
	return escapePath(m.Source)
}

// mounts is /proc/PID/mounts: fstab(5).
func mounts(e *entry, _ vfs.Context) ([]byte, error) {
	list, err := e.mountList()
	var b bytes.Buffer
	for _, m := range list {
		options := m.Options
		if own := withoutAccess(m.SuperOptions); own != "" {
			options += "," + own
		}
		fmt.Fprintf(&b, "%s %s %s %s 0 0\n", source(m), escapePath(m.Point), m.Type, escapePath(options))
	}
	return b.Bytes(), err
}

// withoutAccess drops the rw or ro that a file system's options begin with.
func withoutAccess(options string) string {
	first, rest, _ := strings.Cut(options, ",")
	if first == "rw" || first == "ro" {
		return rest
	}
	return options
}

// mountinfo is /proc/PID/mountinfo.
func mountinfo(e *entry, ctx vfs.Context) ([]byte, error) {
	list, err := e.mountList()
	var b bytes.Buffer
	for _, m := range list {
		if g, ok := e.thread.(guestThread); ok && m.Type == "cgroup2" {
			m.Root = cgroupfs.Relative(cgroupRoot(g.Kernel(), ctx).Path(), m.Root)
		}
		fmt.Fprintf(&b, "%d %d %d:%d %s %s %s - %s %s %s\n", m.ID, m.ParentID,
			linux.Major(m.Dev), linux.Minor(m.Dev), escapePath(m.Root), escapePath(m.Point), m.Options,
			m.Type, source(m), escapePath(m.SuperOptions))
	}
	return b.Bytes(), err
}

// mountstats is /proc/PID/mountstats.
func mountstats(e *entry, _ vfs.Context) ([]byte, error) {
	list, err := e.mountList()
	var b bytes.Buffer
	for _, m := range list {
		fmt.Fprintf(&b, "device %s mounted on %s with fstype %s\n", source(m), escapePath(m.Point), m.Type)
	}
	return b.Bytes(), err
}
