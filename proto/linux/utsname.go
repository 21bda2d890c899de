package linux

// Utsname is struct utsname of uname(2).
type Utsname struct {
	Sysname, Nodename, Release, Version, Machine, Domainname string
}

// SizeofUtsname is its size in bytes: six fields of 65.
const SizeofUtsname = 6 * 65

// UTS_LEN is the longest name that sethostname(2) takes.
const UTS_LEN = 64

// Put writes u as the kernel does to b, of SizeofUtsname bytes at least.
func (u *Utsname) Put(b []byte) {
	clear(b[:SizeofUtsname])
	for i, s := range [...]string{u.Sysname, u.Nodename, u.Release, u.Version, u.Machine, u.Domainname} {
		copy(b[65*i:65*i+64], s)
	}
}

// What uname(2), /proc/version and their like say that this system is. Release
// is of the Linux whose interface the sentry has.
const (
	Sysname = "Linux"
	Release = "6.12.0-bulkhead"
	Version = "#1 SMP PREEMPT_DYNAMIC Bulkhead"
	Machine = "x86_64"
)

// Of personality(2): the domain, and what has an effect here.
const (
	PER_MASK          = 0xff
	PER_LINUX32       = 0x08
	ADDR_NO_RANDOMIZE = 0x0040000
)
