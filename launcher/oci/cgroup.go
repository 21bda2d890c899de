package oci

import (
	"fmt"
	"maps"
	"math"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Limits are what r, which may be nil, limits, by the names of files of cgroup v2, as runc
// writes them: the guest is told of them.
func Limits(r *specs.LinuxResources) map[string]string {
	files := map[string]string{}
	if r == nil {
		return files
	}
	if m := r.Memory; m != nil {
		amount(files, "memory.max", m.Limit)
		amount(files, "memory.low", m.Reservation)
		if m.Swap != nil && m.Limit != nil && *m.Swap >= *m.Limit && *m.Limit > 0 { // the sum of both
			swap := *m.Swap - *m.Limit
			amount(files, "memory.swap.max", &swap)
		}
	}
	if c := r.CPU; c != nil {
		period := uint64(100000)
		if c.Period != nil && *c.Period != 0 {
			period = *c.Period
		}
		if c.Quota != nil && *c.Quota > 0 {
			files["cpu.max"] = fmt.Sprintf("%d %d", *c.Quota, period)
		} else if c.Period != nil && *c.Period != 0 {
			files["cpu.max"] = fmt.Sprintf("max %d", period)
		}
		if c.Shares != nil && *c.Shares != 0 {
			files["cpu.weight"] = strconv.FormatUint(weight(*c.Shares), 10)
		}
		if c.Cpus != "" {
			files["cpuset.cpus"] = c.Cpus
		}
	}
	if p := r.Pids; p != nil {
		amount(files, "pids.max", p.Limit)
	}
	maps.Copy(files, r.Unified)
	return files
}

// amount is a limit of which what is not above 0 is none.
func amount(files map[string]string, name string, v *int64) {
	switch {
	case v == nil:
	case *v > 0 || *v == 0 && name == "memory.swap.max":
		files[name] = strconv.FormatInt(*v, 10)
	default:
		files[name] = "max"
	}
}

// weight turns shares of v1, 2 to 262144, into a weight of v2, 1 to 10000, such that the
// usual 1024 is the usual 100: a parabola of the logarithms.
func weight(shares uint64) uint64 {
	l := math.Log2(float64(min(max(shares, 2), 262144)))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}
