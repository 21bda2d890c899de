package jail

import (
	"strconv"
	"strings"
)

// Forbidden finds in what a process wrote to standard error which forbidden
// system call ended it. After SECCOMP_RET_TRAP the call's number stands in rax.
func Forbidden(stderr string) (call uint32, ok bool) {
	_, crash, found := strings.Cut(stderr, "SIGSYS: bad system call")
	if !found {
		return 0, false
	}
	for line := range strings.Lines(crash) {
		f := strings.Fields(line)
		if len(f) != 2 || f[0] != "rax" {
			continue
		}
		n, err := strconv.ParseUint(f[1], 0, 32)
		return uint32(n), err == nil
	}
	return 0, false
}
