package syscalls

import (
	"encoding/binary"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/cgroupfs"
	"bulkhead/services/sentry/ebpf"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// bpfAttrMost is the size of the largest union bpf_attr that is known, in bytes.
const bpfAttrMost = 168

// bpfAttr is a union bpf_attr, with zeroes for what the caller has not.
type bpfAttr [bpfAttrMost]byte

func (a *bpfAttr) word(at int) uint32 { return binary.LittleEndian.Uint32(a[at:]) }
func (a *bpfAttr) addr(at int) uint64 { return binary.LittleEndian.Uint64(a[at:]) }
func (a *bpfAttr) fd(at int) linux.FD { return linux.FD(int32(a.word(at))) }

// bpf knows the programs that say which devices a control group may use, and no others,
// nor maps: bpf(2). EPERM for all else.
func bpf(t *task.Task, cmd uint32, addr mm.Addr, size uint32) (uint64, error) {
	c := t.Creds()
	admin := c.Has(linux.CAP_SYS_ADMIN)
	if !admin && !(c.Has(linux.CAP_BPF) && c.Has(linux.CAP_NET_ADMIN)) {
		return 0, linux.EPERM
	}
	if size > mm.PageSize {
		return 0, linux.E2BIG
	}
	all := make([]byte, max(size, bpfAttrMost))
	if err := t.CopyIn(addr, all[:size]); err != nil {
		return 0, err
	}
	for _, b := range all[bpfAttrMost:] {
		if b != 0 {
			return 0, linux.E2BIG
		}
	}
	a := bpfAttr(all)
	switch cmd {
	case unix.BPF_PROG_LOAD:
		return bpfLoad(t, &a)
	case unix.BPF_PROG_ATTACH:
		return 0, bpfAttach(t, &a)
	case unix.BPF_PROG_DETACH:
		return 0, bpfDetach(t, &a)
	case unix.BPF_PROG_QUERY:
		return 0, bpfQuery(t, &a, addr)
	case unix.BPF_PROG_GET_FD_BY_ID:
		p := t.Kernel().Cgroups.Program(a.word(0))
		if p == nil {
			return 0, linux.ENOENT
		}
		return installProgram(t, p, unix.BPF_PROG_TYPE_CGROUP_DEVICE)
	case unix.BPF_OBJ_GET_INFO_BY_FD:
		return 0, bpfInfo(t, &a, addr)
	}
	return 0, linux.EPERM
}

// bpfFile is an open program.
type bpfFile struct {
	*cgroupfs.DeviceProgram
	kind uint32 // BPF_PROG_TYPE_CGROUP_DEVICE, unless it is only here to have been loaded
}

// Release implements vfs.Impl.
func (bpfFile) Release() {}

var lastProgram atomic.Uint32

func installProgram(t *task.Task, p *cgroupfs.DeviceProgram, kind uint32) (uint64, error) {
	fd, err := t.Install(vfs.NewAnonFile(bpfFile{p, kind}, "anon_inode:bpf-prog", linux.O_RDWR), 0, true)
	return uint64(fd), err
}

// bpfLoad is BPF_PROG_LOAD: EPERM, EINVAL, EACCES, E2BIG. runc finds out whether programs
// can be attached by loading one for packets, which cannot.
func bpfLoad(t *task.Task, a *bpfAttr) (uint64, error) {
	const most = 4096
	kind, n := a.word(0), a.word(4)
	switch {
	case kind != unix.BPF_PROG_TYPE_CGROUP_DEVICE && kind != unix.BPF_PROG_TYPE_CGROUP_SKB:
		return 0, linux.EPERM
	case n == 0 || n > most:
		return 0, linux.E2BIG
	}
	text := make([]byte, 8*n)
	if err := t.CopyIn(a.addr(8), text); err != nil {
		return 0, err
	}
	if _, err := t.CopyInString(mm.Addr(a.addr(16)), 128); err != nil {
		return 0, linux.EFAULT
	}
	code, err := ebpf.New(text, kind == unix.BPF_PROG_TYPE_CGROUP_DEVICE)
	if err != nil {
		return 0, err
	}
	p := &cgroupfs.DeviceProgram{Program: code, ID: lastProgram.Add(1)}
	copy(p.Name[:15], a[48:63])
	return installProgram(t, p, kind)
}

// programOf is the program that fd is of: EBADF, EINVAL.
func programOf(t *task.Task, fd linux.FD) (*cgroupfs.DeviceProgram, error) {
	f, err := t.File(fd)
	if err != nil {
		return nil, err
	}
	defer f.DecRef(t)
	p, ok := f.Impl().(bpfFile)
	if !ok || p.kind != unix.BPF_PROG_TYPE_CGROUP_DEVICE {
		return nil, linux.EINVAL
	}
	return p.DeviceProgram, nil
}

// bpfAttach is BPF_PROG_ATTACH. A group may have several, and those below it others: what
// does not allow that is refused.
func bpfAttach(t *task.Task, a *bpfAttr) error {
	const multi, replace = 2, 4
	flags := a.word(12)
	if a.word(8) != unix.BPF_CGROUP_DEVICE || flags&^replace != multi {
		return linux.EINVAL
	}
	p, err := programOf(t, a.fd(4))
	if err != nil {
		return err
	}
	c, err := cgroupOf(t, a.fd(0))
	if err != nil {
		return err
	}
	var instead *cgroupfs.DeviceProgram
	if flags&replace != 0 {
		if instead, err = programOf(t, a.fd(16)); err != nil {
			return err
		}
	}
	return c.Attach(p, instead)
}

// bpfDetach is BPF_PROG_DETACH: EINVAL without a program, ENOENT.
func bpfDetach(t *task.Task, a *bpfAttr) error {
	if a.word(8) != unix.BPF_CGROUP_DEVICE {
		return linux.EINVAL
	}
	c, err := cgroupOf(t, a.fd(0))
	if err != nil {
		return err
	}
	p, err := programOf(t, a.fd(4))
	if err != nil && len(c.Programs(false)) > 0 {
		return linux.EINVAL
	}
	return c.Detach(p)
}

// bpfQuery is BPF_PROG_QUERY: which programs a group has, or with those above it.
func bpfQuery(t *task.Task, a *bpfAttr, addr mm.Addr) error {
	const effective, multi = 1, 2
	flags := a.word(8)
	if a.word(4) != unix.BPF_CGROUP_DEVICE || flags&^effective != 0 {
		return linux.EINVAL
	}
	c, err := cgroupOf(t, a.fd(0))
	if err != nil {
		return err
	}
	programs := c.Programs(flags&effective != 0)
	room := a.word(24)
	var out [8]byte
	if len(programs) > 0 && flags&effective == 0 {
		out[0] = multi
	}
	if err := t.CopyOut(uint64(addr)+12, out[:4]); err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(out[:], uint32(len(programs)))
	if err := t.CopyOut(uint64(addr)+24, out[:4]); err != nil {
		return err
	}
	if room == 0 || a.addr(16) == 0 || len(programs) == 0 {
		return nil
	}
	var ids []byte
	for _, p := range programs[:min(len(programs), int(room))] {
		ids = binary.LittleEndian.AppendUint32(ids, p.ID)
	}
	if err := t.CopyOut(a.addr(16), ids); err != nil {
		return err
	}
	if int(room) < len(programs) {
		return linux.ENOSPC
	}
	return nil
}

// bpfInfo is BPF_OBJ_GET_INFO_BY_FD of a program: its struct bpf_prog_info, whose first 80
// bytes have something to tell.
func bpfInfo(t *task.Task, a *bpfAttr, addr mm.Addr) error {
	const infoSize = 80
	p, err := programOf(t, a.fd(0))
	if err != nil {
		return err
	}
	info := make([]byte, infoSize)
	binary.LittleEndian.PutUint32(info[0:], unix.BPF_PROG_TYPE_CGROUP_DEVICE)
	binary.LittleEndian.PutUint32(info[4:], p.ID)
	copy(info[64:], p.Name[:])
	info = info[:min(infoSize, a.word(4))]
	if err := t.CopyOut(a.addr(8), info); err != nil {
		return err
	}
	return t.CopyOut(uint64(addr)+4, binary.LittleEndian.AppendUint32(nil, uint32(len(info))))
}
