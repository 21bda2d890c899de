package inet

import (
	"encoding/binary"

	"bulkhead/proto/linux"
)

// isTypeFilter says whether an option is ICMP_FILTER or ICMP6_FILTER, which raw
// sockets alone have: raw(7), RFC 3542, section 3.2.
func isTypeFilter(level, name int) bool {
	return level == linux.SOL_RAW && name == linux.ICMP_FILTER || level == linux.IPPROTO_ICMPV6 && name == linux.ICMP6_FILTER
}

// typeFilter is the option's value: a bit of each type that is blocked, of which
// ICMP_FILTER has the first 32.
func (c *settings) typeFilter(level int) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b []byte
	for k := range 8 {
		w := uint32(0)
		if k < len(c.o.BlockedTypes) {
			w = c.o.BlockedTypes[k]
		}
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	if level == linux.SOL_RAW {
		b = b[:4]
	}
	return b
}

// setTypeFilter sets what typeFilter gives; what the value does not reach stays.
func (c *settings) setTypeFilter(level int, v []byte) error {
	if level == linux.SOL_RAW {
		v = v[:min(len(v), 4)]
	}
	old := c.typeFilter(linux.IPPROTO_ICMPV6)
	copy(old, v)
	words := make([]uint32, 8)
	for k := range words {
		words[k] = binary.LittleEndian.Uint32(old[4*k:])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.o.BlockedTypes = words
	return nil
}
