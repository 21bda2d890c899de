package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

const (
	capVersion1 = 0x19980330
	capVersion2 = 0x20071026
	capVersion3 = 0x20080522
)

// capHeader reads a cap_user_header; words is how many sets of 32 bits follow.
func capHeader(t *task.Task, addr mm.Addr) (pid int32, words int, err error) {
	var buf [8]byte
	if err := t.CopyIn(addr, buf[:]); err != nil {
		return 0, 0, err
	}
	switch binary.LittleEndian.Uint32(buf[:]) {
	case capVersion1:
		words = 1
	case capVersion2, capVersion3:
		words = 2
	default:
		if err := t.CopyOut(addr, le32(capVersion3)); err != nil {
			return 0, 0, err
		}
		return 0, 0, linux.EINVAL
	}
	return int32(binary.LittleEndian.Uint32(buf[4:])), words, nil
}

// capget gives a thread's capabilities: capget(2).
func capget(t *task.Task, header, data mm.Addr) (uint64, error) {
	pid, words, err := capHeader(t, header)
	if err != nil {
		if err == linux.EINVAL && data == 0 {
			return 0, nil // asking for the version
		}
		return 0, err
	}
	o := t
	if pid != 0 {
		if o = t.Named(pid); o == nil {
			return 0, linux.ESRCH
		}
	}
	if data == 0 {
		return 0, nil
	}
	c := o.Creds()
	var buf []byte
	for i := range words {
		for _, s := range []vfs.Caps{c.Effective, c.Permitted, c.Inheritable} {
			buf = binary.LittleEndian.AppendUint32(buf, uint32(s>>(32*i)))
		}
	}
	return 0, t.CopyOutLater(data, buf)
}

func capset(t *task.Task, header, data mm.Addr) (uint64, error) {
	pid, words, err := capHeader(t, header)
	if err != nil {
		return 0, err
	}
	if pid != 0 && pid != t.Number() {
		return 0, linux.EPERM
	}
	buf := make([]byte, 12*words)
	if err := t.CopyIn(data, buf); err != nil {
		return 0, err
	}
	var sets [3]vfs.Caps
	for i := range words {
		for j := range sets {
			sets[j] |= vfs.Caps(binary.LittleEndian.Uint32(buf[12*i+4*j:])) << (32 * i)
		}
	}
	effective, permitted, inheritable := sets[0]&vfs.AllCaps, sets[1]&vfs.AllCaps, sets[2]&vfs.AllCaps
	old := t.Creds()
	switch {
	case permitted&^old.Permitted != 0, effective&^permitted != 0:
		return 0, linux.EPERM
	case inheritable&^(old.Inheritable|old.Bounding) != 0:
		return 0, linux.EPERM
	case !old.HasOwn(linux.CAP_SETPCAP) && inheritable&^(old.Inheritable|old.Permitted) != 0:
		return 0, linux.EPERM
	}
	c := old.Clone()
	c.Effective, c.Permitted, c.Inheritable = effective, permitted, inheritable
	c.Ambient &= permitted & inheritable
	t.SetCreds(c)
	return 0, nil
}

func prctlGetKeepCaps(t *task.Task, _ prctlArgs) (uint64, error) {
	return oneIf(t.Creds().SecureBits&linux.SECBIT_KEEP_CAPS != 0), nil
}

// prctlSetKeepCaps is PR_SET_KEEPCAPS: EINVAL, EPERM.
func prctlSetKeepCaps(t *task.Task, a prctlArgs) (uint64, error) {
	if a[0] > 1 {
		return 0, linux.EINVAL
	}
	c := t.Creds().Clone()
	if c.SecureBits&linux.SECBIT_KEEP_CAPS_LOCKED != 0 {
		return 0, linux.EPERM
	}
	c.SecureBits &^= linux.SECBIT_KEEP_CAPS
	if a[0] == 1 {
		c.SecureBits |= linux.SECBIT_KEEP_CAPS
	}
	t.SetCreds(c)
	return 0, nil
}

func prctlGetSecureBits(t *task.Task, _ prctlArgs) (uint64, error) {
	return uint64(t.Creds().SecureBits), nil
}

// prctlSetSecureBits is PR_SET_SECUREBITS: EPERM, also for what is locked or unknown.
func prctlSetSecureBits(t *task.Task, a prctlArgs) (uint64, error) {
	c := t.Creds().Clone()
	old, bits := uint64(c.SecureBits), a[0]
	const locks = linux.SECURE_ALL_LOCKS
	if old&locks>>1&(old^bits) != 0 || old&locks&^bits != 0 || bits&^(locks|locks>>1) != 0 || !c.HasOwn(linux.CAP_SETPCAP) {
		return 0, linux.EPERM
	}
	c.SecureBits = uint32(bits)
	t.SetCreds(c)
	return 0, nil
}

func prctlReadBounding(t *task.Task, a prctlArgs) (uint64, error) {
	if a[0] > uint64(linux.CAP_LAST_CAP) {
		return 0, linux.EINVAL
	}
	return oneIf(t.Creds().Bounding.Has(linux.Cap(a[0]))), nil
}

// prctlDropBounding is PR_CAPBSET_DROP: EINVAL, EPERM.
func prctlDropBounding(t *task.Task, a prctlArgs) (uint64, error) {
	c := t.Creds().Clone()
	if !c.HasOwn(linux.CAP_SETPCAP) {
		return 0, linux.EPERM
	}
	if a[0] > uint64(linux.CAP_LAST_CAP) {
		return 0, linux.EINVAL
	}
	c.Bounding &^= vfs.CapsOf(linux.Cap(a[0]))
	t.SetCreds(c)
	return 0, nil
}

// prctlAmbient is PR_CAP_AMBIENT: EINVAL, EPERM.
func prctlAmbient(t *task.Task, a prctlArgs) (uint64, error) {
	c := t.Creds().Clone()
	if a[0] == unix.PR_CAP_AMBIENT_CLEAR_ALL {
		if a[1] != 0 {
			return 0, linux.EINVAL
		}
		c.Ambient = 0
		t.SetCreds(c)
		return 0, nil
	}
	if a[1] > uint64(linux.CAP_LAST_CAP) {
		return 0, linux.EINVAL
	}
	set := vfs.CapsOf(linux.Cap(a[1]))
	switch a[0] {
	case unix.PR_CAP_AMBIENT_IS_SET:
		return oneIf(c.Ambient&set != 0), nil
	case unix.PR_CAP_AMBIENT_RAISE:
		if c.Permitted&c.Inheritable&set == 0 || c.SecureBits&linux.SECBIT_NO_CAP_AMBIENT_RAISE != 0 {
			return 0, linux.EPERM
		}
		c.Ambient |= set
	case unix.PR_CAP_AMBIENT_LOWER:
		c.Ambient &^= set
	default:
		return 0, linux.EINVAL
	}
	t.SetCreds(c)
	return 0, nil
}
