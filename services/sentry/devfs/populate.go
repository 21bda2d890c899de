package devfs

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// node is one name of /dev.
type node struct {
	name         string
	major, minor uint32
	mode         uint32
	gid          uint32
}

// nodes are the devices of every container: the OCI runtime specification,
// "Default Devices".
var nodes = []node{
	{"null", majorMemory, 3, 0o666, 0},
	{"zero", majorMemory, 5, 0o666, 0},
	{"full", majorMemory, 7, 0o666, 0},
	{"random", majorMemory, 8, 0o666, 0},
	{"urandom", majorMemory, 9, 0o666, 0},
	{"tty", majorTTY, 0, 0o666, 5},
}

// links are the symlinks: the same, "Runtime Linux, Dev symbolic links".
var links = [][2]string{
	{"fd", "/proc/self/fd"},
	{"stdin", "/proc/self/fd/0"},
	{"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"},
	{"ptmx", "pts/ptmx"},
}

// dirs are where further file systems are mounted.
var dirs = []struct {
	name string
	mode uint32
}{
	{"pts", 0o755},
	{"shm", 0o1777},
	{"net", 0o755},
}

// tun makes interfaces: who may is decided when it does, in the namespace of the network
// of who opened it.
var tun = node{"tun", majorMisc, minorTun, 0o666, 0}

// Populate puts the usual names into the root of a fresh file system: devices,
// links and mount points. What is there already stays. With console there is a
// /dev/console.
func Populate(fs vfs.FileSystem, console bool) error {
	ctx := vfs.KernelContext()
	root, ok := fs.Root().(vfs.Creator)
	if !ok {
		return linux.EROFS
	}
	list := nodes
	if console {
		list = append(list[:len(list):len(list)], node{"console", majorTTY, 1, 0o600, 0})
	}
	for _, n := range list {
		made, err := root.Mknod(ctx, n.name, linux.S_IFCHR|n.mode, linux.Mkdev(n.major, n.minor))
		if err == nil && n.gid != 0 {
			err = made.SetAttr(ctx, vfs.SetAttr{Mask: vfs.SetGID, GID: n.gid})
		}
		if err != nil && err != linux.EEXIST {
			return err
		}
	}
	for _, l := range links {
		if _, err := root.Symlink(ctx, l[0], l[1]); err != nil && err != linux.EEXIST {
			return err
		}
	}
	for _, d := range dirs {
		if _, err := root.Mkdir(ctx, d.name, d.mode); err != nil && err != linux.EEXIST {
			return err
		}
	}
	net, err := root.Lookup(ctx, "net")
	if in, ok := net.(vfs.Creator); ok && err == nil {
		if _, err = in.Mknod(ctx, tun.name, linux.S_IFCHR|tun.mode, linux.Mkdev(tun.major, tun.minor)); err == linux.EEXIST {
			err = nil
		}
	}
	return err
}
