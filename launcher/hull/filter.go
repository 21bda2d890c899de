package hull

import (
	"golang.org/x/sys/unix"

	"bulkhead/launcher/jail"
)

// Bits of clone(2) with which Go's runtime makes a thread, and nothing else does:
// runtime/os_linux.go.
const (
	goThread    = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD
	goThreadTLS = goThread | unix.CLONE_SETTLS
)

// GoFilter is what every service needs: for Go's runtime, and to answer control
// calls on its listener.
var GoFilter = jail.Filter{
	jail.Allow(unix.SYS_READ, "control, pipes, files"),
	jail.Allow(unix.SYS_WRITE, "control, pipes, files, logs"),
	jail.Allow(unix.SYS_CLOSE, "any descriptor"),
	jail.Allow(unix.SYS_FSTAT, "os.NewFile"),
	jail.Allow(unix.SYS_ACCEPT4, "control connections"),
	jail.Allow(unix.SYS_GETSOCKNAME, "control connections"),
	jail.Refuse(unix.SYS_GETSOCKOPT, unix.ENOPROTOOPT, "gRPC notes options of control connections, if it can"),
	jail.Allow(unix.SYS_SENDMSG, "data channels: frames and descriptors"),
	jail.Allow(unix.SYS_RECVMSG, "data channels: frames and descriptors"),
	jail.Allow(unix.SYS_FCNTL, "copy, and switch to non-blocking", jail.Int(1, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL).As("F_DUPFD_CLOEXEC F_GETFD F_SETFD F_GETFL F_SETFL")),
	jail.Allow(unix.SYS_EPOLL_CTL, "Go's netpoller"),
	jail.Allow(unix.SYS_EPOLL_PWAIT, "Go's netpoller"),
	jail.Allow(unix.SYS_FUTEX, "Go's locks"),
	jail.Allow(unix.SYS_NANOSLEEP, "Go's scheduler"),
	jail.Allow(unix.SYS_SCHED_YIELD, "Go's scheduler; spinning on a data channel"),
	jail.Allow(unix.SYS_CLONE, "Go's threads, no processes", jail.Long(0, goThread, goThreadTLS).As("VM|FS|FILES|SIGHAND|SYSVSEM|THREAD, the same|SETTLS")),
	jail.Refuse(unix.SYS_CLONE3, unix.ENOSYS, "its flags cannot be checked"),
	jail.Allow(unix.SYS_MMAP, "Go's heap, shared memory; never code", jail.Without(2, unix.PROT_EXEC).As("0 (no PROT_EXEC)")),
	jail.Allow(unix.SYS_MUNMAP, "Go's heap, shared memory"),
	jail.Allow(unix.SYS_MADVISE, "Go's heap"),
	jail.Allow(unix.SYS_RT_SIGPROCMASK, "Go's threads"),
	jail.Allow(unix.SYS_RT_SIGACTION, "Go's threads, and their crash"),
	jail.Allow(unix.SYS_RT_SIGRETURN, "Go's preemption"),
	jail.Allow(unix.SYS_SIGALTSTACK, "Go's threads"),
	jail.Allow(unix.SYS_GETPID, "Go's preemption"),
	jail.Allow(unix.SYS_GETTID, "Go's threads"),
	jail.Allow(unix.SYS_TGKILL, "Go's preemption"),
	jail.Allow(unix.SYS_RESTART_SYSCALL, "a sleep that was interrupted"),
	jail.Allow(unix.SYS_GETRANDOM, "hash seeds, sequence numbers"),
	jail.Allow(unix.SYS_CLOCK_GETTIME, "time, when the vDSO has none"),
	jail.Refuse(unix.SYS_PRCTL, unix.EINVAL, "Go names its mappings", jail.Int(0, unix.PR_SET_VMA).As("PR_SET_VMA")),
	jail.Allow(unix.SYS_EXIT, "Go's threads"),
	jail.Allow(unix.SYS_EXIT_GROUP, "the end"),
}
