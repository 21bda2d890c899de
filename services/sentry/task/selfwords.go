package task

import "bulkhead/services/sentry/platform"

// The stub answers the calls that ask who the thread is, getpid(2) and the like,
// from words in its slot, and changes the signal mask there (shareMask). This file
// keeps them true: each is set before anybody
// can know of a change. Where calls are traced, the stub knows nothing and asks.

// tellSelf sets all of the thread's words.
func (t *Task) tellSelf() {
	if !t.answersItself() {
		return
	}
	th := t.th
	th.SetSelf(platform.SelfPID, uint32(t.group.number))
	th.SetSelf(platform.SelfTID, uint32(t.Number()))
	t.tellCreds()
	t.shareMask()
	t.tellHandlers()
	t.group.tellLimits(t)
	k := t.k
	k.mu.RLock() // a parent's end changes the word under the lock, and who attaches has it
	tellParentLocked(t.group, th)
	t.tellTraced()
	k.mu.RUnlock()
}

// tellHandlers has the stub know what it delivers faults by.
func (t *Task) tellHandlers() {
	g := t.group
	g.sigMu.Lock()
	defer g.sigMu.Unlock()
	if t.told != nil && t.told != g.handlers {
		t.told.forget(t.th)
	}
	t.told = g.handlers
	t.told.tell(t.th)
	t.th.SetAltStack(t.altStack)
}

// tellTraced has the stub answer calls alone on the trap lane, where a traced thread
// makes all of its calls, if nobody traces it. The caller holds k.mu.
func (t *Task) tellTraced() {
	if th := t.host.Load(); th != nil {
		may := t.answersItself() && !t.Traced()
		th.AnswerAlone(may)
		if !may {
			t.closePockets()
		}
	}
}

// tellCreds sets the words of the credentials.
func (t *Task) tellCreds() {
	th := t.host.Load()
	if th == nil || !t.answersItself() {
		return
	}
	c := t.Creds()
	th.SetSelf(platform.SelfUID, c.UserNS.ShowUID(c.UID))
	th.SetSelf(platform.SelfEUID, c.UserNS.ShowUID(c.EUID))
	th.SetSelf(platform.SelfGID, c.UserNS.ShowGID(c.GID))
	th.SetSelf(platform.SelfEGID, c.UserNS.ShowGID(c.EGID))
}

// tellParentLocked sets the word of getppid(2) for a thread of g.
func tellParentLocked(g *Group, th *platform.Thread) {
	var pid uint32
	if g.parent != nil {
		pid = uint32(g.pidNS.Number(g.parent.pid))
	}
	th.SetSelf(platform.SelfPPID, pid)
}

// reparentedLocked tells the threads of g, which has another parent now.
func (k *Kernel) reparentedLocked(g *Group) {
	if k.Trace != nil {
		return
	}
	for _, t := range g.tasks {
		if th := t.host.Load(); th != nil && t.answersItself() {
			tellParentLocked(g, th)
		}
	}
}
