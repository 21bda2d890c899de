package oci

import specs "github.com/opencontainers/runtime-spec/specs-go"

// Memory is the limit of l in bytes, 0 if there is none.
func Memory(l *specs.Linux) uint64 {
	if l == nil || l.Resources == nil || l.Resources.Memory == nil || l.Resources.Memory.Limit == nil || *l.Resources.Memory.Limit <= 0 {
		return 0
	}
	return uint64(*l.Resources.Memory.Limit)
}
