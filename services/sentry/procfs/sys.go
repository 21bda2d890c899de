package procfs

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/aio"
	"bulkhead/services/sentry/pseudo"
	"bulkhead/services/sentry/vfs"
)

// sysctl is one file of /proc/sys.
type sysctl struct {
	path  string // below /proc/sys
	value string // at first
	kind  sysctlKind
}

type sysctlKind int

const (
	fixedValue sysctlKind = iota // mode 0444
	number                       // as many integers as it has, writable
	word                         // any text, writable
	secret                       // numbers that only root sees and writes: 0600
	trigger                      // a number that is written, and not read: 0200
)

func (k sysctlKind) mode() uint32 {
	switch k {
	case fixedValue:
		return 0o444
	case secret:
		return 0o600
	case trigger:
		return 0o200
	}
	return 0o644
}

// sysctls is /proc/sys.
type sysctls struct {
	fs    *FS
	root  *pseudo.Dir
	dirs  map[string]*pseudo.Dir
	kind  map[string]sysctlKind
	confs []*confDir

	network func(ctx vfs.Context) Network // nil: there are none

	mu     sync.Mutex
	values map[string]string
}

func newSysctls(fs *FS, network func(ctx vfs.Context) Network) *sysctls {
	s := &sysctls{
		fs: fs, network: network, root: fs.Dir(0o555, nil), dirs: make(map[string]*pseudo.Dir),
		kind: make(map[string]sysctlKind), values: make(map[string]string),
	}
	s.dirs[""] = s.root
	s.root.WithLate(s.fill) // it takes longer than all the rest of /proc
	return s
}

// fill makes the files.
func (s *sysctls) fill() {
	fs := s.fs
	for _, c := range slices.Concat(sysctlTable, networkTable()) {
		s.values[c.path], s.kind[c.path] = c.value, c.kind
		s.put(c.path, c.kind.mode(), func(ctx vfs.Context) (string, error) { return s.value(ctx, c.path), nil },
			func(ctx vfs.Context, v string) error { return s.write(ctx, c.path, v) })
	}
	if n := fs.host.Threads; n > 0 {
		s.values["kernel/threads-max"] = strconv.FormatUint(n, 10)
	}
	readOnly := func(path string, get func() string) {
		s.put(path, 0o444, func(vfs.Context) (string, error) { return get(), nil }, nil)
	}
	readOnly("kernel/osrelease", func() string { return fs.host.Release })
	readOnly("kernel/version", func() string { return fs.host.Version })
	readOnly("fs/aio-nr", func() string { return strconv.FormatInt(aio.Reserved(), 10) })
	bootID := newUUID()
	readOnly("kernel/random/boot_id", func() string { return bootID })
	readOnly("kernel/random/uuid", newUUID)
	s.confs = s.confDirs()
	for _, d := range s.confs {
		s.dir(d.path).WithDynamic(d)
	}
	s.putName("hostname", Names.Hostname, Names.SetHostname)
	s.putName("domainname", Names.Domainname, Names.SetDomainname)
}

// putName makes a file in kernel that holds a name of uname(2), the caller's own.
func (s *sysctls) putName(name string, get func(Names) string, set func(Names, string)) {
	const mode = 0o644
	f := s.fs.File(mode, nil, func(ctx vfs.Context) ([]byte, error) { return []byte(get(s.fs.kernel.UTS(ctx)) + "\n"), nil })
	f.WithSet(func(ctx vfs.Context, p []byte) error {
		if c := ctx.Creds(); !c.Has(linux.CAP_SYS_ADMIN) && c.EUID != 0 {
			return linux.EPERM
		}
		v := firstLine(p)
		set(s.fs.kernel.UTS(ctx), v[:min(len(v), linux.UTS_LEN)])
		return nil
	})
	s.dir("kernel").Add(name, f.WithPermit(func(ctx vfs.Context, mask uint32) error { return permitSysctl(ctx.Creds(), mode, mask) }))
}

// put makes the file at path; set may be nil.
func (s *sysctls) put(path string, mode uint32, get func(vfs.Context) (string, error), set func(vfs.Context, string) error) {
	at := strings.LastIndexByte(path, '/')
	s.putIn(s.dir(path[:max(at, 0)]), path[at+1:], mode, isNetwork(path), get, set)
}

// isNetwork says whether a path is of the network, which CAP_NET_ADMIN may set too.
func isNetwork(path string) bool { return strings.HasPrefix(path, "net/") }

// putIn makes the file in a directory.
func (s *sysctls) putIn(d *pseudo.Dir, name string, mode uint32, network bool, get func(vfs.Context) (string, error), set func(vfs.Context, string) error) {
	f := s.fs.File(mode, nil, func(ctx vfs.Context) ([]byte, error) {
		v, err := get(ctx)
		return []byte(v + "\n"), err
	})
	if set != nil && mode&0o200 != 0 {
		f.WithSet(func(ctx vfs.Context, p []byte) error {
			if !ctx.Creds().Has(linux.CAP_SYS_ADMIN) && !(network && s.mayTune(ctx)) {
				return linux.EPERM
			}
			return set(ctx, firstLine(p))
		})
	}
	d.Add(name, f.WithPermit(func(ctx vfs.Context, mask uint32) error {
		return permitSysctl(ctx.Creds(), mode, mask)
	}))
}

// permitSysctl is the kernel's test_perm: the mode counts for everyone, for
// user 0 too, whatever capabilities there are.
func permitSysctl(c *vfs.Creds, mode, mask uint32) error {
	switch {
	case c.EUID == 0:
		mode >>= 6
	case c.InEffectiveGroup(0):
		mode >>= 3
	}
	if mask&7&^mode != 0 {
		return linux.EACCES
	}
	return nil
}

// firstLine is a written value without what ends it.
func firstLine(p []byte) string {
	v, _, _ := strings.Cut(string(p), "\n")
	v, _, _ = strings.Cut(v, "\x00")
	return strings.TrimRight(v, " \t")
}

func (s *sysctls) dir(path string) *pseudo.Dir {
	if d := s.dirs[path]; d != nil {
		return d
	}
	at := strings.LastIndexByte(path, '/')
	d := s.fs.Dir(0o555, nil)
	s.dir(path[:max(at, 0)]).Add(path[at+1:], d)
	s.dirs[path] = d
	return d
}

// networkOf is the network of who looks; nil if there is none.
func (s *sysctls) networkOf(ctx vfs.Context) Network {
	if s.network == nil {
		return nil
	}
	return s.network(ctx)
}

// mayTune says whether the caller may set what is the network's.
func (s *sysctls) mayTune(ctx vfs.Context) bool {
	if n := s.networkOf(ctx); n != nil {
		return n.Admin(ctx)
	}
	return ctx.Creds().Has(linux.CAP_NET_ADMIN)
}

// value is what was written: of the network, in that of who looks.
func (s *sysctls) value(ctx vfs.Context, path string) string {
	if isNetwork(path) {
		if n := s.networkOf(ctx); n != nil {
			if v, ok := n.Settings().value(path); ok {
				return v
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[path]
}

// write checks a value against what is there: as many numbers, or any word.
func (s *sysctls) write(ctx vfs.Context, path, v string) (err error) {
	if k := s.kind[path]; k == number || k == secret || k == trigger {
		if v, err = numbers(v, len(strings.Fields(s.value(ctx, path)))); err != nil {
			return err
		}
	}
	if n := s.networkOf(ctx); n != nil && isNetwork(path) {
		if err := n.Tune(path, v); err != nil {
			return err
		}
		for _, p := range follow(path, n.Links()) {
			if err := n.Settings().set(p, v); err != nil {
				return err
			}
		}
		return n.Settings().set(path, v)
	}
	s.mu.Lock()
	s.values[path] = v
	s.mu.Unlock()
	return nil
}

// numbers checks a value of so many numbers at most: EINVAL.
func numbers(v string, most int) (string, error) {
	fields := strings.Fields(v)
	if len(fields) == 0 || len(fields) > most {
		return "", linux.EINVAL
	}
	for _, f := range fields {
		if _, err := strconv.ParseInt(f, 0, 64); err != nil {
			if _, err := strconv.ParseUint(f, 0, 64); err != nil {
				return "", linux.EINVAL
			}
		}
	}
	return strings.Join(fields, "\t"), nil
}

// set is FS.SetSysctl.
func (s *sysctls) set(name, value string) error {
	path := name
	if !strings.Contains(name, "/") {
		path = strings.ReplaceAll(name, ".", "/")
	}
	switch path {
	case "kernel/hostname":
		s.fs.kernel.UTS(nil).SetHostname(value)
		return nil
	case "kernel/domainname":
		s.fs.kernel.UTS(nil).SetDomainname(value)
		return nil
	}
	ctx := vfs.KernelContext()
	for _, d := range s.confs {
		if of, ok := strings.CutPrefix(path, d.path+"/"); ok {
			if at := strings.LastIndexByte(of, '/'); at >= 0 && !isStatic(of[:at]) {
				return d.write(ctx, of[:at], of[at+1:], value)
			}
		}
	}
	kind, ok := s.kind[path]
	if !ok {
		return linux.ENOENT
	}
	if kind == fixedValue {
		return linux.EINVAL
	}
	return s.write(ctx, path, value)
}

// newUUID is a random UUID, version 4: RFC 9562.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
