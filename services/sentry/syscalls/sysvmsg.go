package syscalls

import (
	"encoding/binary"
	"math"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/sysvipc"
	"bulkhead/services/sentry/task"
)

// Sizes in bytes.
const (
	sizeofMsqidDs = 120
	sizeofMsginfo = 32
	sizeofMtype   = 8
)

// msgget finds or makes a message queue: msgget(2).
func msgget(t *task.Task, key, flags int32) (uint64, error) {
	id, err := t.IPC().Msgget(t, key, flags)
	return uint64(uint32(id)), err
}

// msgsnd sends a message of n bytes behind its type: msgsnd(2).
func msgsnd(t *task.Task, id int32, msg mm.Addr, n uint64, flags int32) (uint64, error) {
	var kind [sizeofMtype]byte
	if err := t.CopyIn(msg, kind[:]); err != nil {
		return 0, err
	}
	mtype := int64(binary.LittleEndian.Uint64(kind[:]))
	if n > sysvipc.MsgMax || id < 0 || mtype < 1 {
		return 0, linux.EINVAL
	}
	text := make([]byte, n)
	if err := t.CopyIn(msg+sizeofMtype, text); err != nil {
		return 0, err
	}
	return 0, t.IPC().Msgsnd(t, id, mtype, text, flags)
}

// msgrcv takes a message and gives the length of its text: msgrcv(2).
func msgrcv(t *task.Task, id int32, msg mm.Addr, n uint64, want int64, flags int32) (uint64, error) {
	if id < 0 || n > math.MaxInt64 {
		return 0, linux.EINVAL
	}
	if flags&sysvipc.MSG_COPY != 0 && (flags&sysvipc.MSG_EXCEPT != 0 || flags&sysvipc.IPC_NOWAIT == 0) {
		return 0, linux.EINVAL
	}
	kind, text, err := t.IPC().Msgrcv(t, id, n, want, flags)
	if err != nil {
		return 0, err
	}
	b := append(binary.LittleEndian.AppendUint64(make([]byte, 0, sizeofMtype+len(text)), uint64(kind)), text...)
	return uint64(len(text)), t.CopyOut(msg, b)
}

// msgctl tells of a queue, changes or removes it: msgctl(2).
func msgctl(t *task.Task, id, cmd int32, buf mm.Addr) (uint64, error) {
	ipc := t.IPC()
	if id < 0 || cmd < 0 {
		return 0, linux.EINVAL
	}
	switch cmd {
	case sysvipc.IPC_INFO, sysvipc.MSG_INFO:
		return msgInfo(t, cmd, buf)
	case sysvipc.IPC_STAT, sysvipc.MSG_STAT, sysvipc.MSG_STAT_ANY:
		byIndex := cmd != sysvipc.IPC_STAT
		st, err := ipc.StatMsg(t, id, byIndex, cmd == sysvipc.MSG_STAT_ANY)
		if err != nil {
			return 0, err
		}
		b, le := make([]byte, sizeofMsqidDs), binary.LittleEndian
		putIpcPerm(b, st.Perm)
		for i, v := range []uint64{uint64(st.Stime), uint64(st.Rtime), uint64(st.Ctime), st.Bytes, st.Count, st.Most} {
			le.PutUint64(b[sizeofIpcPerm+8*i:], v)
		}
		le.PutUint32(b[96:], uint32(t.ShowPID(st.Sender)))
		le.PutUint32(b[100:], uint32(t.ShowPID(st.Receiver)))
		return idIf(byIndex, st.ID), t.CopyOut(buf, b)
	case sysvipc.IPC_SET:
		perm, b, err := copyInIpcPerm(t, buf, sizeofMsqidDs)
		if err != nil {
			return 0, err
		}
		return 0, ipc.SetMsg(t, id, perm, binary.LittleEndian.Uint64(b[sizeofIpcPerm+8*5:]))
	case sysvipc.IPC_RMID:
		return 0, ipc.RemoveMsg(t, id)
	}
	return 0, linux.EINVAL
}

// msgInfo is IPC_INFO and MSG_INFO, which give the highest index in use.
func msgInfo(t *task.Task, cmd int32, buf mm.Addr) (uint64, error) {
	highest, count, messages, bytes := t.IPC().MsgUse()
	pool, headers, tql := uint32(sysvipc.MsgMNI*sysvipc.MsgMNB/1024), uint32(sysvipc.MsgMNB), uint32(sysvipc.MsgMNB)
	if cmd == sysvipc.MSG_INFO {
		pool, headers, tql = uint32(count), uint32(messages), uint32(bytes)
	}
	b, le := make([]byte, sizeofMsginfo), binary.LittleEndian
	for i, v := range []uint32{pool, headers, sysvipc.MsgMax, sysvipc.MsgMNB, sysvipc.MsgMNI, 16, tql} {
		le.PutUint32(b[4*i:], v)
	}
	le.PutUint16(b[28:], 0xffff)
	return uint64(max(highest, 0)), t.CopyOut(buf, b)
}
