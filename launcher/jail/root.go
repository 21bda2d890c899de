package jail

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// PrivateMounts stops what is mounted here from showing anywhere else, and the
// other way round. The process must have its own mount namespace.
func PrivateMounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return nil
}

// MountEmpty mounts an empty tmpfs on dir, which can hold inodes files and
// directories and no data.
func MountEmpty(dir string, inodes int) error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("bulkhead", dir, "tmpfs", flags, fmt.Sprintf("mode=555,size=4k,nr_inodes=%d", inodes)); err != nil {
		return fmt.Errorf("mount an empty tmpfs on %s: %w", dir, err)
	}
	return nil
}

// EnterRoot makes dir, which must be a mount point, the root directory of the
// process and lets go of everything that was mounted outside it. The directory
// itself becomes read-only.
func EnterRoot(dir string) error {
	if err := unix.Chdir(dir); err != nil {
		return fmt.Errorf("enter %s: %w", dir, err)
	}
	// pivot_root(2), "pivot_root(".", ".")": the old root lands above the new one.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root to %s: %w", dir, err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the old root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("enter the new root: %w", err)
	}
	const flags = unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("", "/", "", flags, ""); err != nil {
		return fmt.Errorf("make the new root read-only: %w", err)
	}
	return nil
}

// EnterEmptyRoot leaves the process with a root directory that holds nothing.
func EnterEmptyRoot() error {
	if err := PrivateMounts(); err != nil {
		return err
	}
	const place = "/proc" // any directory that every host has
	if err := MountEmpty(place, 2); err != nil {
		return err
	}
	return EnterRoot(place)
}
