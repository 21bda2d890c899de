package main

import (
	"slices"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/hull"
	"bulkhead/launcher/jail"
	"bulkhead/proto/linux"
)

// filter is all that the sentry may ask of the host once it is sealed: to run,
// to command its stubs, and to move bytes through descriptors that it was given.
// No call takes a path, none makes a socket or a process, and no memory becomes
// code. At most 60 calls.
var filter = slices.Concat(hull.GoFilter, jail.Filter{
	// Stubs.
	jail.Allow(unix.SYS_PROCESS_VM_READV, "guest memory that the slot does not carry"),
	jail.Allow(unix.SYS_PROCESS_VM_WRITEV, "guest memory that the slot does not carry"),
	jail.Allow(unix.SYS_MOVE_PAGES, "which pages of a stub are in RAM; moves none", jail.Long(3, 0).As("no nodes"), jail.Int(5, 0)),
	jail.Allow(unix.SYS_WAIT4, "reap stubs"),
	jail.Allow(unix.SYS_KILL, "end a stub"),
	jail.Allow(unix.SYS_SCHED_SETAFFINITY, "a thread of its own leaves the core of the stub that it serves", jail.Int(0, 0)),
	jail.Allow(unix.SYS_FUTEX_WAITV, "wait for the requests of several stubs at once"),
	jail.Allow(unix.SYS_PRCTL, "a guest's sleep ends on time, though the launcher gave all threads a long slack", jail.Int(0, unix.PR_SET_TIMERSLACK, unix.PR_GET_TIMERSLACK).As("PR_SET_TIMERSLACK PR_GET_TIMERSLACK")),
	jail.Allow(unix.SYS_MEMFD_CREATE, "slots; tmpfs files that are mapped"),
	jail.Allow(unix.SYS_EVENTFD2, "wake a sleeping goroutine"),
	jail.Allow(unix.SYS_IOCTL, "seccomp notifications of stubs", jail.Int(1, notifyIoctls...).As("SECCOMP_IOCTL_NOTIF_RECV _SEND _ADDFD _ID_VALID")),
	jail.Allow(unix.SYS_IOCTL, "terminals and pipes that were donated", jail.Int(1, terminalIoctls...).As("TCGETS* TCSETS* TCSBRK* TCXONC TCFLSH TIOCGWINSZ TIOCSWINSZ TIOCINQ TIOCOUTQ")),

	// Files: donated by the gofer, or standard streams.
	jail.Allow(unix.SYS_PREAD64, "files"),
	jail.Allow(unix.SYS_PWRITE64, "files"),
	jail.Allow(unix.SYS_READV, "files, streams"),
	jail.Allow(unix.SYS_WRITEV, "files, streams"),
	jail.Allow(unix.SYS_PREADV, "files"),
	jail.Allow(unix.SYS_PWRITEV, "files"),
	jail.Allow(unix.SYS_PWRITEV2, "files, at their end; streams, without waiting"),
	jail.Allow(unix.SYS_LSEEK, "holes of files"),
	jail.Allow(unix.SYS_FTRUNCATE, "size of files, slots and tmpfs"),
	jail.Allow(unix.SYS_FALLOCATE, "space of files"),
	jail.Allow(unix.SYS_FSYNC, "durability of files"),
	jail.Allow(unix.SYS_FDATASYNC, "durability of files"),
	jail.Allow(unix.SYS_SYNC_FILE_RANGE, "durability of files"),
	jail.Allow(unix.SYS_FADVISE64, "read-ahead of files"),
	jail.Allow(unix.SYS_COPY_FILE_RANGE, "copies between files"),
	jail.Allow(unix.SYS_SENDFILE, "copies from files"),
	jail.Allow(unix.SYS_PREADV2, "streams, without waiting"),
	jail.Allow(unix.SYS_PPOLL, "readiness of streams; an answer of the gofer"),
	jail.Allow(unix.SYS_FCNTL, "seals of byte rings and tmpfs files", jail.Int(1, unix.F_ADD_SEALS, unix.F_GET_SEALS).As("F_ADD_SEALS F_GET_SEALS")),
})

// notifyIoctls are the commands of a seccomp listener: seccomp_unotify(2).
var notifyIoctls = []uint64{
	unix.SECCOMP_IOCTL_NOTIF_RECV, unix.SECCOMP_IOCTL_NOTIF_SEND, unix.SECCOMP_IOCTL_NOTIF_ADDFD, unix.SECCOMP_IOCTL_NOTIF_ID_VALID,
}

// terminalIoctls change no more than the terminal itself: no TIOCSTI, which
// types into it, no TIOCSCTTY, no TIOCLINUX.
var terminalIoctls = []uint64{
	unix.TCGETS, unix.TCSETS, unix.TCSETSW, unix.TCSETSF,
	unix.TCGETA, unix.TCSETA, unix.TCSETAW, unix.TCSETAF,
	linux.TCGETS2, linux.TCSETS2, linux.TCSETSW2, linux.TCSETSF2,
	unix.TCSBRK, unix.TCSBRKP, unix.TCXONC, unix.TCFLSH,
	unix.TIOCGWINSZ, unix.TIOCSWINSZ, unix.TIOCINQ, unix.TIOCOUTQ,
}
