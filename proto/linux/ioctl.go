package linux

// Requests of ioctl(2) that are not of terminals alone; those are in termios.go.
const (
	FIONREAD  = 0x541b
	FIONBIO   = 0x5421
	FIONCLEX  = 0x5450
	FIOCLEX   = 0x5451
	FIOASYNC  = 0x5452
	FIOQSIZE  = 0x5460
	FIOSETOWN = 0x8901
	FIOGETOWN = 0x8903

	FICLONE         = 0x40049409
	FICLONERANGE    = 0x4020940d
	FS_IOC_GETFLAGS = 0x80086601
	FS_IOC_SETFLAGS = 0x40086602
	FS_IOC_FIEMAP   = 0xc020660b
	BLKGETSIZE64    = 0x80081272
)
