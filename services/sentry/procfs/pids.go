package procfs

import (
	"slices"
	"strconv"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/pseudo"
	"bulkhead/services/sentry/vfs"
)

func decimal(n int32) string { return strconv.Itoa(int(n)) }

// parseID reads a process id as a file name has it: no sign, no leading zero.
func parseID(name string) (int32, bool) {
	n, err := strconv.ParseInt(name, 10, 32)
	return int32(n), err == nil && n > 0 && strconv.FormatInt(n, 10) == name
}

// pids is the numbered part of /proc. A thread's own id leads to its process,
// though it is not listed: proc(5).
type pids struct{ fs *FS }

func (d *pids) find(name string) (Process, bool) {
	id, ok := parseID(name)
	if !ok {
		return nil, false
	}
	id = d.fs.kernel.ID(id)
	if p := d.fs.kernel.Process(id); p != nil {
		return p, true
	}
	if t := d.fs.kernel.Thread(id); t != nil {
		if p := d.fs.kernel.Process(t.TGID()); p != nil {
			return p, true
		}
	}
	return nil, false
}

// Lookup implements pseudo.Dynamic.
func (d *pids) Lookup(_ vfs.Context, name string) (vfs.Node, error) {
	p, ok := d.find(name)
	if !ok {
		return nil, linux.ENOENT
	}
	return d.fs.processDir(p), nil
}

// Names implements pseudo.Dynamic.
func (d *pids) Names(vfs.Context) ([]pseudo.Name, error) {
	ids := d.fs.kernel.PIDs()
	return d.fs.names(ids), nil
}

// Directories implements pseudo.Brancher.
func (d *pids) Directories(vfs.Context) int { return len(d.fs.kernel.PIDs()) }

// Valid implements pseudo.Dynamic.
func (d *pids) Valid(_ vfs.Context, name string, child vfs.Node) bool {
	p, ok := d.find(name)
	e := entryOf(child)
	return ok && e != nil && e.process == p
}

// names are the directories of ids, by rising number.
func (fs *FS) names(ids []int32) []pseudo.Name {
	numbers := make([]int32, 0, len(ids))
	for _, id := range ids {
		if n := fs.kernel.Number(id); n != 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	names := make([]pseudo.Name, len(numbers))
	for i, n := range numbers {
		names[i] = pseudo.Name{Name: decimal(n), Type: linux.DT_DIR, Key: int64(n)}
	}
	return names
}

// threads is /proc/PID/task.
type threads struct{ *entry }

// Lookup implements pseudo.Dynamic.
func (d threads) Lookup(_ vfs.Context, name string) (vfs.Node, error) {
	if t := d.find(name); t != nil {
		return d.fs.threadDir(d.process, t), nil
	}
	return nil, linux.ENOENT
}

func (d threads) find(name string) Thread {
	id, ok := parseID(name)
	if !ok {
		return nil
	}
	t := d.fs.kernel.Thread(d.fs.kernel.ID(id))
	if t == nil || t.TGID() != d.thread.TGID() {
		return nil
	}
	return t
}

// Names implements pseudo.Dynamic.
func (d threads) Names(vfs.Context) ([]pseudo.Name, error) {
	if err := d.alive(); err != nil {
		return nil, err
	}
	list := d.process.Threads()
	ids := make([]int32, len(list))
	for i, t := range list {
		ids[i] = t.TID()
	}
	return d.fs.names(ids), nil
}

// Directories implements pseudo.Brancher: sandboxes of browsers and others go by the links
// of their own to see whether they have one thread only.
func (d threads) Directories(vfs.Context) int { return len(d.process.Threads()) }

// Valid implements pseudo.Dynamic.
func (d threads) Valid(_ vfs.Context, name string, child vfs.Node) bool {
	e := entryOf(child)
	return e != nil && d.find(name) == e.thread
}
