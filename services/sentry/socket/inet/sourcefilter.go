package inet

import (
	"encoding/binary"
	"net/netip"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/vfs"
)

// Sizes of struct ip_msfilter and group_filter without their sources, in bytes, and
// their modes: RFC 3678.
const (
	sizeofFilter      = 16
	sizeofGroupFilter = 144

	modeExclude = 0
	modeInclude = 1
)

// mostSources is how many sources a filter may name here; netd takes fewer.
const mostSources = 128

// isSourceFilter says whether an option is IP_MSFILTER or MCAST_MSFILTER, and which.
func isSourceFilter(level, name int) (general, ok bool) {
	switch {
	case level == linux.IPPROTO_IP && name == linux.IP_MSFILTER:
		return false, true
	case (level == linux.IPPROTO_IP || level == linux.IPPROTO_IPV6) && name == linux.MCAST_MSFILTER:
		return true, true
	}
	return false, false
}

// parseFilter reads the fixed part, and how many sources follow: EINVAL,
// EADDRNOTAVAIL.
func parseFilter(general, v6, setting bool, v []byte) (f *netdv1.SourceFilter, n int, err error) {
	le := binary.LittleEndian
	f = &netdv1.SourceFilter{}
	var mode, count uint32
	if general {
		if len(v) < sizeofGroupFilter {
			return nil, 0, linux.EINVAL
		}
		a, _, err := parseSockaddr(v6, v[8:8+sizeofStorage])
		if err != nil && !v6 {
			return nil, 0, linux.EINVAL
		} else if err != nil {
			return nil, 0, linux.EADDRNOTAVAIL
		}
		f.Group, f.Index = a.Addr().AsSlice(), le.Uint32(v)
		mode, count = le.Uint32(v[136:]), le.Uint32(v[140:])
	} else {
		if len(v) < sizeofFilter {
			return nil, 0, linux.EINVAL
		}
		f.Group, f.Address = v[:4], v[4:8]
		mode, count = le.Uint32(v[8:]), le.Uint32(v[12:])
	}
	if setting && mode != modeExclude && mode != modeInclude {
		return nil, 0, linux.EINVAL
	}
	f.Exclude = mode == modeExclude
	return f, int(min(count, 1<<20)), nil
}

// setSourceFilter is IP_MSFILTER and MCAST_MSFILTER: EINVAL, ENOBUFS.
func (d *Dgram) setSourceFilter(ctx vfs.Context, level int, general bool, v []byte) error {
	v6 := level == linux.IPPROTO_IPV6
	f, n, err := parseFilter(general, v6, true, v)
	if err != nil {
		return err
	}
	if n > mostSources {
		return linux.ENOBUFS
	}
	rest, size := v[sizeofFilter:], 4
	if general {
		rest, size = v[sizeofGroupFilter:], sizeofStorage
	}
	if len(rest) < n*size {
		return linux.EINVAL
	}
	for ; n > 0; n, rest = n-1, rest[size:] {
		source := rest[:4]
		if general {
			a, _, err := parseSockaddr(v6, rest[:sizeofStorage])
			if err != nil {
				return linux.EINVAL
			}
			source = a.Addr().AsSlice()
		}
		f.Sources = append(f.Sources, source)
	}
	return d.tell(ctx, &netdv1.Request{Op: &netdv1.Request_SourceFilter{SourceFilter: f}})
}

// sourceFilter reads one: asked is the value with the group, room how much of an answer
// the guest takes.
func (d *Dgram) sourceFilter(ctx vfs.Context, level int, general bool, asked []byte) ([]byte, error) {
	v6 := level == linux.IPPROTO_IPV6
	f, room, err := parseFilter(general, v6, false, asked)
	if err != nil {
		return nil, err
	}
	f.Get = true
	d.mu.Lock()
	resp, err := d.askLocked(ctx, &netdv1.Request{Op: &netdv1.Request_SourceFilter{SourceFilter: f}})
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	got := resp.GetSourceFilter()
	if got == nil {
		return nil, linux.EIO
	}
	le := binary.LittleEndian
	mode := uint32(modeInclude)
	if got.Exclude {
		mode = modeExclude
	}
	at, head := 8, sizeofFilter
	if general {
		at, head = 136, sizeofGroupFilter
	}
	out := append([]byte(nil), asked[:head]...)
	le.PutUint32(out[at:], mode)
	le.PutUint32(out[at+4:], uint32(len(got.Sources)))
	for _, s := range got.Sources[:min(len(got.Sources), room)] {
		a, ok := netip.AddrFromSlice(s)
		if !ok {
			return nil, linux.EIO
		}
		if !general {
			out = append(out, s...)
			continue
		}
		sa := make([]byte, sizeofStorage)
		copy(sa, sockaddr(v6, netip.AddrPortFrom(a, 0)))
		out = append(out, sa...)
	}
	return out, nil
}
