package launch

import (
	"fmt"
	"os"
	"os/user"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/oci"
	sentryv1 "bulkhead/proto/sentry/v1"
)

// passed are variables of the caller that a program on the host's own root gets
// without being asked for; others may hold secrets. LC_* come too.
var passed = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "COLORTERM", "LANG", "TZ"}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// LocalProcess is a process on the host's own root: the caller's environment as
// far as it is passed, directory and limits.
func LocalProcess(args, env []string, dir, as string) (*sentryv1.ProcessSpec, error) {
	if dir == "" {
		var err error
		if dir, err = os.Getwd(); err != nil {
			return nil, fmt.Errorf("find working directory: %w", err)
		}
	}
	if !path.IsAbs(dir) {
		return nil, fmt.Errorf("working directory %s: is not absolute", dir)
	}
	p := &sentryv1.ProcessSpec{
		Args: args, Cwd: dir, Env: Environ(callerEnv(), env),
		User: &sentryv1.User{}, Capabilities: oci.RootCaps(), Rlimits: callerLimits(),
	}
	if as != "" {
		u, err := User(as)
		if err != nil {
			return nil, err
		}
		p.User = u
		if u.Uid != 0 {
			p.Capabilities = &sentryv1.Capabilities{Bounding: p.Capabilities.Bounding}
		}
	}
	return p, nil
}

func callerEnv() []string {
	env := []string{defaultPath}
	for _, name := range passed {
		if v, ok := os.LookupEnv(name); ok {
			env = Environ(env, []string{name + "=" + v})
		}
	}
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "LC_") {
			env = append(env, v)
		}
	}
	return env
}

// Environ is base with changes: NAME=VALUE sets, NAME takes the caller's.
func Environ(base, changes []string) []string {
	env := append([]string(nil), base...)
	for _, change := range changes {
		name, _, valued := strings.Cut(change, "=")
		if !valued {
			v, ok := os.LookupEnv(name)
			if !ok {
				continue
			}
			change = name + "=" + v
		}
		replaced := false
		for i := range env {
			if strings.HasPrefix(env[i], name+"=") {
				env[i], replaced = change, true
			}
		}
		if !replaced {
			env = append(env, change)
		}
	}
	return env
}

// callerLimits are this process's own limits: getrlimit(2).
func callerLimits() []*sentryv1.Rlimit {
	var all []*sentryv1.Rlimit
	for resource := range uint32(16) {
		var r unix.Rlimit
		if unix.Getrlimit(int(resource), &r) == nil {
			all = append(all, &sentryv1.Rlimit{Resource: resource, Soft: r.Cur, Hard: r.Max})
		}
	}
	return all
}

// User reads USER[:GROUP], numbers or names of the host's.
func User(s string) (*sentryv1.User, error) {
	name, groupName, hasGroup := strings.Cut(s, ":")
	u := &sentryv1.User{}
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		u.Uid = uint32(n)
	} else {
		found, err := user.Lookup(name)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", s, err)
		}
		uid, _ := strconv.ParseUint(found.Uid, 10, 32)
		gid, _ := strconv.ParseUint(found.Gid, 10, 32)
		u.Uid, u.Gid = uint32(uid), uint32(gid)
	}
	if !hasGroup {
		return u, nil
	}
	if n, err := strconv.ParseUint(groupName, 10, 32); err == nil {
		u.Gid = uint32(n)
		return u, nil
	}
	found, err := user.LookupGroup(groupName)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", s, err)
	}
	gid, _ := strconv.ParseUint(found.Gid, 10, 32)
	u.Gid = uint32(gid)
	return u, nil
}
