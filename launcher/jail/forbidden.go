package jail

import (
	"regexp"
	"strconv"
	"strings"
)

var raxLine = regexp.MustCompile(`(?m)^rax\s+0x([0-9a-f]+)`)

// Forbidden finds in what a process wrote to standard error which forbidden
// system call ended it. After SECCOMP_RET_TRAP the call's number stands in rax.
func Forbidden(stderr string) (call uint32, ok bool) {
	_, crash, found := strings.Cut(stderr, "SIGSYS: bad system call")
	if !found {
		return 0, false
	}
	rax := raxLine.FindStringSubmatch(crash)
	if rax == nil {
		return 0, false
	}
	n, err := strconv.ParseUint(rax[1], 16, 32)
	return uint32(n), err == nil
}
