// Package devpts is the file system of pseudo-terminals, pts(4): ptmx, whose
// every open makes a pair of terminals, and the slaves by number.
//
// A pair joins a master, which stands for keyboard and screen, to a slave, which
// programs use as their terminal. The line discipline between them, and job
// control, are package tty's.
//
// Lock order: FS.mu < Pair.mu. Queues are notified and signals sent with neither.
package devpts

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/tty"
	"bulkhead/services/sentry/vfs"
)

// Device numbers: devices.txt of the kernel.
const (
	PtmxMajor, PtmxMinor = 5, 2
	SlaveMajor           = 136
)

// inodes: the root, ptmx, then the slaves.
const (
	inoRoot  = 1
	inoPtmx  = 2
	inoSlave = 3
)

// Options are the mount options of devpts.
type Options struct {
	UID, GID       uint32
	SetUID, SetGID bool   // else the opener's own
	Mode, PtmxMode uint32 // permission bits
	Max            int    // pairs at once
}

// DefaultOptions are those of containers: gid=5,mode=620,ptmxmode=666.
func DefaultOptions() Options {
	return Options{GID: 5, SetGID: true, Mode: 0o620, PtmxMode: 0o666, Max: 4096}
}

// ParseOptions reads mount(2)'s data: "newinstance,gid=5,mode=620". EINVAL for
// what devpts does not know.
func ParseOptions(data string) (Options, error) {
	o := Options{Mode: 0o600, Max: 4096}
	for word := range strings.SplitSeq(data, ",") {
		key, value, _ := strings.Cut(word, "=")
		base := 10
		if key == "mode" || key == "ptmxmode" {
			base = 8
		}
		n, err := strconv.ParseUint(value, base, 31)
		switch key {
		case "", "newinstance":
			continue
		case "uid":
			o.UID, o.SetUID = uint32(n), true
		case "gid":
			o.GID, o.SetGID = uint32(n), true
		case "mode":
			o.Mode = uint32(n) & 0o7777
		case "ptmxmode":
			o.PtmxMode = uint32(n) & 0o7777
		case "max":
			o.Max = min(int(n), 1<<20)
		default:
			return o, linux.EINVAL
		}
		if err != nil {
			return o, linux.EINVAL
		}
	}
	return o, nil
}

// FS is one instance.
type FS struct {
	procs   tty.Processes
	options Options
	dev     uint64
	born    linux.Timespec
	root    *root
	ptmx    *ptmx

	mu    sync.Mutex
	pairs map[int]*Pair // by number, until both ends are closed
}

// New is an instance without pairs. procs may be nil: no job control then.
func New(procs tty.Processes, options Options) *FS {
	fs := &FS{
		procs: procs, options: options, dev: vfs.NewDev(),
		born: linux.TimespecAt(time.Now()), pairs: make(map[int]*Pair),
	}
	fs.root = &root{fs: fs}
	fs.ptmx = &ptmx{fs: fs}
	return fs
}

// RegisterPtmx has /dev/ptmx nodes outside a devpts open pairs of fs.
func RegisterPtmx(fs *FS) {
	vfs.RegisterDevice(PtmxMajor, PtmxMinor, 1,
		func(ctx vfs.Context, n vfs.Node, _ uint64, flags linux.OpenFlags) (vfs.Impl, error) {
			if o, ok := n.(vfs.Opener); ok {
				return o.Open(ctx, flags)
			}
			return fs.ptmx.Open(ctx, flags)
		})
}

// Type implements vfs.FileSystem.
func (fs *FS) Type() string { return "devpts" }

// Options implements vfs.Optioner.
func (fs *FS) Options() string {
	o := fs.options
	s := fmt.Sprintf("mode=%03o,ptmxmode=%03o", o.Mode, o.PtmxMode)
	if o.SetGID {
		s = fmt.Sprintf("gid=%d,", o.GID) + s
	}
	if o.SetUID {
		s = fmt.Sprintf("uid=%d,", o.UID) + s
	}
	return s
}

// Root implements vfs.FileSystem.
func (fs *FS) Root() vfs.Node { return fs.root }

// Statfs implements vfs.FileSystem.
func (fs *FS) Statfs(vfs.Context) (linux.Statfs, error) {
	return linux.Statfs{
		Type: linux.DEVPTS_SUPER_MAGIC, Bsize: 4096, Frsize: 4096, Namelen: linux.NAME_MAX,
		Flags: linux.ST_VALID, FSID: [2]int32{int32(fs.dev), 0},
	}, nil
}

// pair gives the pair of a number that a slave can be opened of.
func (fs *FS) pair(name string) *Pair {
	n, err := strconv.Atoi(name)
	if err != nil || strconv.Itoa(n) != name {
		return nil
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if p := fs.pairs[n]; p != nil && p.named {
		return p
	}
	return nil
}

// newPair makes a pair with the lowest free number: ENOSPC past the limit.
func (fs *FS) newPair(ctx vfs.Context) (*Pair, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := 0
	for fs.pairs[n] != nil {
		n++
	}
	if n >= fs.options.Max {
		return nil, linux.ENOSPC
	}
	p := &Pair{fs: fs, number: n, d: tty.New(), locked: true, named: true}
	p.terminal = tty.NewTerminal(p, linux.Mkdev(SlaveMajor, uint32(n)), fs.procs)
	now := linux.TimespecAt(time.Now())
	p.attr = vfs.Attr{
		Dev: fs.dev, Ino: inoSlave + uint64(n), Mode: linux.S_IFCHR | fs.options.Mode, Nlink: 1,
		UID: ctx.Creds().FSUID, GID: ctx.Creds().FSGID, Rdev: p.terminal.Rdev, Blksize: 1024,
		Atime: now, Mtime: now, Ctime: now,
	}
	if fs.options.SetUID {
		p.attr.UID = fs.options.UID
	}
	if fs.options.SetGID {
		p.attr.GID = fs.options.GID
	}
	p.node = &slaveNode{pair: p}
	fs.pairs[n] = p
	return p, nil
}

// unname takes p's name away; forget frees its number too.
func (fs *FS) unname(p *Pair, forget bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	p.named = false
	if forget && fs.pairs[p.number] == p {
		delete(fs.pairs, p.number)
	}
}
