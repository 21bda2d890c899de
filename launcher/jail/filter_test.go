package jail

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// run gives the action of f for a call, by the assembler's own machine.
func run(t *testing.T, f Filter, arch, call uint32, args ...uint64) uint32 {
	t.Helper()
	code, err := f.assemble()
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		t.Fatal(err)
	}
	// The machine reads words of packets, which are big-endian.
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[dataCall:], call)
	binary.BigEndian.PutUint32(data[dataArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[dataArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[dataArgs+8*i+4:], uint32(a>>32))
	}
	n, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func TestProgram(t *testing.T) {
	f := Filter{
		Allow(unix.SYS_READ, "plain"),
		Allow(unix.SYS_IOCTL, "two of an int", Int(1, 0x5401, 0x5413)),
		Allow(unix.SYS_CLONE, "a long", Long(0, 0x1_0000_0002)),
		Allow(unix.SYS_MMAP, "no bit, and an int", Without(2, unix.PROT_EXEC), Int(4, 0xffffffff)),
		Allow(unix.SYS_MMAP, "or a long of two", Long(0, 7, 9)),
		Refuse(unix.SYS_CLONE3, unix.ENOSYS, "refused"),
		Allow(unix.SYS_PRCTL, "first"),
		Refuse(unix.SYS_PRCTL, unix.EPERM, "shadowed"),
	}
	const arch = unix.AUDIT_ARCH_X86_64
	enosys := uint32(actErrno | uint32(unix.ENOSYS))
	for _, tt := range []struct {
		name       string
		arch, call uint32
		args       []uint64
		want       uint32
	}{
		{"plain", arch, unix.SYS_READ, nil, actAllow},
		{"not listed", arch, unix.SYS_OPEN, nil, actTrap},
		{"other architecture", unix.AUDIT_ARCH_I386, unix.SYS_READ, nil, actKill},
		{"x32", arch, unix.SYS_READ | x32Bit, nil, actKill},
		{"x32 of no call", arch, 0xffffffff, nil, actKill},
		{"first value", arch, unix.SYS_IOCTL, []uint64{0, 0x5401}, actAllow},
		{"last value", arch, unix.SYS_IOCTL, []uint64{0, 0x5413}, actAllow},
		{"an int's high bits do not count", arch, unix.SYS_IOCTL, []uint64{0, 0xdead_0000_5413}, actAllow},
		{"other value", arch, unix.SYS_IOCTL, []uint64{0, 0x5414}, actTrap},
		{"long", arch, unix.SYS_CLONE, []uint64{0x1_0000_0002}, actAllow},
		{"a long's high bits count", arch, unix.SYS_CLONE, []uint64{2}, actTrap},
		{"a long's low bits count", arch, unix.SYS_CLONE, []uint64{0x1_0000_0000}, actTrap},
		{"both checks", arch, unix.SYS_MMAP, []uint64{0, 0, 3, 0, 0xffffffff}, actAllow},
		{"first check fails", arch, unix.SYS_MMAP, []uint64{0, 0, 7, 0, 0xffffffff}, actTrap},
		{"second check fails", arch, unix.SYS_MMAP, []uint64{0, 0, 3, 0, 3}, actTrap},
		{"alternative, first value", arch, unix.SYS_MMAP, []uint64{7, 0, 7, 0, 3}, actAllow},
		{"alternative, second value", arch, unix.SYS_MMAP, []uint64{9, 0, 7, 0, 3}, actAllow},
		{"errno", arch, unix.SYS_CLONE3, nil, enosys},
		{"unconditional rule is final", arch, unix.SYS_PRCTL, nil, actAllow},
	} {
		if got := run(t, f, tt.arch, tt.call, tt.args...); got != tt.want {
			t.Errorf("%s: %#x, want %#x", tt.name, got, tt.want)
		}
	}
	if f.Calls() != 5 {
		t.Errorf("lets through %d calls, want 5", f.Calls())
	}
}

func TestProgramRefusesNonsense(t *testing.T) {
	for _, f := range []Filter{
		{Allow(unix.SYS_READ, "no such argument", Int(6, 1))},
		{Allow(unix.SYS_READ, "no values", Int(0))},
		{Allow(unix.SYS_READ, "too long", Int(0, make([]uint64, 300)...))},
	} {
		if _, err := f.Program(); err == nil {
			t.Errorf("assembled %s", f)
		}
	}
}
