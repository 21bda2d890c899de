package procfs

import (
	"fmt"
	"strings"
)

// escape writes the characters in set as \ooo, as the kernel's seq_escape does.
func escape(s, set string) string {
	if !strings.ContainsAny(s, set) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(set, s[i]) >= 0 {
			fmt.Fprintf(&b, "\\%03o", s[i])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// escapePath is escape as the mount tables need it.
func escapePath(s string) string { return escape(s, " \t\n\\") }
