package syscalls

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/procfs"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// This file is what a pidfd tells of its process: ioctl_pidfd(2).

// pidNode is the file that a process is: pidfs's, on Linux.
type pidNode struct{ pidfd *pidfd }

const pidfsDevice = 7

// Attr implements vfs.Node. The number is a process's for good, where its id is not.
func (n pidNode) Attr(vfs.Context) (vfs.Attr, error) {
	return vfs.Attr{Dev: pidfsDevice, Ino: n.pidfd.group.Serial(), Mode: 0o700, Nlink: 1, Blksize: 4096}, nil
}

// SetAttr implements vfs.Node.
func (pidNode) SetAttr(vfs.Context, vfs.SetAttr) error { return linux.EOPNOTSUPP }

// Open implements vfs.Opener.
func (pidNode) Open(vfs.Context, linux.OpenFlags) (vfs.Impl, error) { return nil, linux.ENXIO }

// Requests: PIDFD_GET_INFO is one for each size of its struct.
const (
	pidfdRequests = 0xff // the type of all of them
	pidfdFirstNS  = 1
	pidfdGetInfo  = 11
)

// pidfdNamespaces are the links in /proc/PID/ns of the requests from pidfdFirstNS on.
var pidfdNamespaces = [...]string{"cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts"}

// Ioctl implements vfs.Ioctler.
func (p *pidfd) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	t, ok := ctx.(*task.Task)
	if !ok || cmd>>8&0xff != pidfdRequests {
		return 0, linux.ENOTTY
	}
	nr, size, dir := cmd&0xff, cmd>>16&0x3fff, cmd>>30
	switch {
	case nr == pidfdGetInfo && dir == 3:
		return 0, p.info(t, int(size), arg)
	case dir == 0 && size == 0 && nr-pidfdFirstNS < uint32(len(pidfdNamespaces)):
		return p.namespace(t, pidfdNamespaces[nr-pidfdFirstNS], arg)
	}
	return 0, linux.ENOTTY
}

// namespace opens one of the process's: EINVAL, ESRCH, EACCES, EOPNOTSUPP.
func (p *pidfd) namespace(t *task.Task, link string, arg uint64) (uint64, error) {
	o := p.group.Leader()
	switch {
	case arg != 0:
		return 0, linux.EINVAL
	case !t.Sees(p.group) || p.group.Zombie() || o.FS() == nil:
		return 0, linux.ESRCH
	}
	if t.MayInspect(o) != nil {
		return 0, linux.EACCES
	}
	f, err := procfs.NamespaceFile(o, link)
	if err != nil {
		return 0, err
	}
	fd, err := t.Install(f, 0, true)
	return uint64(fd), err
}

// What struct pidfd_info may tell.
const (
	pidfdInfoPID      = 1 << 0
	pidfdInfoCreds    = 1 << 1
	pidfdInfoCgroup   = 1 << 2
	pidfdInfoExit     = 1 << 3
	pidfdInfoCoredump = 1 << 4

	pidfdInfoLeast = 64 // bytes, of its first version
	pidfdInfoSize  = 80

	pidfdCoredumpUser = 1 << 2 // dumped as its user
	pidfdCoredumpRoot = 1 << 3
)

// info is PIDFD_GET_INFO: what is asked for by a mask, as far as it is there. A process
// that was waited for has its end only: ESRCH. ENOTTY for too small a struct.
func (p *pidfd) info(t *task.Task, size int, at uint64) error {
	if size < pidfdInfoLeast {
		return linux.ENOTTY
	}
	var mask [8]byte
	if at == 0 {
		return linux.EINVAL
	}
	if err := t.CopyIn(at, mask[:]); err != nil {
		return err
	}
	le := binary.LittleEndian
	wanted, g := le.Uint64(mask[:]), p.group
	if !t.Sees(g) {
		return linux.EREMOTE
	}
	b := make([]byte, pidfdInfoSize)
	told := uint64(pidfdInfoCgroup)
	le.PutUint64(b[8:], g.Cgroup().ID())
	reaped := t.Kernel().Group(g.PID()) != g
	if status, over := g.ExitStatus(); reaped && over {
		if wanted&pidfdInfoExit == 0 {
			return linux.ESRCH
		}
		told |= pidfdInfoExit
		le.PutUint32(b[60:], status)
	} else {
		told |= pidfdInfoPID | pidfdInfoCreds
		c, leader := g.Leader().Creds(), t.ShowPID(g.PID())
		if c == nil {
			return linux.ESRCH
		}
		ns := t.Creds().UserNS
		for i, v := range [...]uint32{uint32(leader), uint32(leader), uint32(t.ShowPID(g.PPID())), ns.ShowUID(c.UID), ns.ShowGID(c.GID),
			ns.ShowUID(c.EUID), ns.ShowGID(c.EGID), ns.ShowUID(c.SUID), ns.ShowGID(c.SGID), ns.ShowUID(c.FSUID), ns.ShowGID(c.FSGID)} {
			le.PutUint32(b[16+4*i:], v)
		}
	}
	if wanted&pidfdInfoCoredump != 0 {
		told |= pidfdInfoCoredump
		switch {
		case reaped || g.Zombie():
		case g.Dumpable() == 1:
			le.PutUint32(b[64:], pidfdCoredumpUser)
		case g.Dumpable() == 2:
			le.PutUint32(b[64:], pidfdCoredumpRoot)
		}
	}
	le.PutUint64(b, told)
	if size > len(b) {
		b = append(b, make([]byte, size-len(b))...)
	}
	return t.CopyOut(at, b[:size])
}
