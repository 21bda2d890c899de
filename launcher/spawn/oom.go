package spawn

import (
	"fmt"
	"os"
	"strconv"
)

// forFiles is what the sentry's oom_score_adj is above what a specification asks
// for, in thousandths of the host's memory.
const forFiles = 500

// answerForMemory makes the sentry and the guests, which Boot forks, those that
// the host ends first when its memory runs out: proc_pid_oom_score_adj(5). What
// guests keep in files and in shared memory is in no process's resident set, so
// that without this the host would end innocent processes one after another and
// get nothing for it, while it all goes with the sentry. adj is the
// specification's. It comes before Boot.
func answerForMemory(sentry int, adj int32) error {
	adj = min(max(adj, -1000)+forFiles, 1000)
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/oom_score_adj", sentry), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(strconv.Itoa(int(adj)))
	return err
}
