package socket

import (
	"encoding/binary"
	"math"
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// kept are the options of SOL_SOCKET that a socket remembers and that change nothing
// here, because what they are about is not there: devices' queues, sockets' debugging,
// a processor of one's own. They are asked for after those that a family knows itself.
type kept struct {
	sync.Mutex
	values map[int]uint64
}

// keptOption is what may be remembered.
type keptOption struct {
	unset  uint64
	size   int                        // of the value that is read, in bytes; 0: an int
	accept func(v int) (uint64, bool) // what to remember of an int; nil: it is only read
	admin  bool                       // another value than the first is for CAP_NET_ADMIN
}

func truth(v int) (uint64, bool)    { return uint64(boolInt(v != 0)), true }
func any(v int) (uint64, bool)      { return uint64(uint32(v)), true }
func binary01(v int) (uint64, bool) { return uint64(v), v == 0 || v == 1 }
func nothing(int) (uint64, bool)    { return 0, true }
func positive(v int) (uint64, bool) { return uint64(v), v >= 0 }

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// rate is SO_MAX_PACING_RATE's: all ones is none.
func rate(v int) (uint64, bool) {
	if v == -1 {
		return math.MaxUint64, true
	}
	return uint64(uint32(v)), true
}

// rehash is SO_TXREHASH's: -1 is the default.
func rehash(v int) (uint64, bool) {
	if v == -1 {
		v = 1
	}
	return binary01(v)
}

var keptOptions = map[int]keptOption{
	linux.SO_DEBUG:            {accept: truth, admin: true},
	linux.SO_REUSEADDR:        {accept: truth},
	linux.SO_DONTROUTE:        {accept: truth},
	linux.SO_BROADCAST:        {accept: truth},
	linux.SO_KEEPALIVE:        {accept: truth},
	linux.SO_OOBINLINE:        {accept: truth},
	linux.SO_NO_CHECK:         {accept: truth},
	linux.SO_PRIORITY:         {accept: any},
	linux.SO_BSDCOMPAT:        {accept: nothing},
	linux.SO_REUSEPORT:        {accept: truth},
	linux.SO_SNDLOWAT:         {unset: 1},
	linux.SO_TIMESTAMP:        {accept: truth},
	linux.SO_TIMESTAMPNS:      {accept: truth},
	linux.SO_TIMESTAMP_NEW:    {accept: truth},
	linux.SO_TIMESTAMPNS_NEW:  {accept: truth},
	linux.SO_TIMESTAMPING:     {size: 8, accept: stamps},
	linux.SO_TIMESTAMPING_NEW: {size: 8, accept: stamps},
	linux.SO_MARK:             {accept: any, admin: true},
	linux.SO_RXQ_OVFL:         {accept: truth},
	linux.SO_PASSSEC:          {accept: truth},
	linux.SO_WIFI_STATUS:      {accept: truth},
	linux.SO_NOFCS:            {accept: truth},
	linux.SO_LOCK_FILTER:      {accept: truth},
	linux.SO_SELECT_ERR_QUEUE: {accept: truth},
	linux.SO_BUSY_POLL:        {accept: positive, admin: true},
	linux.SO_MAX_PACING_RATE:  {unset: math.MaxUint64, size: 8, accept: rate},
	linux.SO_BPF_EXTENSIONS:   {unset: 64},
	linux.SO_INCOMING_CPU:     {unset: math.MaxUint32, accept: any},
	linux.SO_INCOMING_NAPI_ID: {},
	linux.SO_TXTIME:           {size: 8},
	linux.SO_PREFER_BUSY_POLL: {accept: truth, admin: true},
	linux.SO_BUF_LOCK:         {accept: func(v int) (uint64, bool) { return uint64(v), v >= 0 && v <= 3 }},
	linux.SO_RESERVE_MEM:      {},
	linux.SO_TXREHASH:         {unset: 1, accept: rehash},
}

// timestampings are the SOF_TIMESTAMPING_ flags that there are: linux/net_tstamp.h.
const timestampings = 1<<18 - 1

const (
	stampID    = 1 << 7  // SOF_TIMESTAMPING_OPT_ID
	stampIDTCP = 1 << 16 // SOF_TIMESTAMPING_OPT_ID_TCP, of that one
)

func stamps(v int) (uint64, bool) {
	return uint64(uint32(v)), v&^timestampings == 0 && (v&stampIDTCP == 0 || v&stampID != 0)
}

// Kept gives an option that is remembered: ENOPROTOOPT for any other. room is the
// guest's, in bytes.
func (b *Base) Kept(name, room int) ([]byte, error) {
	switch name {
	case linux.SO_PEERCRED: // of who has none
		nobody := linux.Ucred{UID: math.MaxUint32, GID: math.MaxUint32}
		return nobody.Bytes(), nil
	case linux.SO_PEERGROUPS:
		return nil, linux.ENODATA
	case linux.SO_ATTACH_FILTER: // SO_GET_FILTER: of none
		return []byte{}, nil
	case linux.SO_NETNS_COOKIE:
		if room != 8 {
			return nil, linux.EINVAL
		}
		return binary.LittleEndian.AppendUint64(nil, 1), nil
	case linux.SO_MEMINFO: // nobody counts
		return make([]byte, 36), nil
	case linux.SO_PEEK_OFF:
		if !b.peeks() {
			return nil, linux.EOPNOTSUPP
		}
		return Int(b.PeekOffset()), nil
	case linux.SO_TXREHASH:
		if b.typ != linux.SOCK_STREAM || b.domain == linux.AF_UNIX {
			return nil, linux.EOPNOTSUPP
		}
	case linux.SO_ZEROCOPY:
		return Int(0), nil
	}
	o, ok := keptOptions[name]
	if !ok {
		return nil, linux.ENOPROTOOPT
	}
	v := b.keptValue(name, o)
	switch {
	case o.size == 0:
		return Int(int(int32(v))), nil
	case name == linux.SO_MAX_PACING_RATE && room < 8:
		return Int(int(int32(uint32(min(v, math.MaxUint32))))), nil
	}
	return binary.LittleEndian.AppendUint64(nil, v), nil
}

func (b *Base) keptValue(name int, o keptOption) uint64 {
	b.kept.Lock()
	defer b.kept.Unlock()
	if v, ok := b.kept.values[name]; ok {
		return v
	}
	return o.unset
}

// KeptInt is the value of one, as an int.
func (b *Base) KeptInt(name int) int { return int(b.keptValue(name, keptOptions[name])) }

// Keep remembers one: ENOPROTOOPT for what is not remembered, EINVAL, EPERM.
func (b *Base) Keep(ctx vfs.Context, name int, value []byte) error {
	v, err := ParseInt(value)
	if err != nil {
		return err
	}
	switch name {
	case linux.SO_DETACH_FILTER:
		return linux.ENOENT
	case linux.SO_ATTACH_FILTER, linux.SO_ATTACH_BPF, linux.SO_ATTACH_REUSEPORT_CBPF, linux.SO_ATTACH_REUSEPORT_EBPF, linux.SO_TXTIME:
		return linux.EINVAL
	case linux.SO_DETACH_REUSEPORT_BPF:
		return linux.EINVAL
	case linux.SO_ZEROCOPY:
		return linux.EOPNOTSUPP
	case linux.SO_PEEK_OFF:
		if !b.peeks() {
			return linux.EOPNOTSUPP
		}
		b.peek.Store(int32(min(v, math.MaxInt32-1)) + 1)
		return nil
	case linux.SO_TXREHASH:
		if b.typ != linux.SOCK_STREAM || b.domain == linux.AF_UNIX {
			return linux.EOPNOTSUPP
		}
	case linux.SO_CNX_ADVICE:
		return nil
	case linux.SO_RESERVE_MEM:
		if v < 0 {
			return linux.EINVAL
		}
		return linux.EOPNOTSUPP
	case linux.SO_BUSY_POLL_BUDGET:
		if v < 0 || v > math.MaxUint16 {
			return linux.EINVAL
		}
		return nil
	}
	o, ok := keptOptions[name]
	if !ok || o.accept == nil {
		return linux.ENOPROTOOPT
	}
	n, ok := o.accept(v)
	if name == linux.SO_MAX_PACING_RATE && len(value) >= 8 {
		n = binary.LittleEndian.Uint64(value)
	}
	if !ok {
		return linux.EINVAL
	}
	if err := b.mayKeep(ctx, name, o, n); err != nil {
		return err
	}
	b.kept.Lock()
	defer b.kept.Unlock()
	if b.kept.values == nil {
		b.kept.values = map[int]uint64{}
	}
	b.kept.values[name] = n
	return nil
}

// mayKeep says whether the caller may change an option so: socket(7).
func (b *Base) mayKeep(ctx vfs.Context, name int, o keptOption, n uint64) error {
	admin := func() bool { return ctx.Creds().Has(linux.CAP_NET_ADMIN) }
	switch {
	case name == linux.SO_LOCK_FILTER && n == 0 && b.keptValue(name, o) != 0:
		return linux.EPERM
	case name == linux.SO_PRIORITY && int32(n) >= 0 && n <= 6:
	case name == linux.SO_PRIORITY && !admin() && !ctx.Creds().Has(linux.CAP_NET_RAW):
		return linux.EPERM
	case name == linux.SO_DEBUG && n != 0 && !admin():
		return linux.EACCES
	case o.admin && n != o.unset && !admin():
		return linux.EPERM
	}
	return nil
}
