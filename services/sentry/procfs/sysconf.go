package procfs

import (
	gomaps "maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/pseudo"
	"bulkhead/services/sentry/vfs"
)

// conf6Path is where interfaces have their settings of IPv6, below /proc/sys.
const conf6Path = "net/ipv6/conf"

// Sysctl is a number that somebody else keeps.
type Sysctl struct {
	Get func() (int64, error)
	Set func(int64) error
}

// read is "" if nobody says.
func (c Sysctl) read() string {
	v, err := c.Get()
	if err != nil {
		return ""
	}
	return strconv.FormatInt(v, 10)
}

// write sets it: EINVAL.
func (c Sysctl) write(text string) error {
	v, err := strconv.ParseInt(strings.TrimSpace(text), 0, 64)
	if err != nil {
		return linux.EINVAL
	}
	return c.Set(v)
}

// confDir is the interfaces' part of a directory of settings. Who keeps them is
// asked when somebody looks first, as at the sandbox's start there is nobody to ask.
type confDir struct {
	s     *sysctls
	given func() map[string]map[string]Sysctl // by interface and name; nil: none

	mu    sync.Mutex
	known map[string]map[string]Sysctl
	dirs  map[string]*pseudo.Dir
}

// load gives the interfaces' directories. Once there are any, there are no others.
func (c *confDir) load() map[string]*pseudo.Dir {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.dirs) > 0 || c.given == nil {
		return c.dirs
	}
	c.known, c.dirs = c.given(), map[string]*pseudo.Dir{}
	for name, settings := range c.known {
		d := c.s.fs.Dir(0o555, nil)
		for _, n := range slices.Sorted(gomaps.Keys(settings)) {
			c.s.putIn(d, n, 0o644, true, settings[n].read, settings[n].write)
		}
		c.dirs[name] = d
	}
	return c.dirs
}

// sysctl finds one by its path below /proc/sys.
func (c *confDir) sysctl(path string) (Sysctl, bool) {
	name, ok := strings.CutPrefix(path, conf6Path+"/")
	if !ok {
		return Sysctl{}, false
	}
	at := strings.LastIndexByte(name, '/')
	if at < 0 || c.load() == nil {
		return Sysctl{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.known[name[:at]][name[at+1:]]
	return k, ok
}

// Lookup is Dynamic's.
func (c *confDir) Lookup(_ vfs.Context, name string) (vfs.Node, error) {
	if d := c.load()[name]; d != nil {
		return d, nil
	}
	return nil, linux.ENOENT
}

// Names is Dynamic's.
func (c *confDir) Names(vfs.Context) ([]pseudo.Name, error) {
	var out []pseudo.Name
	for n, name := range slices.Sorted(gomaps.Keys(c.load())) {
		out = append(out, pseudo.Name{Name: name, Type: linux.DT_DIR, Key: int64(n + 1)})
	}
	return out, nil
}

// Valid is Dynamic's.
func (c *confDir) Valid(vfs.Context, string, vfs.Node) bool { return true }
