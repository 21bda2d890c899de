package linux

import "golang.org/x/sys/unix"

// Cap is the number of a capability: capabilities(7).
type Cap uint

// The capabilities.
const (
	CAP_CHOWN              Cap = unix.CAP_CHOWN
	CAP_DAC_OVERRIDE       Cap = unix.CAP_DAC_OVERRIDE
	CAP_DAC_READ_SEARCH    Cap = unix.CAP_DAC_READ_SEARCH
	CAP_FOWNER             Cap = unix.CAP_FOWNER
	CAP_FSETID             Cap = unix.CAP_FSETID
	CAP_KILL               Cap = unix.CAP_KILL
	CAP_SETGID             Cap = unix.CAP_SETGID
	CAP_SETUID             Cap = unix.CAP_SETUID
	CAP_SETPCAP            Cap = unix.CAP_SETPCAP
	CAP_LINUX_IMMUTABLE    Cap = unix.CAP_LINUX_IMMUTABLE
	CAP_NET_BIND_SERVICE   Cap = unix.CAP_NET_BIND_SERVICE
	CAP_NET_BROADCAST      Cap = unix.CAP_NET_BROADCAST
	CAP_NET_ADMIN          Cap = unix.CAP_NET_ADMIN
	CAP_NET_RAW            Cap = unix.CAP_NET_RAW
	CAP_IPC_LOCK           Cap = unix.CAP_IPC_LOCK
	CAP_IPC_OWNER          Cap = unix.CAP_IPC_OWNER
	CAP_SYS_MODULE         Cap = unix.CAP_SYS_MODULE
	CAP_SYS_RAWIO          Cap = unix.CAP_SYS_RAWIO
	CAP_SYS_CHROOT         Cap = unix.CAP_SYS_CHROOT
	CAP_SYS_PTRACE         Cap = unix.CAP_SYS_PTRACE
	CAP_SYS_PACCT          Cap = unix.CAP_SYS_PACCT
	CAP_SYS_ADMIN          Cap = unix.CAP_SYS_ADMIN
	CAP_SYS_BOOT           Cap = unix.CAP_SYS_BOOT
	CAP_SYS_NICE           Cap = unix.CAP_SYS_NICE
	CAP_SYS_RESOURCE       Cap = unix.CAP_SYS_RESOURCE
	CAP_SYS_TIME           Cap = unix.CAP_SYS_TIME
	CAP_SYS_TTY_CONFIG     Cap = unix.CAP_SYS_TTY_CONFIG
	CAP_MKNOD              Cap = unix.CAP_MKNOD
	CAP_LEASE              Cap = unix.CAP_LEASE
	CAP_AUDIT_WRITE        Cap = unix.CAP_AUDIT_WRITE
	CAP_AUDIT_CONTROL      Cap = unix.CAP_AUDIT_CONTROL
	CAP_SETFCAP            Cap = unix.CAP_SETFCAP
	CAP_MAC_OVERRIDE       Cap = unix.CAP_MAC_OVERRIDE
	CAP_MAC_ADMIN          Cap = unix.CAP_MAC_ADMIN
	CAP_SYSLOG             Cap = unix.CAP_SYSLOG
	CAP_WAKE_ALARM         Cap = unix.CAP_WAKE_ALARM
	CAP_BLOCK_SUSPEND      Cap = unix.CAP_BLOCK_SUSPEND
	CAP_AUDIT_READ         Cap = unix.CAP_AUDIT_READ
	CAP_PERFMON            Cap = unix.CAP_PERFMON
	CAP_BPF                Cap = unix.CAP_BPF
	CAP_CHECKPOINT_RESTORE Cap = unix.CAP_CHECKPOINT_RESTORE

	CAP_LAST_CAP = CAP_CHECKPOINT_RESTORE
)

// Secure bits of a thread's credentials: capabilities(7), "The securebits flags". Each
// has a bit above it that locks it.
const (
	SECBIT_NOROOT               = 1 << 0
	SECBIT_NO_SETUID_FIXUP      = 1 << 2
	SECBIT_KEEP_CAPS            = 1 << 4
	SECBIT_KEEP_CAPS_LOCKED     = 1 << 5
	SECBIT_NO_CAP_AMBIENT_RAISE = 1 << 6
	SECURE_ALL_LOCKS            = 0xaa
)
