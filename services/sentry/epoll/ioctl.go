package epoll

import (
	"encoding/binary"
	"math"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// How an epoll instance polls devices, which nobody does here: the numbers are kept and
// told. ioctl_eventpoll(2).
const (
	setParams = 0x40088a01 // EPIOCSPARAMS
	getParams = 0x80088a02 // EPIOCGPARAMS

	sizeofParams = 8  // struct epoll_params
	mostBudget   = 64 // NAPI_POLL_WEIGHT; more takes CAP_NET_ADMIN
)

// Ioctl implements vfs.Ioctler. EINVAL for what it does not know, as Linux has it.
func (ep *Epoll) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	var b [sizeofParams]byte
	switch cmd {
	case getParams:
		binary.LittleEndian.PutUint64(b[:], ep.params.Load())
		return 0, ctx.CopyOut(arg, b[:])
	case setParams:
		if err := ctx.CopyIn(arg, b[:]); err != nil {
			return 0, err
		}
		usecs, budget := binary.LittleEndian.Uint32(b[0:]), binary.LittleEndian.Uint16(b[4:])
		prefer, pad := b[6], b[7]
		switch {
		case pad != 0, usecs > math.MaxInt32, prefer > 1:
			return 0, linux.EINVAL
		case budget > mostBudget && !ctx.Creds().Has(linux.CAP_NET_ADMIN):
			return 0, linux.EPERM
		}
		ep.params.Store(binary.LittleEndian.Uint64(b[:]))
		return 0, nil
	}
	return 0, linux.EINVAL
}
