package procfs

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/pseudo"
	"bulkhead/services/sentry/vfs"
)

// Network is what /proc/sys/net tells of: a namespace of the network.
type Network interface {
	// Tune is told of what is written, by its path below /proc/sys, and may refuse it.
	Tune(path, value string) error
	// Conf6 gives the settings of IPv6 that somebody else keeps, by interface and name.
	Conf6() map[string]map[string]Sysctl
	// Links are the names of the interfaces.
	Links() []string
	// Settings are where what is written is remembered.
	Settings() *Settings
	// Admin says whether the caller may write.
	Admin(ctx vfs.Context) bool
}

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

// Settings are values that were written, by their path below /proc/sys. The zero value is
// ready for use.
type Settings struct {
	mu     sync.Mutex
	values map[string]string
}

// maxSettings bounds how many there are: interfaces come and go, and each has its own.
const maxSettings = 1 << 14

func (s *Settings) value(path string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[path]
	return v, ok
}

// set remembers one: ENOMEM.
func (s *Settings) set(path, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values == nil {
		s.values = map[string]string{}
	}
	if len(s.values) >= maxSettings {
		return linux.ENOMEM
	}
	s.values[path] = value
	return nil
}

// confDir is the part of a directory of settings that has a directory for each interface:
// those of the network of who looks.
type confDir struct {
	s        *sysctls
	path     string            // below /proc/sys
	settings map[string]sysctl // by name, which is their path
}

// confDirs are those directories, with what each interface's has.
func (s *sysctls) confDirs() (all []*confDir) {
	for _, c := range []struct{ path, settings string }{
		{"net/ipv4/conf", conf4Settings}, {"net/ipv6/conf", conf6Settings}, {"net/ipv4/neigh", neighbourSettings}, {"net/ipv6/neigh", neighbourSettings},
	} {
		d := &confDir{s: s, path: c.path, settings: map[string]sysctl{}}
		for _, x := range parseSettings("", c.settings) {
			d.settings[x.path] = x
		}
		all = append(all, d)
	}
	return all
}

// follow are the paths that what is written at path is written at too: forwarding of all is
// every interface's, and ip_forward is IPv4's.
func follow(path string, links []string) (more []string) {
	conf := "net/ipv4/conf/"
	switch path {
	case "net/ipv4/ip_forward":
		more = append(more, conf+"all/forwarding")
	case conf + "all/forwarding":
		more = append(more, "net/ipv4/ip_forward")
	case conf6Path + "/all/forwarding":
		conf = conf6Path + "/"
	default:
		return nil
	}
	for _, name := range append([]string{"default"}, links...) {
		more = append(more, conf+name+"/forwarding")
	}
	return more
}

// isStatic says whether a name is always there.
func isStatic(name string) bool { return name == "all" || name == "default" || name == "lo" }

// has says whether an interface is there for ctx.
func (d *confDir) has(ctx vfs.Context, name string) bool {
	n := d.s.networkOf(ctx)
	return n != nil && !isStatic(name) && slices.Contains(n.Links(), name)
}

// kept finds a setting that somebody else keeps.
func (d *confDir) kept(ctx vfs.Context, name, setting string) (Sysctl, bool) {
	if d.path != conf6Path {
		return Sysctl{}, false
	}
	c, ok := d.s.networkOf(ctx).Conf6()[name][setting]
	return c, ok
}

// conf6Path is where interfaces have their settings of IPv6, below /proc/sys.
const conf6Path = "net/ipv6/conf"

// read gives a setting of an interface: ENOENT.
func (d *confDir) read(ctx vfs.Context, name, setting string) (string, error) {
	if !d.has(ctx, name) {
		return "", linux.ENOENT
	}
	if c, ok := d.kept(ctx, name, setting); ok {
		return c.read(), nil
	}
	if v, ok := d.s.networkOf(ctx).Settings().value(d.path + "/" + name + "/" + setting); ok {
		return v, nil
	}
	if setting == "forwarding" { // what came later has what is by default
		return d.s.value(ctx, d.path+"/default/"+setting), nil
	}
	return d.settings[setting].value, nil
}

// write sets one: ENOENT, EINVAL, ENOMEM.
func (d *confDir) write(ctx vfs.Context, name, setting, v string) error {
	if _, known := d.settings[setting]; !known || !d.has(ctx, name) {
		return linux.ENOENT
	}
	if c, ok := d.kept(ctx, name, setting); ok {
		return c.write(v)
	}
	v, err := numbers(v, 1)
	if err != nil {
		return err
	}
	return d.s.networkOf(ctx).Settings().set(d.path+"/"+name+"/"+setting, v)
}

// Lookup is Dynamic's.
func (d *confDir) Lookup(ctx vfs.Context, name string) (vfs.Node, error) {
	if !d.has(ctx, name) {
		return nil, linux.ENOENT
	}
	dir := d.s.fs.Dir(0o555, nil)
	for setting := range d.settings {
		d.s.putIn(dir, setting, 0o644, true,
			func(ctx vfs.Context) (string, error) { return d.read(ctx, name, setting) },
			func(ctx vfs.Context, v string) error { return d.write(ctx, name, setting, v) })
	}
	return dir, nil
}

// Names is Dynamic's.
func (d *confDir) Names(ctx vfs.Context) (out []pseudo.Name, _ error) {
	n := d.s.networkOf(ctx)
	if n == nil {
		return nil, nil
	}
	for i, name := range n.Links() {
		if !isStatic(name) {
			out = append(out, pseudo.Name{Name: name, Type: linux.DT_DIR, Key: int64(i + 1)})
		}
	}
	return out, nil
}

// Valid is Dynamic's.
func (d *confDir) Valid(ctx vfs.Context, name string, _ vfs.Node) bool { return d.has(ctx, name) }
