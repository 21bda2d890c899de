package linux

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Commands of fcntl(2).
const (
	F_DUPFD         = unix.F_DUPFD
	F_GETFD         = unix.F_GETFD
	F_SETFD         = unix.F_SETFD
	F_GETFL         = unix.F_GETFL
	F_SETFL         = unix.F_SETFL
	F_GETLK         = unix.F_GETLK
	F_SETLK         = unix.F_SETLK
	F_SETLKW        = unix.F_SETLKW
	F_SETOWN        = unix.F_SETOWN
	F_GETOWN        = unix.F_GETOWN
	F_SETSIG        = unix.F_SETSIG
	F_GETSIG        = unix.F_GETSIG
	F_SETOWN_EX     = unix.F_SETOWN_EX
	F_GETOWN_EX     = unix.F_GETOWN_EX
	F_OFD_GETLK     = unix.F_OFD_GETLK
	F_OFD_SETLK     = unix.F_OFD_SETLK
	F_OFD_SETLKW    = unix.F_OFD_SETLKW
	F_SETLEASE      = unix.F_SETLEASE
	F_GETLEASE      = unix.F_GETLEASE
	F_NOTIFY        = unix.F_NOTIFY
	F_DUPFD_CLOEXEC = unix.F_DUPFD_CLOEXEC
	F_SETPIPE_SZ    = unix.F_SETPIPE_SZ
	F_GETPIPE_SZ    = unix.F_GETPIPE_SZ
	F_ADD_SEALS     = unix.F_ADD_SEALS
	F_GET_SEALS     = unix.F_GET_SEALS
	F_GET_RW_HINT   = unix.F_GET_RW_HINT
	F_SET_RW_HINT   = unix.F_SET_RW_HINT

	FD_CLOEXEC = unix.FD_CLOEXEC

	F_RDLCK = unix.F_RDLCK
	F_WRLCK = unix.F_WRLCK
	F_UNLCK = unix.F_UNLCK

	F_SEAL_SEAL         = unix.F_SEAL_SEAL
	F_SEAL_SHRINK       = unix.F_SEAL_SHRINK
	F_SEAL_GROW         = unix.F_SEAL_GROW
	F_SEAL_WRITE        = unix.F_SEAL_WRITE
	F_SEAL_FUTURE_WRITE = unix.F_SEAL_FUTURE_WRITE
	F_SEAL_EXEC         = 0x20

	F_OWNER_TID  = 0
	F_OWNER_PID  = 1
	F_OWNER_PGRP = 2
)

// Operations of flock(2).
const (
	LOCK_SH = unix.LOCK_SH
	LOCK_EX = unix.LOCK_EX
	LOCK_NB = unix.LOCK_NB
	LOCK_UN = unix.LOCK_UN
)

// Flock is struct flock of fcntl(2): a record lock.
type Flock struct {
	Type   int16
	Whence int16
	_      int32
	Start  int64
	Len    int64
	PID    int32
	_      int32
}

// SizeofFlock is its size in bytes.
const SizeofFlock = 32

// ReadFlock reads one from b.
func ReadFlock(b []byte) Flock {
	le := binary.LittleEndian
	return Flock{
		Type: int16(le.Uint16(b)), Whence: int16(le.Uint16(b[2:])),
		Start: int64(le.Uint64(b[8:])), Len: int64(le.Uint64(b[16:])), PID: int32(le.Uint32(b[24:])),
	}
}

// Put writes l as the kernel does to b.
func (l Flock) Put(b []byte) {
	le := binary.LittleEndian
	clear(b[:SizeofFlock])
	le.PutUint16(b, uint16(l.Type))
	le.PutUint16(b[2:], uint16(l.Whence))
	le.PutUint64(b[8:], uint64(l.Start))
	le.PutUint64(b[16:], uint64(l.Len))
	le.PutUint32(b[24:], uint32(l.PID))
}
