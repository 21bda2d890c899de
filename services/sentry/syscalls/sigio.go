package syscalls

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Kinds of owner: struct f_owner_ex of fcntl(2).
const (
	ownerTID = iota
	ownerPID
	ownerPGRP
)

// ioOwner is whom a file tells of readiness by a signal, as F_SETOWN, F_SETOWN_EX and
// F_SETSIG have said. It is not changed: each of those makes a new one.
type ioOwner struct {
	k         *task.Kernel
	kind      int32
	id        int32        // 0: nobody
	sig       linux.Signal // 0: SIGIO, without saying more
	fd        linux.FD     // what si_fd says
	uid, euid uint32       // of who set it: the permission to signal is theirs
}

// ioOwnerOf is the file's, or one that tells nobody.
func ioOwnerOf(t *task.Task, f *vfs.File) ioOwner {
	if o, ok := f.Owner().(*ioOwner); ok {
		return *o
	}
	return ioOwner{k: t.Kernel()}
}

func setOwner(t *task.Task, f *vfs.File, fd linux.FD, kind, id int32) error {
	o := ioOwnerOf(t, f)
	o.kind, o.id, o.fd = kind, id, fd
	o.uid, o.euid = t.Creds().UID, t.Creds().EUID
	f.SetOwner(&o)
	return nil
}

// setOwnerNumber is F_SETOWN: a process, or below 0 a group. EINVAL, ESRCH.
func setOwnerNumber(t *task.Task, f *vfs.File, fd linux.FD, n int32) error {
	kind := int32(ownerPID)
	if n < 0 {
		if n == -1<<31 {
			return linux.EINVAL
		}
		kind, n = ownerPGRP, -n
	}
	if err := owned(t, kind, n); err != nil {
		return err
	}
	return setOwner(t, f, fd, kind, t.PIDOf(n))
}

// owned says whether there is such an owner, by the caller's number.
func owned(t *task.Task, kind, id int32) error {
	switch {
	case id == 0:
		return nil
	case kind == ownerTID && t.Named(id) == nil,
		kind == ownerPID && t.NamedGroup(id) == nil,
		kind == ownerPGRP && len(t.Kernel().ProcessGroup(t.PIDOf(id))) == 0:
		return linux.ESRCH
	}
	return nil
}

// numberFor is F_GETOWN by t.
func (o *ioOwner) numberFor(t *task.Task) int32 {
	if o.kind == ownerPGRP {
		return -t.ShowPID(o.id)
	}
	return t.ShowPID(o.id)
}

// ownerEx is F_SETOWN_EX and F_GETOWN_EX.
func ownerEx(t *task.Task, f *vfs.File, fd linux.FD, addr mm.Addr, set bool) error {
	var b [8]byte
	le := binary.LittleEndian
	if !set {
		o := ioOwnerOf(t, f)
		le.PutUint32(b[:], uint32(o.kind))
		le.PutUint32(b[4:], uint32(t.ShowPID(o.id)))
		return t.CopyOut(addr, b[:])
	}
	if err := t.CopyIn(addr, b[:]); err != nil {
		return err
	}
	kind, id := int32(le.Uint32(b[:])), int32(le.Uint32(b[4:]))
	if kind < ownerTID || kind > ownerPGRP || id < 0 {
		return linux.EINVAL
	}
	if err := owned(t, kind, id); err != nil {
		return err
	}
	return setOwner(t, f, fd, kind, t.PIDOf(id))
}

// setOwnerSignal is F_SETSIG.
func setOwnerSignal(t *task.Task, f *vfs.File, fd linux.FD, sig uint64) error {
	if sig != 0 && (sig > linux.NSIG || !linux.Signal(sig).Valid()) {
		return linux.EINVAL
	}
	o := ioOwnerOf(t, f)
	o.sig, o.fd = linux.Signal(sig), fd
	f.SetOwner(&o)
	return nil
}

// bands are si_code and si_band of what may happen, in the order in which one signal
// tells of one: fs/fcntl.c, band_table.
var bands = []struct {
	events wait.Events
	code   int32
	band   uint64
}{
	{wait.In, 1, 0x41}, {wait.Out, 2, 0x304}, {wait.Err, 4, 8}, {wait.Pri, 5, 0x82}, {wait.Hup, 6, 0x18},
	{vfs.LeaseBroken, 3, 0x441},
}

// Signal tells the owner. SIGURG is signal and reason at once.
func (o *ioOwner) Signal(events wait.Events) {
	if events&wait.Urg != 0 {
		o.send(linux.SigInfo{Signo: int32(linux.SIGURG), Code: linux.SI_KERNEL})
	}
	for _, b := range bands {
		if events&b.events == 0 {
			continue
		}
		info := linux.SigInfo{Signo: int32(linux.SIGIO), Code: linux.SI_KERNEL}
		if o.sig != 0 {
			info.Signo, info.Code = int32(o.sig), b.code
			binary.LittleEndian.PutUint64(info.Fields[:], b.band)
			binary.LittleEndian.PutUint32(info.Fields[8:], uint32(o.fd))
		}
		o.send(info)
		if o.sig == 0 {
			return // one says all
		}
	}
}

func (o *ioOwner) send(info linux.SigInfo) {
	switch o.kind {
	case ownerTID:
		if t := o.k.Task(o.id); t != nil && o.may(t) {
			t.Send(info)
		}
	case ownerPID:
		o.sendTo(o.k.Group(o.id), info)
	case ownerPGRP:
		for _, g := range o.k.ProcessGroup(o.id) {
			o.sendTo(g, info)
		}
	}
}

func (o *ioOwner) sendTo(g *task.Group, info linux.SigInfo) {
	if g == nil || o.id == 0 {
		return
	}
	if l := g.Leader(); l != nil && o.may(l) {
		g.Send(info)
	}
}

// may is the permission of fs/fcntl.c, sigio_perm.
func (o *ioOwner) may(t *task.Task) bool {
	c := t.Creds()
	return c != nil && (o.euid == 0 || o.euid == c.SUID || o.euid == c.UID || o.uid == c.SUID || o.uid == c.UID)
}
