package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/sysvipc"
	"bulkhead/services/sentry/task"
)

// Sizes of what the ctl calls of System V IPC read and write, in bytes.
const (
	sizeofIpcPerm = 48
	sizeofShmidDs = 112
	sizeofShminfo = 72
	sizeofShmInfo = 48
)

// putIpcPerm writes struct ipc64_perm.
func putIpcPerm(b []byte, p sysvipc.Perm) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(p.Key))
	le.PutUint32(b[4:], p.UID)
	le.PutUint32(b[8:], p.GID)
	le.PutUint32(b[12:], p.CUID)
	le.PutUint32(b[16:], p.CGID)
	le.PutUint32(b[20:], p.Mode)
	le.PutUint16(b[24:], p.Seq)
}

// copyInIpcPerm reads what IPC_SET sets of a struct that begins with an ipc64_perm;
// the whole struct comes with it.
func copyInIpcPerm(t *task.Task, addr mm.Addr, size int) (sysvipc.Perm, []byte, error) {
	b := make([]byte, size)
	if err := t.CopyIn(addr, b); err != nil {
		return sysvipc.Perm{}, nil, err
	}
	le := binary.LittleEndian
	return sysvipc.Perm{UID: le.Uint32(b[4:]), GID: le.Uint32(b[8:]), Mode: le.Uint32(b[20:])}, b, nil
}

// shmget finds or makes a segment of shared memory: shmget(2).
func shmget(t *task.Task, key int32, size uint64, flags int32) (uint64, error) {
	t.IPC().Sweep(t.Kernel().Attached)
	id, err := t.IPC().Shmget(t, key, size, flags)
	return uint64(uint32(id)), err
}

// shmat maps a segment: shmat(2).
func shmat(t *task.Task, id int32, addr mm.Addr, flags int32) (uint64, error) {
	m := mm.Mapping{Prot: unix.PROT_READ | unix.PROT_WRITE, Flags: unix.MAP_SHARED, Limits: limits(t)}
	if addr != 0 {
		if addr%mm.PageSize != 0 {
			if flags&sysvipc.SHM_RND == 0 {
				return 0, linux.EINVAL
			}
			addr = mm.PageDown(addr)
			if addr == 0 && flags&sysvipc.SHM_REMAP != 0 {
				return 0, linux.EINVAL
			}
		}
		m.Addr = addr
		m.Flags |= unix.MAP_FIXED
		if flags&sysvipc.SHM_REMAP == 0 {
			m.Flags = unix.MAP_SHARED | unix.MAP_FIXED_NOREPLACE
		}
	} else if flags&sysvipc.SHM_REMAP != 0 {
		return 0, linux.EINVAL
	}
	if flags&sysvipc.SHM_RDONLY != 0 {
		m.Prot, m.NoWrite = unix.PROT_READ, true
	}
	if flags&sysvipc.SHM_EXEC != 0 {
		m.Prot |= unix.PROT_EXEC
	}
	segment, fd, err := t.IPC().Attach(t, id, flags)
	if err != nil {
		return 0, err
	}
	m.File, m.Len, m.FD, m.OwnedFD = segment.Backing(), segment.Size(), fd, true
	at, undo, err := t.MM().Map(t.Thread(), m)
	if err == linux.EEXIST {
		err = linux.EINVAL
	}
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	t.OnFailure(func(linux.Errno) { undo() })
	return at, nil
}

// shmdt takes a segment's mapping away: shmdt(2).
func shmdt(t *task.Task, addr mm.Addr) (uint64, error) {
	if addr%mm.PageSize != 0 {
		return 0, linux.EINVAL
	}
	k, space := t.Kernel(), t.MM()
	var file *mm.Backing
	for _, r := range space.Regions() {
		if r.File == nil || r.Start < addr || r.Start-addr != r.Offset || file != nil && r.File != file {
			continue
		}
		if file == nil && !t.IPC().IsSegment(r.File) {
			continue
		}
		file = r.File
		if err := space.Unmap(t.Thread(), r.Start, r.Len()); err != nil {
			return 0, err
		}
	}
	if file == nil {
		return 0, linux.EINVAL
	}
	t.IPC().Detached(file, t.TGID())
	t.IPC().Sweep(k.Attached)
	return 0, nil
}

// shmctl tells of a segment, changes or removes it: shmctl(2).
func shmctl(t *task.Task, id, cmd int32, buf mm.Addr) (uint64, error) {
	k := t.Kernel()
	ipc := t.IPC()
	ipc.Sweep(k.Attached)
	if id < 0 || cmd < 0 {
		return 0, linux.EINVAL
	}
	switch cmd {
	case sysvipc.IPC_INFO, sysvipc.SHM_INFO:
		return shmInfo(t, cmd, buf)
	case sysvipc.IPC_STAT, sysvipc.SHM_STAT, sysvipc.SHM_STAT_ANY:
		byIndex := cmd != sysvipc.IPC_STAT
		st, err := ipc.StatShm(t, id, byIndex, cmd == sysvipc.SHM_STAT_ANY, k.Attached)
		if err != nil {
			return 0, err
		}
		b, le := make([]byte, sizeofShmidDs), binary.LittleEndian
		putIpcPerm(b, st.Perm)
		le.PutUint64(b[48:], st.Size)
		le.PutUint64(b[56:], uint64(st.Atime))
		le.PutUint64(b[64:], uint64(st.Dtime))
		le.PutUint64(b[72:], uint64(st.Ctime))
		le.PutUint32(b[80:], uint32(t.ShowPID(st.Creator)))
		le.PutUint32(b[84:], uint32(t.ShowPID(st.Last)))
		le.PutUint64(b[88:], uint64(st.Attached))
		return idIf(byIndex, st.ID), t.CopyOut(buf, b)
	case sysvipc.IPC_SET:
		perm, _, err := copyInIpcPerm(t, buf, sizeofShmidDs)
		if err != nil {
			return 0, err
		}
		return 0, ipc.SetShm(t, id, perm)
	case sysvipc.IPC_RMID:
		return 0, ipc.RemoveShm(t, id, k.Attached)
	case sysvipc.SHM_LOCK, sysvipc.SHM_UNLOCK:
		return 0, ipc.LockShm(t, id, cmd == sysvipc.SHM_LOCK)
	}
	return 0, linux.EINVAL
}

// idIf is what the STAT calls that go by index give.
func idIf(byIndex bool, id int32) uint64 {
	if byIndex {
		return uint64(uint32(id))
	}
	return 0
}

// shmInfo is IPC_INFO and SHM_INFO, which give the highest index in use.
func shmInfo(t *task.Task, cmd int32, buf mm.Addr) (uint64, error) {
	highest, count, pages, resident := t.IPC().ShmUse()
	le := binary.LittleEndian
	var b []byte
	if cmd == sysvipc.IPC_INFO {
		b = make([]byte, sizeofShminfo)
		for i, v := range []uint64{sysvipc.ShmMax, 1, 4096, 4096, sysvipc.ShmAll} {
			le.PutUint64(b[8*i:], v)
		}
	} else {
		b = make([]byte, sizeofShmInfo)
		for i, v := range []uint64{uint64(count), pages, resident} {
			le.PutUint64(b[8*i:], v)
		}
	}
	return uint64(max(highest, 0)), t.CopyOut(buf, b)
}
