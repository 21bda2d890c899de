package spawn

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// PrivateDir makes a directory that no path leads to, and that is gone when the
// last process that holds it has ended: a tmpfs that is mounted nowhere.
func PrivateDir() (*os.File, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open tmpfs: %w", err)
	}
	defer unix.Close(fs)
	for _, option := range [][2]string{{"size", "4m"}, {"nr_inodes", "64"}, {"mode", "0700"}} {
		if err := unix.FsconfigSetString(fs, option[0], option[1]); err != nil {
			return nil, fmt.Errorf("configure tmpfs: %s: %w", option[0], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("create tmpfs: %w", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, fmt.Errorf("mount tmpfs: %w", err)
	}
	return os.NewFile(uintptr(fd), "sandbox"), nil
}

// OpenDir opens a sandbox's directory at path.
func OpenDir(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openErrors opens the file that takes a service's standard error: what Go's
// runtime writes when it crashes.
func openErrors(dir *os.File, service string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), service+".err", flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s.err: %w", service, err)
	}
	return os.NewFile(uintptr(fd), service+".err"), nil
}
