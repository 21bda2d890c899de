package devfs

import (
	"crypto/rand"
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// random is /dev/random and /dev/urandom, which are the same and never block:
// random(4).
type random struct{ unpositioned }

// ReadAt fills p from the host's generator, which Go reaches without a system
// call where the host's vDSO has it.
func (random) ReadAt(_ vfs.Context, p []byte, _ int64) (int, error) {
	return rand.Read(p)
}

// WriteAt takes what would be mixed into the pool; the host's needs none of it.
func (random) WriteAt(_ vfs.Context, p []byte, _ int64) (int, int64, error) {
	return len(p), 0, nil
}

// Requests of random(4).
const (
	rndGetEntCnt   = 0x80045200
	rndAddToEntCnt = 0x40045201
	rndAddEntropy  = 0x40085203
	rndZapEntCnt   = 0x5204
	rndClearPool   = 0x5206
	rndReseedCRNG  = 0x5207

	poolBits = 256
)

// Ioctl implements vfs.Ioctler.
func (random) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	switch cmd {
	case rndGetEntCnt:
		return 0, ctx.CopyOut(arg, binary.LittleEndian.AppendUint32(nil, poolBits))
	case rndAddToEntCnt, rndAddEntropy, rndZapEntCnt, rndClearPool, rndReseedCRNG:
		if !ctx.Creds().Has(linux.CAP_SYS_ADMIN) {
			return 0, linux.EPERM
		}
		return 0, nil
	}
	return 0, linux.EINVAL
}
