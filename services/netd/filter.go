package main

import (
	"slices"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/hull"
	"bulkhead/launcher/jail"
)

// filter is all that netd may ask of the host once it is sealed: to run, and to
// move bytes through descriptors that it was given. At most 48 calls.
var filter = slices.Concat(hull.GoFilter, jail.Filter{
	jail.Allow(unix.SYS_MEMFD_CREATE, "byte rings of sockets"),
	jail.Allow(unix.SYS_FTRUNCATE, "size of a byte ring"),
	jail.Allow(unix.SYS_FCNTL, "seal a byte ring", jail.Int(1, unix.F_ADD_SEALS, unix.F_GET_SEALS).As("F_ADD_SEALS F_GET_SEALS")),
	jail.Allow(unix.SYS_EVENTFD2, "doorbells of byte rings"),
	jail.Allow(unix.SYS_PPOLL, "a doorbell and a link at once"),
	jail.Allow(unix.SYS_GETCPU, "which core the loop's thread is to leave"),
	jail.Allow(unix.SYS_SCHED_SETAFFINITY, "the loop's thread leaves a core that others want", jail.Int(0, 0)),
	jail.Allow(unix.SYS_READV, "frames of a TAP link"),
	jail.Allow(unix.SYS_WRITEV, "frames of a TAP link"),
	jail.Allow(unix.SYS_RECVFROM, "frames of a packet link"),
	jail.Allow(unix.SYS_SENDTO, "frames of a packet link"),
	jail.Allow(unix.SYS_RECVMMSG, "frames of a packet link, many at once"),
	jail.Allow(unix.SYS_SENDMMSG, "frames of a packet link, many at once"),
})
