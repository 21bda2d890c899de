package task

import "bulkhead/proto/linux"

// joinLocked puts g into a process group.
func (k *Kernel) joinLocked(g *Group, pgid int32) {
	g.pgid = pgid
	if k.pgrps[pgid] == nil {
		k.pgrps[pgid] = map[*Group]bool{}
	}
	k.pgrps[pgid][g] = true
}

// leaveLocked takes g out of its process group.
func (k *Kernel) leaveLocked(g *Group) {
	delete(k.pgrps[g.pgid], g)
	if len(k.pgrps[g.pgid]) == 0 {
		delete(k.pgrps, g.pgid)
	}
	k.dropLocked(g.pgid)
}

// leaveSessionLocked takes g out of its session.
func (k *Kernel) leaveSessionLocked(g *Group) {
	if k.sessions[g.sid]--; k.sessions[g.sid] == 0 {
		delete(k.sessions, g.sid)
	}
	k.dropLocked(g.sid)
}

// SetPGID is setpgid(2), by ids: target is t's own process or a child of its.
func (t *Task) SetPGID(pid, pgid int32) error {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if pid == 0 {
		pid = t.group.pid
	}
	if pgid == 0 {
		pgid = pid
	}
	if pgid < 0 {
		return linux.EINVAL
	}
	g := k.groups[pid]
	if g == nil || g != t.group && g.parent != t.group {
		return linux.ESRCH
	}
	if g != t.group {
		if g.sid != t.group.sid {
			return linux.EPERM
		}
		if g.didExec {
			return linux.EACCES
		}
	}
	if g.sid == g.pid {
		return linux.EPERM // a session leader
	}
	if pgid != pid {
		ok := false
		for m := range k.pgrps[pgid] {
			ok = ok || m.sid == t.group.sid
		}
		if !ok {
			return linux.EPERM
		}
	}
	if pgid != g.pgid {
		k.leaveLocked(g)
		k.joinLocked(g, pgid)
	}
	return nil
}

// SetSID is setsid(2).
func (t *Task) SetSID() (int32, error) {
	k, g := t.k, t.group
	k.mu.Lock()
	defer k.mu.Unlock()
	if g.pgid == g.pid || k.pgrps[g.pid] != nil {
		return 0, linux.EPERM
	}
	k.leaveLocked(g)
	k.joinLocked(g, g.pid)
	k.leaveSessionLocked(g)
	k.sessions[g.pid]++
	g.sid = g.pid
	g.session = &Session{ID: g.pid}
	return g.sid, nil
}

// ProcessGroup gives the processes of a process group.
func (k *Kernel) ProcessGroup(pgid int32) []*Group {
	k.mu.RLock()
	defer k.mu.RUnlock()
	var out []*Group
	for g := range k.pgrps[pgid] {
		out = append(out, g)
	}
	return out
}

// ToMany calls send, which sends a signal, for each process that list gives. Whoever is
// making another one meanwhile gets it first, as on Linux: so what is killed leaves no
// child that nobody knew of.
func (k *Kernel) ToMany(list func() []*Group, send func(*Group)) {
	k.many.Lock()
	defer k.many.Unlock()
	for _, g := range list() {
		send(g)
	}
	k.sentToMany.Add(1) // who sees this sees the signal
}

// SignalGroup sends a signal of the kernel's to a process group: a terminal's.
func (k *Kernel) SignalGroup(pgid int32, sig linux.Signal) {
	k.ToMany(func() []*Group { return k.ProcessGroup(pgid) }, func(g *Group) { g.Send(KernelSignal(sig)) })
}

// Orphaned says whether nobody could continue the process group if it stopped:
// no member has a parent of the same session in another group.
func (k *Kernel) Orphaned(pgid int32) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.orphanedLocked(pgid, nil)
}

func (k *Kernel) orphaned(g *Group) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.orphanedLocked(g.pgid, nil)
}

func (k *Kernel) orphanedLocked(pgid int32, except *Group) bool {
	for g := range k.pgrps[pgid] {
		if g == except || g.zombie || g.parent == nil {
			continue
		}
		if g.parent.pgid != pgid && g.parent.sid == g.sid {
			return false
		}
	}
	return true
}

// newlyOrphanedLocked gives the members of process groups that g's end orphans
// and that have a stopped member: they get SIGHUP and SIGCONT, setpgid(2). g's
// end can orphan its own group, and those of its children, which have another
// parent by now; but only where a parent was in another group of the session.
func (k *Kernel) newlyOrphanedLocked(g *Group, orphans []*Group) []*Group {
	var out []*Group
	seen := map[int32]bool{}
	consider := func(pgid int32) {
		if seen[pgid] || !k.orphanedLocked(pgid, g) {
			return
		}
		seen[pgid] = true
		stopped := false
		for m := range k.pgrps[pgid] {
			stopped = stopped || m != g && !m.zombie && m.Stopped()
		}
		if stopped {
			for m := range k.pgrps[pgid] {
				if m != g && !m.zombie {
					out = append(out, m)
				}
			}
		}
	}
	held := func(parent, child *Group) bool {
		return parent != nil && parent.pgid != child.pgid && parent.sid == child.sid
	}
	if held(g.parent, g) {
		consider(g.pgid)
	}
	for _, c := range orphans {
		if held(g, c) {
			consider(c.pgid)
		}
	}
	return out
}

// Hangup is what a terminal package calls when a session leader that has it ends.
var Hangup func(k *Kernel, s *Session, tty any)

// leaveSession is the end of a session's leader: its terminal is hung up.
func (k *Kernel) leaveSession(g *Group) {
	if g.pid != g.sid || g.session == nil {
		return
	}
	if tty := g.session.TTY(); tty != nil && Hangup != nil {
		Hangup(k, g.session, tty)
	}
}
