package syscalls

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// controlMax is the longest run of control messages that is read, in bytes:
// /proc/sys/net/core/optmem_max.
const controlMax = 128 << 10

// copyInControl reads control messages of n bytes: cmsg(3). It holds a
// reference to each file of SCM_RIGHTS, for Drop to give back.
func copyInControl(t *task.Task, addr mm.Addr, n uint64) (c socket.Control, err error) {
	if n > controlMax {
		return c, linux.ENOBUFS
	}
	if n == 0 || addr == 0 {
		return c, nil
	}
	b := make([]byte, n)
	if err := t.CopyIn(addr, b); err != nil {
		return c, err
	}
	for len(b) >= linux.SizeofCmsghdr {
		m, rest, err := linux.NextCmsg(b)
		if err == nil {
			err = addControl(t, &c, m)
		}
		if err != nil {
			c.Drop(t)
			return socket.Control{}, err
		}
		b = rest
	}
	return c, nil
}

func addControl(t *task.Task, c *socket.Control, m linux.Cmsg) error {
	if m.Level != linux.SOL_SOCKET {
		c.Other = append(c.Other, m)
		return nil
	}
	switch m.Type {
	case linux.SCM_RIGHTS:
		return addRights(t, c, m.Data)
	case linux.SCM_CREDENTIALS:
		if len(m.Data) != linux.SizeofUcred {
			return linux.EINVAL
		}
		u, ns := linux.ReadUcred(m.Data), t.Creds().UserNS
		var ok, ok2 bool
		u.UID, ok = ns.User(u.UID)
		pid := t.PIDOf(u.PID)
		if u.GID, ok2 = ns.Group(u.GID); !ok || !ok2 {
			return linux.EINVAL
		}
		if u.PID = pid; pid == task.NoID {
			return linux.ESRCH
		}
		c.Creds = &u
		return mayClaim(t, u)
	}
	return linux.EINVAL
}

// addRights takes a reference to each file that data names.
func addRights(t *task.Task, c *socket.Control, data []byte) error {
	for ; len(data) >= 4; data = data[4:] {
		if len(c.Files) == linux.SCM_MAX_FD {
			return linux.EINVAL
		}
		f, err := t.AnyFile(linux.FD(binary.LittleEndian.Uint32(data)))
		if err != nil {
			return err
		}
		c.Files = append(c.Files, f)
	}
	return nil
}

// mayClaim says whether the task may send credentials as its own: unix(7).
func mayClaim(t *task.Task, u linux.Ucred) error {
	c := t.Creds()
	switch {
	case u.PID != t.TGID() && !t.RulesPIDs(linux.CAP_SYS_ADMIN),
		u.UID != c.UID && u.UID != c.EUID && u.UID != c.SUID && !c.HasOwn(linux.CAP_SETUID),
		u.GID != c.GID && u.GID != c.EGID && u.GID != c.SGID && !c.HasOwn(linux.CAP_SETGID):
		return linux.EPERM
	}
	return nil
}

// copyOutControl writes the control messages of c and sets Controllen and Flags.
// It takes over c's files: what there is no room for is closed, and MSG_CTRUNC
// says so.
func copyOutControl(t *task.Task, h *msghdr, c socket.Control, closeOnExec bool) error {
	room := int(min(h.Controllen, controlMax))
	if h.Control == 0 {
		room = 0
	}
	w := controlWriter{room: room}
	for _, m := range c.Other {
		w.add(m.Level, m.Type, m.Data)
	}
	if c.Creds != nil {
		u, ns := *c.Creds, t.Creds().UserNS
		u.PID = t.ShowPID(u.PID)
		u.UID, u.GID = ns.ShowUID(u.UID), ns.ShowGID(u.GID)
		w.add(linux.SOL_SOCKET, linux.SCM_CREDENTIALS, u.Bytes())
	}
	if len(c.Files) > 0 {
		w.addFiles(t, c.Files, closeOnExec)
	}
	if c.Sender != 0 {
		w.addPIDFD(t, c.Sender)
	}
	if w.truncated {
		h.Flags |= linux.MSG_CTRUNC
	}
	h.Controllen = uint64(len(w.out))
	return t.CopyOutLater(h.Control, w.out)
}

// controlWriter lays out control messages in a bounded room.
type controlWriter struct {
	out       []byte
	room      int
	truncated bool
}

// add adds a message, cut to the room that is left, if its header fits.
func (w *controlWriter) add(level, typ int32, data []byte) {
	left := w.room - len(w.out)
	if left < linux.SizeofCmsghdr {
		w.truncated = true
		return
	}
	if most := left - linux.SizeofCmsghdr; len(data) > most {
		data, w.truncated = data[:most], true
	}
	w.out = linux.AppendCmsg(w.out, level, typ, data)
	w.out = w.out[:min(len(w.out), w.room)]
}

// addPIDFD adds SCM_PIDFD: a descriptor of a process, or below 0 why there is none.
func (w *controlWriter) addPIDFD(t *task.Task, pid int32) {
	const scmPIDFD = 4
	if w.room-len(w.out) < linux.SizeofCmsghdr+4 {
		w.truncated = true
		return
	}
	fd, err := pidfdOfProcess(t, pid)
	if err != nil {
		fd = -linux.FD(linux.ESRCH)
		if e, ok := err.(linux.Errno); ok {
			fd = -linux.FD(e)
		}
	}
	w.add(linux.SOL_SOCKET, scmPIDFD, binary.LittleEndian.AppendUint32(nil, uint32(fd)))
}

// addFiles installs as many files as there is room for and closes the others.
func (w *controlWriter) addFiles(t *task.Task, files []*vfs.File, closeOnExec bool) {
	fits := max((w.room-len(w.out)-linux.SizeofCmsghdr)/4, 0)
	var data []byte
	for i, f := range files {
		if i >= fits || w.truncated {
			w.truncated = true
			f.DecRef(t)
			continue
		}
		fd, err := t.Install(f, 0, closeOnExec)
		if err != nil {
			w.truncated = true
			continue
		}
		data = binary.LittleEndian.AppendUint32(data, uint32(fd))
	}
	if len(data) > 0 {
		w.add(linux.SOL_SOCKET, linux.SCM_RIGHTS, data)
	}
}
