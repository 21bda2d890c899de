package oci

import (
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"bulkhead/launcher/jail"
	sentryv1 "bulkhead/proto/sentry/v1"
)

// rlimits by their names in a spec: getrlimit(2).
var rlimits = map[string]uint32{
	"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_DATA": unix.RLIMIT_DATA,
	"RLIMIT_STACK": unix.RLIMIT_STACK, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_RSS": unix.RLIMIT_RSS,
	"RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK,
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
	"RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO,
	"RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
}

// Process is p, which must be valid, as the sentry is told it.
func Process(p *specs.Process) *sentryv1.ProcessSpec {
	out := &sentryv1.ProcessSpec{
		Args: p.Args, Env: p.Env, Cwd: p.Cwd,
		User:            &sentryv1.User{Uid: p.User.UID, Gid: p.User.GID, AdditionalGids: p.User.AdditionalGids, Umask: p.User.Umask},
		Capabilities:    &sentryv1.Capabilities{},
		NoNewPrivileges: p.NoNewPrivileges,
		Terminal:        p.Terminal,
	}
	if c := p.Capabilities; c != nil {
		out.Capabilities = &sentryv1.Capabilities{
			Bounding: capSet(c.Bounding), Effective: capSet(c.Effective), Inheritable: capSet(c.Inheritable),
			Permitted: capSet(c.Permitted), Ambient: capSet(c.Ambient),
		}
	}
	for _, r := range p.Rlimits {
		out.Rlimits = append(out.Rlimits, &sentryv1.Rlimit{Resource: rlimits[r.Type], Soft: r.Soft, Hard: r.Hard})
	}
	if p.ConsoleSize != nil {
		out.Rows, out.Columns = uint32(p.ConsoleSize.Height), uint32(p.ConsoleSize.Width)
	}
	if p.OOMScoreAdj != nil {
		out.OomScoreAdj = int32(*p.OOMScoreAdj)
	}
	return out
}

func capSet(names []string) uint64 {
	var set jail.Caps
	for _, name := range names {
		if n, ok := jail.CapNumber(name); ok {
			set |= jail.CapsOf(n)
		}
	}
	return uint64(set)
}
