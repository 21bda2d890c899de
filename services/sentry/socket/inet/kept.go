package inet

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// keptOption is an option of C's type int that is remembered, and that changes nothing
// here or is looked at where its value is: ip(7), ipv6(7), tcp(7).
type keptOption struct {
	unset  int
	accept func(int) (int, error) // nil: it is only read
	// only says which sockets have it; nil: all.
	only func(c *settings) bool
	// admin: CAP_NET_ADMIN's, or CAP_NET_RAW's.
	admin bool
}

func truthful(v int) (int, error) { return boolInt(v != 0), nil }

func whatever(v int) (int, error) { return v, nil }

// within takes values from low to high: EINVAL.
func from(low, high int) func(int) (int, error) {
	return func(v int) (int, error) {
		if v < low || v > high {
			return 0, linux.EINVAL
		}
		return v, nil
	}
}

func refused(err linux.Errno) func(int) (int, error) {
	return func(int) (int, error) { return 0, err }
}

// onlyZero takes 0, which is none of what there is none of.
func onlyZero(err linux.Errno) func(int) (int, error) {
	return func(v int) (int, error) {
		if v != 0 {
			return 0, err
		}
		return 0, nil
	}
}

func notStream(c *settings) bool { return !c.stream }

// keptOptions are those of the levels IPPROTO_IP, IPPROTO_IPV6 and IPPROTO_TCP.
var keptOptions = map[optionKey]keptOption{
	{linux.IPPROTO_IP, linux.IP_ROUTER_ALERT}:     {accept: refused(linux.EINVAL)},
	{linux.IPPROTO_IP, linux.IP_PASSSEC}:          {accept: truthful},
	{linux.IPPROTO_IP, linux.IP_TRANSPARENT}:      {accept: truthful, admin: true},
	{linux.IPPROTO_IP, linux.IP_RECVORIGDSTADDR}:  {accept: truthful},
	{linux.IPPROTO_UDP, linux.UDP_NO_CHECK6_TX}:   {accept: truthful},
	{linux.IPPROTO_UDP, linux.UDP_NO_CHECK6_RX}:   {accept: truthful},
	{linux.IPPROTO_UDP, linux.UDPLITE_SEND_CSCOV}: {},
	{linux.IPPROTO_UDP, linux.UDPLITE_RECV_CSCOV}: {},
	{linux.IPPROTO_IP, linux.IP_NODEFRAG}:         {},
	{linux.IPPROTO_IP, linux.IP_CHECKSUM}:         {accept: truthful},
	{linux.IPPROTO_IP, linux.IP_RECVFRAGSIZE}:     {accept: truthful, only: notStream},
	{linux.IPPROTO_IP, linux.IP_RECVERR_RFC4884}:  {accept: from(0, 1)},
	{linux.IPPROTO_IP, linux.IP_UNICAST_IF}:       {accept: onlyZero(linux.EADDRNOTAVAIL)},
	{linux.IPPROTO_IP, linux.IP_HDRINCL}:          {},

	{linux.IPPROTO_IPV6, linux.IPV6_2292PKTINFO}:          {accept: truthful},
	{linux.IPPROTO_IPV6, linux.IPV6_2292HOPOPTS}:          {accept: truthful},
	{linux.IPPROTO_IPV6, linux.IPV6_2292DSTOPTS}:          {accept: truthful},
	{linux.IPPROTO_IPV6, linux.IPV6_2292RTHDR}:            {accept: truthful},
	{linux.IPPROTO_IPV6, linux.IPV6_2292HOPLIMIT}:         {accept: truthful},
	{linux.IPPROTO_IPV6, linux.IPV6_FLOWINFO}:             {accept: truthful},
	{linux.IPPROTO_IPV6, linux.IPV6_ROUTER_ALERT}:         {},
	{linux.IPPROTO_IPV6, linux.IPV6_ROUTER_ALERT_ISOLATE}: {accept: truthful},
	{linux.IPPROTO_IPV6, linux.IPV6_RECVERR_RFC4884}:      {accept: from(0, 1)},
	{linux.IPPROTO_IPV6, linux.IPV6_FLOWINFO_SEND}:        {accept: truthful},
	{linux.IPPROTO_IPV6, linux.IPV6_RECVHOPOPTS}:          {accept: truthful},
	{linux.IPPROTO_IPV6, linux.IPV6_RECVRTHDR}:            {accept: truthful},
	{linux.IPPROTO_IPV6, linux.IPV6_RECVDSTOPTS}:          {accept: truthful},
	{linux.IPPROTO_IPV6, linux.IPV6_RECVPATHMTU}:          {accept: truthful},
	{linux.IPPROTO_IPV6, linux.IPV6_DONTFRAG}:             {accept: truthful},
	{linux.IPPROTO_IPV6, linux.IPV6_AUTOFLOWLABEL}:        {unset: 1, accept: truthful},
	{linux.IPPROTO_IPV6, linux.IPV6_RECVORIGDSTADDR}:      {accept: truthful},
	{linux.IPPROTO_IPV6, linux.IPV6_TRANSPARENT}:          {accept: truthful, admin: true},
	{linux.IPPROTO_IPV6, linux.IPV6_UNICAST_IF}:           {accept: onlyZero(linux.EADDRNOTAVAIL)},
	{linux.IPPROTO_IPV6, linux.IPV6_RECVFRAGSIZE}:         {accept: truthful},
	{linux.IPPROTO_IPV6, linux.IPV6_MTU}:                  {accept: pieces},

	{linux.IPPROTO_TCP, linux.TCP_THIN_LINEAR_TIMEOUTS}: {accept: from(0, 1)},
	{linux.IPPROTO_TCP, linux.TCP_THIN_DUPACK}:          {accept: func(v int) (int, error) { _, err := from(0, 1)(v); return 0, err }},
	{linux.IPPROTO_TCP, linux.TCP_REPAIR}:               {accept: refused(linux.EPERM)},
	{linux.IPPROTO_TCP, linux.TCP_SAVE_SYN}:             {accept: from(0, 2)},
	{linux.IPPROTO_TCP, linux.TCP_FASTOPEN_NO_COOKIE}:   {accept: from(0, 1)},
	{linux.IPPROTO_TCP, linux.TCP_TX_DELAY}:             {accept: from(0, maxInt)},
	{linux.IPPROTO_TCP, linux.TCP_NOTSENT_LOWAT}:        {accept: whatever},
	{linux.IPPROTO_TCP, linux.TCP_DEFER_ACCEPT}:         {accept: deferral},
	{linux.IPPROTO_TCP, linux.TCP_WINDOW_CLAMP}:         {accept: clamped},
}

// deferral is TCP_DEFER_ACCEPT's: the seconds that so many retransmissions of a SYN's
// answer take, of which there are as many as are needed for v: tcp(7).
func deferral(v int) (int, error) {
	const first, longest, most = 1, 120, 255
	period := 0
	for n, timeout := 0, first; n < most && period < v; n++ {
		period += timeout
		timeout = min(2*timeout, longest)
	}
	return period, nil
}

// pieces is IPV6_MTU's: every path takes the least, and 0 is none.
func pieces(v int) (int, error) {
	if v != 0 && v < 1280 {
		return 0, linux.EINVAL
	}
	return v, nil
}

// clamped is TCP_WINDOW_CLAMP's: half of the least receive buffer at least.
func clamped(v int) (int, error) {
	if v == 0 {
		return 0, nil
	}
	return max(v, minReceive/2), nil
}

// fixedOptions are options whose answer is always the same: an error of reading, and one of
// setting.
var fixedOptions = map[optionKey]struct {
	value    []byte
	get, set linux.Errno
}{
	{linux.IPPROTO_IPV6, linux.IPV6_PATHMTU}:        {get: linux.ENOTCONN, set: linux.ENOPROTOOPT},
	{linux.IPPROTO_IPV6, linux.IPV6_JOIN_ANYCAST}:   {get: linux.ENOPROTOOPT, set: linux.EINVAL},
	{linux.IPPROTO_IPV6, linux.IPV6_LEAVE_ANYCAST}:  {get: linux.ENOPROTOOPT, set: linux.EINVAL},
	{linux.IPPROTO_IPV6, linux.IPV6_PKTINFO}:        {get: linux.ENOPROTOOPT, set: linux.EINVAL},
	{linux.IPPROTO_IPV6, linux.IPV6_RTHDR}:          {value: []byte{}, set: linux.EINVAL},
	{linux.IPPROTO_TCP, linux.TCP_REPAIR_QUEUE}:     {get: linux.EINVAL, set: linux.EPERM},
	{linux.IPPROTO_TCP, linux.TCP_QUEUE_SEQ}:        {get: linux.EINVAL, set: linux.EINVAL},
	{linux.IPPROTO_TCP, linux.TCP_REPAIR_OPTIONS}:   {get: linux.ENOPROTOOPT, set: linux.EINVAL},
	{linux.IPPROTO_TCP, linux.TCP_REPAIR_WINDOW}:    {get: linux.EINVAL, set: linux.EPERM},
	{linux.IPPROTO_TCP, linux.TCP_MD5SIG}:           {get: linux.ENOPROTOOPT, set: linux.EINVAL},
	{linux.IPPROTO_TCP, linux.TCP_MD5SIG_EXT}:       {get: linux.ENOPROTOOPT, set: linux.EINVAL},
	{linux.IPPROTO_TCP, linux.TCP_CC_INFO}:          {value: []byte{}, set: linux.ENOPROTOOPT},
	{linux.IPPROTO_TCP, linux.TCP_SAVED_SYN}:        {value: []byte{}, set: linux.ENOPROTOOPT}, // else takeSyn's
	{linux.IPPROTO_TCP, linux.TCP_ULP}:              {value: []byte{}, set: linux.ENOENT},      // there is none, tls neither
	{linux.IPPROTO_TCP, linux.TCP_FASTOPEN_KEY}:     {value: []byte{}, set: linux.EINVAL},
	{linux.IPPROTO_TCP, linux.TCP_ZEROCOPY_RECEIVE}: {get: linux.EINVAL, set: linux.ENOPROTOOPT},
	{linux.IPPROTO_TCP, linux.TCP_TIMESTAMP}:        {value: socket.Int(0), set: linux.EPERM},
}

// known says whether the socket has a kept option.
func (c *settings) known(o keptOption) bool { return o.only == nil || o.only(c) }

// getKept answers what is remembered: ENOPROTOOPT for any other. It is called with mu
// held.
func (c *settings) getKept(k optionKey) ([]byte, error) {
	if x, ok := fixedOptions[k]; ok {
		if x.get != 0 {
			return nil, x.get
		}
		return x.value, nil
	}
	o, ok := keptOptions[k]
	if !ok {
		return nil, linux.ENOPROTOOPT
	}
	return socket.Int(c.keptLocked(k, o)), nil
}

func (c *settings) keptLocked(k optionKey, o keptOption) int {
	if v, ok := c.kept[k]; ok {
		return v
	}
	return o.unset
}

// keptOn says whether an option that is remembered is on.
func (c *settings) keptOn(level, name int) bool {
	k := optionKey{level, name}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.kept) > 0 && c.kept[k] != 0
}

// setKept remembers: ENOPROTOOPT for what is not. It is called with mu held.
func (c *settings) setKept(ctx vfs.Context, k optionKey, v []byte) error {
	if x, ok := fixedOptions[k]; ok {
		switch {
		case len(v) == 0 && k.level == linux.IPPROTO_IPV6 && x.value != nil:
			return nil // takes away what is not there
		case k == optionKey{linux.IPPROTO_IPV6, linux.IPV6_PATHMTU}:
		case len(v) < 4 && k.name != linux.TCP_ULP || len(v) == 0:
			return linux.EINVAL
		}
		return x.set
	}
	o, ok := keptOptions[k]
	if len(v) < 4 && (k.level == linux.IPPROTO_TCP || k.level == linux.IPPROTO_UDP) {
		return linux.EINVAL
	}
	if !ok || o.accept == nil && k.level != linux.IPPROTO_IPV6 {
		return linux.ENOPROTOOPT
	}
	n, err := intOf(k, v)
	switch {
	case err != nil:
		return err
	case o.accept == nil:
		return linux.ENOPROTOOPT
	case !c.known(o):
		return linux.EINVAL
	case o.admin && n != 0 && !ctx.Creds().Has(linux.CAP_NET_ADMIN) && !ctx.Creds().Has(linux.CAP_NET_RAW):
		return linux.EPERM
	}
	if n, err = o.accept(n); err != nil {
		return err
	}
	if c.kept == nil {
		c.kept = map[optionKey]int{}
	}
	c.kept[k] = n
	return nil
}

// intOf reads an option's value. Those of ip(7) may be a byte, and of some nothing at
// all is 0.
func intOf(k optionKey, v []byte) (int, error) {
	if len(v) < 4 && k.level == linux.IPPROTO_IPV6 {
		switch k.name {
		case linux.IPV6_DONTFRAG, linux.IPV6_AUTOFLOWLABEL, linux.IPV6_RECVFRAGSIZE:
			return 0, nil
		}
	}
	if len(v) >= 4 || k.level != linux.IPPROTO_IP {
		return socket.ParseInt(v)
	}
	if k.name == linux.IP_UNICAST_IF {
		return 0, linux.EINVAL
	}
	if len(v) > 0 {
		return int(v[0]), nil
	}
	switch k.name {
	case linux.IP_TTL, linux.IP_FREEBIND, linux.IP_TRANSPARENT, linux.IP_MINTTL, linux.IP_MULTICAST_TTL, linux.IP_MULTICAST_LOOP,
		linux.IP_MULTICAST_ALL:
		return 0, linux.EINVAL
	}
	return 0, nil
}
