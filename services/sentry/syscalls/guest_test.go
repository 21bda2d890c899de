package syscalls

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/tmpfs"
	"bulkhead/services/sentry/vfs"
)

// bad is an address at which there is nothing.
const bad mm.Addr = 8

// guest is a process that nobody runs, on a tmpfs, with some memory.
type guest struct {
	testing.TB
	t    *task.Task
	th   *platform.Thread
	mem  []byte
	used int
}

func newGuest(tb testing.TB) *guest { return newGuestAs(tb, vfs.RootCreds()) }

func newGuestAs(tb testing.TB, creds *vfs.Creds) *guest {
	tb.Helper()
	mem, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		tb.Fatal(err)
	}
	ns := vfs.NewNamespace(tmpfs.New(tmpfs.Options{Mode: 0o755}), 0)
	th := platform.NewSelf()
	k := task.NewKernel(nil)
	g := &guest{TB: tb, th: th, mem: mem}
	for range 2 { // signals do not reach the first process
		g.t = k.NewDetached(th, task.NewProcess{
			FS: task.NewFSContext(ns.Root(), ns.Root()), FDs: task.NewFDTable(), Creds: creds,
		})
	}
	if _, err := vfs.Stat(g.t, ns.Root()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		close_range(g.t, 0, ^uint32(0), 0)
		unix.Munmap(mem)
	})
	return g
}

// room is n bytes of memory that nothing else uses, and what is in them.
func (g *guest) room(n int) (mm.Addr, []byte) {
	g.Helper()
	at := (g.used + 15) &^ 15
	if at+n > len(g.mem) {
		g.Fatal("the guest's memory is full")
	}
	g.used = at + n
	b := g.mem[at : at+n]
	return mm.Addr(uintptr(unsafe.Pointer(unsafe.SliceData(b)))), b
}

// str is a string in memory.
func (g *guest) str(s string) mm.Addr {
	addr, b := g.room(len(s) + 1)
	copy(b, s)
	b[len(s)] = 0
	return addr
}

// words are 64-bit numbers in memory.
func (g *guest) words(v ...uint64) mm.Addr {
	addr, b := g.room(8 * len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint64(b[8*i:], x)
	}
	return addr
}

// done ends a call as its return to the guest does: what it copies out is
// copied.
func (g *guest) done(n uint64, err error) (uint64, error) {
	if fault := g.th.Perform(); fault != nil && err == nil {
		return 0, fault
	}
	return n, err
}

// must is done of a call that may not fail.
func (g *guest) must(n uint64, err error) uint64 {
	g.Helper()
	n, err = g.done(n, err)
	if err != nil {
		g.Fatalf("unexpected %v", err)
	}
	return n
}

// fails is done of a call that has to fail with want, or to succeed if that is
// nil.
func (g *guest) fails(what string, want error, n uint64, err error) {
	g.Helper()
	if _, err = g.done(n, err); err != want {
		g.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// open opens, or makes, a file.
func (g *guest) open(path string, flags linux.OpenFlags) linux.FD {
	g.Helper()
	return linux.FD(g.must(openat(g.t, linux.AtFDCWD, g.str(path), flags, 0o644)))
}

// file makes a file with some contents.
func (g *guest) file(path, contents string) {
	g.Helper()
	fd := g.open(path, linux.O_CREAT|linux.O_WRONLY|linux.O_TRUNC)
	g.must(write(g.t, fd, g.str(contents), uint64(len(contents))))
	g.must(close_(g.t, fd))
}

// contents is what a file holds, up to 64 KiB.
func (g *guest) contents(path string) string {
	g.Helper()
	fd := g.open(path, linux.O_RDONLY)
	addr, b := g.room(64 << 10)
	n := g.must(read(g.t, fd, addr, uint64(len(b))))
	g.must(close_(g.t, fd))
	return string(b[:n])
}
