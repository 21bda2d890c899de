package procfs

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Host is what /proc shows of the machine. It is read at boot, while files of
// the host can still be opened.
type Host struct {
	// CPUs is how many processors there are.
	CPUs int
	// CPUInfo is the host's own /proc/cpuinfo.
	CPUInfo []byte
	// Memory holds the lines of /proc/meminfo by name, in kB.
	Memory map[string]uint64
	// Boot is when the host was started, as its clocks count.
	Boot time.Time
	// Release and Version are uname(2)'s, as guests see them.
	Release, Version string
	// Threads is how many there can be; 0 if that is not known.
	Threads uint64
	// Vsyscall says that the host has the old page of calls, which it serves itself.
	Vsyscall bool
}

// ReadHost reads the host's facts. Its release and version are the host's own.
func ReadHost() (Host, error) {
	var h Host
	var err error
	if h.CPUInfo, err = os.ReadFile("/proc/cpuinfo"); err != nil {
		return h, err
	}
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return h, err
	}
	own, _ := os.ReadFile("/proc/self/maps")
	h.Vsyscall = bytes.Contains(own, []byte("[vsyscall]"))
	h.CPUs = max(bytes.Count(h.CPUInfo, []byte("processor\t:")), 1)
	h.Memory = parseMeminfo(string(text))
	h.Boot = bootTime()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return h, err
	}
	h.Release, h.Version = unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:])
	return h, nil
}

// Limit makes the machine one with that much memory, in bytes, if it has more; 0 is
// no limit.
func (h *Host) Limit(memory uint64) {
	total, kB := h.Memory["MemTotal"], memory>>10
	if memory == 0 || kB >= total {
		return
	}
	for _, name := range []string{"MemFree", "MemAvailable"} {
		h.Memory[name] = min(h.Memory[name], kB)
	}
	h.Memory["MemTotal"] = kB
}

// bootTime is such that the time since is CLOCK_BOOTTIME, which guests read too.
func bootTime() time.Time {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return time.Now()
	}
	return time.Now().Add(-time.Duration(ts.Nano()))
}

func parseMeminfo(text string) map[string]uint64 {
	m := make(map[string]uint64)
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			continue
		}
		if v, err := strconv.ParseUint(fields[0], 10, 64); err == nil {
			m[name] = v
		}
	}
	return m
}
