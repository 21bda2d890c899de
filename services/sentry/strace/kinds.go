package strace

import (
	"fmt"
	"strconv"
	"strings"

	"bulkhead/proto/linux"

	"golang.org/x/sys/unix"
)

// show renders argument i of a call.
type show func(c *Call, i int) string

// kinds are the words that rows may use.
var kinds = map[string]show{
	"int":       func(c *Call, i int) string { return strconv.Itoa(int(int32(c.regs[i]))) },
	"off":       showOff,
	"uint":      func(c *Call, i int) string { return strconv.FormatUint(uint64(uint32(c.regs[i])), 10) },
	"size":      func(c *Call, i int) string { return strconv.FormatUint(c.regs[i], 10) },
	"hex":       func(c *Call, i int) string { return "0x" + strconv.FormatUint(c.regs[i], 16) },
	"ptr":       showPtr,
	"fd":        func(c *Call, i int) string { return strconv.Itoa(int(int32(c.regs[i]))) },
	"at":        showAt,
	"mode":      func(c *Call, i int) string { return fmt.Sprintf("%#o", uint32(c.regs[i])) },
	"newmode":   showNewMode,
	"path":      showPath,
	"str":       showPath,
	"buf":       showBuf,
	"iov":       showIov,
	"argv":      showArgv,
	"argc":      showArgc,
	"fds":       showFDs,
	"open":      showOpen,
	"stat":      showStat,
	"timespec":  showTimespec,
	"timespec2": showTimespec2,
	"timeval":   showTimeval,
	"sockaddr":  showSockaddr,
	"msghdr":    showMsghdr,
	"pollfds":   showPollFDs,
	"epevent":   func(c *Call, i int) string { return showEpollEvents(c, i, 1) },
	"epevents":  func(c *Call, i int) string { return showEpollEvents(c, i, c.result) },
	"sigset":    showSigSet,
	"sigact":    showSigAction,
	"sig":       func(c *Call, i int) string { return signalName(int32(c.regs[i])) },
	"status":    showStatus,
	"rlimit":    showRlimit,
	"clone3":    showClone3,
	"clone":     showClone,
	"openhow":   showOpenHow,
	"futex":     showFutex,
	"ioctl":     showIoctl,
	"prot":      bits(protNames),
	"map":       showMap,
	"access":    bits(accessNames),
	"atflags":   bits(atNames),
	"atremove":  bits(atRemoveNames),
	"msg":       bits(msgNames),
	"mount":     bits(mountNames),
	"rename":    bits(renameNames),
	"splice":    bits(spliceNames),
	"wait":      bits(waitNames),
	"xattr":     bits(xattrNames),
	"socktype":  showSockType,
	"whence":    one(whenceNames),
	"sighow":    one(sighowNames),
	"family":    one(familyNames),
	"shut":      one(shutNames),
	"solevel":   one(levelNames),
	"fcntl":     one(fcntlNames),
	"flock":     bits(flockNames),
	"epop":      one(epollOpNames),
	"clock":     one(clockNames),
	"resource":  one(resourceNames),
	"madvise":   one(adviceNames),
	"prctl":     one(prctlNames),
	"archprctl": one(archPrctlNames),
}

func showOff(c *Call, i int) string { return strconv.FormatInt(int64(c.regs[i]), 10) }

func showPtr(c *Call, i int) string { return pointer(c.regs[i]) }

func pointer(p uint64) string {
	if p == 0 {
		return "NULL"
	}
	return "0x" + strconv.FormatUint(p, 16)
}

func showAt(c *Call, i int) string {
	if fd := int32(c.regs[i]); fd != linux.AtFDCWD {
		return strconv.Itoa(int(fd))
	}
	return "AT_FDCWD"
}

func showOpen(c *Call, i int) string {
	f := linux.OpenFlags(c.regs[i])
	access := [...]string{"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"}[f&linux.O_ACCMODE]
	rest := f &^ linux.O_ACCMODE
	if rest == 0 {
		return access
	}
	return access + "|" + flags(openNames, uint64(rest))
}

// showNewMode shows the mode of an open, which counts only if it may create.
func showNewMode(c *Call, i int) string {
	if linux.OpenFlags(c.regs[i-1])&(linux.O_CREAT|linux.O_TMPFILE_BIT) == 0 {
		return ""
	}
	return fmt.Sprintf("%#o", uint32(c.regs[i]))
}

func showMap(c *Call, i int) string {
	v := c.regs[i]
	typ := [...]string{"MAP_FILE", "MAP_SHARED", "MAP_PRIVATE", "MAP_SHARED_VALIDATE"}[v&3]
	if v &^= 3; v == 0 {
		return typ
	}
	return typ + "|" + flags(mapNames, v)
}

func showSockType(c *Call, i int) string {
	v := c.regs[i]
	s, ok := find(sockTypeNames, v&linux.SOCK_TYPE_MASK)
	if !ok {
		s = strconv.FormatUint(v&linux.SOCK_TYPE_MASK, 10)
	}
	if v &^= linux.SOCK_TYPE_MASK; v != 0 {
		s += "|" + flags(sockFlagNames, v)
	}
	return s
}

func showClone(c *Call, i int) string {
	v := c.regs[i]
	s := ""
	if v&^0xff != 0 {
		s = flags(cloneNames, v&^0xff)
	}
	if sig := int32(v & 0xff); sig != 0 {
		if s != "" {
			s += "|"
		}
		s += signalName(sig)
	}
	if s == "" {
		return "0"
	}
	return s
}

// Flags of a futex operation: futex(2).
const (
	futexPrivate  = 128
	futexRealtime = 256
)

func showFutex(c *Call, i int) string {
	v := c.regs[i]
	s, ok := find(futexNames, v&0x7f)
	if !ok {
		s = strconv.FormatUint(v&0x7f, 10)
	}
	if v&futexPrivate != 0 {
		s += "_PRIVATE"
	}
	if v&futexRealtime != 0 {
		s += "|FUTEX_CLOCK_REALTIME"
	}
	return s
}

func showIoctl(c *Call, i int) string {
	if s, ok := find(ioctlNames, c.regs[i]); ok {
		return s
	}
	return "0x" + strconv.FormatUint(c.regs[i], 16)
}

func signalName(n int32) string {
	if s := unix.SignalName(unix.Signal(n)); s != "" {
		return s
	}
	if n >= int32(linux.SIGRTMIN) && n <= int32(linux.SIGRTMAX) {
		return fmt.Sprintf("SIGRT_%d", n-int32(linux.SIGRTMIN))
	}
	return strconv.Itoa(int(n))
}

// value is a constant's name and its value.
type value struct {
	v    uint64
	name string
}

func find(names []value, v uint64) (string, bool) {
	for _, n := range names {
		if n.v == v {
			return n.name, true
		}
	}
	return "", false
}

// one renders an argument that is one of names.
func one(names []value) show {
	return func(c *Call, i int) string {
		if s, ok := find(names, uint64(uint32(c.regs[i]))); ok {
			return s
		}
		return strconv.Itoa(int(int32(c.regs[i])))
	}
}

// bits renders an argument that is a sum of names.
func bits(names []value) show {
	return func(c *Call, i int) string { return flags(names, uint64(uint32(c.regs[i]))) }
}

// flags names the bits of v; what has no name is added as a number. A name with
// several bits must come before those of its parts.
func flags(names []value, v uint64) string {
	if v == 0 {
		if s, ok := find(names, 0); ok {
			return s
		}
		return "0"
	}
	var parts []string
	for _, n := range names {
		if n.v != 0 && v&n.v == n.v {
			parts = append(parts, n.name)
			v &^= n.v
		}
	}
	if v != 0 {
		parts = append(parts, "0x"+strconv.FormatUint(v, 16))
	}
	return strings.Join(parts, "|")
}
