package oci

import (
	"fmt"
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"bulkhead/launcher/jail"
)

// An invalid field is said so, and nothing else.
func invalid(field, format string, args ...any) error {
	return fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...))
}

func validate(s *specs.Spec) error {
	switch {
	case s.Version == "":
		return invalid("ociVersion", "must be set")
	case !strings.HasPrefix(s.Version, "1."):
		return invalid("ociVersion", "is %s; 1.x is supported", s.Version)
	case s.Root == nil:
		return invalid("root", "must be set")
	case s.Root.Path == "":
		return invalid("root.path", "must not be empty")
	case s.Process == nil:
		return invalid("process", "must be set")
	}
	if err := validateProcess("process.", s.Process); err != nil {
		return err
	}
	for i, m := range s.Mounts {
		name := fmt.Sprintf("mounts[%d].", i)
		if m.Destination == "" {
			return invalid(name+"destination", "must not be empty")
		}
		if !path.IsAbs(m.Destination) {
			return invalid(name+"destination", "%s is not absolute", m.Destination)
		}
		if isBind(m) && m.Source == "" {
			return invalid(name+"source", "must not be empty")
		}
	}
	return nil
}

func validateProcess(at string, p *specs.Process) error {
	if len(p.Args) == 0 {
		return invalid(at+"args", "must not be empty")
	}
	if p.Args[0] == "" {
		return invalid(at+"args[0]", "must not be empty")
	}
	if !path.IsAbs(p.Cwd) {
		return invalid(at+"cwd", "%q is not an absolute path", p.Cwd)
	}
	for i, arg := range p.Args {
		if strings.ContainsRune(arg, 0) {
			return invalid(fmt.Sprintf("%sargs[%d]", at, i), "contains a NUL")
		}
	}
	for i, v := range p.Env {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" || strings.ContainsRune(v, 0) {
			return invalid(fmt.Sprintf("%senv[%d]", at, i), "%q is not NAME=VALUE", v)
		}
	}
	seen := map[string]bool{}
	for i, r := range p.Rlimits {
		name := fmt.Sprintf("%srlimits[%d].", at, i)
		if _, ok := rlimits[r.Type]; !ok {
			return invalid(name+"type", "%q is not a limit", r.Type)
		}
		if seen[r.Type] {
			return invalid(name+"type", "%s is there twice", r.Type)
		}
		seen[r.Type] = true
		if r.Soft > r.Hard {
			return invalid(name+"soft", "%d is above hard, %d", r.Soft, r.Hard)
		}
	}
	if c := p.Capabilities; c != nil {
		for _, set := range []struct {
			name string
			caps []string
		}{{"bounding", c.Bounding}, {"effective", c.Effective}, {"inheritable", c.Inheritable}, {"permitted", c.Permitted}, {"ambient", c.Ambient}} {
			for i, name := range set.caps {
				if _, ok := jail.CapNumber(name); !ok {
					return invalid(fmt.Sprintf("%scapabilities.%s[%d]", at, set.name, i), "%q is not a capability", name)
				}
			}
		}
	}
	return nil
}
