// Package tmpfs is a file system in memory: tmpfs(5).
//
// A small file is pages of the sentry's own memory. Once it is mapped or grows
// past pageFileMax it is a memfd, whose pages the host can give to a guest; it
// stays one. Memory is given back with the last of a file's names and open
// descriptions.
//
// Access times follow relatime, without its daily update: reading sets atime
// only if mtime or ctime is not older.
//
// Lock order: FileSystem.tree < inode.mu; file.mu < inode.mu. vfs holds a
// directory's lock while it calls what changes that directory.
package tmpfs

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/vfs"
)

const pageSize = 4096

// Options are the mount options of tmpfs(5). Size is in bytes. Inodes of 0 are
// unlimited; all file systems share half of the memory, and a Size of 0 is that.
type Options struct {
	Size, Inodes uint64
	Mode         uint32 // of the root, 07777; 0: 01777, of ramfs 0755
	UID, GID     uint32
	RAM          bool // call it ramfs, which tells of no sizes
}

// ParseOptions reads "size=64m,mode=1777,nr_inodes=10k,uid=0,gid=0" into o. Options that
// only a swapping or NUMA kernel would heed are accepted; EINVAL for others, but ramfs
// has a mode and never complains.
func ParseOptions(text string, o Options) (Options, error) {
	for _, option := range strings.Split(text, ",") {
		key, value, _ := strings.Cut(option, "=")
		if o.RAM && key != "mode" {
			continue
		}
		var err error
		switch key {
		case "", "huge", "mpol", "noswap", "inode32", "inode64", "rw", "ro":
		case "size":
			o.Size, err = parseSize(value, 1)
		case "nr_blocks":
			o.Size, err = parseSize(value, pageSize)
		case "nr_inodes":
			o.Inodes, err = parseSize(value, 1)
		case "mode":
			var n uint64
			n, err = strconv.ParseUint(value, 8, 12)
			o.Mode = uint32(n)
		case "uid", "gid":
			var n uint64
			n, err = strconv.ParseUint(value, 10, 32)
			if key == "uid" {
				o.UID = uint32(n)
			} else {
				o.GID = uint32(n)
			}
		default:
			err = linux.EINVAL
		}
		if err != nil {
			return Options{}, linux.EINVAL
		}
	}
	return o, nil
}

// parseSize reads a number with a suffix k, m, g, or % of the memory.
func parseSize(s string, unit uint64) (uint64, error) {
	shift := 0
	if s != "" {
		switch s[len(s)-1] | 0x20 {
		case 'k':
			shift = 10
		case 'm':
			shift = 20
		case 'g':
			shift = 30
		}
		if strings.HasSuffix(s, "%") {
			n, err := strconv.ParseUint(s[:len(s)-1], 10, 8)
			return n * (budget.Memory() / 100), err
		}
		if shift > 0 {
			s = s[:len(s)-1]
		}
	}
	n, err := strconv.ParseUint(s, 0, 33)
	return n << shift * unit, err
}

// FileSystem is one tmpfs.
type FileSystem struct {
	dev     uint64
	options Options
	root    *dir

	ino    atomic.Uint64
	pages  atomic.Int64 // in use
	inodes atomic.Int64 // in use

	tree sync.RWMutex // guards the entries of all directories and their links
}

// New is an empty file system.
func New(o Options) *FileSystem {
	if o.Mode == 0 {
		o.Mode = 0o1777
		if o.RAM {
			o.Mode = 0o755
		}
	}
	fs := &FileSystem{dev: vfs.NewDev(), options: o}
	fs.root = &dir{entries: make(map[string]*entry)}
	fs.root.init(fs, linux.S_IFDIR|o.Mode&linux.S_IALL, o.UID, o.GID)
	fs.root.nlink = 2
	fs.inodes.Add(1)
	return fs
}

// Type is "tmpfs", or "ramfs".
func (fs *FileSystem) Type() string {
	if fs.options.RAM {
		return "ramfs"
	}
	return "tmpfs"
}

// Root is the root directory.
func (fs *FileSystem) Root() vfs.Node { return fs.root }

// Options is what /proc/mounts shows.
func (fs *FileSystem) Options() string {
	var list []string
	if fs.options.Size > 0 {
		list = append(list, "size="+strconv.FormatUint(fs.options.Size>>10, 10)+"k")
	}
	if fs.options.Inodes > 0 {
		list = append(list, "nr_inodes="+strconv.FormatUint(fs.options.Inodes, 10))
	}
	if fs.options.Mode != 0o1777 && !(fs.options.RAM && fs.options.Mode == 0o755) {
		list = append(list, "mode="+strconv.FormatUint(uint64(fs.options.Mode), 8))
	}
	return strings.Join(list, ",")
}

// Statfs is statfs(2).
func (fs *FileSystem) Statfs(vfs.Context) (linux.Statfs, error) {
	if fs.options.RAM {
		return linux.Statfs{Type: linux.RAMFS_MAGIC, Bsize: pageSize, Frsize: pageSize, Namelen: linux.NAME_MAX}, nil
	}
	size, inodes := fs.options.Size, fs.options.Inodes
	if size == 0 {
		size = uint64(budget.FilesMost()) * pageSize
	}
	if inodes == 0 {
		inodes = size / pageSize
	}
	s := linux.Statfs{
		Type: linux.TMPFS_MAGIC, Bsize: pageSize, Frsize: pageSize, Namelen: linux.NAME_MAX,
		Blocks: size / pageSize, Files: inodes, FSID: [2]int32{int32(fs.dev), 0},
	}
	if used := uint64(fs.pages.Load()); used < s.Blocks {
		s.Bfree = s.Blocks - used
	}
	if used := uint64(fs.inodes.Load()); used < inodes {
		s.Ffree = inodes - used
	}
	s.Bavail = s.Bfree
	return s, nil
}

// Release gives all memory back: the last mount is gone.
func (fs *FileSystem) Release() {
	fs.tree.Lock()
	defer fs.tree.Unlock()
	fs.root.releaseAll()
}

// takePages accounts for n more pages: ENOSPC past the limit.
func (fs *FileSystem) takePages(n int64) error {
	if over := fs.addPages(n); n > 0 && over {
		fs.addPages(-n)
		return linux.ENOSPC
	}
	return nil
}

// addPages counts n more pages, whatever the limits, and says whether they are more
// than may be.
func (fs *FileSystem) addPages(n int64) (over bool) {
	used, over := fs.pages.Add(n), budget.AddFilePages(n)
	return over || fs.options.Size > 0 && used > int64(fs.options.Size/pageSize)
}

func (fs *FileSystem) takeInode() error {
	used := fs.inodes.Add(1)
	if fs.options.Inodes > 0 && used > int64(fs.options.Inodes) {
		fs.inodes.Add(-1)
		return linux.ENOSPC
	}
	return nil
}

func now() linux.Timespec { return linux.TimespecAt(time.Now()) }
