package strace

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"bulkhead/proto/linux"
)

// Limits on what is shown, in bytes and elements.
const (
	maxShown  = 48
	maxPath   = 512
	maxVector = 8
)

// at reads n bytes at addr, nil if it cannot.
func (c *Call) at(addr uint64, n int) []byte {
	if addr == 0 || n < 0 {
		return nil
	}
	b := make([]byte, n)
	if c.mem.CopyIn(addr, b) != nil {
		return nil
	}
	return b
}

// str reads a string that ends in a NUL, of most bytes at most; more says that
// it goes on.
func (c *Call) str(addr uint64, most int) (s string, more, ok bool) {
	var out []byte
	for len(out) < most {
		n := min(most-len(out), 4096-int(addr&4095), 64)
		b := c.at(addr, n)
		if b == nil {
			return "", false, false
		}
		for i, x := range b {
			if x == 0 {
				return string(append(out, b[:i]...)), false, true
			}
		}
		out, addr = append(out, b...), addr+uint64(n)
	}
	return string(out), true, true
}

func (c *Call) quoted(addr uint64, most int) string {
	s, more, ok := c.str(addr, most)
	if !ok {
		return pointer(addr)
	}
	return quote([]byte(s), more)
}

// quote escapes as C does.
func quote(b []byte, more bool) string {
	var s strings.Builder
	s.WriteByte('"')
	for i, x := range b {
		switch {
		case x == '\n':
			s.WriteString(`\n`)
		case x == '\t':
			s.WriteString(`\t`)
		case x == '\r':
			s.WriteString(`\r`)
		case x == '"' || x == '\\':
			s.WriteByte('\\')
			s.WriteByte(x)
		case x >= ' ' && x < 0x7f:
			s.WriteByte(x)
		case i+1 < len(b) && b[i+1] >= '0' && b[i+1] <= '7':
			fmt.Fprintf(&s, `\%03o`, x)
		default:
			fmt.Fprintf(&s, `\%o`, x)
		}
	}
	s.WriteByte('"')
	if more {
		s.WriteString("...")
	}
	return s.String()
}

func showPath(c *Call, i int) string { return c.quoted(c.regs[i], maxPath) }

// showBuf shows a buffer. Its length is the call's result where the call wrote
// it, and otherwise the next argument.
func showBuf(c *Call, i int) string {
	n := c.regs[i+1]
	if c.decoded().args[i].out {
		n = uint64(max(c.result, 0))
	}
	return c.bytes(c.regs[i], n)
}

func (c *Call) bytes(addr, n uint64) string {
	shown := min(n, maxShown)
	b := c.at(addr, int(shown))
	if b == nil {
		return pointer(addr)
	}
	return quote(b, n > shown)
}

func showIov(c *Call, i int) string {
	left := uint64(1) << 62
	if c.decoded().args[i].out {
		left = uint64(max(c.result, 0))
	}
	return c.iov(c.regs[i], c.regs[i+1], left)
}

func (c *Call) iov(addr, count, left uint64) string {
	n := min(count, maxVector)
	b := c.at(addr, int(n)*linux.SizeofIovec)
	if b == nil {
		return pointer(addr)
	}
	var parts []string
	for ; len(b) > 0; b = b[linux.SizeofIovec:] {
		v := linux.ReadIovec(b)
		parts = append(parts, fmt.Sprintf("{iov_base=%s, iov_len=%d}", c.bytes(v.Base, min(v.Len, left)), v.Len))
		left -= min(v.Len, left)
	}
	return list(parts, n < count)
}

func list(parts []string, more bool) string {
	if more {
		parts = append(parts, "...")
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func showArgv(c *Call, i int) string {
	var parts []string
	addr := c.regs[i]
	if addr == 0 {
		return "NULL"
	}
	for ; len(parts) < 4*maxVector; addr += 8 {
		b := c.at(addr, 8)
		if b == nil {
			return pointer(c.regs[i])
		}
		p := binary.LittleEndian.Uint64(b)
		if p == 0 {
			return list(parts, false)
		}
		parts = append(parts, c.quoted(p, 2*maxShown))
	}
	return list(parts, true)
}

// showArgc shows only the length of a vector of strings: an environment.
func showArgc(c *Call, i int) string {
	addr := c.regs[i]
	for n := 0; n < 4096; n++ {
		b := c.at(addr+uint64(8*n), 8)
		if b == nil {
			break
		}
		if binary.LittleEndian.Uint64(b) == 0 {
			return fmt.Sprintf("%s /* %d vars */", pointer(addr), n)
		}
	}
	return pointer(addr)
}

func showFDs(c *Call, i int) string {
	b := c.at(c.regs[i], 8)
	if b == nil {
		return pointer(c.regs[i])
	}
	return fmt.Sprintf("[%d, %d]", int32(binary.LittleEndian.Uint32(b)), int32(binary.LittleEndian.Uint32(b[4:])))
}

func showStat(c *Call, i int) string {
	b := c.at(c.regs[i], linux.SizeofStat)
	if b == nil {
		return pointer(c.regs[i])
	}
	st := linux.ReadStat(b)
	typ, _ := find(typeNames, uint64(st.Mode&linux.S_IFMT))
	size := fmt.Sprintf("st_size=%d", st.Size)
	if t := st.Mode & linux.S_IFMT; t == linux.S_IFCHR || t == linux.S_IFBLK {
		size = fmt.Sprintf("st_rdev=makedev(%#x, %#x)", linux.Major(st.Rdev), linux.Minor(st.Rdev))
	}
	return fmt.Sprintf("{st_mode=%s|%#o, %s, ...}", typ, st.Mode&linux.S_IALL, size)
}

func showTimespec(c *Call, i int) string { return c.timespec(c.regs[i], "nsec") }
func showTimeval(c *Call, i int) string  { return c.timespec(c.regs[i], "usec") }

func (c *Call) timespec(addr uint64, unit string) string {
	b := c.at(addr, linux.SizeofTimespec)
	if b == nil {
		return pointer(addr)
	}
	ts := linux.ReadTimespec(b)
	switch {
	case unit == "nsec" && ts.Nsec == linux.UTIME_NOW:
		return "UTIME_NOW"
	case unit == "nsec" && ts.Nsec == linux.UTIME_OMIT:
		return "UTIME_OMIT"
	}
	return fmt.Sprintf("{tv_sec=%d, tv_%s=%d}", ts.Sec, unit, ts.Nsec)
}

func showTimespec2(c *Call, i int) string {
	if c.regs[i] == 0 {
		return "NULL"
	}
	return "[" + c.timespec(c.regs[i], "nsec") + ", " + c.timespec(c.regs[i]+linux.SizeofTimespec, "nsec") + "]"
}

// showSockaddr shows an address whose length is the next argument, or behind it
// where the call wrote the address.
func showSockaddr(c *Call, i int) string {
	n := uint64(uint32(c.regs[i+1]))
	if c.decoded().args[i].out {
		b := c.at(c.regs[i+1], 4)
		if b == nil {
			return pointer(c.regs[i])
		}
		n = uint64(binary.LittleEndian.Uint32(b))
	}
	return c.sockaddr(c.regs[i], n)
}

func (c *Call) sockaddr(addr, n uint64) string {
	b := c.at(addr, int(min(n, linux.SizeofSockaddrStorage)))
	if len(b) < 2 {
		return pointer(addr)
	}
	family := linux.SockaddrFamily(b)
	name, ok := find(familyNames, uint64(family))
	if !ok {
		name = strconv.Itoa(family)
	}
	switch family {
	case linux.AF_UNIX:
		if path, err := linux.ParseSockaddrUnix(b); err == nil && path != "" {
			return fmt.Sprintf("{sa_family=AF_UNIX, sun_path=%s}", sunPath(path))
		}
	case linux.AF_INET, linux.AF_INET6:
		var ap netip.AddrPort
		if a, _, err := linux.ParseSockaddrInet(b); err == nil {
			ap = a
		}
		return fmt.Sprintf("{sa_family=%s, %s}", name, ap)
	}
	return fmt.Sprintf("{sa_family=%s}", name)
}

func sunPath(path string) string {
	if path[0] == 0 {
		return "@" + quote([]byte(path[1:]), false)
	}
	return quote([]byte(path), false)
}

func showMsghdr(c *Call, i int) string {
	b := c.at(c.regs[i], linux.SizeofMsghdr)
	if b == nil {
		return pointer(c.regs[i])
	}
	m := linux.ReadMsghdr(b)
	left := uint64(1) << 62
	if c.decoded().args[i].out {
		left = uint64(max(c.result, 0))
	}
	return fmt.Sprintf("{msg_name=%s, msg_iov=%s, msg_controllen=%d, msg_flags=%s}",
		c.sockaddr(m.Name, uint64(m.Namelen)), c.iov(m.Iov, m.Iovlen, left), m.Controllen, flags(msgNames, uint64(m.Flags)))
}

func showPollFDs(c *Call, i int) string {
	count := uint64(uint32(c.regs[i+1]))
	n := min(count, maxVector)
	b := c.at(c.regs[i], int(n)*linux.SizeofPollFD)
	if b == nil {
		return pointer(c.regs[i])
	}
	var parts []string
	for ; len(b) > 0; b = b[linux.SizeofPollFD:] {
		p := linux.ReadPollFD(b)
		parts = append(parts, fmt.Sprintf("{fd=%d, events=%s}", p.FD, flags(pollNames, uint64(uint16(p.Events)))))
	}
	return list(parts, n < count)
}

func showEpollEvents(c *Call, i int, count int64) string {
	n := min(max(count, 0), maxVector)
	if n == 0 {
		return "[]"
	}
	b := c.at(c.regs[i], int(n)*linux.SizeofEpollEvent)
	if b == nil {
		return pointer(c.regs[i])
	}
	var parts []string
	for ; len(b) > 0; b = b[linux.SizeofEpollEvent:] {
		e := linux.ReadEpollEvent(b)
		parts = append(parts, fmt.Sprintf("{events=%s, data=%#x}", flags(epollNames, uint64(e.Events)), e.Data))
	}
	return list(parts, n < count)
}

func showSigSet(c *Call, i int) string {
	b := c.at(c.regs[i], linux.SizeofSigSet)
	if b == nil {
		return pointer(c.regs[i])
	}
	return sigSet(linux.SigSet(binary.LittleEndian.Uint64(b)))
}

// sigSet shows a set, or what is not in it where that is less.
func sigSet(s linux.SigSet) string {
	not, of := "", s
	in := 0
	for n := linux.Signal(1); n <= linux.NSIG; n++ {
		if s.Has(n) {
			in++
		}
	}
	if in > linux.NSIG/2 {
		not, of = "~", ^s
	}
	var parts []string
	for n := linux.Signal(1); n <= linux.NSIG; n++ {
		if of.Has(n) {
			parts = append(parts, strings.TrimPrefix(signalName(int32(n)), "SIG"))
		}
	}
	return not + "[" + strings.Join(parts, " ") + "]"
}

func showSigAction(c *Call, i int) string {
	b := c.at(c.regs[i], linux.SizeofSigAction)
	if b == nil {
		return pointer(c.regs[i])
	}
	a := linux.ReadSigAction(b)
	handler := pointer(a.Handler)
	switch a.Handler {
	case linux.SIG_DFL:
		handler = "SIG_DFL"
	case linux.SIG_IGN:
		handler = "SIG_IGN"
	}
	return fmt.Sprintf("{sa_handler=%s, sa_mask=%s, sa_flags=%s}", handler, sigSet(a.Mask), flags(sigactionNames, a.Flags))
}

func showStatus(c *Call, i int) string {
	b := c.at(c.regs[i], 4)
	if b == nil || c.result <= 0 {
		return pointer(c.regs[i])
	}
	switch v := binary.LittleEndian.Uint32(b); {
	case v&0x7f == 0:
		return fmt.Sprintf("[{WIFEXITED(s) && WEXITSTATUS(s) == %d}]", v>>8&0xff)
	case v&0xff == 0x7f:
		return fmt.Sprintf("[{WIFSTOPPED(s) && WSTOPSIG(s) == %s}]", signalName(int32(v>>8)))
	case v == 0xffff:
		return "[{WIFCONTINUED(s)}]"
	default:
		return fmt.Sprintf("[{WIFSIGNALED(s) && WTERMSIG(s) == %s}]", signalName(int32(v&0x7f)))
	}
}

func showRlimit(c *Call, i int) string {
	b := c.at(c.regs[i], 16)
	if b == nil {
		return pointer(c.regs[i])
	}
	return fmt.Sprintf("{rlim_cur=%s, rlim_max=%s}", limit(binary.LittleEndian.Uint64(b)), limit(binary.LittleEndian.Uint64(b[8:])))
}

func limit(v uint64) string {
	if v == ^uint64(0) {
		return "RLIM64_INFINITY"
	}
	return strconv.FormatUint(v, 10)
}

func showClone3(c *Call, i int) string {
	b := c.at(c.regs[i], 64)
	if b == nil {
		return pointer(c.regs[i])
	}
	le := binary.LittleEndian
	return fmt.Sprintf("{flags=%s, exit_signal=%s, stack=%s, stack_size=%#x}", flags(cloneNames, le.Uint64(b)),
		signalName(int32(le.Uint64(b[32:]))), pointer(le.Uint64(b[40:])), le.Uint64(b[48:]))
}

func showOpenHow(c *Call, i int) string {
	b := c.at(c.regs[i], linux.SizeofOpenHow)
	if b == nil {
		return pointer(c.regs[i])
	}
	le := binary.LittleEndian
	how := Call{regs: [6]uint64{le.Uint64(b)}}
	return fmt.Sprintf("{flags=%s, mode=%#o, resolve=%s}", showOpen(&how, 0), le.Uint64(b[8:]), flags(resolveNames, le.Uint64(b[16:])))
}
