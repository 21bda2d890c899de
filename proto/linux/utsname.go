package linux

// Utsname is struct utsname of uname(2).
type Utsname struct {
	Sysname, Nodename, Release, Version, Machine, Domainname string
}

// SizeOfUtsname is its size in bytes: six fields of 65.
const SizeOfUtsname = 6 * 65

// UTS_LEN is the longest name that sethostname(2) takes.
const UTS_LEN = 64

// Put writes u as the kernel does to b, of SizeOfUtsname bytes at least.
func (u *Utsname) Put(b []byte) {
	clear(b[:SizeOfUtsname])
	for i, s := range [...]string{u.Sysname, u.Nodename, u.Release, u.Version, u.Machine, u.Domainname} {
		copy(b[65*i:65*i+64], s)
	}
}
