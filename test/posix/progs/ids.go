package main

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	program("ids.setuid", idsSetuid)
	program("ids.groups", idsGroups)
	program("ids.caps", idsCaps)
}

func setgroups(groups []int) error {
	g := make([]uint32, len(groups)+1)
	for i, v := range groups {
		g[i] = uint32(v)
	}
	_, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&g[0])), 0)
	return errnoErr(e)
}

func raw(nr uintptr, args ...int) error {
	var a [3]uintptr
	for i, v := range args {
		a[i] = uintptr(v)
	}
	_, _, e := unix.RawSyscall(nr, a[0], a[1], a[2])
	return errnoErr(e)
}

// inThread runs f in a thread that ends with it.
func inThread(f func()) {
	done := make(chan struct{})
	go func() { defer close(done); runtime.LockOSThread(); f() }()
	<-done
}

func (t *T) ids(what string) {
	var r, e, s, rg, eg, sg uint32
	unix.RawSyscall(unix.SYS_GETRESUID, uintptr(unsafe.Pointer(&r)), uintptr(unsafe.Pointer(&e)), uintptr(unsafe.Pointer(&s)))
	unix.RawSyscall(unix.SYS_GETRESGID, uintptr(unsafe.Pointer(&rg)), uintptr(unsafe.Pointer(&eg)), uintptr(unsafe.Pointer(&sg)))
	t.Say("%s: uid %d %d %d gid %d %d %d", what, r, e, s, rg, eg, sg)
}

func idsSetuid(t *T) {
	inThread(func() {
		t.ids("start")
		t.Err("setresuid", raw(unix.SYS_SETRESUID, 1000, 2000, 3000))
		t.ids("after")
		t.Err("setuid to saved", raw(unix.SYS_SETUID, 3000, 0, 0))
		t.ids("after")
		t.Err("setuid to root", raw(unix.SYS_SETUID, 0, 0, 0))
		t.Err("setreuid swap", raw(unix.SYS_SETREUID, 3000, 1000))
		t.ids("after")
		t.Err("setresuid foreign", raw(unix.SYS_SETRESUID, 5, -1, -1))
		t.Err("setgid", raw(unix.SYS_SETGID, 5, 0, 0))
	})
	inThread(func() {
		t.Err("seteuid", raw(unix.SYS_SETRESUID, -1, 1000, -1))
		t.ids("effective")
		t.Err("chown", unix.Chown(".", 1, 1))
		t.Err("back", raw(unix.SYS_SETRESUID, -1, 0, -1))
		t.Err("chown", unix.Chown(".", 1, 1))
		t.ids("end")
	})
	inThread(func() {
		t.Err("setregid", raw(unix.SYS_SETREGID, 10, 20, 0))
		t.ids("regid")
		t.Err("setresgid", raw(unix.SYS_SETRESGID, -1, 30, -1))
		t.ids("resgid")
		p, _, _ := unix.RawSyscall(unix.SYS_SETFSUID, 77, 0, 0)
		n, _, _ := unix.RawSyscall(unix.SYS_SETFSUID, ^uintptr(0), 0, 0)
		t.Say("fsuid %d then %d", p, n)
	})
	t.ids("other threads")
}

func (t *T) runChildAs(uid int, name string, args ...string) int {
	c := t.command(name, args...)
	c.SysProcAttr = credential(uid)
	return exitCode(c.Run())
}

func idsGroups(t *T) {
	inThread(func() {
		t.Err("setgroups", setgroups([]int{5, 9, 7}))
		g, err := unix.Getgroups()
		t.Say("%v %s", g, errName(err))
		_, _, e := unix.RawSyscall(unix.SYS_GETGROUPS, 1, uintptr(unsafe.Pointer(&[1]uint32{})), 0)
		t.Err("short", errnoErr(e))
		n, _, _ := unix.RawSyscall(unix.SYS_GETGROUPS, 0, 0, 0)
		t.Say("count %d", n)
		t.Err("too many", raw(unix.SYS_SETGROUPS, 65537, 0, 0))
		raw(unix.SYS_SETUID, 1000, 0, 0)
		t.Err("unprivileged", setgroups([]int{1}))
	})
}

func (t *T) caps(what string) {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	err := unix.Capget(&h, &d[0])
	full := d[0].Effective != 0
	t.Say("%s: %s any effective %v any permitted %v inheritable %#x", what, errName(err), full, d[0].Permitted != 0, d[0].Inheritable)
}

func idsCaps(t *T) {
	inThread(func() {
		t.caps("root")
		raw(unix.SYS_SETRESUID, -1, 1000, -1)
		t.caps("effective user")
		raw(unix.SYS_SETRESUID, -1, 0, -1)
		t.caps("root again")
		raw(unix.SYS_SETRESUID, 1000, 1000, 1000)
		t.caps("user")
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		d := [2]unix.CapUserData{{Effective: 1, Permitted: 1}}
		t.Err("raise", unix.Capset(&h, &d[0]))
	})
	inThread(func() {
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var d [2]unix.CapUserData
		t.Err("drop all", unix.Capset(&h, &d[0]))
		t.caps("dropped")
		t.Write("f", "x")
		unix.Chmod("f", 0)
		t.Err("own file", unix.Chown("f", 7, 7))
		_, err := unix.Open("f", unix.O_RDONLY, 0)
		t.Err("open without rights", err)
		h.Version = 1
		t.Err("bad version", unix.Capget(&h, &d[0]))
	})
	inThread(func() {
		v, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_CHOWN, 0, 0, 0)
		t.N("bounding has chown", v, err)
		t.Err("drop it", unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_CHOWN, 0, 0, 0))
		v, err = unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_CHOWN, 0, 0, 0)
		t.N("bounding has chown", v, err)
		_, err = unix.PrctlRetInt(unix.PR_CAPBSET_READ, 63, 0, 0, 0)
		t.Err("unknown cap", err)
		raw(unix.SYS_SETRESUID, -1, 1000, -1)
		t.Err("drop without SETPCAP", unix.Prctl(unix.PR_CAPBSET_DROP, 1, 0, 0, 0))
	})
	t.Write("dest", "x")
	t.Say("exec as user exit %d", t.runChildAs(1000, "+caps"))
}

func init() {
	child("caps", func([]string) int {
		(&T{}).caps("after exec as a user")
		(&T{}).ids("after exec as a user")
		return 3
	})
}
