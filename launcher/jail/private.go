package jail

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
)

// Where ids lie that no user has, nor a container of those that share this range:
// above those that systemd and subuid(5) give out.
const (
	privateFirst = 0x7000_0000
	privateCount = 0x0fff_ffff
)

// Private is a user and group that nobody else on the host has, another in each
// process that asks: of one sandbox's guests and of who looks into their memory; of its
// netd; of a keeper. No process of another sandbox, or of a host's own nobody, may look
// into theirs or send them signals, and the host counts their processes apart. It is Nobody in a user namespace that has no such id. The first call reads /proc.
var Private = sync.OnceValue(func() int {
	id := uint64(privateFirst + rand.N(privateCount))
	for _, file := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		text, err := os.ReadFile(file)
		if err != nil || !mapped(string(text), id) {
			return Nobody
		}
	}
	return int(id)
})

// mapped says whether a map of user_namespaces(7) has the id.
func mapped(text string, id uint64) bool {
	for line := range strings.Lines(text) {
		var inside, outside, count uint64
		if n, _ := fmt.Sscan(line, &inside, &outside, &count); n == 3 && id >= inside && id-inside < count {
			return true
		}
	}
	return false
}
