package task

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mqueue"
	"bulkhead/services/sentry/sysvipc"
	"bulkhead/services/sentry/vfs"
)

// Namespaces are those of a thread that are not told by where it stands in the tree
// of files, or by its credentials: namespaces(7). They are replaced whole.
type Namespaces struct {
	UTS    *UTS
	IPC    *IPC
	Net    *Net
	Cgroup *CgroupNamespace
	// pidForChildren is that of the processes which the thread makes: unshare(2) and
	// setns(2) do not change its own.
	pidForChildren *PIDNamespace

	// mount is the namespace of mounts that the thread counts in, if a guest made it.
	mount *mountUsers
}

// mountUsers counts the threads in a namespace of mounts, which goes with the last.
type mountUsers struct {
	ns *vfs.Namespace
	n  atomic.Int32
}

func (u *mountUsers) enter() {
	if u != nil {
		u.n.Add(1)
	}
}

// tryEnter is enter for who is not sure that there is anybody in it.
func (u *mountUsers) tryEnter() bool {
	for {
		n := u.n.Load()
		if n <= 0 {
			return false
		}
		if u.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (u *mountUsers) leave() {
	if u != nil && u.n.Add(-1) == 0 {
		u.ns.Release()
		mountNamespaces.Add(-1)
	}
}

// mountNamespaces is how many of mounts there are that guests made: each holds a copy
// of all mounts. The others are no larger than the threads that have them.
var mountNamespaces atomic.Int32

const (
	maxMountNamespaces = 1024
	maxCopiedMounts    = 4096
)

// nextNamespace numbers namespaces that guests make, as their links in /proc/PID/ns
// show it; the first ones have the numbers of Linux's.
var nextNamespace atomic.Uint32

// newInode is the number of a further namespace.
func newInode() uint32 { return firstInode + nextNamespace.Add(1) }

const firstInode = 4026532000

// The numbers of the first namespaces.
const (
	firstCgroup = 4026531835

	firstIPC = 4026531839
	firstUTS = 4026531838
	firstNet = 4026531840
)

// UTS is the names of uname(2): uts_namespaces(7).
type UTS struct {
	Inode uint32
	Owner *vfs.UserNamespace

	mu                   sync.Mutex
	hostname, domainname string
}

// Hostname is the nodename of uname(2).
func (u *UTS) Hostname() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.hostname
}

// SetHostname is sethostname(2).
func (u *UTS) SetHostname(name string) {
	u.mu.Lock()
	u.hostname = name
	u.mu.Unlock()
}

// Domainname is the NIS domain name of uname(2).
func (u *UTS) Domainname() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.domainname
}

// SetDomainname is setdomainname(2).
func (u *UTS) SetDomainname(name string) {
	u.mu.Lock()
	u.domainname = name
	u.mu.Unlock()
}

// copy is a namespace of its own with the same names.
func (u *UTS) copy(owner *vfs.UserNamespace) *UTS {
	u.mu.Lock()
	defer u.mu.Unlock()
	return &UTS{Inode: newInode(), Owner: owner, hostname: u.hostname, domainname: u.domainname}
}

// IPC is System V IPC and POSIX message queues: ipc_namespaces(7).
type IPC struct {
	sysvipc.Namespace
	Inode uint32
	Owner *vfs.UserNamespace

	// Queues is where POSIX message queues have their names: the file system, and a
	// mount of it that no process sees.
	Queues  *mqueue.FileSystem
	mounted *vfs.Namespace
}

func newIPC(inode uint32, owner *vfs.UserNamespace) *IPC {
	q := mqueue.New()
	return &IPC{Inode: inode, Owner: owner, Queues: q, mounted: vfs.NewNamespace(q, 0)}
}

// QueueRoot is the directory of the message queues' names.
func (i *IPC) QueueRoot() vfs.Path { return i.mounted.Root() }

// Net is a network with its interfaces, ports and abstract names of UNIX sockets:
// network_namespaces(7).
type Net struct {
	Inode uint32
	Owner *vfs.UserNamespace
	// Network is whatever the packages of sockets keep there.
	Network any

	k       *Kernel // nil for the first
	threads atomic.Int32
}

func (n *Net) enter() { n.threads.Add(1) }

func (n *Net) leave() {
	n.threads.Add(-1)
	n.Look()
}

// leaveNet has a thread that has ended let go of its network, as it may itself be held for
// longer, by an open file of /proc: it counts as in the first one then.
func (t *Task) leaveNet() {
	ns := t.ns.Load()
	if ns.Net.k != nil {
		other := *ns
		other.Net = t.k.first.Net
		t.ns.Store(&other)
	}
	ns.Net.leave()
}

// Look has a network that a guest has made looked after, if no thread is in it: it may be
// that nobody holds it any more. It is to be called when something has let go of it.
func (n *Net) Look() {
	if n.k != nil && n.threads.Load() <= 0 && n.k.NetworkLeft != nil {
		n.k.NetworkLeft()
	}
}

// Net is the thread's network.
func (t *Task) Net() *Net { return t.ns.Load().Net }

// Net is that of the sandbox's first process.
func (k *Kernel) Net() *Net { return k.first.Net }

// Namespaces are the thread's.
func (t *Task) Namespaces() *Namespaces { return t.ns.Load() }

// UTS is the thread's names of uname(2).
func (t *Task) UTS() *UTS { return t.ns.Load().UTS }

// IPC is the thread's System V IPC and message queues.
func (t *Task) IPC() *IPC { return t.ns.Load().IPC }

// UTS is that of the sandbox's first process.
func (k *Kernel) UTS() *UTS { return k.first.UTS }

// IPC is that of the sandbox's first process.
func (k *Kernel) IPC() *IPC { return k.first.IPC }

// namespaceKinds are those that can be made.
const namespaceKinds = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP

// mayMake checks what a clone or an unshare asks for: EPERM; EINVAL for namespaces of
// time, which are not there, and of the network where there is none.
func (t *Task) mayMake(flags uint64) error {
	switch {
	case flags&namespaceFlags == 0:
		return nil
	case flags&unix.CLONE_NEWUSER == 0 && !t.Creds().HasOwn(linux.CAP_SYS_ADMIN):
		return linux.EPERM
	case flags&namespaceFlags&^namespaceKinds != 0, flags&unix.CLONE_NEWNET != 0 && t.k.NewNetwork == nil:
		return linux.EINVAL
	}
	return nil
}

// made are the namespaces that flags ask for, for a thread with those that t has.
type made struct {
	creds *vfs.Creds
	ns    *Namespaces
	fs    *FSContext // nil: as it is
}

// makeNamespaces makes them. fs is where the thread stands, for it alone.
func (t *Task) makeNamespaces(flags uint64, fs *FSContext) (m made, err error) {
	m = made{creds: t.Creds()}
	ns := *t.Namespaces()
	if flags&unix.CLONE_NEWUSER != 0 {
		if root := fs.Root(); root.Mount != nil && root != root.Mount.Namespace().Root() {
			return m, linux.EPERM // in a chroot
		}
		u, err := vfs.NewUserNamespace(m.creds, newInode())
		if err != nil {
			return m, err
		}
		m.creds = m.creds.Enter(u)
	}
	if flags&unix.CLONE_NEWUTS != 0 {
		ns.UTS = ns.UTS.copy(m.creds.UserNS)
	}
	if flags&unix.CLONE_NEWIPC != 0 {
		ns.IPC = newIPC(newInode(), m.creds.UserNS)
	}
	if flags&unix.CLONE_NEWCGROUP != 0 {
		ns.Cgroup = &CgroupNamespace{newInode(), m.creds.UserNS, t.group.Cgroup()}
	}
	if flags&unix.CLONE_NEWNET != 0 {
		n := &Net{Inode: newInode(), Owner: m.creds.UserNS, k: t.k}
		if n.Network, err = t.k.NewNetwork(n.Owner); err != nil {
			return m, err
		}
		ns.Net = n
	}
	if flags&unix.CLONE_NEWPID != 0 {
		if ns.pidForChildren, err = t.newPIDNamespace(ns.pidForChildren, m.creds.UserNS); err != nil {
			return m, err
		}
	}
	if flags&unix.CLONE_NEWNS != 0 {
		if mountNamespaces.Add(1) > maxMountNamespaces || fs.Root().Mount.Namespace().Len() > maxCopiedMounts {
			mountNamespaces.Add(-1)
			return m, linux.ENOSPC
		}
		copied, move := fs.Root().Mount.Namespace().Copy(m.creds.UserNS, newInode())
		ns.mount = &mountUsers{ns: copied}
		m.fs = &FSContext{root: move(fs.Root()), cwd: move(fs.Cwd()), umask: fs.Umask()}
	}
	m.ns = &ns
	return m, nil
}

// take gives the thread what was made.
func (t *Task) take(m made) {
	old := t.ns.Load()
	if old.mount != m.ns.mount {
		m.ns.mount.enter()
		defer old.mount.leave()
	}
	if old.Net != m.ns.Net {
		m.ns.Net.enter()
		defer old.Net.leave()
	}
	if m.fs != nil {
		t.fs.Store(m.fs)
		t.forgetLinks()
	}
	t.ns.Store(m.ns)
	if m.creds != t.Creds() {
		t.SetCreds(m.creds)
	}
}

// Unshare is unshare(2): EINVAL, EPERM, ENOSPC.
func (t *Task) Unshare(flags uint64) error {
	const known = unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SYSVSEM | unix.CLONE_THREAD | unix.CLONE_SIGHAND | unix.CLONE_VM | namespaceFlags
	if flags&unix.CLONE_NEWUSER != 0 {
		flags |= unix.CLONE_THREAD | unix.CLONE_FS
	}
	if flags&unix.CLONE_NEWPID != 0 {
		flags |= unix.CLONE_THREAD
	}
	if flags&unix.CLONE_NEWNS != 0 {
		flags |= unix.CLONE_FS
	}
	if flags&^uint64(known) != 0 || flags&(unix.CLONE_THREAD|unix.CLONE_SIGHAND|unix.CLONE_VM) != 0 && len(t.group.Tasks()) > 1 {
		return linux.EINVAL
	}
	if err := t.mayMake(flags); err != nil {
		return err
	}
	m := made{}
	if flags&namespaceFlags != 0 {
		var err error
		if m, err = t.makeNamespaces(flags, t.fs.Load().Fork()); err != nil {
			return err
		}
	}
	if flags&unix.CLONE_FS != 0 {
		t.fs.Store(t.fs.Load().Fork())
	}
	if ft := t.fds.Load(); flags&unix.CLONE_FILES != 0 && ft.Shared() {
		t.fds.Store(ft.Fork())
		ft.release(exitContext(t))
	}
	if m.ns != nil {
		if flags&unix.CLONE_NEWIPC != 0 {
			t.IPC().UndoAll(&t.group.semUndo, t.group.pid)
		}
		t.take(m)
	}
	return nil
}

// Renumbered tells the threads in a user namespace that their ids have other numbers.
func (k *Kernel) Renumbered(ns *vfs.UserNamespace) {
	for _, t := range k.Tasks() {
		if c := t.Creds(); c != nil && c.UserNS == ns {
			t.tellCreds()
		}
	}
}

// Pivot is pivot_root(2) of the caller's namespace of mounts: whoever stands at the
// old root stands at the new one then.
func (t *Task) Pivot(newRoot, putOld vfs.Path) error {
	root := t.FS().Root()
	ns := root.Mount.Namespace()
	if err := ns.Pivot(root, newRoot, putOld); err != nil {
		return err
	}
	seen := map[*FSContext]bool{}
	for _, o := range t.k.Tasks() {
		if fs := o.FS(); fs != nil && !seen[fs] {
			seen[fs] = true
			fs.replace(root, newRoot)
		}
	}
	return nil
}

// Setns moves the thread to a namespace that another has: *UTS, *IPC, *Net, *CgroupNamespace, *vfs.Namespace,
// *vfs.UserNamespace or, for its children, *PIDNamespace. EPERM, EINVAL.
func (t *Task) Setns(to any) error {
	c := t.Creds()
	ns := *t.Namespaces()
	m := made{creds: c, ns: &ns}
	switch n := to.(type) {
	case *UTS:
		if !c.HasIn(n.Owner, linux.CAP_SYS_ADMIN) || !c.HasOwn(linux.CAP_SYS_ADMIN) {
			return linux.EPERM
		}
		ns.UTS = n
	case *IPC:
		if !c.HasIn(n.Owner, linux.CAP_SYS_ADMIN) || !c.HasOwn(linux.CAP_SYS_ADMIN) {
			return linux.EPERM
		}
		t.IPC().UndoAll(&t.group.semUndo, t.group.pid)
		ns.IPC = n
	case *Net:
		if !c.HasIn(n.Owner, linux.CAP_SYS_ADMIN) || !c.HasOwn(linux.CAP_SYS_ADMIN) {
			return linux.EPERM
		}
		ns.Net = n
	case *CgroupNamespace:
		if !c.HasIn(n.Owner, linux.CAP_SYS_ADMIN) || !c.HasOwn(linux.CAP_SYS_ADMIN) {
			return linux.EPERM
		}
		ns.Cgroup = n
	case *vfs.Namespace:
		if !c.HasIn(n.Owner, linux.CAP_SYS_ADMIN) || !c.HasOwn(linux.CAP_SYS_CHROOT) || !c.HasOwn(linux.CAP_SYS_ADMIN) {
			return linux.EPERM
		}
		u, ok := t.k.mountUsersOf(n)
		if !ok {
			return linux.EINVAL // it went with its last thread, though it can still be named
		}
		defer u.leave() // the thread counts by itself then
		ns.mount = u
		m.fs = &FSContext{root: n.Root(), cwd: n.Root(), umask: t.FS().Umask()}
	case *PIDNamespace:
		var owner *vfs.UserNamespace
		if n != nil {
			owner = n.Owner
		}
		if !c.HasIn(owner, linux.CAP_SYS_ADMIN) || !c.HasOwn(linux.CAP_SYS_ADMIN) {
			return linux.EPERM
		}
		if !n.Within(t.PIDNamespace()) {
			return linux.EINVAL
		}
		ns.pidForChildren = n
	case *vfs.UserNamespace:
		if n == c.UserNS || len(t.group.Tasks()) > 1 {
			return linux.EINVAL
		}
		if !c.HasIn(n, linux.CAP_SYS_ADMIN) {
			return linux.EPERM
		}
		m.creds = c.Enter(n)
		t.fs.Store(t.fs.Load().Fork())
	default:
		return linux.EINVAL
	}
	t.take(m)
	return nil
}

// mountUsersOf is what counts a namespace's threads, with the caller counted in; nil for
// a container's own. False if nobody is in it any more.
func (k *Kernel) mountUsersOf(n *vfs.Namespace) (*mountUsers, bool) {
	if n.Inode == 0 {
		return nil, true
	}
	for _, o := range k.Tasks() {
		if u := o.Namespaces().mount; u != nil && u.ns == n {
			return u, u.tryEnter()
		}
	}
	return nil, false
}
