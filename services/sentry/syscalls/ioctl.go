package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/task"
)

// ioctl asks a device, or what else is behind fd, for something: ioctl(2).
func ioctl(t *task.Task, fd linux.FD, cmd uint32, arg uint64) (uint64, error) {
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	switch cmd {
	case linux.FIOCLEX, linux.FIONCLEX:
		return 0, t.FDs().SetCloseOnExec(fd, cmd == linux.FIOCLEX)
	}
	if _, ok := f.Impl().(socket.Socket); ok {
		switch cmd {
		case linux.FIOSETOWN, linux.SIOCSPGRP:
			n, err := copyInInt32(t, mm.Addr(arg))
			if err != nil {
				return 0, err
			}
			return 0, setOwnerNumber(t, f, fd, n)
		case linux.FIOGETOWN, linux.SIOCGPGRP:
			o := ioOwnerOf(t, f)
			return 0, copyOutInt32(t, mm.Addr(arg), o.numberFor(t))
		}
	}
	return f.Ioctl(t, cmd, arg)
}
