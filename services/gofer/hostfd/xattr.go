package hostfd

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// System calls younger than the kernels that we must run on.
const (
	sysFchmodat2     = 452 // 6.6
	sysSetxattrat    = 463 // 6.13
	sysGetxattrat    = 464
	sysListxattrat   = 465
	sysRemovexattrat = 466
)

// XattrMax is the most bytes of a value, or of all names together.
const XattrMax = 64 << 10

// noXattrAt remembers that the kernel has no getxattrat and its like.
var noXattrAt atomic.Bool

func fchmodat2(fd int, path string, mode uint32, flags int) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return unix.EINVAL
	}
	_, _, errno := unix.Syscall6(sysFchmodat2, uintptr(fd), uintptr(unsafe.Pointer(p)), uintptr(mode), uintptr(flags), 0, 0)
	return errOf(errno)
}

func errOf(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// xattrArgs is struct xattr_args of setxattrat(2).
type xattrArgs struct {
	value uint64
	size  uint32
	flags uint32
}

// Xattrs are the extended attributes of one file: FD, which may be O_PATH, and
// the name Name in Dir. Dir is -1 if it has none; then only a directory's can be
// reached (EOPNOTSUPP), since the calls do not take an O_PATH descriptor itself.
// Kernels before 6.13 only reach regular files and directories.
type Xattrs struct {
	FD   int
	Dir  int
	Name string
}

// Get gives the value of an attribute; ENODATA if there is none.
func (x Xattrs) Get(attr string) ([]byte, error) {
	return sized(func(buf []byte) (n int, err error) {
		err = x.call(func(dir int, path string) (err error) {
			n, err = xattrAt(sysGetxattrat, dir, path, attr, buf, 0)
			return err
		}, func(fd int) (err error) {
			n, err = unix.Fgetxattr(fd, attr, buf)
			return err
		})
		return n, err
	})
}

// sized calls read with a small buffer, and with a large one if it must.
func sized(read func(buf []byte) (int, error)) ([]byte, error) {
	buf := make([]byte, 512)
	n, err := read(buf)
	if err == unix.ERANGE {
		buf = make([]byte, XattrMax)
		n, err = read(buf)
	}
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}

// Set sets a value; flags are XATTR_CREATE and XATTR_REPLACE.
func (x Xattrs) Set(attr string, value []byte, flags int) error {
	return x.call(func(dir int, path string) error {
		_, err := xattrAt(sysSetxattrat, dir, path, attr, value, flags)
		return err
	}, func(fd int) error {
		return unix.Fsetxattr(fd, attr, value, flags)
	})
}

// Remove removes an attribute.
func (x Xattrs) Remove(attr string) error {
	return x.call(func(dir int, path string) error {
		p, q, err := pointers(path, attr)
		if err != nil {
			return err
		}
		_, _, errno := unix.Syscall6(sysRemovexattrat, uintptr(dir), uintptr(unsafe.Pointer(p)), unix.AT_SYMLINK_NOFOLLOW, uintptr(unsafe.Pointer(q)), 0, 0)
		return errOf(errno)
	}, func(fd int) error {
		return unix.Fremovexattr(fd, attr)
	})
}

// List gives the names, each ended by NUL.
func (x Xattrs) List() ([]byte, error) {
	return sized(func(buf []byte) (n int, err error) {
		err = x.call(func(dir int, path string) (err error) {
			n, err = listxattrAt(dir, path, buf)
			return err
		}, func(fd int) (err error) {
			n, err = unix.Flistxattr(fd, buf)
			return err
		})
		return n, err
	})
}

// call does it by the new call, or else by the old.
func (x Xattrs) call(at func(dir int, path string) error, old func(fd int) error) error {
	if !noXattrAt.Load() {
		var err error
		if x.Dir >= 0 {
			err = at(x.Dir, x.Name)
		} else if err = at(x.FD, "."); err == unix.ENOTDIR {
			err = unix.EOPNOTSUPP
		}
		if err != unix.ENOSYS {
			return err
		}
		noXattrAt.Store(true)
	}
	return withOpen(x.FD, x.Dir, x.Name, old)
}

// HasNoXattr says that name in dir is known to have no extended attribute. It
// only asks where that is cheap.
func HasNoXattr(dir int, name string) bool {
	if noXattrAt.Load() {
		return false
	}
	n, err := listxattrAt(dir, name, nil)
	if err == unix.ENOSYS {
		noXattrAt.Store(true)
	}
	return err == nil && n == 0
}

func pointers(path, attr string) (p, q *byte, err error) {
	p, err = unix.BytePtrFromString(path)
	if err == nil {
		q, err = unix.BytePtrFromString(attr)
	}
	if err != nil {
		err = unix.EINVAL
	}
	return p, q, err
}

func xattrAt(nr uintptr, fd int, path, attr string, value []byte, flags int) (int, error) {
	p, q, err := pointers(path, attr)
	if err != nil {
		return 0, err
	}
	v := new(byte)
	if len(value) > 0 {
		v = &value[0]
	}
	// The address goes to the kernel inside a structure, as a number: it must
	// stand still meanwhile.
	var pin runtime.Pinner
	pin.Pin(v)
	defer pin.Unpin()
	args := xattrArgs{uint64(uintptr(unsafe.Pointer(v))), uint32(len(value)), uint32(flags)}
	n, _, errno := unix.Syscall6(nr, uintptr(fd), uintptr(unsafe.Pointer(p)), unix.AT_SYMLINK_NOFOLLOW,
		uintptr(unsafe.Pointer(q)), uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args))
	return int(n), errOf(errno)
}

func listxattrAt(fd int, path string, buf []byte) (int, error) {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return 0, unix.EINVAL
	}
	var b *byte
	if len(buf) > 0 {
		b = &buf[0]
	}
	n, _, errno := unix.Syscall6(sysListxattrat, uintptr(fd), uintptr(unsafe.Pointer(p)), unix.AT_SYMLINK_NOFOLLOW,
		uintptr(unsafe.Pointer(b)), uintptr(len(buf)), 0)
	return int(n), errOf(errno)
}
