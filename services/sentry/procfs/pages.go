package procfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/pseudo"
	"bulkhead/services/sentry/vfs"
)

// This file holds the files of /proc/PID that tell of single pages and of the files
// behind regions: proc_pid_pagemap(5), proc_pid_numa_maps(5), proc_pid_map_files(5).

// What an entry of pagemap says, of which frame numbers are nobody's to know.
const (
	pagePresent   = 1 << 63
	pageOfFile    = 1 << 61
	pageExclusive = 1 << 56
	pageEntry     = 8 // bytes

	// pagesAtOnce is how many entries one read gives at most.
	pagesAtOnce = 4096
)

// Presence is a Memory that knows which of the pages at addrs are in RAM.
type Presence interface {
	Present(addrs []uint64, in []bool) error
}

// pagemapRow is /proc/PID/pagemap.
func pagemapRow(name string, mode uint32) row {
	return row{name: name, mode: linux.S_IFREG | mode, make: func(e *entry) vfs.Node {
		return e.fs.Object(mode, e.owner, func(ctx vfs.Context, _ linux.OpenFlags) (vfs.Impl, error) {
			m := e.thread.Memory()
			if err := e.inspect(ctx); err != nil {
				return nil, err
			}
			return &pagemap{memFile{e, m}}, nil
		})
	}}
}

// pagemap is an open one. It can be positioned anywhere, as the memory can.
type pagemap struct{ mem memFile }

// Release implements vfs.Impl.
func (f *pagemap) Release() {}

// Seek implements vfs.Seeker.
func (f *pagemap) Seek(ctx vfs.Context, cur, off int64, whence int) (int64, error) {
	return f.mem.Seek(ctx, cur, off, whence)
}

// ReadAt implements vfs.ReaderAt: EINVAL for what is not whole entries.
func (f *pagemap) ReadAt(_ vfs.Context, p []byte, off int64) (int, error) {
	if off < 0 || off%pageEntry != 0 || len(p)%pageEntry != 0 {
		return 0, linux.EINVAL
	}
	const past = int64(mm.GuestTop / mm.PageSize * pageEntry)
	if f.mem.gone() || off >= past || len(p) == 0 {
		return 0, nil
	}
	n := min(len(p)/pageEntry, pagesAtOnce, int((past-off)/pageEntry))
	start := uint64(off) / pageEntry * mm.PageSize
	clear(p[:n*pageEntry])
	f.fill(p[:n*pageEntry], start)
	return n * pageEntry, nil
}

// fill sets the entries of the pages from start on.
func (f *pagemap) fill(p []byte, start uint64) {
	m, ok := f.mem.m.(Presence)
	if !ok {
		return
	}
	end := start + uint64(len(p)/pageEntry)*mm.PageSize
	var addrs, marks []uint64
	for _, r := range f.mem.m.Regions() {
		mark := uint64(pagePresent | pageExclusive)
		if r.Shared || r.File != nil && r.Prot&unix.PROT_WRITE == 0 {
			mark = pagePresent | pageOfFile
		}
		for a := max(r.Start, start); a < min(r.End, end); a += mm.PageSize {
			addrs, marks = append(addrs, a), append(marks, mark)
		}
	}
	in := make([]bool, len(addrs))
	if len(addrs) == 0 || m.Present(addrs, in) != nil {
		return
	}
	for i, a := range addrs {
		if in[i] {
			binary.LittleEndian.PutUint64(p[(a-start)/mm.PageSize*pageEntry:], marks[i])
		}
	}
}

// clearRefs is /proc/PID/clear_refs: nobody keeps what it would reset.
func clearRefs(_ *entry, _ vfs.Context, p []byte) error {
	if v, err := strconv.ParseInt(strings.TrimSpace(string(p)), 10, 32); err != nil || v < 1 || v > 5 {
		return linux.EINVAL
	}
	return nil
}

// numaMaps is /proc/PID/numa_maps. There is one node.
func numaMaps(e *entry, m Memory, ctx vfs.Context) ([]byte, error) {
	if m == nil {
		return nil, nil
	}
	root := e.readerRoot(ctx)
	var b bytes.Buffer
	regions := m.Regions()
	each, _ := residentOf(m, regions)
	for i, r := range regions {
		fmt.Fprintf(&b, "%08x default", r.Start)
		switch {
		case r.File != nil:
			b.WriteString(" file=" + escape(regionName(r, root), "\n\t= "))
		case r.Kind == mm.Heap:
			b.WriteString(" heap")
		case r.Kind == mm.Stack:
			b.WriteString(" stack")
		}
		if pages := each[i] / mm.PageSize; pages > 0 {
			if r.Shared || r.File != nil && r.Prot&unix.PROT_WRITE == 0 {
				fmt.Fprintf(&b, " mapped=%d", pages)
			} else {
				fmt.Fprintf(&b, " anon=%d dirty=%d", pages, pages)
			}
			fmt.Fprintf(&b, " N0=%d kernelpagesize_kB=%d", pages, mm.PageSize/kib)
		}
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}

// mapFiles is /proc/PID/map_files: a link for each region of a file, by its addresses.
type mapFiles struct{ *entry }

func mapFilesDir(name string, mode uint32) row {
	return dir(name, mode, func(e *entry) pseudo.Dynamic { return mapFiles{e} })
}

// regions are those of files that have a name, for those who may inspect the process whose
// memory it is: EACCES.
func (d mapFiles) regions(ctx vfs.Context) (out []mm.Region, _ error) {
	m := d.thread.Memory() // first: see task.Memory
	if err := d.inspect(ctx); err != nil || m == nil {
		return nil, err
	}
	for _, r := range m.Regions() {
		if r.File != nil && !r.File.Path.IsZero() {
			out = append(out, r)
		}
	}
	return out, nil
}

func mapFileName(r mm.Region) string { return fmt.Sprintf("%x-%x", r.Start, r.End) }

// find gives the region with a name: ENOENT.
func (d mapFiles) find(ctx vfs.Context, name string) (mm.Region, error) {
	regions, err := d.regions(ctx)
	if err != nil {
		return mm.Region{}, err
	}
	for _, r := range regions {
		if mapFileName(r) == name {
			return r, nil
		}
	}
	return mm.Region{}, linux.ENOENT
}

// Lookup implements pseudo.Dynamic. Who follows the link needs more power than who
// reads it: the file may lie where its name no longer leads.
func (d mapFiles) Lookup(ctx vfs.Context, name string) (vfs.Node, error) {
	r, err := d.find(ctx, name)
	if err != nil {
		return nil, err
	}
	mode := uint32(0)
	if r.Prot&unix.PROT_READ != 0 {
		mode |= 0o400
	}
	if r.Prot&unix.PROT_WRITE != 0 {
		mode |= 0o200
	}
	text := func(ctx vfs.Context) (string, error) {
		r, err := d.find(ctx, name)
		if err != nil {
			return "", err
		}
		return regionName(r, d.readerRoot(ctx)), nil
	}
	jump := func(ctx vfs.Context) (vfs.Path, error) {
		if c := ctx.Creds(); !c.Has(linux.CAP_SYS_ADMIN) && !c.Has(linux.CAP_CHECKPOINT_RESTORE) {
			return vfs.Path{}, linux.EPERM
		}
		r, err := d.find(ctx, name)
		if err != nil {
			return vfs.Path{}, err
		}
		return r.File.Path, nil
	}
	return d.fs.Jump(d.owner, text, jump).WithMode(func() uint32 { return mode }), nil
}

// Names implements pseudo.Dynamic.
func (d mapFiles) Names(ctx vfs.Context) (out []pseudo.Name, _ error) {
	regions, err := d.regions(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range regions {
		out = append(out, pseudo.Name{Name: mapFileName(r), Type: linux.DT_LNK, Key: int64(r.Start/mm.PageSize) + 1})
	}
	return out, nil
}

// Valid implements pseudo.Dynamic.
func (d mapFiles) Valid(ctx vfs.Context, name string, _ vfs.Node) bool {
	_, err := d.find(ctx, name)
	return err == nil
}
