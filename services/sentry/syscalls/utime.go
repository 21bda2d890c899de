package syscalls

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// bothNow sets both times to the present: the default of all these calls.
var bothNow = vfs.SetAttr{Mask: vfs.SetAtime | vfs.SetMtime | vfs.SetAtimeNow | vfs.SetMtimeNow}

// utimensat sets a file's times of access and change, to nanoseconds. Without a
// path it is dirfd's own: utimensat(2).
func utimensat(t *task.Task, dirfd linux.FD, path, times mm.Addr, flags atFlags) (uint64, error) {
	s := bothNow
	if times != 0 {
		var b [2 * linux.SizeofTimespec]byte
		if err := t.CopyIn(times, b[:]); err != nil {
			return 0, err
		}
		a, m := linux.ReadTimespec(b[:]), linux.ReadTimespec(b[linux.SizeofTimespec:])
		if !utimeValid(a) || !utimeValid(m) {
			return 0, linux.EINVAL
		}
		if s = utimes2(a, m); s.Mask == 0 {
			return 0, nil // UTIME_OMIT twice: not even the path is looked at
		}
	}
	if path == 0 && dirfd != linux.AtFDCWD {
		if flags != 0 {
			return 0, linux.EINVAL
		}
		return setStatFD(t, dirfd, s)
	}
	if flags&^(linux.AT_SYMLINK_NOFOLLOW|linux.AT_EMPTY_PATH) != 0 {
		return 0, linux.EINVAL
	}
	p, err := resolve(t, dirfd, path, flags.walkFlags())
	if err != nil {
		return 0, err
	}
	return 0, vfs.SetStat(t, p, s)
}

func utimeValid(ts linux.Timespec) bool {
	return ts.Nsec == linux.UTIME_NOW || ts.Nsec == linux.UTIME_OMIT || (ts.Nsec >= 0 && ts.Nsec < 1e9)
}

// utimes2 is the change that two times with UTIME_NOW and UTIME_OMIT ask for.
func utimes2(a, m linux.Timespec) vfs.SetAttr {
	s := vfs.SetAttr{Atime: a, Mtime: m}
	switch a.Nsec {
	case linux.UTIME_NOW:
		s.Mask |= vfs.SetAtime | vfs.SetAtimeNow
	case linux.UTIME_OMIT:
	default:
		s.Mask |= vfs.SetAtime
	}
	switch m.Nsec {
	case linux.UTIME_NOW:
		s.Mask |= vfs.SetMtime | vfs.SetMtimeNow
	case linux.UTIME_OMIT:
	default:
		s.Mask |= vfs.SetMtime
	}
	return s
}

// futimesat is utimensat to microseconds, and without flags.
func futimesat(t *task.Task, dirfd linux.FD, path, times mm.Addr) (uint64, error) {
	s := bothNow
	if times != 0 {
		var b [2 * linux.SizeofTimeval]byte
		if err := t.CopyIn(times, b[:]); err != nil {
			return 0, err
		}
		a, m := linux.ReadTimeval(b[:]), linux.ReadTimeval(b[linux.SizeofTimeval:])
		if a.Usec < 0 || a.Usec >= 1e6 || m.Usec < 0 || m.Usec >= 1e6 {
			return 0, linux.EINVAL
		}
		s = vfs.SetAttr{Mask: vfs.SetAtime | vfs.SetMtime, Atime: a.Timespec(), Mtime: m.Timespec()}
	}
	if path == 0 && dirfd != linux.AtFDCWD {
		return setStatFD(t, dirfd, s)
	}
	p, err := resolve(t, dirfd, path, 0)
	if err != nil {
		return 0, err
	}
	return 0, vfs.SetStat(t, p, s)
}

// utimes is futimesat from the working directory: utimes(2).
func utimes(t *task.Task, path, times mm.Addr) (uint64, error) {
	return futimesat(t, linux.AtFDCWD, path, times)
}

// utime is utimes to seconds: utime(2).
func utime(t *task.Task, path, times mm.Addr) (uint64, error) {
	s := bothNow
	if times != 0 {
		var b [16]byte
		if err := t.CopyIn(times, b[:]); err != nil {
			return 0, err
		}
		s = vfs.SetAttr{
			Mask:  vfs.SetAtime | vfs.SetMtime,
			Atime: linux.Timespec{Sec: int64(binary.LittleEndian.Uint64(b[:]))},
			Mtime: linux.Timespec{Sec: int64(binary.LittleEndian.Uint64(b[8:]))},
		}
	}
	p, err := resolve(t, linux.AtFDCWD, path, 0)
	if err != nil {
		return 0, err
	}
	return 0, vfs.SetStat(t, p, s)
}
