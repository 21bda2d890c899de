package syscalls

import (
	"crypto/rand"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
)

// uname tells which system this is: uname(2).
func uname(t *task.Task, buf mm.Addr) (uint64, error) {
	names := t.UTS()
	u := linux.Utsname{
		Sysname: linux.Sysname, Nodename: names.Hostname(), Release: linux.Release, Version: linux.Version,
		Machine: linux.Machine, Domainname: names.Domainname(),
	}
	if t.Personality()&linux.PER_MASK == linux.PER_LINUX32 {
		u.Machine = "i686"
	}
	out := newAnswer(t, linux.SizeofUtsname)
	u.Put(out.bytes)
	return 0, out.copyOut(t, buf)
}

// sethostname sets the nodename: sethostname(2).
func sethostname(t *task.Task, name mm.Addr, n int32) (uint64, error) {
	return setName(t, name, n, t.UTS().SetHostname)
}

// setdomainname sets the domain name: setdomainname(2).
func setdomainname(t *task.Task, name mm.Addr, n int32) (uint64, error) {
	return setName(t, name, n, t.UTS().SetDomainname)
}

func setName(t *task.Task, name mm.Addr, n int32, set func(string)) (uint64, error) {
	if !t.Creds().HasIn(t.UTS().Owner, linux.CAP_SYS_ADMIN) {
		return 0, linux.EPERM
	}
	if n < 0 || n > linux.UTS_LEN {
		return 0, linux.EINVAL
	}
	b := make([]byte, n)
	if err := t.CopyIn(name, b); err != nil {
		return 0, err
	}
	set(string(b))
	return 0, nil
}

// hostInfo is taken before the sentry is sealed.
var hostInfo = func() (s unix.Sysinfo_t) {
	unix.Sysinfo(&s)
	return s
}()

// sizeofSysinfo is the size of struct sysinfo in bytes.
const sizeofSysinfo = 112

// sysinfo tells of memory and time: sysinfo(2). What is free was so at start-up.
func sysinfo(t *task.Task, buf mm.Addr) (uint64, error) {
	le := binary.LittleEndian
	out := newAnswer(t, sizeofSysinfo)
	clear(out.bytes)
	var up unix.Timespec // as /proc/uptime, and as the guest's own vDSO tells it
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &up)
	le.PutUint64(out.bytes, uint64(up.Sec))
	total := min(hostInfo.Totalram, budget.Memory()/uint64(hostInfo.Unit))
	le.PutUint64(out.bytes[32:], total)
	le.PutUint64(out.bytes[40:], min(hostInfo.Freeram, total))
	le.PutUint64(out.bytes[56:], hostInfo.Bufferram)
	le.PutUint16(out.bytes[80:], uint16(len(t.Kernel().Tasks())))
	le.PutUint32(out.bytes[104:], hostInfo.Unit)
	return 0, out.copyOut(t, buf)
}

// Actions of syslog(2).
const (
	syslogReadAll    = 3
	syslogSizeUnread = 9
	syslogSizeBuffer = 10
	syslogBufferSize = 1 << 18
)

// syslog reads the kernel's log, which is empty: syslog(2).
func syslog(t *task.Task, action int32, buf mm.Addr, n int32) (uint64, error) {
	if action < 0 || action > syslogSizeBuffer {
		return 0, linux.EINVAL
	}
	if action != syslogReadAll && action != syslogSizeBuffer && !t.Creds().Has(linux.CAP_SYSLOG) {
		return 0, linux.EPERM
	}
	if action == syslogSizeBuffer {
		return syslogBufferSize, nil
	}
	return 0, nil
}

// getrandom gives random bytes: getrandom(2). They never have to be waited for.
func getrandom(t *task.Task, buf mm.Addr, n uint64, flags uint32) (uint64, error) {
	const both = linux.GRND_RANDOM | linux.GRND_INSECURE
	if flags&^(both|linux.GRND_NONBLOCK) != 0 || flags&both == both {
		return 0, linux.EINVAL
	}
	n = min(n, linux.MAX_RW_COUNT)
	if w := window(t, n); w != nil {
		rand.Read(w)
		return n, t.CommitWindow(buf, int(n))
	}
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	for done := uint64(0); done < n; {
		part := chunk[:min(n-done, chunkSize)]
		rand.Read(part)
		if err := t.CopyOut(buf+done, part); err != nil {
			return partial(done, err)
		}
		done += uint64(len(part))
		if t.Interrupted() {
			return done, nil
		}
	}
	return n, nil
}
