package network

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Namespace is an open network namespace.
type Namespace struct{ file *os.File }

// ownNamespace is that of the process that opens it.
const ownNamespace = "/proc/self/ns/net"

// OpenNamespace opens the namespace at path, or our own if path is "".
func OpenNamespace(path string) (*Namespace, error) {
	if path == "" {
		path = ownNamespace
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	if kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		f.Close()
		return nil, fmt.Errorf("open network namespace: %s: is none", path)
	}
	return &Namespace{f}, nil
}

// Close lets go of it.
func (n *Namespace) Close() { n.file.Close() }

// Host says whether this is the machine's own namespace, whose interfaces nobody
// may take: that of the kernel's start, or of the first process.
func (n *Namespace) Host() bool {
	var st unix.Stat_t
	if unix.Stat("/proc/1/ns/net", &st) == nil && n.id() == (identity{st.Dev, st.Ino}) {
		return true
	}
	initial := false
	n.Do(func() error {
		// A setting of the whole kernel, which shows in no other namespace.
		_, err := os.Stat("/proc/sys/net/core/netdev_max_backlog")
		initial = err == nil
		return nil
	})
	return initial
}

// identity tells namespaces apart: namespaces(7).
type identity struct{ Device, Inode uint64 }

func (n *Namespace) id() identity {
	var st unix.Stat_t
	if unix.Fstat(int(n.file.Fd()), &st) != nil {
		return identity{}
	}
	return identity{st.Dev, st.Ino}
}

// Do calls f on a thread that is in the namespace, and ends with it.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			if errors.Is(err, unix.EPERM) {
				err = fmt.Errorf("%w: CAP_SYS_ADMIN is needed", err)
			}
			done <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}
