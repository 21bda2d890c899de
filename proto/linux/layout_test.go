package linux

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// as reads b as a structure of the host's, which is the oracle for ours.
func as[T any](b []byte) *T { return (*T)(unsafe.Pointer(unsafe.SliceData(b))) }

func buffer(n int) []byte {
	b := make([]byte, n+8)
	for i := range b {
		b[i] = 0xff // what is not written shows
	}
	return b[:n]
}

func TestStatLayout(t *testing.T) {
	b := buffer(SizeofStat)
	s := Stat{1, 2, 3, 4, 5, 6, 0, 7, 8, 9, 10, Timespec{11, 12}, Timespec{13, 14}, Timespec{15, 16}, [3]int64{}}
	s.Put(b)
	want := unix.Stat_t{Dev: 1, Ino: 2, Nlink: 3, Mode: 4, Uid: 5, Gid: 6, Rdev: 7, Size: 8, Blksize: 9, Blocks: 10,
		Atim: unix.Timespec{Sec: 11, Nsec: 12}, Mtim: unix.Timespec{Sec: 13, Nsec: 14}, Ctim: unix.Timespec{Sec: 15, Nsec: 16}}
	if got := *as[unix.Stat_t](b); got != want || unsafe.Sizeof(want) != SizeofStat {
		t.Errorf("got %+v", got)
	}
	if ReadStat(b) != s {
		t.Errorf("read back %+v", ReadStat(b))
	}
}

func TestStatxLayout(t *testing.T) {
	b := buffer(SizeofStatx)
	s := Statx{Mask: 1, Blksize: 2, Attributes: 3, Nlink: 4, UID: 5, GID: 6, Mode: 7, Ino: 8, Size: 9, Blocks: 10,
		AttributesMask: 11, Atime: Timespec{12, 13}, Btime: Timespec{14, 15}, Ctime: Timespec{16, 17},
		Mtime: Timespec{18, 19}, RdevMajor: 20, RdevMinor: 21, DevMajor: 22, DevMinor: 23, MountID: 24}
	s.Put(b)
	want := unix.Statx_t{Mask: 1, Blksize: 2, Attributes: 3, Nlink: 4, Uid: 5, Gid: 6, Mode: 7, Ino: 8, Size: 9, Blocks: 10,
		Attributes_mask: 11, Atime: unix.StatxTimestamp{Sec: 12, Nsec: 13}, Btime: unix.StatxTimestamp{Sec: 14, Nsec: 15},
		Ctime: unix.StatxTimestamp{Sec: 16, Nsec: 17}, Mtime: unix.StatxTimestamp{Sec: 18, Nsec: 19},
		Rdev_major: 20, Rdev_minor: 21, Dev_major: 22, Dev_minor: 23, Mnt_id: 24}
	if got := *as[unix.Statx_t](b); got != want || unsafe.Sizeof(want) != SizeofStatx {
		t.Errorf("got %+v", got)
	}
}

func TestOtherLayouts(t *testing.T) {
	b := buffer(SizeofStatfs)
	s := Statfs{1, 2, 3, 4, 5, 6, 7, [2]int32{8, -9}, 10, 11, 12, [4]int64{}}
	s.Put(b)
	if got := *as[unix.Statfs_t](b); got != (unix.Statfs_t{Type: 1, Bsize: 2, Blocks: 3, Bfree: 4, Bavail: 5, Files: 6, Ffree: 7,
		Fsid: unix.Fsid{Val: [2]int32{8, -9}}, Namelen: 10, Frsize: 11, Flags: 12}) {
		t.Errorf("statfs %+v", got)
	}
	b = buffer(SizeofFlock)
	Flock{Type: 1, Whence: 2, Start: -3, Len: 4, PID: 5}.Put(b)
	if got := *as[unix.Flock_t](b); got != (unix.Flock_t{Type: 1, Whence: 2, Start: -3, Len: 4, Pid: 5}) {
		t.Errorf("flock %+v", got)
	}
	b = buffer(SizeofEpollEvent)
	EpollEvent{1, 2<<32 | 3}.Put(b)
	if got := *as[unix.EpollEvent](b); got != (unix.EpollEvent{Events: 1, Fd: 3, Pad: 2}) {
		t.Errorf("epoll_event %+v", got)
	}
	b = buffer(SizeofPollFD)
	PollFD{-1, 2, 3}.Put(b)
	if got := *as[unix.PollFd](b); got != (unix.PollFd{Fd: -1, Events: 2, Revents: 3}) {
		t.Errorf("pollfd %+v", got)
	}
	b = buffer(SizeofItimerspec)
	Itimerspec{Timespec{1, 2}, Timespec{3, 4}}.Put(b)
	if got := *as[unix.ItimerSpec](b); got != (unix.ItimerSpec{Interval: unix.Timespec{Sec: 1, Nsec: 2}, Value: unix.Timespec{Sec: 3, Nsec: 4}}) {
		t.Errorf("itimerspec %+v", got)
	}
	if unsafe.Sizeof(unix.Msghdr{}) != SizeofMsghdr || unsafe.Offsetof(unix.Msghdr{}.Flags) != MsghdrFlags ||
		unsafe.Offsetof(unix.Msghdr{}.Controllen) != MsghdrControllen || unsafe.Sizeof(unix.Utsname{}) != SizeofUtsname {
		t.Error("a size or an offset is wrong")
	}
}

func TestDirents(t *testing.T) {
	b, ok := AppendDirent64(nil, 32, 1, 2, DT_REG, "name")
	if !ok || len(b) != 24 || b[16] != 24 || b[18] != DT_REG || string(b[19:24]) != "name\x00" {
		t.Errorf("dirent64 %v %v", b, ok)
	}
	if c, ok := AppendDirent64(b, 32, 1, 2, DT_REG, "name"); ok || len(c) != 24 {
		t.Errorf("dirent64 beyond the limit: %d bytes", len(c))
	}
	b, ok = AppendDirent(nil, 32, 1, 2, DT_DIR, "names!")
	if !ok || len(b) != 32 || b[16] != 32 || b[31] != DT_DIR || string(b[18:25]) != "names!\x00" {
		t.Errorf("dirent %v %v", b, ok)
	}
}
