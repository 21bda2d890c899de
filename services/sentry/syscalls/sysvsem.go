package syscalls

import (
	"encoding/binary"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/sysvipc"
	"bulkhead/services/sentry/task"
)

// Sizes in bytes.
const (
	sizeofSembuf  = 6
	sizeofSemidDs = 104
	sizeofSeminfo = 40
)

// semget finds or makes a set of semaphores: semget(2).
func semget(t *task.Task, key, count, flags int32) (uint64, error) {
	id, err := t.IPC().Semget(t, key, count, flags)
	return uint64(uint32(id)), err
}

// semop does operations on semaphores, all at once: semop(2).
func semop(t *task.Task, id int32, ops mm.Addr, n uint64) (uint64, error) {
	return semtimedop(t, id, ops, n, 0)
}

// semtimedop is semop for no longer than a time: EAGAIN.
func semtimedop(t *task.Task, id int32, ops mm.Addr, n uint64, timeout mm.Addr) (uint64, error) {
	var deadline time.Time
	if timeout != 0 {
		ts, err := copyInTimespec(t, timeout)
		if err != nil {
			return 0, err
		}
		deadline = time.Now().Add(duration(ts))
	}
	switch {
	case n == 0 || id < 0:
		return 0, linux.EINVAL
	case n > sysvipc.SemOPM:
		return 0, linux.E2BIG
	}
	b := make([]byte, n*sizeofSembuf)
	if err := t.CopyIn(ops, b); err != nil {
		return 0, err
	}
	list, le := make([]sysvipc.Semop, n), binary.LittleEndian
	for i := range list {
		at := b[i*sizeofSembuf:]
		list[i] = sysvipc.Semop{Num: le.Uint16(at), Op: int16(le.Uint16(at[2:])), Flags: int16(le.Uint16(at[4:]))}
	}
	return 0, t.IPC().Semop(t, t.Group().SemUndo(), id, list, deadline)
}

// semctl tells of a set, changes or removes it: semctl(2). arg is the union's.
func semctl(t *task.Task, id, num, cmd int32, arg uint64) (uint64, error) {
	ipc := t.IPC()
	if id < 0 {
		return 0, linux.EINVAL
	}
	switch cmd {
	case sysvipc.IPC_INFO, sysvipc.SEM_INFO:
		return semInfo(t, cmd, arg)
	case sysvipc.IPC_STAT, sysvipc.SEM_STAT, sysvipc.SEM_STAT_ANY:
		byIndex := cmd != sysvipc.IPC_STAT
		st, err := ipc.StatSem(t, id, byIndex, cmd == sysvipc.SEM_STAT_ANY)
		if err != nil {
			return 0, err
		}
		b, le := make([]byte, sizeofSemidDs), binary.LittleEndian
		putIpcPerm(b, st.Perm)
		le.PutUint64(b[48:], uint64(st.Otime))
		le.PutUint64(b[64:], uint64(st.Ctime))
		le.PutUint64(b[80:], uint64(st.Count))
		return idIf(byIndex, st.ID), t.CopyOut(arg, b)
	case sysvipc.IPC_SET:
		perm, _, err := copyInIpcPerm(t, arg, sizeofSemidDs)
		if err != nil {
			return 0, err
		}
		return 0, ipc.SetSem(t, id, perm)
	case sysvipc.IPC_RMID:
		return 0, ipc.RemoveSem(t, id)
	case sysvipc.SETVAL:
		return 0, ipc.SetSemValue(t, id, num, int32(arg))
	case sysvipc.GETVAL, sysvipc.GETPID, sysvipc.GETNCNT, sysvipc.GETZCNT:
		v, err := ipc.SemValue(t, id, num, cmd)
		if cmd == sysvipc.GETPID {
			v = t.ShowPID(v)
		}
		return uint64(v), err
	case sysvipc.GETALL:
		return 0, semGetAll(t, id, arg)
	case sysvipc.SETALL:
		return 0, semSetAll(t, id, arg)
	}
	return 0, linux.EINVAL
}

func semGetAll(t *task.Task, id int32, to mm.Addr) error {
	values, err := t.IPC().SemValues(t, id)
	if err != nil {
		return err
	}
	b := make([]byte, 0, 2*len(values))
	for _, v := range values {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return t.CopyOut(to, b)
}

func semSetAll(t *task.Task, id int32, from mm.Addr) error {
	n, err := t.IPC().SemCount(id)
	if err != nil {
		return err
	}
	b := make([]byte, 2*n)
	if err := t.CopyIn(from, b); err != nil {
		return err
	}
	values := make([]uint16, n)
	for i := range values {
		values[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return t.IPC().SetSemValues(t, id, values)
}

// semInfo is IPC_INFO and SEM_INFO, which give the highest index in use.
func semInfo(t *task.Task, cmd int32, buf mm.Addr) (uint64, error) {
	highest, count, semaphores := t.IPC().SemUse()
	const most = sysvipc.SemMNI * sysvipc.SemMSL
	usz, aem := uint32(20), uint32(sysvipc.SemVMX)
	if cmd == sysvipc.SEM_INFO {
		usz, aem = uint32(count), uint32(semaphores)
	}
	b := make([]byte, 0, sizeofSeminfo)
	for _, v := range []uint32{most, sysvipc.SemMNI, most, most, sysvipc.SemMSL, sysvipc.SemOPM, sysvipc.SemOPM, usz, sysvipc.SemVMX, aem} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return uint64(max(highest, 0)), t.CopyOut(buf, b)
}
