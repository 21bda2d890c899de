package task

import (
	"slices"
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// PIDNamespace is a namespace of processes that a guest has made: pid_namespaces(7).
// The first is nil: an id is a number in it. Everything in the sentry goes by ids; they
// become numbers, and numbers ids, where system calls and files take and give them.
type PIDNamespace struct {
	Parent *PIDNamespace // nil: the first
	Inode  uint32
	Owner  *vfs.UserNamespace

	k     *Kernel
	level int // 1 for a child of the first

	// Guarded by Kernel.mu.
	init    *Group // the process with the number 1
	began   bool   // there has been one
	closed  bool   // it has ended: no more processes come
	members int    // processes, those in namespaces below too
	last    int32  // the number given last
	// ended is what is left of init's end, when it is the last member.
	ended func()

	ids map[int32]int32 // by number: guarded by pidTable.mu
}

// maxPIDDepth is MAX_PID_NS_LEVEL.
const maxPIDDepth = 32

// FirstPIDInode is the number of the first namespace of processes.
const FirstPIDInode = 4026531836

// pidTable has the numbers of the ids that are in more than the first namespace. Its
// lock is the innermost.
type pidTable struct {
	mu      sync.RWMutex
	numbers map[int32]*pidNumbers
}

// pidNumbers are an id's: one for each level from 1 to that of its namespace.
type pidNumbers struct {
	ns    *PIDNamespace
	below []int32
}

// newPIDNamespace is one below the caller's own: EINVAL, ENOSPC.
func (t *Task) newPIDNamespace(forChildren *PIDNamespace, owner *vfs.UserNamespace) (*PIDNamespace, error) {
	parent := t.PIDNamespace()
	if forChildren != parent || parent != nil && !owner.Within(parent.Owner) {
		return nil, linux.EINVAL
	}
	if parent.depth() == maxPIDDepth {
		return nil, linux.ENOSPC
	}
	return &PIDNamespace{Parent: parent, Inode: newInode(), Owner: owner, k: t.k, level: parent.depth() + 1, ids: map[int32]int32{}}, nil
}

func (ns *PIDNamespace) depth() int {
	if ns == nil {
		return 0
	}
	return ns.level
}

// Within says whether ns is other or below it.
func (ns *PIDNamespace) Within(other *PIDNamespace) bool {
	for ns.depth() > other.depth() {
		ns = ns.Parent
	}
	return ns == other
}

// Populated says whether there is, or was, a process in it.
func (ns *PIDNamespace) Populated() bool {
	if ns == nil {
		return true
	}
	ns.k.mu.RLock()
	defer ns.k.mu.RUnlock()
	return ns.began
}

// Number is what id is called in the namespace; 0 if it is not seen there.
func (ns *PIDNamespace) Number(id int32) int32 {
	if ns == nil {
		return id
	}
	t := &ns.k.pids
	t.mu.RLock()
	defer t.mu.RUnlock()
	n := t.numbers[id]
	if n == nil || !n.ns.Within(ns) {
		return 0
	}
	return n.below[ns.level-1]
}

// NoID is an id that nothing has.
const NoID = 1 << 30

// ID is what has a number in the namespace; NoID if nothing has. What is no number is
// given back.
func (ns *PIDNamespace) ID(number int32) int32 {
	if ns == nil || number <= 0 {
		return number
	}
	t := &ns.k.pids
	t.mu.RLock()
	defer t.mu.RUnlock()
	if id, ok := ns.ids[number]; ok {
		return id
	}
	return NoID
}

// Numbers are what id is called from ns down to the namespace of g: NSpid and the like of
// /proc/PID/status.
func (ns *PIDNamespace) Numbers(id int32, g *Group) []int32 {
	var all []int32
	for at := g.pidNS; at.Within(ns); at = at.Parent {
		all = append(all, at.Number(id))
		if at == nil {
			break
		}
	}
	slices.Reverse(all)
	return all
}

// PIDNamespace is the thread's own, which does not change; nil for the first.
func (t *Task) PIDNamespace() *PIDNamespace { return t.group.pidNS }

// PIDNamespace is the process's own.
func (g *Group) PIDNamespace() *PIDNamespace { return g.pidNS }

// ShowPID is the number that the thread knows a process, a thread, a group or a
// session by; 0 for none that it sees.
func (t *Task) ShowPID(id int32) int32 { return t.group.pidNS.Number(id) }

// PIDOf is what the thread means by a number; NoID if nothing has it.
func (t *Task) PIDOf(number int32) int32 { return t.group.pidNS.ID(number) }

// Named gives the thread that t means by a number, or nil.
func (t *Task) Named(number int32) *Task { return t.k.Task(t.PIDOf(number)) }

// NamedGroup gives the process that t means by a number, or nil.
func (t *Task) NamedGroup(number int32) *Group { return t.k.Group(t.PIDOf(number)) }

// Sees says whether the thread has a number for a process.
func (t *Task) Sees(g *Group) bool { return g.pidNS.Within(t.group.pidNS) }

// RulesPIDs says whether the thread has a capability where its namespace of processes
// was made.
func (t *Task) RulesPIDs(cap linux.Cap) bool {
	if ns := t.PIDNamespace(); ns != nil {
		return t.Creds().HasIn(ns.Owner, cap)
	}
	return t.Creds().Has(cap)
}

// PIDForChildren is the namespace that processes which the thread makes are in.
func (t *Task) PIDForChildren() *PIDNamespace { return t.ns.Load().pidForChildren }

// isInit says whether g is the first process of a namespace, the sandbox's included.
func (g *Group) isInit() bool { return g.number == 1 }

// newIDLocked gives a free process or thread id with a number in each namespace from
// ns up: the wanted ones, innermost first, where there are any. EAGAIN, ENOMEM in a
// namespace whose first process has ended; of wanted ones EEXIST, EINVAL, EPERM.
func (k *Kernel) newIDLocked(ns *PIDNamespace, c *vfs.Creds, wanted []int32) (int32, error) {
	if len(wanted) > ns.depth()+1 {
		return 0, linux.EINVAL
	}
	below, chosen := make([]int32, ns.depth()), len(wanted)
	for at := ns; at != nil; at = at.Parent {
		want := int32(0)
		if len(wanted) > 0 {
			want, wanted = wanted[0], wanted[1:]
			if err := mayChoose(c, at.Owner, want); err != nil {
				return 0, err
			}
		}
		n, err := at.nextLocked(want)
		if err != nil {
			return 0, err
		}
		below[at.level-1] = n
	}
	id, err := int32(0), error(nil)
	if len(wanted) > 0 {
		if id = wanted[0]; !k.freeLocked(id) {
			err = linux.EEXIST
		}
		if e := mayChoose(c, nil, id); e != nil {
			err = e
		}
	} else {
		id, err = k.nextIDLocked()
	}
	if err != nil || ns == nil {
		return id, err
	}
	k.pids.mu.Lock()
	k.pids.numbers[id] = &pidNumbers{ns, below}
	for at := ns; at != nil; at = at.Parent {
		at.ids[below[at.level-1]] = id
		if ns.level-at.level >= chosen {
			at.last = below[at.level-1]
		}
	}
	k.pids.mu.Unlock()
	return id, nil
}

func mayChoose(c *vfs.Creds, owner *vfs.UserNamespace, number int32) error {
	switch {
	case number < 1 || number >= PIDMax:
		return linux.EINVAL
	case !c.HasIn(owner, linux.CAP_SYS_ADMIN) && !c.HasIn(owner, linux.CAP_CHECKPOINT_RESTORE):
		return linux.EPERM
	}
	return nil
}

// nextLocked gives a free number in ns: that which is wanted, unless it is 0.
func (ns *PIDNamespace) nextLocked(want int32) (int32, error) {
	t := &ns.k.pids
	t.mu.RLock()
	defer t.mu.RUnlock()
	switch {
	case ns.closed:
		return 0, linux.ENOMEM
	case want > 1 && !ns.began:
		return 0, linux.EINVAL
	case want > 0:
		if _, taken := ns.ids[want]; taken {
			return 0, linux.EEXIST
		}
		return want, nil
	}
	for n, tries := ns.last, 0; tries < PIDMax; tries++ {
		if n++; n >= PIDMax {
			n = 300
		}
		if _, taken := ns.ids[n]; !taken {
			return n, nil
		}
	}
	return 0, linux.EAGAIN
}

// nextIDLocked gives a free id.
func (k *Kernel) nextIDLocked() (int32, error) {
	for range PIDMax {
		k.lastPID++
		if k.lastPID >= PIDMax {
			k.lastPID = 300
		}
		if k.freeLocked(k.lastPID) {
			return k.lastPID, nil
		}
	}
	return 0, linux.EAGAIN
}

// freeLocked says whether nothing has an id.
func (k *Kernel) freeLocked(id int32) bool {
	return k.tasks[id] == nil && k.groups[id] == nil && k.pgrps[id] == nil && k.sessions[id] == 0
}

// dropLocked takes the numbers of an id back, if nothing has it any more.
func (k *Kernel) dropLocked(id int32) {
	k.pids.mu.Lock()
	defer k.pids.mu.Unlock()
	n := k.pids.numbers[id]
	if n == nil || !k.freeLocked(id) {
		return
	}
	delete(k.pids.numbers, id)
	for at := n.ns; at != nil; at = at.Parent {
		delete(at.ids, n.below[at.level-1])
	}
}

// enterLocked counts a new process in its namespace and those above.
func (ns *PIDNamespace) enterLocked(g *Group) {
	g.pidNS, g.number = ns, ns.Number(g.pid)
	if ns != nil && g.number == 1 {
		ns.init, ns.began = g, true
	}
	for ; ns != nil; ns = ns.Parent {
		ns.members++
	}
}

// leftLocked counts a process out that has been waited for, or never was. It gives
// what is to be called without the lock: ends of first processes that waited for it.
func (g *Group) leftLocked() (then []func()) {
	for ns := g.pidNS; ns != nil; ns = ns.Parent {
		ns.members--
		if ns.init == g {
			ns.init, ns.closed = nil, true
		}
		if ns.members == 1 && ns.ended != nil {
			then = append(then, ns.ended)
			ns.ended = nil
		}
	}
	return then
}

// Reboot is reboot(2) in the namespace: the first process ends as by sig.
func (ns *PIDNamespace) Reboot(sig linux.Signal) {
	ns.k.mu.RLock()
	init := ns.init
	ns.k.mu.RUnlock()
	if init != nil {
		ns.k.kill(init, uint32(sig))
	}
}

func callAll(fs []func()) {
	for _, f := range fs {
		f()
	}
}

// close is the end of g, the first process of a namespace: nobody comes any more, and
// all others are killed. True if there are any, and then what is left of g's end is
// called once they are gone.
func (ns *PIDNamespace) close(g *Group, ended func()) (later bool) {
	k := ns.k
	k.mu.Lock()
	ns.closed = true
	var woken []*Task
	var zombies []*Group
	for _, o := range k.groups {
		switch {
		case o == g || !o.pidNS.Within(ns):
		case o.zombie && o.parent == g:
			zombies = append(zombies, o)
		case !o.zombie && !o.exiting:
			o.exiting, o.exitStatus = true, uint32(linux.SIGKILL)
			woken = append(woken, o.tasks...)
		}
	}
	if later = ns.members > 1; later {
		ns.ended = ended
	}
	k.mu.Unlock()
	for _, t := range woken {
		t.killed.Store(true)
		t.wake()
		t.stir()
	}
	for _, z := range zombies {
		k.reap(g, z)
	}
	return later
}

// ends says whether g is the first process of a namespace that is being closed: its
// children are waited for as they end.
func (g *Group) ends() bool {
	if g.pidNS == nil {
		return false
	}
	g.k.mu.RLock()
	defer g.k.mu.RUnlock()
	return g.pidNS.init == g && g.pidNS.closed
}
