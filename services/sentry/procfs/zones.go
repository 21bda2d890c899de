package procfs

import (
	"bytes"
	"fmt"
	"math/bits"

	"bulkhead/services/sentry/mm"
)

// This file holds the files of /proc that tell of the machine's pages and interrupts in
// the kernel's own terms. Of memory they say what meminfo says, in one zone; what nobody
// counts is 0.

// pageCounters are lines of vmstat, and of a zone's node, with the line of meminfo that
// each is from; "" for those that count nothing.
var pageCounters = []struct{ name, from string }{
	{"nr_inactive_anon", "Inactive(anon)"}, {"nr_active_anon", "Active(anon)"},
	{"nr_inactive_file", "Inactive(file)"}, {"nr_active_file", "Active(file)"},
	{"nr_unevictable", "Unevictable"}, {"nr_slab_reclaimable", "SReclaimable"}, {"nr_slab_unreclaimable", "SUnreclaim"},
	{"nr_anon_pages", "AnonPages"}, {"nr_mapped", "Mapped"}, {"nr_file_pages", "Cached"},
	{"nr_dirty", "Dirty"}, {"nr_writeback", "Writeback"}, {"nr_shmem", "Shmem"},
	{"nr_page_table_pages", "PageTables"},
}

// eventCounters are the further lines of vmstat that programs look for.
var eventCounters = []string{
	"nr_dirtied", "nr_written", "pgpgin", "pgpgout", "pswpin", "pswpout", "pgalloc_normal", "pgfree", "pgactivate",
	"pgdeactivate", "pgfault", "pgmajfault", "pgrefill", "pgreuse", "pgsteal_kswapd", "pgsteal_direct", "pgscan_kswapd",
	"pgscan_direct", "pginodesteal", "slabs_scanned", "kswapd_inodesteal", "pageoutrun", "pgrotated", "drop_pagecache",
	"drop_slab", "oom_kill", "compact_stall", "compact_fail", "compact_success", "thp_fault_alloc", "thp_collapse_alloc",
}

// pages is a line of meminfo, in pages.
func (fs *FS) pages(name string) uint64 { return fs.host.Memory[name] * kib / mm.PageSize }

// vmstat is /proc/vmstat.
func (fs *FS) vmstat() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "nr_free_pages %d\n", fs.pages("MemFree"))
	for _, c := range pageCounters {
		fmt.Fprintf(&b, "%s %d\n", c.name, fs.pages(c.from))
	}
	for _, name := range eventCounters {
		fmt.Fprintf(&b, "%s 0\n", name)
	}
	return b.Bytes()
}

// orders is how many sizes of blocks the free pages are in, each twice the one before.
const orders = 11

// buddyinfo is /proc/buddyinfo: the free pages in as few blocks as they fit.
func (fs *FS) buddyinfo() []byte {
	free := fs.pages("MemFree")
	b := fmt.Appendf(nil, "Node 0, zone   Normal ")
	for order := range orders {
		n := free >> order & 1
		if order == orders-1 {
			n = free >> order
		}
		b = fmt.Appendf(b, "%6d ", n)
	}
	return append(b, '\n')
}

// zoneinfo is /proc/zoneinfo.
func (fs *FS) zoneinfo() []byte {
	var b bytes.Buffer
	total, free := fs.pages("MemTotal"), fs.pages("MemFree")
	b.WriteString("Node 0, zone   Normal\n  per-node stats\n")
	for _, c := range pageCounters {
		fmt.Fprintf(&b, "      %-12s %d\n", c.name, fs.pages(c.from))
	}
	least := total >> 8
	fmt.Fprintf(&b, "  pages free     %d\n        boost    0\n        min      %d\n        low      %d\n        high     %d\n"+
		"        spanned  %d\n        present  %d\n        managed  %d\n        cma      0\n        protection: (0, 0, 0, 0, 0)\n"+
		"      nr_free_pages %d\n  pagesets\n", free, least, least+least/4, least+least/2, total, total, total, free)
	for i := range fs.host.CPUs {
		fmt.Fprintf(&b, "    cpu: %d\n              count:    0\n              high:     0\n              batch:    63\n"+
			"  vm stats threshold: %d\n", i, 2*bits.Len(uint(fs.host.CPUs)))
	}
	b.WriteString("  node_unreclaimable:  0\n  start_pfn:           0\n")
	return b.Bytes()
}

// perCPU is a table with a row for each name and a column for each processor: nothing
// interrupts the sandbox's own.
func (fs *FS) perCPU(indent, width int, names ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%*s", indent, "")
	for i := range fs.host.CPUs {
		fmt.Fprintf(&b, "CPU%-8d", i)
	}
	b.WriteByte('\n')
	for _, name := range names {
		fmt.Fprintf(&b, "%*s:", width, name)
		for range fs.host.CPUs {
			fmt.Fprintf(&b, " %10d", 0)
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}
