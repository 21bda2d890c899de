package task

import (
	"sync"
	"sync/atomic"

	"bulkhead/services/sentry/mqueue"
	"bulkhead/services/sentry/sysvipc"
	"bulkhead/services/sentry/vfs"
)

// Namespaces are those of a thread that are not told by where it stands in the tree
// of files, or by its credentials: namespaces(7). They are replaced whole.
type Namespaces struct {
	UTS *UTS
	IPC *IPC
}

// nextNamespace numbers namespaces that guests make, as their links in /proc/PID/ns
// show it; the first ones have the numbers of Linux's.
var nextNamespace atomic.Uint32

// newInode is the number of a further namespace.
func newInode() uint32 { return 4026532000 + nextNamespace.Add(1) }

// The numbers of the first namespaces.
const (
	firstIPC = 4026531839
	firstUTS = 4026531838
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
