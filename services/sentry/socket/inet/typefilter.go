package inet

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
)

// isTypeFilter says whether an option is ICMP_FILTER or ICMP6_FILTER, which raw
// sockets alone have: raw(7), RFC 3542, section 3.2.
func isTypeFilter(v6 bool, level, name int) bool {
	return !v6 && level == linux.SOL_RAW && name == linux.ICMP_FILTER || level == linux.IPPROTO_ICMPV6 && name == linux.ICMP6_FILTER
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

// isChecksum says whether an option is IPV6_CHECKSUM, which raw IPv6 sockets have on two
// levels: RFC 3542, section 3.1.
func isChecksum(level, name int) bool {
	return (level == linux.IPPROTO_IPV6 || level == linux.SOL_RAW) && name == linux.IPV6_CHECKSUM
}

// checksum is where the checksum lies that netd fills in and checks; -1: nowhere.
func (d *Dgram) checksum() int {
	if d.Protocol() == linux.IPPROTO_ICMPV6 {
		return 2
	}
	d.conf.mu.Lock()
	defer d.conf.mu.Unlock()
	return int(d.conf.o.ChecksumAt) - 1
}

// setChecksum takes an even offset, or what is below 0 for none; ICMPv6's is where it is:
// EINVAL, but on the level SOL_RAW, as in Linux.
func (d *Dgram) setChecksum(level int, value []byte) error {
	v, err := socket.ParseInt(value)
	if err != nil {
		return err
	}
	icmp := d.Protocol() == linux.IPPROTO_ICMPV6
	if icmp && level == linux.IPPROTO_IPV6 || v > 0 && v&1 != 0 {
		return linux.EINVAL
	}
	if icmp {
		return nil
	}
	d.conf.mu.Lock()
	defer d.conf.mu.Unlock()
	d.conf.o.ChecksumAt = uint32(max(v, -1) + 1)
	return nil
}
