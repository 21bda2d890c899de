package main

import (
	"slices"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/hull"
	"bulkhead/launcher/jail"
)

// filter is all that the gofer may ask of the host once it is sealed: to run,
// and to act on files below its attach points. It cannot make a socket, run a
// program, or map memory as code. At most 64 calls.
var filter = slices.Concat(hull.GoFilter, jail.Filter{
	jail.Allow(unix.SYS_OPENAT2, "open one component, beneath its directory"),
	jail.Allow(unix.SYS_STATX, "attributes"),
	jail.Allow(unix.SYS_FSTATFS, "statfs"),
	jail.Allow(unix.SYS_GETDENTS64, "list a directory"),
	jail.Allow(unix.SYS_LSEEK, "list a directory again"),
	jail.Allow(unix.SYS_READLINKAT, "read a symbolic link"),
	jail.Allow(unix.SYS_MKDIRAT, "make a directory"),
	jail.Allow(unix.SYS_MKNODAT, "make a FIFO, a socket's name, an empty file; never a device", jail.Without(2, deviceBit).As("0 (no S_IFCHR)")),
	jail.Allow(unix.SYS_SYMLINKAT, "make a symbolic link"),
	jail.Allow(unix.SYS_LINKAT, "give a file another name"),
	jail.Allow(unix.SYS_UNLINKAT, "remove a name"),
	jail.Allow(unix.SYS_RENAMEAT2, "change a name"),
	jail.Allow(unix.SYS_FCHMOD, "permissions: before Linux 6.6"),
	jail.Allow(unix.SYS_FCHMODAT2, "permissions"),
	jail.Allow(unix.SYS_FCHOWNAT, "owner"),
	jail.Allow(unix.SYS_UTIMENSAT, "times"),
	jail.Allow(unix.SYS_FTRUNCATE, "size"),
	jail.Allow(unix.SYS_FSYNC, "durability"),
	jail.Allow(unix.SYS_FGETXATTR, "extended attributes: before Linux 6.13"),
	jail.Allow(unix.SYS_FSETXATTR, "extended attributes: before Linux 6.13"),
	jail.Allow(unix.SYS_FLISTXATTR, "extended attributes: before Linux 6.13"),
	jail.Allow(unix.SYS_FREMOVEXATTR, "extended attributes: before Linux 6.13"),
	jail.Allow(sysSetxattrat, "extended attributes by name"),
	jail.Allow(sysGetxattrat, "extended attributes by name"),
	jail.Allow(sysListxattrat, "extended attributes by name"),
	jail.Allow(sysRemovexattrat, "extended attributes by name"),
	jail.Allow(unix.SYS_UMASK, "modes as the guest asks for them"),
})

// deviceBit is set in S_IFCHR and S_IFBLK, and in no other type: inode(7).
const deviceBit = unix.S_IFCHR

// What golang.org/x/sys/unix does not name yet: arch/x86/entry/syscalls.
const (
	sysSetxattrat    = 463
	sysGetxattrat    = 464
	sysListxattrat   = 465
	sysRemovexattrat = 466
)
