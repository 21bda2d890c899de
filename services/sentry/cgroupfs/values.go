package cgroupfs

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"bulkhead/proto/linux"
)

// set is a write of something that the group remembers.
func (c *Cgroup) set(k *kind, text string) error {
	v, err := k.set(c.h, text)
	if err != nil {
		return err
	}
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if c.dead || !c.hasLocked(k) {
		return linux.ENODEV
	}
	if c.values == nil {
		c.values = map[string]string{}
	}
	c.values[k.name] = v
	if k.apply != nil {
		k.apply(c, v)
	}
	return nil
}

// Limit sets what the outside says of the root, by the name of its file: "memory.max".
// False: there is no such file, or it takes no such value.
func (h *Hierarchy) Limit(name, value string) bool {
	k := lookupKind(name)
	return k != nil && k.set != nil && h.root.set(k, strings.TrimSpace(value)) == nil
}

// number is a limit as it is told; -1 for "max".
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// integer reads what kstrtoint does: EINVAL, ERANGE.
func integer(text string, low, high int64) (int64, error) {
	n, err := strconv.ParseInt(text, 0, 64)
	switch {
	case strings.Contains(text, "_"):
		return 0, linux.EINVAL
	case err != nil && err.(*strconv.NumError).Err == strconv.ErrRange, err == nil && (n < low || n > high):
		return 0, linux.ERANGE
	case err != nil:
		return 0, linux.EINVAL
	}
	return n, nil
}

// count is the value of cgroup.max.depth and cgroup.max.descendants.
func count(_ *Hierarchy, text string) (string, error) {
	if text == "max" {
		return text, nil
	}
	n, err := integer(text, 0, math.MaxInt32-1)
	return strconv.FormatInt(n, 10), err
}

// processCount is that of pids.max.
func processCount(_ *Hierarchy, text string) (string, error) {
	const pidMaxLimit = 1 << 22
	if text == "max" {
		return text, nil
	}
	n, err := integer(text, math.MinInt64, math.MaxInt64)
	if err == nil && (n < 0 || n > pidMaxLimit) {
		err = linux.EINVAL
	}
	return strconv.FormatInt(n, 10), err
}

// between gives what takes the numbers from low to high.
func between(low, high int64) func(*Hierarchy, string) (string, error) {
	return func(_ *Hierarchy, text string) (string, error) {
		n, err := integer(text, low, high)
		if err == linux.ERANGE && strings.HasPrefix(text, "-") {
			err = linux.EINVAL // these are numbers without a sign
		}
		return strconv.FormatInt(n, 10), err
	}
}

// oneOf gives what takes these words.
func oneOf(words ...string) func(*Hierarchy, string) (string, error) {
	return func(_ *Hierarchy, text string) (string, error) {
		if !slices.Contains(words, text) {
			return "", linux.EINVAL
		}
		return text, nil
	}
}

// noDevice is that of io.max: no guest has a device that it could name.
func noDevice(_ *Hierarchy, text string) (string, error) {
	var major, minor uint32
	if n, _ := fmt.Sscanf(text, "%d:%d", &major, &minor); n < 2 {
		return "", linux.EINVAL
	}
	return "", linux.ENODEV
}

// amount is one of memory, in bytes: "max", or a number with K, M, G, T, P or E.
func amount(_ *Hierarchy, text string) (string, error) {
	const page = 4096
	if text == "max" {
		return text, nil
	}
	digits, shift := text, 0
	if n := len(text); n > 1 {
		if i := strings.IndexByte("kmgtpe", text[n-1]|0x20); i >= 0 && !strings.HasPrefix(text, "0x") {
			digits, shift = text[:n-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(digits, 0, 64)
	if err != nil || strings.Contains(digits, "_") {
		return "", linux.EINVAL
	}
	if n<<shift>>shift != n || n<<shift/page >= math.MaxInt64/page {
		return "max", nil
	}
	return strconv.FormatUint(n<<shift/page*page, 10), nil
}

// bandwidth is that of cpu.max: a time, or "max", in each period, in µs.
func bandwidth(_ *Hierarchy, text string) (string, error) {
	words := strings.Fields(text)
	period := uint64(100000)
	var err error
	if len(words) > 1 {
		period, err = strconv.ParseUint(words[1], 10, 64)
	}
	if len(words) == 0 || err != nil || period < 1000 || period > 1000000 {
		return "", linux.EINVAL
	}
	if words[0] != "max" {
		if n, err := strconv.ParseUint(words[0], 10, 63); err != nil || n < 1000 {
			return "", linux.EINVAL
		}
	}
	return fmt.Sprintf("%s %d", words[0], period), nil
}

// processors is that of cpuset.cpus: a list as in "0-2,4", of those that there are.
func processors(h *Hierarchy, text string) (string, error) { return normal(text, h.Processors) }

func memoryNodes(_ *Hierarchy, text string) (string, error) { return normal(text, 1) }

func normal(text string, n int) (string, error) {
	set, err := parseList(text, n)
	return formatList(set), err
}

// parseList reads a list of numbers below n: EINVAL, ERANGE.
func parseList(text string, n int) (set []bool, err error) {
	set = make([]bool, n)
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }) {
		low, high, isRange := strings.Cut(part, "-")
		a, err := strconv.ParseUint(low, 10, 32)
		b := a
		if isRange && err == nil {
			b, err = strconv.ParseUint(high, 10, 32)
		}
		switch {
		case err != nil || b < a:
			return nil, linux.EINVAL
		case b >= uint64(n):
			return nil, linux.ERANGE
		}
		for i := a; i <= b; i++ {
			set[i] = true
		}
	}
	return set, nil
}

// formatList is a set as parseList reads it.
func formatList(set []bool) string {
	var parts []string
	for i := 0; i < len(set); i++ {
		if !set[i] {
			continue
		}
		first := i
		for i+1 < len(set) && set[i+1] {
			i++
		}
		if first == i {
			parts = append(parts, strconv.Itoa(i))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", first, i))
		}
	}
	return strings.Join(parts, ",")
}

// processorsLocked are those that the group may use, as far as is told.
func (c *Cgroup) processorsLocked() []bool {
	n := c.h.Processors
	var from []bool
	if c.parent != nil {
		from = c.parent.processorsLocked()
	} else {
		from = slices.Repeat([]bool{true}, n)
	}
	own, err := parseList(c.values["cpuset.cpus"], n)
	if err != nil || !slices.Contains(own, true) {
		return from
	}
	for i := range own {
		own[i] = own[i] && from[i]
	}
	if !slices.Contains(own, true) {
		return from
	}
	return own
}
