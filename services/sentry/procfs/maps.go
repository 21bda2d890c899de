package procfs

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/vfs"
)

// nameColumn is where the name of a region begins.
const nameColumn = 73

// maps is /proc/PID/maps.
func maps(e *entry, m Memory, ctx vfs.Context) ([]byte, error) {
	if m == nil {
		return nil, nil
	}
	root := e.readerRoot(ctx)
	var b bytes.Buffer
	for _, r := range m.Regions() {
		mapsLine(&b, r, regionName(r, root))
	}
	if e.fs.host.Vsyscall {
		mapsLine(&b, vsyscall, "[vsyscall]")
	}
	return b.Bytes(), nil
}

// vsyscall is the page at a fixed address that Linux shows above all others, whose three
// calls the host carries out: vsyscall(7) is long gone, and programs of then are not.
var vsyscall = mm.Region{Start: 0xffffffffff600000, End: 0xffffffffff601000, Prot: unix.PROT_EXEC}

func mapsLine(b *bytes.Buffer, r mm.Region, name string) {
	start := b.Len()
	var dev, ino, offset uint64
	if r.File != nil {
		dev, ino, offset = r.File.Dev, r.File.Ino, r.Offset
	}
	fmt.Fprintf(b, "%08x-%08x %s %08x %02x:%02x %d ", r.Start, r.End, permissions(r), offset,
		linux.Major(dev), linux.Minor(dev), ino)
	if name != "" {
		if pad := nameColumn - (b.Len() - start); pad > 0 {
			b.WriteString(strings.Repeat(" ", pad))
		}
		b.WriteString(escape(name, "\n"))
	}
	b.WriteByte('\n')
}

func permissions(r mm.Region) string {
	p := []byte("---p")
	for i, bit := range [...]uint8{unix.PROT_READ, unix.PROT_WRITE, unix.PROT_EXEC} {
		if r.Prot&bit != 0 {
			p[i] = "rwx"[i]
		}
	}
	if r.Shared {
		p[3] = 's'
	}
	return string(p)
}

func regionName(r mm.Region, root vfs.Path) string {
	switch {
	case r.File != nil && !r.File.Path.IsZero():
		name, _ := vfs.PathName(root, r.File.Path)
		return name
	case r.File != nil && r.Name != "" && r.Shared:
		return "[anon_shmem:" + r.Name + "]"
	case r.File != nil:
		return r.File.Name
	case r.Kind == mm.Heap && r.Name != "":
		return "[anon:" + r.Name + "]"
	case r.Kind == mm.Heap:
		return "[heap]"
	case r.Kind == mm.Stack:
		return "[stack]"
	case r.Kind == mm.VDSO && r.Prot&unix.PROT_EXEC == 0:
		return "[vvar]"
	case r.Kind == mm.VDSO:
		return "[vdso]"
	case r.Shared:
		return "/dev/zero (deleted)"
	case r.Name != "":
		return "[anon:" + r.Name + "]"
	}
	return ""
}

// smapsFields are the lines of a region in smaps, in kB. What is resident is
// the host's to know.
var smapsFields = []string{"Rss", "Pss", "Pss_Dirty", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty",
	"Referenced", "Anonymous", "KSM", "LazyFree", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb",
	"Private_Hugetlb", "Swap", "SwapPss", "Locked"}

// smaps is /proc/PID/smaps.
func smaps(e *entry, m Memory, ctx vfs.Context) ([]byte, error) {
	if m == nil {
		return nil, nil
	}
	root := e.readerRoot(ctx)
	var b bytes.Buffer
	regions := m.Regions()
	each, _ := residentOf(m, regions)
	for i, r := range regions {
		mapsLine(&b, r, regionName(r, root))
		smapsLine(&b, "Size", r.Len())
		smapsLine(&b, "KernelPageSize", mm.PageSize)
		smapsLine(&b, "MMUPageSize", mm.PageSize)
		for _, f := range smapsFields {
			smapsLine(&b, f, smapsValue(f, r, each[i]))
		}
		fmt.Fprintf(&b, "THPeligible:    %8d\nVmFlags: %s\n", 0, vmFlags(r))
	}
	return b.Bytes(), nil
}

// smapsValue is a line's number of bytes, if so many of the region are resident. What
// is private and can be written counts as written, and what others share of it is
// not known.
func smapsValue(field string, r mm.Region, resident uint64) uint64 {
	private := !r.Shared && r.Prot&unix.PROT_WRITE != 0
	anonymous := r.File == nil || private
	switch field {
	case "Rss", "Pss", "Referenced":
		return resident
	case "Anonymous":
		if anonymous {
			return resident
		}
	case "Private_Dirty", "Pss_Dirty":
		if private {
			return resident
		}
	case "Private_Clean":
		if !private && !r.Shared {
			return resident
		}
	case "Locked":
		if r.Locked {
			return resident
		}
	case "Shared_Clean":
		if r.Shared {
			return resident
		}
	}
	return 0
}

func smapsLine(b *bytes.Buffer, name string, n uint64) {
	fmt.Fprintf(b, "%-16s%8d kB\n", name+":", n/kib)
}

func vmFlags(r mm.Region) string {
	s := ""
	for i, bit := range [...]uint8{unix.PROT_READ, unix.PROT_WRITE, unix.PROT_EXEC} {
		if r.Prot&bit != 0 {
			s += [...]string{"rd ", "wr ", "ex "}[i]
		}
	}
	if r.Shared {
		s += "sh "
	}
	s += "mr mw me "
	if r.Grows {
		s += "gd "
	}
	if r.Locked {
		s += "lo "
	}
	if r.NoFork {
		s += "dc "
	}
	return s
}

// smapsRollup is /proc/PID/smaps_rollup: all regions as one.
func smapsRollup(_ *entry, m Memory, _ vfs.Context) ([]byte, error) {
	if m == nil {
		return nil, linux.ESRCH
	}
	var b bytes.Buffer
	if list := m.Regions(); len(list) > 0 {
		mapsLine(&b, mm.Region{Start: list[0].Start, End: list[len(list)-1].End}, "[rollup]")
	}
	regions := m.Regions()
	each, _ := residentOf(m, regions)
	for i, f := range smapsFields {
		sum := uint64(0)
		for j, r := range regions {
			sum += smapsValue(f, r, each[j])
		}
		smapsLine(&b, f, sum)
		if i == 2 {
			for _, extra := range []string{"Pss_Anon", "Pss_File", "Pss_Shmem"} {
				smapsLine(&b, extra, 0)
			}
		}
	}
	return b.Bytes(), nil
}
