package procfs

import (
	"strings"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// uidMap is /proc/PID/uid_map of the process's user namespace: user_namespaces(7).
func uidMap(e *entry, ctx vfs.Context) ([]byte, error) {
	return []byte(e.thread.Creds().UserNS.Map(ctx.Creds().UserNS, false)), nil
}

func gidMap(e *entry, ctx vfs.Context) ([]byte, error) {
	return []byte(e.thread.Creds().UserNS.Map(ctx.Creds().UserNS, true)), nil
}

// projidMap is of projects, which no file has.
func projidMap(e *entry, ctx vfs.Context) ([]byte, error) {
	if e.thread.Creds().UserNS != nil {
		return nil, nil
	}
	return uidMap(e, ctx)
}

func setUIDMap(e *entry, ctx vfs.Context, opener *vfs.Creds, p []byte) error {
	return setMap(e.thread.Creds().UserNS, ctx, opener, string(p), false)
}

func setGIDMap(e *entry, ctx vfs.Context, opener *vfs.Creds, p []byte) error {
	return setMap(e.thread.Creds().UserNS, ctx, opener, string(p), true)
}

func setMap(ns *vfs.UserNamespace, ctx vfs.Context, opener *vfs.Creds, text string, groups bool) error {
	if err := ns.SetMap(opener, ctx.Creds(), text, groups); err != nil {
		return err
	}
	if t, ok := ctx.(*task.Task); ok {
		t.Kernel().Renumbered(ns)
	}
	return nil
}

func setgroups(e *entry, _ vfs.Context) ([]byte, error) {
	return []byte(e.thread.Creds().UserNS.Setgroups() + "\n"), nil
}

func setSetgroups(e *entry, _ vfs.Context, opener *vfs.Creds, p []byte) error {
	switch strings.TrimSpace(string(p)) {
	case "allow":
		return e.thread.Creds().UserNS.SetSetgroups(opener, true)
	case "deny":
		return e.thread.Creds().UserNS.SetSetgroups(opener, false)
	}
	return linux.EINVAL
}
