package netfilter

import "net/netip"

// This file has the matches of iptables(8) that keep a state.

// remembering makes those that keep a state.
func remembering(name string, revision uint8, b []byte) func(*evaluation, []byte) {
	switch name {
	case "limit": // struct xt_rateinfo: the average is in 1/10000 s for each packet
		avg := le.Uint32(b)
		if avg == 0 {
			return nil
		}
		l := &Limit{Rate: 10000, Unit: uint64(avg), Burst: max(le.Uint32(b[4:]), 1)}
		return func(v *evaluation, _ []byte) { v.want(l.allow(v.now, 0), false) }
	case "statistic": // struct xt_statistic_info
		mode, inv := le.Uint16(b), b[2]&1 != 0
		if mode == 0 {
			p := le.Uint32(b[4:])
			return func(v *evaluation, _ []byte) { v.want(v.f.host.Random()&0x7fffffff < p, inv) }
		}
		every, count := uint64(le.Uint32(b[4:]))+1, uint64(le.Uint32(b[8:]))
		n := every - 1 - count%every
		return func(v *evaluation, _ []byte) {
			n = (n + 1) % every
			v.want(n == 0, inv)
		}
	case "quota": // struct xt_quota_info
		left, inv := le.Uint64(b[8:]), b[0]&1 != 0
		return func(v *evaluation, _ []byte) {
			ok := left >= uint64(v.p.size())
			if ok {
				left -= uint64(v.p.size())
			} else {
				left = 0
			}
			v.want(ok, inv)
		}
	case "connlimit": // struct xt_connlimit_info
		limit, flags := le.Uint32(b[16:]), le.Uint32(b[20:])
		mask := b[:16]
		var met meetings
		return func(v *evaluation, _ []byte) {
			f := v.p.track.flow
			if f == nil {
				v.verdict = Drop
				return
			}
			a := v.p.Src()
			if flags&2 != 0 && revision > 0 {
				a = v.p.Dst()
			}
			raw := a.AsSlice()
			for i := range raw {
				raw[i] &= mask[i]
			}
			a, _ = netip.AddrFromSlice(raw)
			v.want(met.meet(v.now, a, f) <= limit, flags&1 == 0)
		}
	case "recent":
		return recently(revision, b)
	case "hashlimit":
		return hashLimit(b)
	}
	return nil
}

// Bits of struct xt_recent_mtinfo's check_set.
const (
	recentCheck  = 1
	recentSet    = 2
	recentUpdate = 4
	recentRemove = 8
)

// Limits of recent: ip_list_tot of Linux's, how many times of one address are kept,
// and how many addresses there can be in all lists.
const (
	maxRecent    = 100
	maxStamps    = 256
	maxAllRecent = 1 << 14
)

// recents are the lists of recent by their names, which rules share.
type recents struct {
	lists map[string]map[netip.Addr]*sighting
	total int
}

// sighting is when an address was seen, the newest last.
type sighting struct{ stamps []int64 }

func (g *sighting) see(now int64) {
	if len(g.stamps) == maxStamps {
		g.stamps = append(g.stamps[:0], g.stamps[1:]...)
	}
	g.stamps = append(g.stamps, now)
}

// recently is struct xt_recent_mtinfo and xt_recent_mtinfo_v1.
func recently(revision uint8, b []byte) func(*evaluation, []byte) {
	seconds, hits := int64(le.Uint32(b)), int(le.Uint32(b[4:]))
	what, not, name, side := b[8], b[9] != 0, text(b[10:210]), b[210]
	one := what & (recentCheck | recentSet | recentUpdate | recentRemove)
	if one&(one-1) != 0 || one == 0 || hits >= maxStamps || name == "" || what&^(one|32) != 0 {
		return nil // an address's hop limit is not kept
	}
	return func(v *evaluation, _ []byte) {
		a := v.p.Src()
		if side == 1 {
			a = v.p.Dst()
		}
		if revision > 0 {
			raw := a.AsSlice()
			for i := range raw {
				raw[i] &= b[212+i]
			}
			a, _ = netip.AddrFromSlice(raw)
		}
		v.want(v.f.recent.match(v.now, name, a, one, seconds*second, hits), not)
	}
}

// match says whether an address is in a list, and changes the list as what wants.
func (r *recents) match(now int64, name string, a netip.Addr, what byte, within int64, hits int) bool {
	list := r.lists[name]
	g := list[a]
	switch {
	case g == nil && what == recentSet:
		return r.add(now, name, a)
	case g == nil:
		return false
	case what == recentSet:
		g.see(now)
		return true
	case what == recentRemove:
		delete(list, a)
		r.total--
		return true
	}
	n := 0
	for _, t := range g.stamps {
		if within == 0 || now-within <= t {
			n++
		}
	}
	if n == 0 || n < hits {
		return false
	}
	if what == recentUpdate {
		g.see(now)
	}
	return true
}

// add puts an address into a list, from which the oldest goes if it is full.
func (r *recents) add(now int64, name string, a netip.Addr) bool {
	list := r.lists[name]
	if len(list) >= maxRecent {
		var oldest netip.Addr
		last := now
		for a, g := range list {
			if t := g.stamps[len(g.stamps)-1]; t <= last {
				oldest, last = a, t
			}
		}
		delete(list, oldest)
		r.total--
	}
	if r.total >= maxAllRecent {
		return false
	}
	if r.lists == nil {
		r.lists = map[string]map[netip.Addr]*sighting{}
	}
	if list == nil {
		list = map[netip.Addr]*sighting{}
		r.lists[name] = list
	}
	list[a] = &sighting{stamps: []int64{now}}
	r.total++
	return true
}

// Bits of struct hashlimit_cfg3's mode.
const (
	hashDst     = 1
	hashDstPort = 2
	hashSrc     = 4
	hashSrcPort = 8
	hashAbove   = 16
)

// maxBuckets bounds the flows that one rule with hashlimit keeps apart.
const maxBuckets = 1 << 11

// hashLimit is struct xt_hashlimit_mtinfo3, for packets: the average is in
// microseconds for each. Rules of one name do not share their buckets.
func hashLimit(b []byte) func(*evaluation, []byte) {
	avg, burst, mode := le.Uint64(b[256:]), le.Uint64(b[264:]), le.Uint32(b[272:])
	room, expire := int(le.Uint32(b[280:])), int64(le.Uint32(b[288:]))*1e6
	if mode >= 32 || avg == 0 || avg > 1<<40 || burst > 1<<31 {
		return nil
	}
	if room == 0 || room > maxBuckets {
		room = maxBuckets
	}
	buckets := map[tuple]*Limit{}
	return func(v *evaluation, _ []byte) {
		var k tuple
		s, d, _ := v.p.ports()
		if mode&hashSrc != 0 {
			k.src = network(v.p.Src(), int(b[296]))
		}
		if mode&hashDst != 0 {
			k.dst = network(v.p.Dst(), int(b[297]))
		}
		if mode&hashSrcPort != 0 {
			k.sport = s
		}
		if mode&hashDstPort != 0 {
			k.dport = d
		}
		l := buckets[k]
		if l == nil {
			if len(buckets) >= room {
				for o, l := range buckets {
					if v.now-l.last > expire {
						delete(buckets, o)
					}
				}
			}
			if len(buckets) >= room {
				v.verdict = Drop
				return
			}
			l = &Limit{Rate: 1000000, Unit: avg, Burst: uint32(max(burst, 1))}
			buckets[k] = l
		}
		v.want(l.allow(v.now, 0), mode&hashAbove != 0)
	}
}

// network is the first bits of an address.
func network(a netip.Addr, bits int) netip.Addr {
	p, _ := a.Prefix(min(bits, a.BitLen()))
	return p.Addr()
}
